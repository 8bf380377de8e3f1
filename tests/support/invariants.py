"""What must hold of all that a watch reports, however it went."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from smspva_async import Event, Order, OrderAdded, OrderRemoved, OrderUpdated, SmsReceived, StateChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smspva_async.simulator import Simulator


def assert_all_was_reported(events: Sequence[Event], sim: Simulator, sent: Iterable[tuple[int, str]]) -> None:
    """Check that events tell everything, once, and lead to what the server has now.

    Args:
        events: All of a watch, from its first on.
        sim: The server.
        sent: The order and the text of each message since the watch began.

    """
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    assert Counter(messages(events).values()) == Counter(sent)
    assert seen(replayed(events).values()) == listed(sim)


def messages(events: Iterable[Event]) -> dict[str, tuple[int | None, str]]:
    """Return the messages by their events' ids."""
    return {event.id: (event.order_id, event.sms.text) for event in events if isinstance(event, SmsReceived)}


def replayed(events: Iterable[Event]) -> dict[int, Order]:
    """Return the orders that the events lead to, each change being one from what was before."""
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
