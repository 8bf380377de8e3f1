"""The fleet's journal: one member leads, the others follow, and any of them repairs a Redis that lost data."""

from __future__ import annotations

import asyncio
import gc
import json
from datetime import timedelta
from inspect import signature
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings

from smspva_async import Event, JournalError, JournalLocked, Lagged, WatchState
from smspva_async._watch.diff import OrdersListed, SmsListed, step
from smspva_async.fleet._journal import RedisJournal
from smspva_async.fleet._link import Link
from smspva_async.journal.shared import (
    Demand,
    DemandChanged,
    LeaderLeft,
    LeaderStatus,
    NameTaken,
    NotLeading,
    RefreshAnswered,
    Restored,
)
from tests.journal import test_journal as promises
from tests.support import PATIENCE
from tests.support.accounts import START, order, sms
from tests.support.journals import events
from tests.support.strategies import any_event, assert_same, states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from smspva_async.journal.shared import News
    from smspva_async.journal.sqlite import Keep
    from tests.support.journals import Restart
    from tests.support.redis_server import RedisServer

LEASE = 30.0

on_real_loops = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"loop_factory": asyncio.new_event_loop}), ("trio", {})],
    ids=["asyncio", "trio"],
)
pytestmark = [
    pytest.mark.anyio,
    on_real_loops,
    # coredis forgets to close them when a connection is lost.
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]

# Several members may open it, and a name stays with its holder.
_OTHERWISE = ("test_a_journal_has_one_watcher_at_a_time", "test_events_state_and_places_survive_a_restart_together")
globals().update(
    {
        name: test
        for name, test in vars(promises).items()
        if name.startswith("test_") and "restart" in signature(test).parameters and name not in _OTHERWISE
    }
)


class LoneJournal(RedisJournal):
    """A journal that leads as soon as it is open, and leaves with its connection, as a watcher that is alone does."""

    def __init__(self, server: RedisServer, keep: Keep) -> None:
        self._connection = link(server)
        super().__init__(self._connection, keep, may_lead=True)

    async def open(self, account: Callable[[], str] | None) -> WatchState | None:
        self._connection.open()
        await super().open(account)
        assert (await self.lead()).is_mine
        return await self.take_over()

    async def aclose(self) -> None:
        await super().aclose()
        await self._connection.aclose()


def link(server: RedisServer) -> Link:
    return Link(server.url, "main", LEASE, lambda: "account")


@pytest.fixture
def restart(redis_server: RedisServer) -> Restart:
    return lambda: LoneJournal(redis_server, None)


