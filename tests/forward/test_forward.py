"""`forward` in virtual time: order, signatures, retries, and the errors that end it."""

from __future__ import annotations

import json
import logging
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from smspva_async import (
    ConnectionFailed,
    CursorTaken,
    DeliveryFailed,
    Lagged,
    MemoryJournal,
    Watcher,
    WatcherClosed,
    forward,
    to_dict,
)
from tests.support.backends import on_both_backends
from tests.support.consumers import account_with, both_ends, deliver
from tests.support.keys import dump, dump_log
from tests.support.watching import gaps, polls, so_far
from tests.support.webhooks import SECRET, URL, Receiver, answer, forwarded

if TYPE_CHECKING:
    from tests.support.consumers import Disk

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plain_environment", "cheap_fingerprints", "local_clock")]

DAY = 86_400.0


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Receiver:
    receiver = Receiver()
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: receiver)
    return receiver


def watching(messages: int) -> Watcher:
    """Return a watcher whose events are an order and messages."""
    return Watcher(account_with(messages), journal=MemoryJournal(), start="replay")


def dump_without_test(error: BaseException) -> str:
    """Return everything that a program might print about an error, except for the variables of the test."""
    assert error.__traceback__ is not None
    return dump(error.with_traceback(error.__traceback__.tb_next))


# -- requests --------------------------------------------------------------------------------------------------------


@on_both_backends
async def test_each_event_is_sent_in_order_as_signed_json(receiver: Receiver) -> None:
    async with watching(3) as watcher:
        attempts = await forwarded(watcher, 4)
        events = await so_far(watcher)
    assert attempts == [(1, None), (2, None), (3, None), (4, None)]
    assert [delivery.event for delivery in receiver.deliveries] == events
    assert [delivery.id for delivery in receiver.deliveries] == [event.id for event in events]
    assert [json.loads(delivery.body) for delivery in receiver.deliveries] == [to_dict(event) for event in events]
    for request in receiver.requests:
        assert (request.method, str(request.url)) == ("POST", URL)
        assert request.headers["content-type"] == "application/json"


@both_ends
async def test_a_restart_continues_after_the_last_event_that_was_accepted(
    receiver: Receiver, disk: Disk, end: str
) -> None:
    account = account_with(1)
    async with disk.watching(account, end=end, start="replay") as watcher:
        await forwarded(watcher, 2)
    deliver(account, 2)
    async with disk.watching(account) as watcher:
        await forwarded(watcher, 2)
    assert receiver.seqs == [1, 2, 3, 4]


async def test_an_event_that_was_accepted_before_a_kill_comes_again_with_the_same_id(
    receiver: Receiver, disk: Disk
) -> None:
    account = account_with(1)

    async def accept_and_kill() -> httpx.Response:
        disk.journal.dead = True
        return answer(204)

    receiver.answers = [accept_and_kill]
    async with disk.watching(account, start="replay") as watcher:
        await forwarded(watcher, 1)
    async with disk.watching(account) as watcher:
        await forwarded(watcher, 2)
    assert receiver.seqs == [1, 1, 2]
    assert receiver.deliveries[0] == receiver.deliveries[1]


async def test_each_name_has_a_position(receiver: Receiver) -> None:
    async with watching(2) as watcher:
        await forwarded(watcher, 3, name="one")
        await forwarded(watcher, 1, name="two", after=2)
    assert receiver.seqs == [1, 2, 3, 3]


@on_both_backends
async def test_it_ends_when_the_watcher_is_left(receiver: Receiver) -> None:
    async with anyio.create_task_group() as tasks, watching(1) as watcher:
        tasks.start_soon(lambda: forward(watcher, URL, secret=SECRET))
        await polls(2)
    assert receiver.seqs == [1, 2]


# -- failures --------------------------------------------------------------------------------------------------------


async def refuse() -> httpx.Response:
    return answer(500, "out of\norder")


async def redirect() -> httpx.Response:
    return answer(307, location="https://elsewhere.example")


async def hang() -> httpx.Response:
    await anyio.sleep_forever()
    raise AssertionError


