"""The writes of a watch to an SQLite journal: none for a poll or a reading without news."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest

from smspva_async import ConnectionFailed, SqliteJournal, Watcher, WatchState
from smspva_async.simulator import Simulator
from tests.support.accounts import ORDERS, START, Account, order, sms
from tests.support.journal_files import opened
from tests.support.journals import events
from tests.support.sqlite_files import sql
from tests.support.watching import INTERVAL, polls, so_far, texts, watching

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("cheap_fingerprints")]


class Writes:
    """Detects writes to a file, as another program sees them."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._seen = self._version()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _version(self) -> int:
        ((version,),) = self._connection.execute("PRAGMA data_version")
        return int(version)

    def any(self) -> bool:
        """Return True if anything was written since the last call."""
        before, self._seen = self._seen, self._version()
        return self._seen != before


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.mark.parametrize("dialect", ["page", "live", "contract"])
@pytest.mark.parametrize(
    "behavior",
    [{}, {"read_clears_flag": False}, {"flag_rises": False}, {"sms_order": "shuffled"}],
    ids=["as usual", "flags stay up", "flags stay down", "messages are shuffled"],
)
async def test_a_quiet_account_is_polled_without_a_write(
    path: Path, dialect: Literal["page", "live", "contract"], behavior: dict[str, Any]
) -> None:
    sim = Simulator(dialect=dialect)
    for name, value in behavior.items():
        setattr(sim.behavior, name, value)
    ids = [sim.add_order().id for _ in range(3)]
    sim.set_state(ids[0], 1)
    sim.deliver(ids[0], "before")
    async with watching(sim, journal=SqliteJournal(path)) as watcher:
        await polls(2)
        sim.deliver(ids[0], "a code: 1234")
        sim.set_state(ids[0], 0)
        await polls(4)
        with Writes(path) as writes:
            before = len(sim.requests)
            for _ in range(6):
                await polls(1)
                assert not writes.any()
            asked = [request.method for request in sim.requests[before:]]
            assert asked.count("orders") >= 5
            assert asked.count("sms") >= 15
            sim.set_state(ids[0], 1)
            sim.deliver(ids[0], "another code: 5678")
            await polls(2)
            assert writes.any(), "a message causes a write"
        assert texts(await so_far(watcher))[-1] == "another code: 5678"


async def test_fields_that_move_with_the_clock_are_not_written(path: Path) -> None:
    account = Account(order(1), order(2))
    account.clock = lambda: START + timedelta(seconds=anyio.current_time())
    async with Watcher(account, journal=SqliteJournal(path)):
        await polls(2)
        with Writes(path) as writes:
            for number in range(6):
                now = START + timedelta(seconds=anyio.current_time())
                account.change(1, last_online=now, can_prolong_until=now, extra={"number": number})
                await polls(1)
                if number:  # the first one has a new `can_prolong_until`
                    assert not writes.any()
                else:
                    assert writes.any()


async def test_a_continuing_outage_is_written_once(path: Path) -> None:
    account = Account(order(1), order(2))
    async with Watcher(account, journal=SqliteJournal(path)) as watcher:
        await polls(2)
        with Writes(path) as writes:
            for what in (1, ORDERS):
                account.failures[what] = ConnectionFailed("down", sent=False)
                await polls(2)
                assert writes.any()
                calls = len(account.times(what))
                for _ in range(4):
                    await polls(1)
                    assert not writes.any()
                assert len(account.times(what)) >= calls + 3
        assert watcher.cursor == 4


async def test_reading_a_list_often_during_a_wait_writes_nothing(path: Path) -> None:
    account = Account(order(1), order(2))
    account.messages[1] = [sms("known", 0)]
    async with Watcher(account, journal=SqliteJournal(path)) as watcher:
        await polls(3)
        consumer = watcher.consumer("the consumer", after=watcher.cursor)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, consumer)
            await anyio.sleep(2)  # its place is written
            with Writes(path) as writes:
                reads = len(account.times(1))
                with anyio.move_on_after(3 * INTERVAL):
                    await watcher.wait_for_sms(1, timeout=1000)
                assert len(account.times(1)) > reads + 20
                assert not writes.any()
            tasks.cancel_scope.cancel()


async def test_a_written_place_is_not_written_again(path: Path) -> None:
    account = Account(order(1), order(2))
    async with Watcher(account, journal=SqliteJournal(path)) as watcher:
        consumer = watcher.consumer("the consumer", after=0)
        await anext(consumer)
        await anext(consumer)
        await polls(2)
        with Writes(path) as writes:
            await polls(3)
            assert not writes.any()
            await consumer.aclose()
            assert not writes.any() or sql(path, "SELECT place FROM cursors") == [(2,)]


@pytest.mark.parametrize("account", [None, lambda: "the account"], ids=["unknown account", "known account"])
async def test_a_change_of_the_clock_alone_is_not_written(path: Path, account: Callable[[], str] | None) -> None:
    journal = SqliteJournal(path)
    await journal.open(account)
    await journal.append(events(1, 1), WatchState(seq=1, clock=1.0), {})
    with Writes(path) as writes:
        await journal.append([], WatchState(seq=1, clock=31.0), {})
        assert not writes.any()
        await journal.append([], WatchState(seq=1, clock=61.0, replay=True), {})
        assert writes.any()
    await journal.aclose()
    journal = await opened(path)
    await journal.aclose()
