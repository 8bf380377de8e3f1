"""Invariants of the events of any watch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from smspva_async import Event, Order, OrderAdded, OrderRemoved, OrderUpdated, SmsReceived, StateChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smspva_async.simulator import Simulator


def assert_all_was_reported(events: Sequence[Event], sim: Simulator, sent: Iterable[tuple[int, str]]) -> None:
    """Check that events are complete, without repetition, and lead to the server's current orders.

    Args:
        events: All events of a watch.
        sim: The server.
        sent: The order and the text of each message since the start of the watch.

    """
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    assert Counter(messages(events).values()) == Counter(sent)
    assert seen(replayed(events).values()) == listed(sim)


def messages(events: Iterable[Event]) -> dict[str, tuple[int | None, str]]:
    """Return the messages by the ids of their events."""
    return {event.id: (event.order_id, event.sms.text) for event in events if isinstance(event, SmsReceived)}


def replayed(events: Iterable[Event]) -> dict[int, Order]:
    """Return the orders that the events lead to; check each change against the previous order."""
    orders: dict[int, Order] = {}
    for event in events:
        match event:
            case OrderAdded(order):
                assert order.id not in orders
                orders[order.id] = order
            case OrderRemoved(order):
                del orders[order.id]
            case StateChanged(order, previous, current):
                assert previous == orders[order.id].state
                assert current == order.state
                orders[order.id] = order
            case OrderUpdated(order):
                orders[order.id] = order
            case _:
                pass
    return orders


def listed(sim: Simulator) -> set[tuple[Any, ...]]:
    return {(order.id, order.service, order.phone, order.country, order.state) for order in sim.orders}


def seen(orders: Iterable[Order]) -> set[tuple[Any, ...]]:
    return {(order.id, order.service, order.phone, order.country, order.raw_state) for order in orders}