@on_both_backends
@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (refuse, "HTTP 500: out of order"),
        (redirect, "HTTP 307"),
        (404, "HTTP 404"),
        (httpx.ConnectError("All connection attempts failed"), "ConnectError: All connection attempts failed"),
        (httpx.RemoteProtocolError("broken"), "RemoteProtocolError: broken"),
        (ExceptionGroup("failed", [OverflowError()]), "ExceptionGroup: failed (1 sub-exception)"),
    ],
    ids=["500", "307", "404", "unreachable", "broken", "not of httpx"],
)
async def test_an_event_that_fails_is_sent_again_before_later_ones(
    failure: Any, reason: str, receiver: Receiver
) -> None:
    receiver.answers = [204, failure, 500]
    async with watching(2) as watcher:
        attempts = await forwarded(watcher, 3)
    assert attempts == [(1, None), (2, reason), (2, "HTTP 500"), (2, None), (3, None)]
    assert receiver.seqs == [1, 2, 2, 2, 3]
    assert len({(delivery.id, delivery.body) for delivery in receiver.deliveries}) == 3
    assert {request.url.host for request in receiver.requests} == {"receiver.example"}


async def test_delays_double_up_to_five_minutes_and_vary(receiver: Receiver) -> None:
    receiver.answers = [500] * 12
    async with watching(0) as watcher:
        await forwarded(watcher, 1)
    delays = gaps(receiver.times)
    longest = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert all(most / 2 <= delay <= most for delay, most in zip(delays, longest, strict=True)), delays
    assert len({delay / most for delay, most in zip(delays, longest, strict=True)}) == 12


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_receiver_says_when_to_send_again(status: int, receiver: Receiver) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=1000), usegmt=True)
    receiver.answers = [answer(status, retry_after=text) for text in ("1200", date, "0", "soon")]
    async with watching(0) as watcher:
        await forwarded(watcher, 1)
    first, second, third, fourth = gaps(receiver.times)
    assert first == pytest.approx(1200)
    assert 900 < second < 1001
    assert third <= 4
    assert fourth <= 8


async def test_retry_after_is_not_read_with_other_statuses(receiver: Receiver) -> None:
    receiver.answers = [answer(500, retry_after="1200")]
    async with watching(0) as watcher:
        await forwarded(watcher, 1)
    assert gaps(receiver.times)[0] <= 1


@on_both_backends
async def test_a_receiver_that_hangs_is_asked_again_after_the_timeout(receiver: Receiver) -> None:
    receiver.answers = [hang]
    async with watching(0) as watcher:
        assert await forwarded(watcher, 1, timeout=7) == [(1, "no answer within 7 s"), (1, None)]
    assert 7.5 <= receiver.times[1] - receiver.times[0] <= 8


class Body(httpx.AsyncByteStream):
    """A body that begins and then hangs or breaks."""

    def __init__(self, *, breaks: bool) -> None:
        self._breaks = breaks

    async def __aiter__(self) -> Any:
        yield b"o"
        if self._breaks:
            raise httpx.ReadError("broken")
        await anyio.sleep_forever()


@on_both_backends
@pytest.mark.parametrize("breaks", [False, True])
async def test_the_status_alone_accepts_an_event(breaks: bool, receiver: Receiver) -> None:  # noqa: FBT001
    receiver.answers = [httpx.Response(200, stream=Body(breaks=breaks))]
    async with watching(1) as watcher:
        assert await forwarded(watcher, 2) == [(1, None), (2, None)]


# -- giving up -------------------------------------------------------------------------------------------------------


async def test_it_gives_up_a_day_after_the_first_failure_and_keeps_the_position(receiver: Receiver, disk: Disk) -> None:
    account = account_with(1)
    async with disk.watching(account, start="replay") as watcher:
        await forwarded(watcher, 1)
        receiver.answers = [500] * 10_000
        with pytest.raises(DeliveryFailed) as failed:
            await forward(watcher, URL, secret=SECRET)
        assert await disk.places() == {"forward": 1}
    assert receiver.times[-1] - receiver.times[1] == pytest.approx(DAY)
    attempts = len(receiver.times) - 1
    assert str(failed.value) == (
        "event 2 (SmsReceived) was not delivered to https://receiver.example: HTTP 500; "
        f"attempts: {attempts}; its position stays, so forwarding again begins with it; nothing was bought "
        "[after 86400.0 s]"
    )
    restored = pickle.loads(pickle.dumps(failed.value))  # noqa: S301 - our own
    assert (restored.seq, restored.status, restored.elapsed) == (2, 500, pytest.approx(DAY))
    receiver.answers = []
    async with disk.watching(account) as watcher:
        await forwarded(watcher, 1)
    assert set(receiver.seqs[1:]) == {2}


