"""Watchers of one fleet, in virtual time: one leads, the others follow."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import anyio
import pytest

from smspva_async import (
    CursorTaken,
    InvalidKey,
    JournalError,
    OrderState,
    SmspvaClient,
    SqliteJournal,
    StateChanged,
    WaitTimeout,
    Watcher,
)
from smspva_async.journal.shared import Lease, RefreshAnswered, Restored
from tests.support.activation import ACTIVATION, STAY, request_times
from tests.support.backends import on_both_backends
from tests.support.shared_journal import LEASE, MemoryFleet, Server
from tests.support.watching import INTERVAL, polls, so_far, texts, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from smspva_async import Sms
    from smspva_async.journal.shared import Demand, News
    from smspva_async.simulator import Simulator

pytestmark = [pytest.mark.anyio, on_both_backends, pytest.mark.usefixtures("local_clock")]


@asynccontextmanager
async def member(
    sim: Simulator,
    server: Server,
    *,
    may_lead: bool = True,
    key: str = "any-key",
    start: Literal["baseline", "replay"] = "baseline",
) -> AsyncIterator[tuple[Watcher, MemoryFleet]]:
    fleet = MemoryFleet(server, may_lead=may_lead)
    async with (
        SmspvaClient(key, transport=sim.transport(), fleet=fleet) as client,
        Watcher(client, start=start) as watcher,
    ):
        yield watcher, fleet


async def test_one_process_polls_and_all_see_the_same_events(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with (
        member(sim, server) as (leader, _),
        member(sim, server) as (follower, _),
        member(sim, server) as (last, _),
    ):
        sim.requests.clear()
        sim.deliver(order_id, "hello")
        await polls(4)
        assert len(request_times(sim, "orders")) == 4
        assert texts(await so_far(leader)) == ["hello"]
        assert await so_far(follower) == await so_far(last) == await so_far(leader)
        assert follower.orders == leader.orders
        assert [watcher.leads for watcher in (leader, follower, last)] == [True, False, False]


async def test_the_first_leader_of_a_fleet_replays_the_messages_found_on_the_first_poll(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    sim.deliver(order_id, "before the watch")
    await anyio.sleep(3600)  # too old for a message that would count as new in a baseline
    async with member(sim, server, start="replay") as (leader, _), member(sim, server) as (follower, _):
        await polls(1)
        assert texts(await so_far(leader)) == texts(await so_far(follower)) == ["before the watch"]


async def test_a_follower_that_enters_first_of_all_polls_needs_no_poll_of_its_own(sim: Simulator) -> None:
    sim.add_order(state=1)
    server = Server()
    async with member(sim, server):
        sim.requests.clear()
        async with member(sim, server) as (follower, _):
            assert len(follower.orders) == 1
        assert sim.requests == []


async def test_the_next_process_leads_at_once_when_the_leader_is_left(sim: Simulator) -> None:
    order_id, server, left = sim.add_order(state=1).id, Server(), anyio.Event()

    async def leave_early() -> None:
        async with member(sim, server):
            await left.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave_early)
        await anyio.sleep(1)
        async with member(sim, server, may_lead=False) as (reader, _), member(sim, server) as (follower, _):
            assert not follower.leads
            left.set()
            await anyio.sleep(0.1)
            assert follower.leads
            sim.deliver(order_id, "after the change")
            await polls(2)
            assert texts(await so_far(reader)) == ["after the change"]


async def test_a_paused_leader_is_replaced_within_a_lease_and_writes_nothing_afterwards(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with member(sim, server) as (old, old_fleet), member(sim, server) as (new, _):
        await anyio.sleep(1)
        old_fleet.journal.pause()
        sim.deliver(order_id, "while paused")
        await anyio.sleep(LEASE + 1)
        assert new.leads
        await polls(2)
        written = old_fleet.journal.appended
        old_fleet.journal.resume()
        sim.deliver(order_id, "afterwards")
        await polls(2)
        assert not old.leads
        assert old_fleet.journal.appended == written
        assert texts(await so_far(old)) == ["while paused", "afterwards"]
        assert await so_far(old) == await so_far(new)


async def test_a_message_awaited_by_a_follower_is_read_as_quickly_as_by_the_leader(sim: Simulator) -> None:
    orders = [sim.add_order(state=1).id for _ in range(20)]
    server = Server()
    async with member(sim, server), member(sim, server) as (follower, _):
        await polls(4)
        began = anyio.current_time()

        async def deliver() -> None:
            await anyio.sleep(5)
            sim.deliver(orders[7], "code 1234")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver)
            event = await follower.wait_for_sms(orders[7], timeout=60)
        assert event.sms.text == "code 1234"
        assert anyio.current_time() - began < 5 + 6
        sim.requests.clear()
        await polls(2)
        assert len(request_times(sim, "sms")) <= 2 * 20  # the leader knows that nobody waits any more


async def test_two_processes_activate_one_number_with_one_request(sim: Simulator) -> None:
    order_id, server = sim.add_order().id, Server()
    given: list[Sms] = []
    async with member(sim, server) as (leader, _), member(sim, server) as (follower, _):

        async def use(watcher: Watcher) -> None:
            async with watcher.activated(order_id, timeout=600) as number:
                given.append(await number.next_sms(timeout=600))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use, leader)
            tasks.start_soon(use, follower)
            await anyio.sleep(ACTIVATION + INTERVAL)
            sim.deliver(order_id, "both")
        assert [message.text for message in given] == ["both", "both"]
        assert len(request_times(sim, "activate")) == 1


async def test_a_follower_activates_its_number_although_the_leader_changes(sim: Simulator) -> None:
    order_id, server = sim.add_order().id, Server()
    async with member(sim, server) as (_, first), member(sim, server) as (watcher, _):
        first.journal.pause()
        async with watcher.activated(order_id, timeout=600) as number:
            assert number.order.state is OrderState.ACTIVE
        states = [event.current for event in await so_far(watcher) if isinstance(event, StateChanged)]
        assert states == [OrderState.ACTIVATING, OrderState.ACTIVE]


async def test_a_consumer_in_another_process_takes_the_name_over_with_its_position(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with member(sim, server) as (leader, _), member(sim, server) as (follower, _):
        first, second = (watcher.consumer("billing", auto_ack=False) for watcher in (leader, follower))
        for text in ("one", "two"):
            sim.deliver(order_id, text)
            await polls(1)
        events = [await anext(first), await anext(first)]
        await first.ack(events[0])
        assert texts([await anext(second)]) == ["two"]
        with pytest.raises(CursorTaken):  # also before this process has heard of it
            await first.ack(events[1])
        with pytest.raises(CursorTaken):
            await anext(first)


async def activate(watcher: Watcher, order_id: int) -> None:
    async with watcher.activated(order_id, timeout=600):
        pass


async def test_a_claim_is_given_up_when_its_activation_is_cancelled(sim: Simulator) -> None:
    order_id, server = sim.add_order().id, Server()
    sim.faults.next("activate", "hang", done=False)
    async with member(sim, server) as (other, _):
        async with member(sim, server) as (leaving, _):
            with anyio.move_on_after(5):
                await activate(leaving, order_id)
            assert len(request_times(sim, "activate")) == 1
        left_at = anyio.current_time()
        async with other.activated(order_id, timeout=600):
            assert anyio.current_time() - left_at < ACTIVATION + INTERVAL
        assert len(request_times(sim, "activate")) == 2


async def test_an_answer_that_a_follower_missed_is_given_again(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with member(sim, server), member(sim, server) as (follower, fleet), anyio.create_task_group() as tasks:
        journal = fleet.journal
        deliver = journal.post

        def post(news: News | None) -> None:
            if not isinstance(news, RefreshAnswered):
                deliver(news)

        monkeypatch.setattr(journal, "post", post)
        tasks.start_soon(activate, follower, order_id)
        await anyio.sleep(60)
        monkeypatch.undo()
        await journal.want(server.demands[journal.member])


async def test_a_demand_that_changes_while_the_next_leader_reads_it_is_kept(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id, server, asked = sim.add_order(state=1).id, Server(), anyio.Event()
    async with (
        member(sim, server) as (_, old),
        member(sim, server) as (_, new),
        member(sim, server, may_lead=False) as (follower, _),
    ):
        read = new.journal.wants

        async def wants() -> Mapping[str, Demand]:
            demands = await read()
            asked.set()
            await anyio.sleep(1)
            return demands

        monkeypatch.setattr(new.journal, "wants", wants)
        await follower.wait_for_state(order_id, OrderState.ACTIVE, timeout=10)
        old.journal.pause()
        await asked.wait()
        await activate(follower, order_id)
        old.journal.resume()


async def test_a_consumer_ends_when_another_process_takes_its_name_over(sim: Simulator) -> None:
    server = Server()
    async with member(sim, server) as (leader, _), member(sim, server) as (follower, _):
        first, second = leader.consumer("billing"), follower.consumer("billing")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(within, 10, second)
            with pytest.raises(CursorTaken):
                async for _ in first:
                    pass


async def test_an_unreachable_server_ends_no_watch_and_waits_say_why(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with member(sim, server) as (leader, _), member(sim, server) as (follower, _):
        server.stop()
        sim.deliver(order_id, "during the outage")
        for watcher in (leader, follower):
            with pytest.raises(WaitTimeout, match="the server is unreachable"):
                await watcher.wait_for_sms(order_id, timeout=40)
        server.start()
        await polls(2)
        for watcher in (leader, follower):
            assert texts(await so_far(watcher)) == ["during the outage"]
        assert [leader.leads, follower.leads].count(True) == 1


async def test_a_follower_reports_the_leaders_failure_while_it_lasts(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()

    async def last_failure(watcher: Watcher) -> str | None:
        with pytest.raises(WaitTimeout) as caught:
            await watcher.wait_for_sms(order_id, timeout=5)
        return caught.value.last_failure

    async with member(sim, server), member(sim, server) as (follower, _):
        sim.faults.always("orders", "http_500")
        await polls(4)
        assert "HTTP 500" in (await last_failure(follower) or "")
        sim.faults.clear()
        await polls(2)
        assert await last_failure(follower) is None


async def test_leaving_is_quick_while_the_server_is_unreachable(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with member(sim, server) as (watcher, _):
        consumer = watcher.consumer("billing", after=0)
        for text in ("one", "two"):
            sim.deliver(order_id, text)
            await polls(1)
        await anext(consumer)
        server.stop()
        await anext(consumer)  # now the first event is done, which the server doesn't have
        began = anyio.current_time()
        with anyio.fail_after(100):
            await consumer.aclose()
        closed = anyio.current_time()
        assert 0 < closed - began <= 5
        assert server.places["billing"] == 0
    assert anyio.current_time() - closed <= 10


async def test_a_refused_key_ends_the_watch_in_every_process(sim: Simulator) -> None:
    sim.add_order(state=1)
    server = Server()
    endings: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            try:
                async with member(sim, server) as (watcher, _):
                    async for _ in watcher.events(after=0):
                        pass
            except InvalidKey as error:
                endings.append(error.message)

        for _ in range(3):
            tasks.start_soon(watch)
        await anyio.sleep(60)
        sim.faults.always("orders", "refusal", msg="API KEY NOT FOUND!")
        await anyio.sleep(60)
        assert len(endings) == 3
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["lead", "news", "want"])
@pytest.mark.parametrize("leads", [True, False])
async def test_a_journal_that_fails_ends_the_watch_with_its_error(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, method: str, *, leads: bool
) -> None:
    order_id, server = sim.add_order(state=1).id, Server()

    async def fail(*_: object) -> None:
        raise JournalError("the disk is gone")

    async def watch() -> None:
        async with member(sim, server) as (leader, first), member(sim, server) as (follower, second):
            monkeypatch.setattr((first if leads else second).journal, method, fail)
            if leads and method == "want":  # only a follower sends its demand
                first.journal.pause()
                await anyio.sleep(2 * LEASE)
                first.journal.resume()
            await (leader if leads else follower).wait_for_sms(order_id, timeout=600)

    with pytest.raises(JournalError, match="the disk is gone"):
        await watch()


async def test_a_claim_that_fails_is_the_sessions_error(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = sim.add_order().id

    async def fail(*_: object) -> None:
        raise JournalError("the disk is gone")

    async with member(sim, Server()) as (watcher, fleet):
        with monkeypatch.context() as patch:
            patch.setattr(fleet.journal, "claim", fail)
            with pytest.raises(JournalError, match="the disk is gone"):
                await activate(watcher, order_id)
        await activate(watcher, order_id)
    assert len(request_times(sim, "activate")) == 1


async def test_a_claim_is_given_up_if_its_late_answer_is_not_waited_for(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id, server = sim.add_order().id, Server()
    async with member(sim, server) as (watcher, fleet):
        claim = fleet.journal.claim

        async def answer_late(what: str, seconds: float) -> bool:
            is_mine = await claim(what, seconds)
            await anyio.sleep_forever()
            return is_mine

        monkeypatch.setattr(fleet.journal, "claim", answer_late)
        with anyio.move_on_after(30):
            await activate(watcher, order_id)
        assert server.claims
    assert not server.claims


async def test_demand_that_is_read_too_late_does_not_end_the_watch(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id, server = sim.add_order().id, Server()
    async with (
        member(sim, server) as (_, first),
        member(sim, server) as (follower, _),
        anyio.create_task_group() as tasks,
    ):
        wants = first.journal.wants

        async def read_late() -> Mapping[str, Demand]:
            demands = await wants()
            await anyio.sleep(3 * LEASE)
            return demands

        monkeypatch.setattr(first.journal, "wants", read_late)
        sim.faults.always("orders", "hang")  # so that the follower's refresh request stays open
        tasks.start_soon(activate, follower, order_id)
        await anyio.sleep(1)
        first.journal.post(Restored())
        await anyio.sleep(0.1)
        with monkeypatch.context() as patch:
            patch.setattr(first.journal, "lead", lose_lease)
            await anyio.sleep(5 * LEASE)
        sim.faults.clear()


async def lose_lease(_: object = None) -> Lease:
    return Lease(is_mine=False, seconds_left=1.0)


async def test_a_short_task_never_leads(sim: Simulator) -> None:
    order_id, server = sim.add_order(state=1).id, Server()
    async with anyio.create_task_group() as tasks:
        done: list[str] = []

        async def short_task() -> None:
            async with member(sim, server, may_lead=False) as (watcher, _):
                done.extend(texts(await within(100, watcher.events())))
                assert not watcher.leads

        tasks.start_soon(short_task)
        await anyio.sleep(2 * LEASE)
        assert sim.requests == []  # nobody leads yet
        async with member(sim, server):
            await anyio.sleep(1)
            sim.deliver(order_id, "for the task")
            await anyio.sleep(STAY)
    assert done == ["for the task"]


async def test_a_follower_shows_the_leaders_periods(sim: Simulator) -> None:
    for _ in range(30):
        sim.add_order(state=1)
    server = Server()
    async with member(sim, server) as (leader, _), member(sim, server) as (follower, _):
        await anyio.sleep(2 * LEASE)
        ours, theirs = follower.statistics(), leader.statistics()
        assert (ours.period, ours.full_scan) == (theirs.period, theirs.full_scan)
        assert (ours.leads, theirs.leads) == (False, True)
        assert follower.last_success is not None


@pytest.mark.usefixtures("anyio_backend")
async def test_a_fleet_excludes_another_ledger_or_journal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ledger"):
        SmspvaClient("any-key", fleet=MemoryFleet(Server()), ledger=tmp_path / "ledger")
    with pytest.raises(ValueError, match="journal"):
        Watcher(SmspvaClient("any-key", fleet=MemoryFleet(Server())), journal=SqliteJournal(tmp_path / "journal"))