@pytest.fixture(autouse=True)
async def _no_connection_is_left(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Close the connections that reads after `aclose` open again."""
    links: list[Link] = []
    make = Link.__init__

    def noted(self: Link, *arguments: Any) -> None:
        links.append(self)
        make(self, *arguments)

    monkeypatch.setattr(Link, "__init__", noted)
    yield
    if redis_server.process is None:
        redis_server.start()
    for opened in links:
        await opened.aclose()
    gc.collect()


class Fleet:
    """Journals of several members."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    async def join(self, keep: Keep = None, *, may_lead: bool = True) -> RedisJournal:
        journal = RedisJournal(link(self.server), keep, may_lead=may_lead)
        await journal.open(None)
        return journal

    async def lead(self, keep: Keep = None) -> RedisJournal:
        journal = await self.join(keep)
        await leads(journal)
        return journal

    def meta(self, field: str) -> str:
        return self.server.cli("HGET", "smspva:{main}:meta", field).strip()


@pytest.fixture
def fleet(redis_server: RedisServer) -> Fleet:
    return Fleet(redis_server)


async def leads(journal: RedisJournal) -> None:
    """Wait until a member leads."""
    with anyio.fail_after(PATIENCE):
        while not (await journal.lead()).is_mine:  # noqa: ASYNC110 - a lease has no event
            await anyio.sleep(0.01)
    await journal.take_over()


async def news_of(journal: RedisJournal, until: Callable[[], object] = bool) -> list[News]:
    """Read news until something is true, or until there are some."""
    found: list[News] = []
    with anyio.fail_after(PATIENCE):
        while not (found if until is bool else until()):
            found += await journal.news()
    return found


async def caught_up(follower: RedisJournal, leader: RedisJournal) -> None:
    """Let a follower apply everything, and compare it."""
    assert leader.state is not None
    newest = leader.state
    await news_of(follower, lambda: follower.state == newest)
    assert_same(follower.state, newest)


async def write(journal: RedisJournal, first: int, last: int, **places: int) -> None:
    await journal.append(events(first, last), WatchState(seq=last, clock=last / 8), places)


async def everything(journal: RedisJournal, after: int = 0) -> list[Event]:
    found: list[Event] = []
    while page := await journal.read(after, 500):
        found += page
        after = found[-1].seq
    return found


# -- replication -----------------------------------------------------------------------------------------------------


async def test_a_follower_has_the_leaders_events_and_state(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    assert follower.state is None
    await write(leader, 1, 3)
    await caught_up(follower, leader)
    assert await follower.read(0, 10) == events(1, 3)
    await write(leader, 4, 4)
    late = await fleet.join()
    assert_same(late.state, leader.state or WatchState())
    assert await late.read(2, 10) == events(3, 4)
    await caught_up(follower, leader)
    assert await follower.read(3, 1) == events(4, 4)


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(first=states(), second=states(), third=states(), event=any_event)
async def test_a_follower_has_any_state_and_event(
    redis_server: RedisServer, first: WatchState, second: WatchState, third: WatchState, event: Event
) -> None:
    redis_server.cli("FLUSHALL")
    fleet = Fleet(redis_server)
    leader, follower = await fleet.lead(), await fleet.join()
    kept = {key: track for key, track in first.tracks.items() if key not in {*second.tracks, *second.removed}}
    between = evolve(second, tracks={**second.tracks, **kept}, clock=second.clock + 1)
    for number, state in enumerate([first, between, second, third], 1):
        state = evolve(state, seq=number)  # noqa: PLW2901 - so that they differ
        await leader.append([evolve(event, seq=number)], state, {})
        await caught_up(follower, leader)
        loaded = await fleet.join()
        assert_same(loaded.state, state)
        for journal in (follower, loaded):
            assert await journal.read(0, 10) == [evolve(event, seq=seq) for seq in range(1, number + 1)]
        await left(loaded)
    await left(leader, follower)


async def left(*journals: RedisJournal) -> None:
    for journal in journals:
        await journal.aclose()
        await journal._link.aclose()


async def test_a_follower_has_each_state_of_a_watch(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    state = WatchState(replay=True)
    for number in range(14):
        listed = [order(order_id) for order_id in (1, 2, 3, 4) if not (order_id == 2 and 3 < number < 10)]
        seen: Any = OrdersListed(at=START + timedelta(hours=number), now=3600.0 * number, orders=listed, interval=30.0)
        messages = [sms(f"{text}", text) for text in range(number % 4)]
        read = SmsListed(at=seen.at, now=seen.now, requested_at=seen.now, order_id=1, messages=messages)
        for observation in (seen, read):
            state, found = step(state, observation)
            await leader.append(found, state, {})
            await caught_up(follower, leader)
            assert leader.state == evolve(state, clock=leader.state.clock if leader.state else 0)
    assert set(state.tracks) | set(state.removed) == {1, 2, 3, 4}
    assert await everything(follower) == await everything(leader)


async def test_a_large_change_is_loaded_by_followers(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    many = {number: step(WatchState(), listing(number))[0].tracks[number] for number in range(1, 400)}
    await leader.append(events(1, 2), WatchState(seq=2, tracks=many), {})
    await caught_up(follower, leader)
    await leader.append(events(3, 3), WatchState(seq=3, tracks={1: many[1]}), {})
    await caught_up(follower, leader)
    assert await follower.read(0, 10) == events(1, 3)


def listing(*numbers: int) -> OrdersListed:
    return OrdersListed(at=START, now=0.0, orders=[order(number) for number in numbers], interval=30.0)


async def test_a_follower_that_missed_news_loads_the_state(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    await write(leader, 1, 1)
    await write(leader, 2, 2)
    fleet.server.cli("XTRIM", "smspva:{main}:news", "MAXLEN", "1")
    found = await news_of(follower, lambda: follower.state == leader.state)
    assert Restored() in found
    assert await follower.read(0, 10) == events(1, 2)


async def test_an_event_that_is_published_can_be_read(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()

    async def lead() -> None:
        for seq in range(1, 101):
            await write(leader, seq, seq)

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        while (published := 0 if follower.state is None else follower.state.seq) < 100:
            await follower.news()
            assert await follower.read(published, 1) == (
                events(published + 1, published + 1) if published < 100 else []
            )


async def test_news_come_in_order_even_if_the_reader_is_cancelled(fleet: Fleet) -> None:
    sender, receiver = await fleet.lead(), await fleet.join()
    found: list[News] = []
    for number in range(40):
        await sender.tell(RefreshAnswered("token", number))
        with anyio.move_on_after(0.001 * (number % 4)):
            found += await receiver.news()
    await news_of(receiver, lambda: True)
    with anyio.fail_after(PATIENCE):
        while len(found) < 40:
            found += await receiver.news()
    assert found == [RefreshAnswered("token", number) for number in range(40)]


# -- leading ---------------------------------------------------------------------------------------------------------


async def test_one_member_leads(fleet: Fleet) -> None:
    first, second = await fleet.join(), await fleet.join()
    assert (await first.lead()).is_mine
    lease = await second.lead()
    assert not lease.is_mine
    assert 0 < lease.seconds_left <= LEASE
    assert (await first.lead()).is_mine, "renewed"
    with pytest.raises(NotLeading):
        await write(second, 1, 1)


async def test_a_member_that_may_not_lead_leaves_a_free_lease(fleet: Fleet) -> None:
    task = await fleet.join(may_lead=False)
    lease = await task.lead()
    assert (lease.is_mine, lease.seconds_left) == (False, 0)


async def test_followers_see_the_leaders_status(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    status = LeaderStatus(1.5, 40.0, START, "the server is down")
    await leader.lead(status)
    await follower.lead()
    assert follower.status == status


async def test_a_deposed_leader_writes_nothing(fleet: Fleet) -> None:
    old, new = await fleet.lead(), await fleet.join()
    await write(old, 1, 1)
    fleet.server.cli("DEL", "smspva:{main}:lease")
    await leads(new)
    with pytest.raises(NotLeading):
        await write(old, 2, 2)
    assert await everything(await fleet.join()) == events(1, 1)
    await write(new, 2, 3)
    with pytest.raises(NotLeading):
        await write(old, 2, 2)
    assert not (await old.lead()).is_mine
    await caught_up(old, new)
    assert await everything(old) == events(1, 3)


async def test_a_lapsed_lease_that_nobody_took_is_renewed_in_the_same_epoch(fleet: Fleet) -> None:
    leader = await fleet.lead()
    epoch = fleet.meta("epoch")
    fleet.server.cli("DEL", "smspva:{main}:lease")
    with pytest.raises(NotLeading):
        await write(leader, 1, 1)
    await leads(leader)
    assert fleet.meta("epoch") == epoch
    await write(leader, 1, 1)


async def test_the_next_leader_continues_where_the_last_one_ended(fleet: Fleet) -> None:
    first, second = await fleet.lead(), await fleet.join()
    await write(first, 1, 5)
    await first.resign("the key is invalid")
    assert LeaderLeft("the key is invalid") in await news_of(second)
    assert (await second.lead()).is_mine
    assert_same(await second.take_over(), first.state or WatchState())
    await write(second, 6, 6)
    await caught_up(first, second)


async def test_a_leader_that_takes_over_reads_all_changes_and_keeps_other_news(fleet: Fleet) -> None:
    first, second = await fleet.lead(), await fleet.join()
    await write(first, 1, 1)
    await first.tell(RefreshAnswered("a", None))
    await write(first, 2, 2)
    await first.aclose()
    assert (await second.lead()).is_mine
    assert await second.take_over() == first.state
    await write(second, 3, 3)
    assert list(await second.news())[:1] == [RefreshAnswered("a", None)]


async def test_a_dead_leaders_lease_ends(fleet: Fleet) -> None:
    first, second = await fleet.lead(), await fleet.join()
    await write(first, 1, 1)
    first.lease = 0.1
    await first.lead()
    await leads(second)
    await write(second, 2, 2)
    assert await everything(second) == events(1, 2)


async def test_an_append_whose_reply_was_lost_is_written_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    run = leader._link.run

    async def twice(script: str, *arguments: Any, within: float = 1e9) -> Any:
        await run(script, *arguments, within=within)
        return await run(script, *arguments, within=within)

    monkeypatch.setattr(leader._link, "run", twice)
    await write(leader, 1, 2)
    await write(leader, 3, 3)
    await caught_up(follower, leader)
    assert await everything(await fleet.join()) == events(1, 3)


async def test_a_write_whose_events_redis_refuses_changes_nothing(fleet: Fleet) -> None:
    leader = await fleet.lead()
    await write(leader, 1, 1)
    state = leader.state
    fleet.server.cli("XSETID", "smspva:{main}:events", "9-0")
    with pytest.raises(JournalError, match="equal or smaller"):
        await write(leader, 2, 2)
    assert_same((await fleet.join()).state, state or WatchState())
    fleet.server.cli("XSETID", "smspva:{main}:events", "1-0")
    await write(leader, 2, 2)
    assert await everything(await fleet.join()) == events(1, 2)


async def test_append_without_redis_raises_not_leading(fleet: Fleet) -> None:
    leader = await fleet.lead()
    fleet.server.kill()
    leader.lease = 0.1
    with pytest.raises(NotLeading):
        await write(leader, 1, 1)
    assert leader.failure
    fleet.server.start()
    leader.lease = LEASE
    await leads(leader)
    await write(leader, 1, 1)
    assert await everything(leader) == events(1, 1)


async def test_a_journal_is_opened_once(fleet: Fleet) -> None:
    journal = await fleet.join()
    with pytest.raises(JournalLocked):
        await journal.open(None)
    await journal.aclose()
    assert await journal.open(None) is None


# -- lost data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_leader", [True, False])
async def test_an_emptied_redis_is_repaired_by_a_member(fleet: Fleet, *, by_leader: bool) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    many = {number: step(WatchState(), listing(number))[0].tracks[number] for number in range(1, 9)}
    await leader.append(events(1, 1500), WatchState(seq=1500, tracks=many), {})
    await caught_up(follower, leader)
    state = leader.state
    await follower.want(Demand(frozenset({7})))
    fleet.server.cli("FLUSHALL")
    repairs = leader if by_leader else follower
    await repairs.lead()
    assert fleet.meta("account") == "account"
    fresh = await fleet.join()
    assert_same(fresh.state, state or WatchState())
    assert await everything(fresh, 476) == events(477, 1500)
    with pytest.raises(Lagged):
        await fresh.read(475, 1)
    for journal in (leader, follower):
        assert Restored() in await news_of(journal)
    assert dict(await leader.wants()) == {follower.member: Demand(frozenset({7}))}, "wanted again"
    await leads(repairs)
    await write(repairs, 1501, 1501)
    await caught_up(fresh, repairs)


async def test_a_file_that_was_cut_within_a_write_is_repaired(fleet: Fleet) -> None:
    server = fleet.server
    leader, follower = await fleet.lead(), await fleet.join()
    await write(leader, 1, 1)
    await write(leader, 2, 7)
    await caught_up(follower, leader)
    server.kill()
    server.cut(server.file.stat().st_size - server.file.read_bytes().index(b"$3\r\n6-0"))
    for _ in range(2):  # the file keeps a half transaction, which the second start reads
        server.start()
        await leads(leader)
        assert await everything(await fleet.join()) == events(1, 7)
        server.kill()


async def test_lost_writes_are_repaired_after_a_restart(fleet: Fleet) -> None:
    server = fleet.server
    leader, follower = await fleet.lead(), await fleet.join()
    assert not (await follower.lead()).is_mine
    await write(leader, 1, 3)
    files = {path: path.read_bytes() for path in server.folder.rglob("*.aof*") if path.is_file()}
    await write(leader, 4, 6)
    await caught_up(follower, leader)
    await write(leader, 7, 7)
    server.kill()
    for path, content in files.items():
        path.write_bytes(content)
    server.start()
    server.cli("DEL", "smspva:{main}:lease")
    fresh = await fleet.join()
    assert fresh.state is not None
    assert fresh.state.seq == 3
    assert not (await follower.lead()).is_mine, "the members repair first"
    await leads(leader)
    await write(leader, 8, 8)
    for journal in (follower, fresh):
        await caught_up(journal, leader)
        assert await everything(journal) == events(1, 8)


async def test_an_append_repairs_lost_writes(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    await write(leader, 1, 3)
    await caught_up(follower, leader)
    for name, value in (("version", "0"), ("seq", "0"), ("mark", "")):
        fleet.server.cli("HSET", "smspva:{main}:meta", name, value)
    fleet.server.cli("DEL", "smspva:{main}:events")
    await write(leader, 4, 4)
    await news_of(follower, lambda: follower.state == leader.state)
    for journal in (follower, await fleet.join()):
        assert await everything(journal) == events(1, 4)


async def test_a_member_that_is_behind_restores_nothing(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    await write(leader, 1, 1)
    await caught_up(follower, leader)
    await write(leader, 2, 2)
    await follower._restore()
    await write(leader, 3, 3)
    assert await everything(await fleet.join()) == events(1, 3)


@pytest.mark.parametrize("common", [1, 2500], ids=["few events", "more events than a replica has"])
async def test_a_member_ahead_replaces_what_others_wrote_since(fleet: Fleet, common: int) -> None:
    ahead, cli = await fleet.lead(), fleet.server.cli
    await write(ahead, 1, common)
    mark = ahead._replica.facts.mark
    cli("COPY", "smspva:{main}:events", "{main}backup")
    for seq in (common + 1, common + 2, common + 3):
        await write(ahead, seq, seq)
    cli("RENAME", "{main}backup", "smspva:{main}:events")
    cli("HSET", "smspva:{main}:meta", "version", "1", "seq", f"{common}", "mark", mark)
    cli("DEL", "smspva:{main}:lease")
    other = await fleet.lead()
    await other.append([evolve(events(common + 1, common + 1)[0], id="another")], WatchState(seq=common + 1), {})
    await ahead.lead()
    with pytest.raises(NotLeading):
        await write(other, common + 2, common + 2)
    await news_of(other, lambda: other.state == ahead.state)
    for journal in (other, await fleet.join()):
        assert await everything(journal) == events(1, common + 3)
    assert cli("KEYS", "smspva:{main}:events*").split() == ["smspva:{main}:events"]


# -- keeping events --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "last"), [(1, 1), (1, 9), (5, 5), (5, 6), (5, 11), (300, 2000)])
async def test_the_newest_events_are_kept(fleet: Fleet, keep: int, last: int) -> None:
    leader, follower = await fleet.lead(keep), await fleet.join(keep)
    at_once = 1 if last < 100 else 200
    for first in range(1, last + 1, at_once):
        await write(leader, first, min(last, first + at_once - 1))
    await caught_up(follower, leader)
    oldest = max(0, last - keep)
    for journal in (leader, follower, await fleet.join(keep)):
        assert await everything(journal, oldest) == events(oldest + 1, last)
        if oldest:
            with pytest.raises(Lagged, match="no longer kept") as caught:
                await journal.read(oldest - 1, 10)
            assert caught.value.resume == oldest
    await write(leader, last + 1, last + 8)
    assert await leader.read(last, 20) == events(last + 1, last + 8), "a write that is larger"


async def test_events_are_kept_for_a_time(fleet: Fleet) -> None:
    leader = await fleet.lead(timedelta(seconds=10))
    await write(leader, 1, 150)
    assert await leader.read(0, 1) == events(1, 1), "the time isn't certain yet"
    await write(leader, 151, 155)
    with pytest.raises(Lagged) as caught:
        await leader.read(0, 1)
    assert caught.value.resume == 144


async def test_a_consumer_keeps_the_events_that_it_has_not_read(fleet: Fleet) -> None:
    leader = await fleet.lead(2)
    await write(leader, 1, 4, slow=1)
    for seq in range(5, 9):
        await write(leader, seq, seq)
    assert await everything(leader, 1) == events(2, 8)
    assert await leader.move_held({"slow": 8}) == []
    await write(leader, 9, 9)
    assert await everything(leader, 7) == events(8, 9)
    with pytest.raises(Lagged):
        await leader.read(6, 1)


# -- names, demand and claims ----------------------------------------------------------------------------------------


async def test_a_position_that_another_member_has_reached_waits_for_its_news(fleet: Fleet) -> None:
    leader, follower = await fleet.lead(), await fleet.join()
    await write(leader, 1, 3)
    assert await leader.take_name("orders", 3) == 3
    assert await follower.take_name("orders", 0) == 3
    assert await follower.read(3, 10) == []
    with pytest.raises(Lagged):
        await follower.read(4, 10)
    await write(leader, 4, 5)
    await caught_up(follower, leader)
    assert await follower.read(3, 10) == events(4, 5)


async def test_a_name_has_one_holder(fleet: Fleet) -> None:
    first, second = await fleet.lead(), await fleet.join()
    assert await first.take_name("orders", 3) == 3
    assert await first.move_held({"orders": 5}) == []
    assert await second.take_name("orders", 9) == 5, "never the larger one"
    assert NameTaken("orders", second.member) in await news_of(first)
    assert await first.move_held({"orders": 8, "free": 1}) == ["orders"]
    await write(first, 1, 9, orders=9, free=2)
    assert await first.places() == {"orders": 5, "free": 2}
    assert await second.move_held({"orders": 6, "free": 7}) == ["free"]
    assert await second.places() == {"orders": 6, "free": 2}
    await second.forget("orders")
    assert await first.take_name("orders", 4) == 4


async def test_members_see_each_others_demand(fleet: Fleet) -> None:
    first, second = await fleet.join(), await fleet.join()
    demand = Demand(frozenset({1, 2}), frozenset({3}), {"token": 4})
    await second.want(demand)
    assert await news_of(first) == [DemandChanged(second.member, demand)]
    assert await first.wants() == {second.member: demand}
    assert await second.wants() == {}
    await second.aclose()
    assert await news_of(first) == [DemandChanged(second.member, None)]
    assert await first.wants() == {}


async def test_the_demand_of_a_dead_member_is_dropped_and_a_living_one_asks_again(fleet: Fleet) -> None:
    leader, other = await fleet.lead(), await fleet.join()
    demand = Demand(frozenset({1}))
    await other.want(demand)
    assert await news_of(leader) == [DemandChanged(other.member, demand)]
    fleet.server.cli("ZADD", "smspva:{main}:members", "1", other.member)
    await leader.lead()
    assert await leader.wants() == {}
    assert await news_of(leader) == [DemandChanged(other.member, None)]
    assert await other.news() == []
    assert await news_of(leader) == [DemandChanged(other.member, demand)]
    assert await leader.wants() == {other.member: demand}


async def test_a_member_asks_again_after_a_restart_that_lost_only_its_demand(fleet: Fleet) -> None:
    leader, other = await fleet.lead(), await fleet.join()
    assert not (await other.lead()).is_mine
    await other.want(Demand(frozenset({1})))
    fleet.server.kill()
    fleet.server.start()
    fleet.server.cli("HDEL", "smspva:{main}:demand", other.member)
    fleet.server.cli("HINCRBY", "smspva:{main}:meta", "news", "-1")
    fleet.server.cli("DEL", "smspva:{main}:news")
    await leader.tell(RefreshAnswered("token", None))  # takes the number of the lost news
    await other.lead()
    assert Restored() in await news_of(other)
    assert await leader.wants() == {other.member: Demand(frozenset({1}))}


async def test_a_claim_has_one_member(fleet: Fleet) -> None:
    first, second = await fleet.join(), await fleet.join()
    assert await first.claim("activate:1", 60)
    assert await first.claim("activate:1", 60), "again by the same member"
    assert not await second.claim("activate:1", 60)
    assert await second.claim("activate:2", 60)
    await second.unclaim("activate:1")
    assert not await second.claim("activate:1", 60)
    await first.unclaim("activate:1")
    assert await second.claim("activate:1", 0.01)
    with anyio.fail_after(PATIENCE):
        while not await first.claim("activate:1", 60):  # noqa: ASYNC110 - nor has a claim
            await anyio.sleep(0.01)


async def test_a_program_in_another_language_can_read_the_events(fleet: Fleet) -> None:
    leader = await fleet.lead()
    await write(leader, 1, 1)
    lines = fleet.server.cli("XRANGE", "smspva:{main}:events", "-", "+").splitlines()
    assert lines[0] == "1-0"
    assert json.loads(lines[lines.index("event") + 1])["type"] == "PollRecovered"
