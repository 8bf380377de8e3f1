"""The balance: its address, the key in a header, the forms of its answer, errors, retries and the pace."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import httpx
import pytest

from smspva_async import (
    ApiError,
    ConnectionFailed,
    InsufficientFunds,
    InvalidKey,
    OutcomeUnknown,
    Pace,
    RateLimited,
    Retry,
    SmspvaClient,
    SmspvaError,
    UnexpectedResponse,
)
from tests.support.fake_server import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

Reply: TypeAlias = "httpx.Response | Exception"

PATH = "/activation/balance"
NO_RETRY = Retry(attempts=1)
ORDERS = httpx.Response(200, json={"status": 1, "data": []})
BUSY = {"statusCode": 503, "error": {"type": "SERVER_BUSY", "description": "The server is busy"}}


def balance_of(amount: object) -> httpx.Response:
    return httpx.Response(200, json={"statusCode": 200, "data": {"balance": amount}})


def refusal(code: int, kind: str, description: str = "no", status: int = 200) -> httpx.Response:
    error = {"type": kind, "description": description}
    return httpx.Response(status, json={"statusCode": code, "error": error})


class Server:
    """Answers requests in turn. The last answer is repeated."""

    def __init__(self, *answers: Reply) -> None:
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self._answers = list(answers)

    def client(self, **settings: Any) -> SmspvaClient:
        transport = httpx.MockTransport(self._answer)
        return SmspvaClient(KEY, **{"pace": Pace(gap=0), "transport": transport, **settings})

    @property
    def urls(self) -> list[str]:
        return [str(request.url) for request in self.requests]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(anyio.current_time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


async def failure(server: Server, **settings: Any) -> SmspvaError:
    """Return the error that `balance` raises."""
    async with server.client(**settings) as client:
        with pytest.raises(SmspvaError) as raised:
            await client.balance()
    return raised.value


@pytest.fixture(autouse=True)
def _no_addresses_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMSPVA_BASE_URL", "SMSPVA_ACCOUNT_URL"):
        monkeypatch.delenv(name, raising=False)


# -- the request -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_key_is_in_a_header_and_not_in_the_url() -> None:
    server = Server(balance_of("12.34"))
    async with server.client() as client:
        assert await client.balance() == Decimal("12.34")
    (request,) = server.requests
    assert (request.method, str(request.url)) == ("GET", "https://api.smspva.com/activation/balance")
    assert request.headers.get_list("apikey") == [KEY]
    assert KEY not in str(request.url) + repr(request.extensions)


@pytest.mark.anyio
async def test_other_calls_send_no_key_header() -> None:
    server = Server(ORDERS)
    async with server.client() as client:
        await client.orders()
    assert "apikey" not in server.requests[0].headers


PROVIDER = f"https://api.smspva.com{PATH}"
DERIVED = {
    None: PROVIDER,
    "https://smspva.com/api/rent.php": PROVIDER,
    "https://SMSPVA.com:443/api/rent.php": PROVIDER,
    "https://www.smspva.com/api/rent.php": PROVIDER,
    "https://smspva.io/api/rent.php": PROVIDER,
    "https://mirror.example/api/rent.php": f"https://mirror.example{PATH}",
    "https://mirror.example:8443/api/rent.php": f"https://mirror.example:8443{PATH}",
    "https://smspva.com:8443/api/rent.php": f"https://smspva.com:8443{PATH}",
    "https://smspva.com.example/api/rent.php": f"https://smspva.com.example{PATH}",
    "http://127.0.0.1:8000/api/rent.php": f"http://127.0.0.1:8000{PATH}",
    "http://[::1]:8000/api/rent.php": f"http://[::1]:8000{PATH}",
}


@pytest.mark.parametrize(("base_url", "url"), DERIVED.items(), ids=map(str, DERIVED))
@pytest.mark.anyio
async def test_the_account_url_is_derived_from_the_base_url(base_url: str | None, url: str) -> None:
    server = Server(balance_of("1"))
    async with server.client(base_url=base_url) as client:
        await client.balance()
    assert server.urls == [url]


@pytest.mark.anyio
async def test_the_account_url_is_derived_from_a_base_url_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSPVA_BASE_URL", "http://127.0.0.1:8000/api/rent.php")
    server = Server(balance_of("1"))
    async with server.client() as client:
        await client.balance()
    assert server.urls == [f"http://127.0.0.1:8000{PATH}"]


@pytest.mark.anyio
async def test_the_argument_overrides_the_environment_which_overrides_the_base_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(balance_of("1"))
    base = {"base_url": "https://mirror.example/api/rent.php"}
    monkeypatch.setenv("SMSPVA_ACCOUNT_URL", "https://environment.example:8443")
    async with server.client(**base) as client:
        await client.balance()
    async with server.client(**base, account_url="https://argument.example/v2/") as client:
        await client.balance()
    monkeypatch.setenv("SMSPVA_ACCOUNT_URL", "")
    async with server.client(**base) as client:
        await client.balance()
    assert server.urls == [
        f"https://environment.example:8443{PATH}",
        f"https://argument.example/v2{PATH}",
        f"https://mirror.example{PATH}",
    ]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3:8080", "[::1]:8000"])
@pytest.mark.anyio
async def test_http_is_accepted_on_this_machine(host: str) -> None:
    server = Server(balance_of("1"))
    async with server.client(account_url=f"http://{host}") as client:
        await client.balance()
    assert server.urls == [f"http://{host}{PATH}"]


@pytest.mark.parametrize("in_environment", [False, True], ids=["argument", "environment"])
@pytest.mark.parametrize(
    "address",
    [
        "http://api.smspva.com",
        "http://10.0.0.1/",
        "ftp://api.smspva.com/",
        "api.smspva.com",
        "https://",
        "https://api.smspva.com/?apikey=password",
        "https://api.smspva.com/?",
        "https://api.smspva.com/#",
        "https://user:password@api.smspva.com/",
        "http://user:password@api.smspva.com/",
        "https://user:password@api.smspva.com:port/",
        "https://user:password@[::1",
        "user:password@api.smspva.com",
        "https://api.sms pva.com/password",
    ],
)
def test_an_invalid_account_url_is_refused_without_showing_a_password(
    address: str, *, in_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {} if in_environment else {"account_url": address}
    if in_environment:
        monkeypatch.setenv("SMSPVA_ACCOUNT_URL", address)
    with pytest.raises(ValueError, match="the account URL") as refused:
        Server(balance_of("1")).client(**settings)
    assert "password" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("address", [5, b"https://user:password@api.smspva.com"], ids=["int", "bytes"])
def test_an_account_url_of_the_wrong_type_is_refused(address: Any) -> None:
    with pytest.raises(ValueError, match="the account URL must be text") as refused:
        Server(balance_of("1")).client(account_url=address)
    assert "password" not in str(refused.value)


# -- the answer ------------------------------------------------------------------------------------------------------

AMOUNTS: list[tuple[object, str]] = [
    ("12.34", "12.34"),
    (12.34, "12.34"),
    (12, "12"),
    (0.1, "0.1"),
    ("0", "0"),
    (0, "0"),
    ("0.00", "0.00"),
    ("-1.50", "-1.50"),
    (-1.5, "-1.5"),
    (" 7.00 ", "7.00"),
    ("1234567.89", "1234567.89"),
]


@pytest.mark.parametrize(("sent", "amount"), AMOUNTS, ids=repr)
@pytest.mark.anyio
async def test_a_balance_is_decoded_from_text_or_a_number(sent: object, amount: str) -> None:
    async with Server(balance_of(sent)).client() as client:
        assert str(await client.balance()) == amount


UNREADABLE: dict[str, Any] = {
    "no data": {"statusCode": 200},
    "null data": {"statusCode": 200, "data": None},
    "empty data": {"statusCode": 200, "data": {}},
    "list": {"statusCode": 200, "data": []},
    "null": {"statusCode": 200, "data": {"balance": None}},
    "empty text": {"statusCode": 200, "data": {"balance": ""}},
    "words": {"statusCode": 200, "data": {"balance": "a lot"}},
    "comma": {"statusCode": 200, "data": {"balance": "12,34"}},
    "boolean": {"statusCode": 200, "data": {"balance": True}},
    "object": {"statusCode": 200, "data": {"balance": {"USD": "1"}}},
    "not a number": {"statusCode": 200, "data": {"balance": "NaN"}},
    "infinity": {"statusCode": 200, "data": {"balance": "Infinity"}},
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.anyio
async def test_an_answer_without_a_balance_is_unexpected(answer: Any) -> None:
    server = Server(httpx.Response(200, json=answer))
    error = await failure(server)
    assert type(error) is UnexpectedResponse
    assert str(error).startswith("balance: ")
    assert len(server.requests) == 1


# -- refusals and failures -------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[httpx.Response, type[SmspvaError], str | None]] = {
    "no key": (refusal(407, "APIKEY_NOT_SET"), InvalidKey, "APIKEY_NOT_SET"),
    "no key, HTTP 407": (refusal(407, "APIKEY_NOT_SET", status=407), InvalidKey, "APIKEY_NOT_SET"),
    "wrong key": (refusal(401, "WRONG_APIKEY", "Wrong apikey"), InvalidKey, None),
    "wrong key, HTTP 401": (refusal(401, "WRONG_APIKEY", "Wrong apikey", status=401), InvalidKey, None),
    "low balance": (refusal(407, "LOW_BALANCE"), InsufficientFunds, "LOW_BALANCE"),
    "other": (refusal(400, "ERROR", "something else"), ApiError, None),
}


@pytest.mark.parametrize(("answer", "kind", "code"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.anyio
async def test_a_refusal_is_raised_at_once(answer: httpx.Response, kind: type[SmspvaError], code: str | None) -> None:
    server = Server(answer)
    error = await failure(server)
    assert type(error) is kind
    assert isinstance(error, ApiError)
    assert error.code == code
    assert (error.method, len(server.requests)) == ("balance", 1)
    assert str(error).startswith("balance: refused: ")


PASSING: dict[str, Reply] = {
    "busy": httpx.Response(200, json=BUSY),
    "busy, HTTP 503": httpx.Response(503, json=BUSY),
    "HTTP 500": httpx.Response(500, html="<html>Internal Server Error</html>"),
    "HTML, HTTP 200": httpx.Response(200, html="<html>Checking your browser</html>"),
    "HTTP 429": httpx.Response(429),
    "too many, HTTP 200": refusal(429, "TOO_MANY_REQUESTS", "Too many requests, slow down"),
    "no connection": httpx.ConnectError("refused"),
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
@pytest.mark.anyio
async def test_a_temporary_failure_is_retried(answer: Reply) -> None:
    server = Server(answer, answer, balance_of("3.20"))
    async with server.client() as client:
        assert await client.balance() == Decimal("3.20")
    assert server.urls == [PROVIDER] * 3


LASTING: dict[str, tuple[Reply, type[SmspvaError]]] = {
    "busy": (httpx.Response(200, json=BUSY), ApiError),
    "HTTP 500": (httpx.Response(500, html="<html>Internal Server Error</html>"), UnexpectedResponse),
    "HTTP 429": (httpx.Response(429), RateLimited),
    "no connection": (httpx.ConnectError("refused"), ConnectionFailed),
}


@pytest.mark.parametrize(("answer", "kind"), LASTING.values(), ids=LASTING)
@pytest.mark.anyio
async def test_a_lasting_failure_is_raised_after_all_attempts(answer: Reply, kind: type[SmspvaError]) -> None:
    server = Server(answer)
    error = await failure(server)
    assert type(error) is kind
    assert str(error).startswith("balance: ")
    assert "; tried 4 times" in str(error)
    assert len(server.requests) == 4


@pytest.mark.anyio
async def test_http_404_is_not_retried() -> None:
    server = Server(httpx.Response(404, html="<html>Not Found</html>"))
    error = await failure(server)
    assert isinstance(error, UnexpectedResponse)
    assert (error.status, error.content_type) == (404, "text/html; charset=utf-8")
    assert str(error).startswith("balance: unexpected answer: ")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, "WRONG_APIKEY", f"Wrong apikey {KEY}"),
        refusal(400, "ERROR", f"no account for {KEY}"),
        httpx.Response(404, html=f"<p>apikey: {KEY}</p>"),
        httpx.Response(200, json={"statusCode": 200, "data": {"balance": KEY}}),
    ],
    ids=["refusal", "other refusal", "page", "data"],
)
@pytest.mark.anyio
async def test_a_key_in_the_answer_is_masked(answer: httpx.Response) -> None:
    error = await failure(Server(answer))
    assert "[key]" in str(error)
    assert KEY not in str(error) + repr(vars(error))


# -- SERVER_BUSY, for the other calls --------------------------------------------------------------------------------

RETRIED: dict[str, Callable[[SmspvaClient], Any]] = {
    "orders": lambda client: client.orders(),
    "activate": lambda client: client.activate(40300),
}


@pytest.mark.parametrize("make", RETRIED.values(), ids=RETRIED)
@pytest.mark.parametrize("answer", [BUSY, {"status": 0, "msg": "SERVER_BUSY"}], ids=["object", "text"])
@pytest.mark.anyio
async def test_reads_and_activate_are_retried_while_the_server_is_busy(
    answer: Any, make: Callable[[SmspvaClient], Any]
) -> None:
    server = Server(httpx.Response(200, json=answer), ORDERS)
    async with server.client() as client:
        await make(client)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(BUSY, OutcomeUnknown), ({"status": 0, "msg": "SERVER_BUSY"}, ApiError)],
    ids=["status unknown", "refusal"],
)
@pytest.mark.anyio
async def test_a_purchase_is_sent_once_while_the_server_is_busy(answer: Any, kind: type[SmspvaError]) -> None:
    server = Server(httpx.Response(200, json=answer))
    async with server.client() as client:
        with pytest.raises(kind) as raised:
            await client.rent("RU", "opt16")
    assert type(raised.value) is kind
    assert len(server.requests) == 1


# -- the pace and the statistics -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_balance_and_other_calls_share_one_pace() -> None:
    server = Server(balance_of("1"), ORDERS, balance_of("1"), balance_of("1"))
    async with server.client(pace=Pace(gap=1.5)) as client:
        await client.balance()
        await client.orders()
        await client.balance()
        await client.balance()
    assert [later - earlier for earlier, later in pairwise(server.times)] == pytest.approx([1.5] * 3)


@pytest.mark.anyio
async def test_http_429_for_balance_slows_other_calls_down() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "20"}), ORDERS)
    async with server.client(pace=Pace(gap=1.5), retry=NO_RETRY) as client:
        with pytest.raises(RateLimited):
            await client.balance()
        await client.orders()
        assert client.statistics().gap > 1.5
    assert server.times[1] - server.times[0] == pytest.approx(20)


@pytest.mark.anyio
async def test_statistics_count_balance_under_its_name() -> None:
    server = Server(balance_of("1"), ORDERS, httpx.Response(500), balance_of("2"), refusal(401, "Wrong apikey"))
    async with server.client() as client:
        await client.balance()
        await client.orders()
        await client.balance()
        with pytest.raises(InvalidKey):
            await client.balance()
        statistics = client.statistics()
    assert statistics.requests == {"balance": 4, "orders": 1}
    assert statistics.errors == {"UnexpectedResponse": 1, "InvalidKey": 1}
