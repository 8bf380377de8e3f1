"""Errors: the provider's messages, and the tree of error classes."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import Retry, errors
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ConnectionFailed,
    InsufficientFunds,
    InvalidKey,
    JournalError,
    JournalLocked,
    Lagged,
    NoNumbers,
    OrderGone,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    RequestTimeout,
    RestoreRefused,
    SmspvaError,
    UnexpectedResponse,
    WaitTimeout,
    WatcherClosed,
)
from smspva_async.models import OrderState
from tests.support.samples import CALLS, Call, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from smspva_async import SmspvaClient
    from tests.support.fake_server import FakeServer

# -- the provider's messages ----------------------------------------------------------------------------------------

# The error class and code of each message.
MESSAGES: dict[str, tuple[type[ApiError], str | None]] = {
    "API KEY not received!": (InvalidKey, None),
    "API KEY NOT FOUND!": (InvalidKey, None),
    "Invalid apikey": (InvalidKey, None),
    "BANNED": (InvalidKey, None),
    "TOO MANY REQUESTS": (RateLimited, None),
    "NOBALANCE": (InsufficientFunds, "NOBALANCE"),
    "Balance is not enough": (InsufficientFunds, None),
    "Insufficient balance": (InsufficientFunds, None),
    "No number available": (NoNumbers, None),
    "No numbers available": (NoNumbers, None),
    "NOTOWNER": (OrderNotFound, "NOTOWNER"),
    "the user had not this order": (OrderNotFound, None),
    "Order not found": (OrderNotFound, None),
    "Incorrect order id": (OrderNotFound, None),
    "NOAVAILDAYS": (RestoreRefused, "NOAVAILDAYS"),
    "NOREMOTEDATA": (RestoreRefused, "NOREMOTEDATA"),
    "NOORDERCOUNTRY": (RestoreRefused, "NOORDERCOUNTRY"),
    "DATEDIFFINVERT": (RestoreRefused, "DATEDIFFINVERT"),
    "NOSERVICEDATA": (RestoreRefused, "NOSERVICEDATA"),
    "Service not found": (ApiError, None),
    "UNKNOWN SERVICE OR COUNTRY": (ApiError, None),
    "Incorrect duration count. Min 7 days. Max 90 days.": (ApiError, None),
    "Incorrect method": (ApiError, None),
    "Not enough money": (InsufficientFunds, None),
    "LOW_BALANCE": (InsufficientFunds, "LOW_BALANCE"),
    "Wrong apikey": (InvalidKey, None),
    "APIKEY_NOT_SET": (InvalidKey, "APIKEY_NOT_SET"),
    "Order id not found": (OrderNotFound, None),
    "SERVER_BUSY": (ApiError, "SERVER_BUSY"),
}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "unchanged": str,
    "lower case": str.lower,
    "upper case": str.upper,
    "with prose": lambda message: f"{message}: Looks like this. Check it; today: no",
    "with a colon": lambda message: f"{message}:",
    "with spaces": lambda message: f" {message} ",
    "with a full stop": lambda message: f"{message}.",
    "with other punctuation": lambda message: f"{message}, slow down",
}
ENVELOPES: tuple[Callable[[str], Any], ...] = (
    lambda message: {"status": 0, "msg": message},
    lambda message: {"status": "0", "error_msg": message},
    lambda message: {"status": 0, "message": message},
    lambda message: {"status": 0, "error": message},
    lambda message: {"status": 0, "error": {"type": message, "description": "see there"}},
    lambda message: {"statusCode": 407, "message": message},
)


@pytest.fixture
async def single_attempt_client(fake_server: FakeServer) -> Any:
    """Return a client that makes one attempt."""
    async with fake_server.client(retry=Retry(attempts=1)) as client:
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("message", MESSAGES)
async def test_a_known_message_is_recognized_in_all_spellings_and_envelopes(
    message: str, spelling: Callable[[str], str], single_attempt_client: SmspvaClient, fake_server: FakeServer
) -> None:
    kind, code = MESSAGES[message]
    text = spelling(message)
    for call in (CALLS["restore_user"], CALLS["sms"]):  # a spending call and a read
        fake_server.call(call, *(envelope(text) for envelope in ENVELOPES))
        for envelope in ENVELOPES:
            with pytest.raises(ApiError) as refused:
                await call.make(single_attempt_client)
            error = refused.value
            assert type(error) is kind, envelope
            assert (error.code, error.method) == (code, call.method), envelope
            assert error.msg.startswith(text.strip()), envelope
            assert text.strip() in str(error), envelope
    assert single_attempt_client.unsettled == ()
    assert len(fake_server.queries) == 2 * len(ENVELOPES)


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", ["unchanged", "lower case", "upper case", "with spaces", "with a full stop"])
@pytest.mark.parametrize("message", MESSAGES)
async def test_a_plain_text_body_that_equals_a_known_message_is_a_refusal(
    message: str, spelling: str, single_attempt_client: SmspvaClient, fake_server: FakeServer
) -> None:
    text = SPELLINGS[spelling](message)
    for call in (CALLS["restore_user"], CALLS["sms"]):
        fake_server.call(call, text, f'"{text}"')
        for _ in range(2):
            with pytest.raises(ApiError) as refused:
                await call.make(single_attempt_client)
            assert type(refused.value) is MESSAGES[message][0]
    assert single_attempt_client.unsettled == ()


@pytest.mark.anyio
@pytest.mark.parametrize("body", ["NOBALANCE: top up", "Service not found on this server", "<p>BANNED</p>"])
async def test_a_plain_text_body_with_more_than_a_known_message_is_not_a_refusal(
    body: str, single_attempt_client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(CALLS["restore_user"], body)
    with pytest.raises(OutcomeUnknown):
        await CALLS["restore_user"].make(single_attempt_client)


@pytest.mark.anyio
@pytest.mark.parametrize("message", ["Come back tomorrow", "NOTOWNERSHIP", "unBANNED", "нет", "balance"])
async def test_an_unknown_message_is_kept_unchanged(
    message: str, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", {"status": 0, "msg": message})
    with pytest.raises(ApiError) as refused:
        await client.orders()
    assert type(refused.value) is ApiError
    assert (refused.value.msg, refused.value.code) == (message, None)


@pytest.mark.anyio
@pytest.mark.parametrize("message", [{"ru": "нет"}, ["no", "never"], 17])
async def test_a_message_that_is_not_text_is_a_refusal(
    message: Any, client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.on("orders", {"status": 0, "msg": message})
    with pytest.raises(ApiError, match=r"нет|never|17"):
        await client.orders()


@pytest.mark.anyio
async def test_a_multiline_message_is_shortened_to_one_line(client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.on("orders", {"status": 0, "msg": "first\n second\r\nthird" + " and on" * 1000})
    with pytest.raises(ApiError) as refused:
        await client.orders()
    assert "first second third" in str(refused.value)
    assert len(str(refused.value)) < 300
    assert "first\n second\r\nthird" in refused.value.msg


@pytest.mark.anyio
@pytest.mark.parametrize("body", ["", "slow down", "<html>429</html>", '{"status": 1, "data": []}', "BANNED"])
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_http_429_is_too_many_requests(
    call: Call, body: str, single_attempt_client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(call, httpx.Response(429, text=body, headers={"Retry-After": "7"}))
    with pytest.raises(RateLimited) as refused:
        await call.make(single_attempt_client)
    assert refused.value.retry_after == 7
    assert single_attempt_client.unsettled == ()


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS.values(), ids=name_of)
async def test_http_429_keeps_the_servers_message_and_data(
    call: Call, single_attempt_client: SmspvaClient, fake_server: FakeServer
) -> None:
    fake_server.call(
        call, httpx.Response(429, json={"status": 0, "msg": "Slow down, 40 a minute", "data": {"left": 0}})
    )
    with pytest.raises(RateLimited, match="Slow down, 40 a minute") as refused:
        await call.make(single_attempt_client)
    assert (refused.value.msg, refused.value.data) == ("Slow down, 40 a minute", {"left": 0})


@pytest.mark.anyio
@pytest.mark.parametrize("data", [False, 0, "0", "false", [False]], ids=repr)
async def test_false_with_status_1_means_not_restored(data: Any, client: SmspvaClient, fake_server: FakeServer) -> None:
    fake_server.call(CALLS["restore_user"], {"status": 1, "data": data})
    with pytest.raises(RestoreRefused) as refused:
        await client.restore(517017)
    assert (refused.value.code, refused.value.data) == (None, data)
    assert client.unsettled == ()


@pytest.mark.anyio
async def test_an_error_has_the_method_and_the_elapsed_time(fake_server: FakeServer) -> None:
    async def late() -> dict[str, Any]:
        await anyio.sleep(2.5)
        return {"status": 0, "msg": "Order not found"}

    fake_server.on("sms", late, id="5")
    async with fake_server.client() as client:
        with pytest.raises(OrderNotFound) as refused:
            await client.sms(5)
    assert refused.value.elapsed == pytest.approx(2.5)
    assert str(refused.value) == "sms: refused: Order not found (check the order's id) [after 2.5 s]"


# -- the tree ------------------------------------------------------------------------------------------------------

TREE = {
    SmspvaError: (
        ConnectionFailed,
        RequestTimeout,
        UnexpectedResponse,
        OutcomeUnknown,
        ApiError,
        WaitTimeout,
        OrderGone,
        Lagged,
        JournalError,
        ClientClosed,
        WatcherClosed,
    ),
    ApiError: (InvalidKey, NoNumbers, InsufficientFunds, OrderNotFound, RateLimited, RestoreRefused),
    JournalError: (JournalLocked,),
}
NOW = datetime(2020, 4, 15, 10, 55, tzinfo=UTC)
RATE_LIMITED = RateLimited("slower", msg="TOO MANY REQUESTS", method="orders", elapsed=0.1)
RATE_LIMITED.retry_after = 7.0
EXAMPLES: list[SmspvaError] = [
    SmspvaError("it failed"),
    ConnectionFailed("no connection", sent=False, method="orders", elapsed=1.0),
    RequestTimeout("no answer within 30 s", method="orders", elapsed=30.0),
    UnexpectedResponse("HTML", status=502, content_type="text/html", excerpt="<h1>", data=[1], retry_after=3.0),
    OutcomeUnknown(
        "unknown", method="create", params={"dcount": "1"}, started_at=NOW, known=frozenset({5}), data={"id": 6}
    ),
    WaitTimeout("no message", order_id=5, state=OrderState.ACTIVE, last_success=NOW, last_failure="HTML", elapsed=9.0),
    OrderGone("it has gone", order_id=5, elapsed=3.0),
    Lagged("read on from 7", resume=7),
    JournalError("the disk is full"),
    JournalLocked("another watcher has it"),
    ClientClosed("closed", method="orders"),
    WatcherClosed("closed"),
    RATE_LIMITED,
    *(
        kind("refused", msg="NOBALANCE: no", code="NOBALANCE", data={"need": 2}, method="create", elapsed=0.25)
        for kind in (ApiError, InvalidKey, NoNumbers, InsufficientFunds, OrderNotFound, RestoreRefused)
    ),
]


def test_the_error_classes_form_the_documented_tree() -> None:
    for parent, children in TREE.items():
        assert set(parent.__subclasses__()) >= set(children)
        assert all(child.__bases__[0] is parent for child in children)
    drawn = {SmspvaError, *(child for children in TREE.values() for child in children)}
    defined = {value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)}
    assert drawn <= defined
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in defined)


def test_request_timeout_and_wait_timeout_are_timeout_errors_without_an_error_number() -> None:
    system_errors = [error for error in EXAMPLES if isinstance(error, OSError)]
    assert {type(error) for error in system_errors} == {RequestTimeout, WaitTimeout}
    assert all(isinstance(error, TimeoutError) for error in system_errors)
    assert all((error.errno, error.strerror, error.filename) == (None, None, None) for error in system_errors)


def test_there_is_an_example_of_each_error() -> None:
    assert {SmspvaError, *(child for children in TREE.values() for child in children)} <= set(map(type, EXAMPLES))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy]
    + [lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in (2, 4, 5)],  # noqa: S301
    ids=["copy", "deep copy", "pickle 2", "pickle 4", "pickle 5"],
)
def test_an_error_can_be_copied_and_pickled(again: Callable[[SmspvaError], SmspvaError], error: SmspvaError) -> None:
    duplicate = again(error)
    assert type(duplicate) is type(error)
    assert duplicate is not error
    assert (str(duplicate), duplicate.args, vars(duplicate)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_printed_on_one_line(error: SmspvaError) -> None:
    assert error.message in str(error)
    assert len(str(error).splitlines()) == len(repr(error).splitlines()) == 1
    assert repr(error) == f"{type(error).__name__}({str(error)!r})"
    if error.method is not None:
        assert str(error).startswith(f"{error.method}: ")
    if error.elapsed is not None:
        assert str(error).endswith(f" [after {error.elapsed:.1f} s]")


# -- text from the server -------------------------------------------------------------------------------------------

HOSTILE = "a\x1b[2J\x85b\u2028c\x9b31m"


@pytest.mark.anyio
async def test_text_from_the_server_becomes_one_printable_line(
    single_attempt_client: SmspvaClient, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    row = {**CALLS["orders"].sample["data"][0]}
    headers = [(b"Content-Type", HOSTILE.encode()), (b"Location", f"https://x.example/{HOSTILE}".encode())]
    fake_server.on(
        "orders",
        httpx.Response(302, headers=headers, text=HOSTILE),
        {"status": 0, "msg": HOSTILE},
        {"status": 0, "error": {"type": HOSTILE, "description": HOSTILE}},
        {"status": 1, "data": {HOSTILE: 1}},
        {"status": 1, "data": [row, {"id": HOSTILE}, HOSTILE]},
        {"status": 1, "data": [{"id": HOSTILE}]},
    )
    texts: list[str] = []
    for _ in range(6):
        try:
            texts += [skipped.reason for skipped in (await single_attempt_client.orders()).skipped]
        except SmspvaError as error:
            texts += [str(error), repr(error)]
    texts += [record.getMessage() for record in caplog.records]
    assert len(texts) > 12
    assert [text for text in texts if not text.isprintable()] == []


@pytest.mark.anyio
@pytest.mark.parametrize("depth", [900, 1000])
@pytest.mark.parametrize(
    ("status", "kind"), [(1, UnexpectedResponse), (2, UnexpectedResponse), ("0 NOBALANCE", InsufficientFunds)]
)
async def test_data_nested_too_deeply_is_kept_as_text(
    status: object, kind: type[SmspvaError], depth: int, single_attempt_client: SmspvaClient, fake_server: FakeServer
) -> None:
    data = "[" * depth + '{"id": 40370}' + "]" * depth
    number, _, message = str(status).partition(" ")
    fake_server.on("orders", f'{{"status": {number}, "msg": "{message}", "data": {data}}}')
    with pytest.raises(kind) as failed:
        await single_attempt_client.orders()
    duplicate: Any = pickle.loads(pickle.dumps(failed.value))  # noqa: S301 - our own
    assert isinstance(duplicate.data, str)
    assert '"id": 40370' in duplicate.data