async def test_each_event_has_its_own_time_limit(receiver: Receiver) -> None:
    receiver.answers = [503, 204] * 100
    async with watching(99) as watcher:
        await forwarded(watcher, 100, give_up_after=2)


async def test_the_last_attempt_is_at_the_time_limit_even_if_the_receiver_wants_a_longer_pause(
    receiver: Receiver,
) -> None:
    receiver.answers = [answer(503, retry_after="9" * 400), 503]
    async with watching(0) as watcher:
        with pytest.raises(DeliveryFailed, match=r"attempts: 2; .* \[after 100\.0 s\]"):
            await forward(watcher, URL, secret=SECRET, give_up_after=100)


@on_both_backends
async def test_an_attempt_that_fails_after_the_time_limit_is_followed_by_the_last_one(receiver: Receiver) -> None:
    receiver.answers = [hang] * 3
    async with watching(0) as watcher:
        with pytest.raises(DeliveryFailed, match="no answer within 7 s; attempts: 3; "):
            await forward(watcher, URL, secret=SECRET, timeout=7, give_up_after=5)


async def test_a_receiver_that_is_gone_ends_it_at_once(receiver: Receiver) -> None:
    receiver.answers = [410]
    async with watching(0) as watcher:
        with pytest.raises(DeliveryFailed, match=r"^event 1 \(OrderAdded\) .*: HTTP 410; attempts: 1; ") as failed:
            await forward(watcher, URL, secret=SECRET)
    assert failed.value.status == 410


async def test_a_failure_without_an_answer_has_no_status(receiver: Receiver) -> None:
    receiver.answers = [httpx.ConnectError("no route")] * 2
    async with watching(0) as watcher:
        with pytest.raises(DeliveryFailed, match="ConnectError: no route") as failed:
            await forward(watcher, URL, secret=SECRET, give_up_after=0.1)
    assert failed.value.status is None


async def test_a_consumer_of_the_same_name_ends_it(receiver: Receiver) -> None:
    async with watching(0) as watcher, anyio.create_task_group() as tasks:

        async def take_over() -> None:
            await anyio.sleep(1)
            watcher.consumer("forward")

        tasks.start_soon(take_over)
        with pytest.raises(CursorTaken):
            await forward(watcher, URL, secret=SECRET)
    assert receiver.seqs == [1]


async def test_a_position_that_is_not_kept_ends_it(receiver: Receiver) -> None:
    async with watching(0) as watcher:
        with pytest.raises(Lagged):
            await forward(watcher, URL, secret=SECRET, after=99)
    assert receiver.seqs == []


async def test_unusable_certificates_end_it(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    async with watching(0) as watcher:
        with pytest.raises(ConnectionFailed, match="SSL_CERT_FILE"):
            await forward(watcher, URL, secret=SECRET)
    assert receiver.seqs == []


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        *((url, "is malformed") for url in ("", "nonsense", "https://", "https://[::1", "https:/a", 1)),
        *((f"https://a:{port}/", "is malformed") for port in (0, 65536, 99999)),
        ("http://receiver.example/sesame", "(host receiver.example) must use https"),
        ("http://10.0.0.1/sesame", "must use https"),
        ("http://127.0.0.1.example/sesame", "must use https"),
        ("http://0.0.0.0/sesame", "must use https"),
        ("ftp://localhost/sesame", "must use https"),
        ("https://me:sesame@receiver.example/", "must have no user name"),
    ],
)
async def test_the_url_is_https_or_on_this_machine(url: Any, reason: str, receiver: Receiver) -> None:
    async with watching(0) as watcher:
        with pytest.raises(ValueError, match="webhook's URL") as refused:
            await forward(watcher, url, secret=SECRET)
    assert reason in str(refused.value)
    assert "sesame" not in str(refused.value)
    assert SECRET.removeprefix("whsec_") not in dump_without_test(refused.value)
    assert receiver.seqs == []


