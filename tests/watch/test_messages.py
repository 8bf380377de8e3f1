"""Messages: the watch loses and repeats none, and distinguishes old ones from new ones."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest

from smspva_async import MemoryJournal, OrderAdded, OrderRemoved, Sms, SmsReceived, Watcher
from smspva_async.simulator import DialectName, Simulator
from tests.support.accounts import OUTAGE, Account, order, sms
from tests.support.selection import slow
from tests.support.watching import kinds, polls, so_far, texts, watching

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("local_clock")]


# -- nothing lost, nothing twice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["live", slow("page")])
@pytest.mark.parametrize(
    "behavior",
    [
        {},
        {"read_clears_flag": False},
        {"flag_rises": False},
        {"flag_lifetime": 10.0},
        {"sms_order": "newest"},
        {"sms_order": "shuffled", "read_clears_flag": False},
        {"flapping": 0.5},
    ],
    ids=str,
)
async def test_each_message_is_reported_once_with_any_behavior_of_the_server(
    dialect: DialectName, behavior: dict[str, Any]
) -> None:
    sim = Simulator(seed=3, dialect=dialect)
    orders = [sim.add_order().id for _ in range(4)]
    for name, value in behavior.items():
        setattr(sim.behavior, name, value)
    delivered: Counter[str] = Counter()
    rng = random.Random(4)
    async with watching(sim) as watcher:
        for number in range(40):
            text = f"message {number % 30}"  # ten of them are sent twice
            sim.deliver(rng.choice(orders), text, other=dialect == "live" and number % 5 == 0)
            delivered[text] += 1
            await anyio.sleep(rng.choice([0, 1, 20, 45]))
        await polls(5)
        assert Counter(texts(await so_far(watcher))) == delivered
    assert sim.violations == []


@pytest.mark.parametrize("count", [30, slow(100)])
async def test_no_kind_of_fault_loses_or_repeats_a_message(count: int) -> None:
    sim = Simulator(seed=5, dialect="live")
    orders = [sim.add_order().id for _ in range(3)]
    async with watching(sim) as watcher:
        sim.faults.rate(0.3)
        for number in range(count):
            sim.deliver(orders[number % 3], f"message {number}")
            await anyio.sleep(50)
        sim.faults.clear()
        await polls(5)
        assert Counter(texts(await so_far(watcher))) == Counter(f"message {number}" for number in range(count))
        assert watcher.orders.keys() == set(orders)
    assert sim.violations == []


async def test_two_identical_messages_are_two_events() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.messages[1] = [sms("code 1", 5), sms("code 1", 5)]
        await polls(2)
        account.messages[1].append(sms("code 1", 5))
        await polls(2)
        events = [event for event in await so_far(watcher) if isinstance(event, SmsReceived)]
    assert texts(events) == ["code 1"] * 3
    assert len({event.id for event in events}) == 3


@pytest.mark.parametrize(
    "other", [sms("code 2", 5), sms("code 1", 6), sms("code 1", 5, "ELSE"), sms("code 1", 5, None), sms("code 1", None)]
)
async def test_a_message_is_identified_by_text_sender_and_time(other: Sms) -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.messages[1] = [sms("code 1", 5)]
        await polls(2)
        account.messages[1] = [other]
        await polls(2)
        assert texts(await so_far(watcher)) == ["code 1", other.text]


@pytest.mark.parametrize(
    ("lists", "events"),
    [
        (["a", "", "a"], "a"),
        (["ab", "b", "ab", "ba"], "ab"),
        (["aa", "a", "aa"], "aa"),
        (["aa", "a", "aaa"], "aaa"),
        (["ab", "", "", "c", "abc"], "abc"),
    ],
)
async def test_a_list_that_shrinks_and_grows_again_repeats_no_message(lists: Sequence[str], events: str) -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        for listed in lists:
            account.messages[1] = [sms(text, ord(text)) for text in listed]
            await polls(1)
        await polls(1)
        assert texts(await so_far(watcher)) == list(events)


async def test_a_server_that_lists_only_the_newest_messages_causes_no_loss_or_repetition() -> None:
    sim = Simulator()
    order_id = sim.add_order().id
    sim.behavior.sms_keep = 2
    async with watching(sim) as watcher:
        for number in range(6):
            sim.deliver(order_id, f"message {number}")
            await polls(1)
        sim.behavior.sms_keep = None
        await polls(3)
        assert texts(await so_far(watcher)) == [f"message {number}" for number in range(6)]


async def test_an_order_that_vanishes_and_returns_repeats_no_message() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.messages[1] = [sms("before", 5)]
        await anyio.sleep(50)
        account.remove(1)
        await polls(5)
        assert isinstance((await so_far(watcher))[-1], OrderRemoved)
        account.listed, account.failures = [order()], {}
        account.messages[1] = [sms("before", 5), sms("meanwhile", 100)]
        await polls(2)
        events = await so_far(watcher)
        assert kinds(events) == ["OrderAdded", "SmsReceived", "OrderRemoved", "OrderAdded", "SmsReceived"]
        assert texts(events) == ["before", "meanwhile"]


async def test_the_same_message_to_two_orders_is_two_events() -> None:
    account = Account(order(1), order(2))
    async with Watcher(account) as watcher:
        account.messages[1] = account.messages[2] = [sms("code 1", 5)]
        await polls(2)
        events = [event for event in await so_far(watcher) if isinstance(event, SmsReceived)]
    assert {event.order_id for event in events} == {1, 2}
    assert len({event.id for event in events}) == 2


async def test_messages_of_one_reading_come_in_the_order_of_their_dates() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        account.messages[1] = [sms("third", 9), sms("first", 2), sms("last", None), sms("second", 5)]
        await polls(2)
        account.messages[1].append(sms("undated", None))
        await polls(1)
        assert texts(await so_far(watcher)) == ["first", "second", "third", "undated"]


async def test_a_sender_that_becomes_known_makes_no_new_message() -> None:
    account = Account(order())
    async with Watcher(account) as watcher:
        lists: list[list[str | None]] = [[None], ["FB"], [None], ["FB"], ["FB", "FB"], ["FB", None], ["FB", "FB", None]]
        for senders in lists:
            account.messages[1] = [sms("code 1", 5, sender) for sender in senders]
            await polls(1)
        events = [event for event in await so_far(watcher) if isinstance(event, SmsReceived)]
    assert [event.sms.sender for event in events] == [None, "FB", None]
    assert len({event.id for event in events}) == 3


@pytest.mark.parametrize("behind", [-5, 5, 200, -3600, 3 * 3600, -3 * 3600])
@pytest.mark.parametrize("count", [40, slow(200)])
async def test_no_message_of_the_first_minutes_is_lost_if_the_clocks_differ(behind: int, count: int) -> None:
    sim = Simulator(seed=11)
    orders = [sim.add_order().id for _ in range(20)]
    delivered: Counter[str] = Counter()
    rng = random.Random(12)
    async with watching(sim) as watcher:
        await anyio.sleep(0 if abs(behind) <= 300 else 90)  # before a list is read, a clock may be five minutes behind
        for number in range(count):
            sim.deliver(rng.choice(orders), f"message {number}", date=round(sim.now.timestamp()) - behind)
            delivered[f"message {number}"] += 1
            await anyio.sleep(rng.uniform(0, 3))
        await polls(5)
        assert Counter(texts(await so_far(watcher))) == delivered


async def test_all_messages_of_an_order_rented_while_watching_are_new_on_any_clock() -> None:
    sim = Simulator()
    async with watching(sim) as watcher:
        await polls(10)
        order_id = sim.add_order().id
        sim.deliver(order_id, "the first", date=round(sim.now.timestamp()) - 7 * 3600)
        await polls(2)
        assert texts(await so_far(watcher)) == ["the first"]


# -- messages before the watch ---------------------------------------------------------------------------------------


async def test_baseline_treats_existing_messages_as_known() -> None:
    account = Account(order(1), order(2))
    account.messages[1] = [sms("old", -301)]
    async with Watcher(account) as watcher:
        await polls(3)
        events = await so_far(watcher)
        assert [event.order for event in events if isinstance(event, OrderAdded)] == account.listed
        assert kinds(events) == ["OrderAdded", "OrderAdded"]


OLD, JUST_NOW, NEW = sms("old", -1000), sms("just now", -299), sms("new", 1)
OLDER, ANCIENT, UNDATED = sms("older", -3600), sms("ancient", -90_000), sms("undated", None)


@pytest.mark.parametrize(
    ("flags", "listed", "reported"),
    [
        pytest.param([False], [OLDER, OLD], [], id="dated more than five minutes before the first poll"),
        pytest.param(
            [False], [OLD, JUST_NOW], ["just now"], id="dated within five minutes before it, as clocks may differ"
        ),
        pytest.param([False], [OLD, NEW], ["new"], id="dated after it"),
        pytest.param([False, False], [UNDATED], [], id="undated, the flag always down"),
        pytest.param([True, False], [UNDATED], ["undated"], id="undated, the flag up at first"),
        pytest.param([False, True, False], [UNDATED], ["undated"], id="undated, the flag up in between"),
        pytest.param([True], [OLDER, OLD], [], id="the flag was up before"),
        pytest.param([False, True], [OLDER, OLD], ["old"], id="the flag rose, so the newest is new"),
        pytest.param([False, True, False], [OLD, OLDER], ["old"], id="the flag rose and fell"),
        pytest.param([True, False, True], [OLDER, OLD], ["old"], id="the flag fell and rose"),
        pytest.param([False, True], [OLD, NEW], ["new"], id="the flag rose, but for a message dated so"),
        pytest.param(
            [False, True],
            [OLDER, sms("near", -3400)],
            ["older", "near"],
            id="the flag rose, and two are near the newest",
        ),
        pytest.param(
            [False, True],
            [sms("far", -8000), OLDER],
            ["older"],
            id="the flag rose, by a clock that is behind by an hour",
        ),
        pytest.param([False, True], [OLD, JUST_NOW, NEW], ["just now", "new"], id="the flag rose for two dated so"),
        pytest.param([False, True], [OLD, UNDATED], ["old", "undated"], id="the flag rose; in doubt it is reported"),
    ],
)
async def test_a_list_first_read_long_after_the_first_poll_reports_only_new_messages(
    flags: list[bool], listed: list[Sms], reported: list[str]
) -> None:
    account = Account(order(has_new_sms=flags[0]))
    account.messages[1] = listed
    account.failures[1] = OUTAGE  # so that the list can't be read before the flag was seen
    async with Watcher(account) as watcher:
        for flag in flags[1:]:
            account.change(1, has_new_sms=flag)
            await polls(1)
        account.failures.clear()
        await polls(2)
        assert texts(await so_far(watcher)) == reported


@pytest.mark.parametrize(
    ("listed", "reported"),
    [([ANCIENT], []), ([OLDER], ["older"]), ([NEW], ["new"]), ([UNDATED], ["undated"])],
    ids=["days before the watch", "an hour before it", "during it", "undated"],
)
async def test_messages_of_an_order_bought_while_watching_are_new(listed: list[Sms], reported: list[str]) -> None:
    account = Account()
    async with Watcher(account) as watcher:
        await polls(10)
        account.listed, account.messages[1] = [order()], listed
        await polls(2)
        assert texts(await so_far(watcher)) == reported


async def test_the_first_good_poll_is_the_baseline() -> None:
    account = Account(order())
    account.failures[None] = OUTAGE
    async with Watcher(account) as watcher:
        await polls(10)
        await polls(10)
        account.messages[1] = [sms("during the outage", 20), sms("long after", 1000)]
        account.failures.clear()
        await polls(2)
        assert texts(await so_far(watcher)) == ["long after"]


async def test_replay_reports_existing_messages_too() -> None:
    account = Account(order(1))
    account.messages = account.messages | {1: [UNDATED, OLDER, NEW], 2: [OLD]}
    async with Watcher(account, start="replay") as watcher:
        await polls(2)
        account.listed.append(order(2))
        await polls(2)
        assert texts(await so_far(watcher)) == ["older", "new", "undated", "old"]


@pytest.mark.parametrize("start", ["baseline", "replay"])
async def test_a_watch_continues_from_the_state_in_the_journal(start: Literal["baseline", "replay"]) -> None:
    account, journal = Account(order(1), order(2)), MemoryJournal()
    account.messages[1] = [OLD]
    async with Watcher(account, journal=journal) as watcher:
        await polls(2)
        place = watcher.cursor
    account.messages[1] += [sms("between", 70)]
    account.listed = [order(1, has_new_sms=True), order(2, services=("opt1",)), order(3)]
    async with Watcher(account, journal=journal, start=start) as watcher:
        await polls(2)
        events = await so_far(watcher, after=place)
        assert kinds(events) == ["OrderUpdated", "OrderAdded", "SmsReceived"]
        assert texts(events) == ["between"]


async def test_a_journal_remembers_messages_whose_list_was_not_read_before() -> None:
    account, journal = Account(order()), MemoryJournal()
    account.failures[1] = OUTAGE
    async with Watcher(account, journal=journal):
        await polls(2)
    account.messages[1] = [OLD, NEW]
    account.failures.clear()
    async with Watcher(account, journal=journal) as watcher:
        await polls(2)
        assert texts(await so_far(watcher)) == ["new"]


def test_an_invalid_start_is_rejected() -> None:
    with pytest.raises(ValueError, match="'baseline' or 'replay'"):
        Watcher(Account(), start="beginning")  # type: ignore[arg-type]
