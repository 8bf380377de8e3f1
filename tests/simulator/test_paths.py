"""The simulator's URL paths: the rental API, the balance, and unknown paths."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from smspva_async.simulator import Simulator

pytestmark = pytest.mark.anyio

HOST = "https://api.smspva.com"
KEY = "0123456789abcdef"


async def get(sim: Simulator, path: str, *, key: str | None = KEY, query: str = "") -> httpx.Response:
    headers = {} if key is None else {"apikey": key}
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        return await client.get(f"{HOST}{path}", params=query or None, headers=headers)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api/rent.php/", "/api/rent_email.php", "/API/rent.php"),
        *("/activation", "/activation/", "/activation/sms", "/activation/userinfo"),
        *("/balance", "/activation/balance/", "/Activation/balance", "/api/activation/balance"),
    ],
)
@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
async def test_any_other_path_is_not_found_and_changes_nothing(dialect: Any, path: str) -> None:
    sim = Simulator(dialect=dialect)
    sim.faults.always("*", "http_500")
    before = sim.balance
    query = f"method=create&apikey={KEY}&country=RU&service=opt6&dtype=week&dcount=1"
    response = await get(sim, path, key=None, query=query)
    assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=UTF-8")
    assert "<h1>404 Not Found</h1>" in response.text
    assert (sim.orders, sim.balance) == ([], before)
    assert sim.violations == ["create: unknown path"]
    assert [(request.method, request.path, request.fault) for request in sim.requests] == [("create", path, None)]


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
async def test_the_balance_is_a_string_or_a_number(dialect: Any) -> None:
    sim = Simulator(dialect=dialect, balance="12.3", api_key=KEY)
    answer = (await get(sim, "/activation/balance")).json()
    assert answer == {"statusCode": 200, "data": {"balance": "12.30"}}
    sim.behavior.balance_is_number = True
    assert (await get(sim, "/activation/balance")).json()["data"] == {"balance": 12.3}
    assert sim.violations == []
    assert [(request.method, request.path) for request in sim.requests] == [
        ("balance", "/activation/balance"),
        ("balance", "/activation/balance"),
    ]


async def test_a_purchase_lowers_the_balance() -> None:
    sim = Simulator(balance=100)
    sim.set_offer("RU", "opt6", price_day="2.5")
    rent = f"method=create&apikey={KEY}&country=RU&service=opt6&dtype=week&dcount=1"
    await get(sim, "/api/rent.php", key=None, query=rent)
    assert (await get(sim, "/activation/balance")).json()["data"] == {"balance": "82.50"}


async def test_the_balance_and_the_rental_api_share_one_rate_limit() -> None:
    sim = Simulator()
    sim.behavior.rate_limit = 2
    orders = f"method=orders&apikey={KEY}"
    await get(sim, "/activation/balance")
    assert (await get(sim, "/api/rent.php", key=None, query=orders)).json()["msg"] == "TOO MANY REQUESTS"
    assert (await get(sim, "/activation/balance")).json()["error"]["type"] == "TOO_MANY_REQUESTS"
    await anyio.sleep(2)
    assert (await get(sim, "/activation/balance")).json()["statusCode"] == 200


async def test_the_rental_api_has_no_method_balance() -> None:
    sim = Simulator()
    answer = (await get(sim, "/api/rent.php", key=None, query=f"method=balance&apikey={KEY}")).json()
    assert answer == {"status": 0, "msg": "Incorrect method"}
    assert sim.violations == ["balance: unknown method"]


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
async def test_errors_of_the_balance_have_http_status_200(dialect: Any) -> None:
    sim = Simulator(dialect=dialect, api_key=KEY)

    async def error(key: str | None = KEY) -> tuple[str, int]:
        response = await get(sim, "/activation/balance", key=key)
        answer = response.json()
        assert answer.keys() == {"statusCode", "error"}
        assert answer["error"].keys() == {"type", "description"}
        assert response.status_code == 200
        return answer["error"]["type"], answer["statusCode"]

    assert await error(key=None) == ("APIKEY_NOT_SET", 407)
    assert await error(key="wrong") == ("WRONG_APIKEY", 401)
    sim.behavior.banned = True
    assert await error() == ("BANNED", 403)
    sim.behavior.banned = False
    sim.faults.next("balance", "too_many")
    assert await error() == ("TOO_MANY_REQUESTS", 429)
    for text, expected in (("SERVER_BUSY", 503), ("LOW_BALANCE", 407)):
        sim.faults.next("balance", "refusal", msg=text)
        assert await error() == (text, expected)
    sim.faults.next("balance", "refusal", msg="On holiday")
    assert await error() == ("ERROR", 400)
    sim.behavior.rate_limit = 60
    assert await error() == ("TOO_MANY_REQUESTS", 429)


async def test_errors_of_the_balance_can_have_their_code_as_http_status() -> None:
    sim = Simulator(api_key=KEY)
    sim.behavior.account_errors_as_200 = False
    for key, status in ((None, 407), ("wrong", 401)):
        response = await get(sim, "/activation/balance", key=key)
        assert response.status_code == response.json()["statusCode"] == status


async def test_the_balance_ignores_a_key_in_the_query() -> None:
    sim = Simulator()
    response = await get(sim, "/activation/balance", key=None, query=f"apikey={KEY}")
    assert response.json()["error"]["type"] == "APIKEY_NOT_SET"
    await get(sim, "/activation/balance", query="method=orders")
    async with httpx.AsyncClient(transport=sim.transport()) as client:
        answer = (await client.post(f"{HOST}/activation/balance", headers={"apikey": KEY})).json()
        assert answer == {"statusCode": 400, "error": {"type": "ERROR", "description": "Incorrect method"}}
        await client.get(f"{HOST}/activation/balance", headers={"apikey": KEY, "X-Trace": KEY})
    assert sim.violations == [
        "balance: key in the query",
        "balance: unknown parameter method",
        "balance: POST instead of GET",
        "balance: key in the header x-trace",
    ]
    assert all(KEY not in str(request) for request in sim.requests)


async def test_faults_apply_to_the_balance() -> None:
    sim = Simulator()
    sim.faults.next("balance", "html_502")
    sim.faults.next("balance", "lost")
    sim.faults.next("balance", "echo")
    sim.faults.next("balance", "latency", seconds=30)
    assert (await get(sim, "/activation/balance")).status_code == 502
    with pytest.raises(httpx.RemoteProtocolError):
        await get(sim, "/activation/balance")
    assert KEY in (await get(sim, "/activation/balance")).json()["error"]["description"]
    before = anyio.current_time()
    await get(sim, "/activation/balance")
    assert anyio.current_time() - before == pytest.approx(30)
    sim.faults.always("*", "http_503")
    assert (await get(sim, "/activation/balance")).status_code == 503
    sim.faults.clear()
    sim.faults.rate(1, kinds=["http_500"], methods=["balance"])
    assert (await get(sim, "/activation/balance")).status_code == 500
    faults = ["html_502", "lost", "echo", "latency", "http_503", "http_500"]
    assert [request.fault for request in sim.requests] == faults