@pytest.mark.parametrize(
    "url", ["http://localhost/", "http://LOCALHOST:1/", "http://127.9.9.9/", "http://[::1]:1/a", "https://a.example"]
)
async def test_http_is_for_this_machine(url: str, receiver: Receiver) -> None:
    async with watching(0) as watcher:
        with anyio.move_on_after(1):
            await forward(watcher, url, secret=SECRET)
    assert receiver.seqs == [1]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        "whsec_U2VudGluZWw=",
        SECRET + "*",
        "whsec_" + "U2VudGluZWws" * 8,
        "whsec_Sentinel-ä",
        None,
        SECRET.encode(),
    ],
    ids=repr,
)
async def test_the_secret_is_checked_and_not_shown(secret: Any, receiver: Receiver) -> None:
    async with watching(0) as watcher:
        with pytest.raises(ValueError, match="whsec_ and 24 to 64 random bytes in base64") as refused:
            await forward(watcher, URL, secret=secret)
    shown = dump_without_test(refused.value)
    assert "Sentinel" not in shown
    assert "U2Vu" not in shown
    assert receiver.seqs == []


@pytest.mark.parametrize("options", [{"timeout": 0}, {"give_up_after": 0}, {"name": ""}, {"after": -1}])
async def test_other_arguments_are_checked(options: dict[str, Any], receiver: Receiver) -> None:
    async with watching(0) as watcher:
        with pytest.raises(ValueError, match=r".+"):
            await forward(watcher, URL, secret=SECRET, **options)
    assert receiver.seqs == []


async def test_a_watcher_must_be_entered() -> None:
    with pytest.raises(WatcherClosed):
        await forward(watching(0), URL, secret=SECRET)


# -- secrets and logs ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("log_everything")
async def test_the_secret_is_in_no_error_or_log_even_if_the_receiver_sends_it(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    bare = SECRET.removeprefix("whsec_")
    echoes = [SECRET, "x" * 1000 + SECRET, json.dumps({"secret": bare})]
    receiver.answers = [*(answer(500, text) for text in echoes), httpx.ReadError(f"got {SECRET}")]
    receiver.answers += [answer(410, f"not {bare}!")]
    failures: list[str | None] = []
    async with watching(0) as watcher:
        with pytest.raises(DeliveryFailed, match="HTTP 410; ") as failed:
            await forward(watcher, URL, secret=SECRET, on_attempt=lambda _, failure: failures.append(failure))
    assert failures[4] == "HTTP 410: not [key]!"
    for shown in (str(failures), dump_log(caplog), dump_without_test(failed.value)):
        assert bare[:12] not in shown
    for shown in (str(failures), dump_log(caplog), str(failed.value)):
        assert "sesame" not in shown, "the URL's query"


@pytest.mark.usefixtures("log_everything")
async def test_an_answer_that_repeats_the_request_is_in_no_error_or_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def echo() -> str:
        return f"POST {receiver.requests[-1].url.raw_path.decode()} {receiver.deliveries[-1].body[:400]}"

    async def answer_with_it() -> httpx.Response:
        return answer(404, echo())

    async def break_with_it() -> httpx.Response:
        raise httpx.RemoteProtocolError(f"illegal status line: {echo()}")

    failures: list[str | None] = []
    for function, reason in ((answer_with_it, "HTTP 404"), (break_with_it, "RemoteProtocolError")):
        receiver.answers = [function] * 100
        async with watching(0) as watcher:
            with pytest.raises(DeliveryFailed, match=rf"receiver\.example: {reason}; ") as failed:
                await forward(
                    watcher,
                    URL,
                    secret=SECRET,
                    give_up_after=60,
                    on_attempt=lambda _, failure: failures.append(failure),
                )
        for shown in (dump_log(caplog), str(failed.value)):
            assert "sesame" not in shown
            assert 'OrderAdded"' not in shown
    assert failures
    assert all("sesame" in str(failure) for failure in failures)


async def test_an_outage_is_one_warning_and_one_info(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "smspva_async")
    receiver.answers = [204, 500, 500, 500]
    async with watching(2) as watcher:
        await forwarded(watcher, 3)
    outage = receiver.times[4] - receiver.times[1]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "forwarding to https://receiver.example fails from now on, at event 2: HTTP 500"),
        ("INFO", f"forwarding to https://receiver.example works again after {outage:.0f} s"),
    ]
