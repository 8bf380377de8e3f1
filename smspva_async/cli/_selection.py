"""The choice of numbers that a watch shows, and their order in its table."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from attrs import frozen

from smspva_async import Event, Order, SmsReceived, StateChanged
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._vocabulary import STATE_WORDS, state_word

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SORTS = ("id", "expires", "service", "country", "newest")


@frozen
class Selection:
    """The numbers to show. An empty collection selects all.

    Args:
        services: Codes of services.
        states: States, as the table shows them.
        countries: Codes of countries.

    """

    services: Collection[str] = ()
    states: Collection[str] = ()
    countries: Collection[str] = ()

    def has(self, order: Order) -> bool:
        """Return whether an order is selected."""
        return self._matches(order) and (not self.states or state_word(order) in self.states)

    def shows(self, event: Event, known: Mapping[int, Order]) -> bool:
        """Return whether an event is about a selected order, or about none.

        A message is shown in any state, because the state may be an old one, and a change that ends a selected state
        is shown too.
        """
        order = event_order(event) or known.get(event.order_id or 0)
        if order is None:
            return True
        is_state_shown = (
            not self.states
            or isinstance(event, SmsReceived)
            or state_word(order) in self.states
            or (isinstance(event, StateChanged) and STATE_WORDS.get(event.previous) in self.states)
        )
        return self._matches(order) and is_state_shown

    def _matches(self, order: Order) -> bool:
        has_service = not self.services or any(service in self.services for service in order.services)
        return has_service and (not self.countries or order.country in self.countries)


EVERYTHING = Selection()


def event_order(event: Event) -> Order | None:
    """Return the order in an event, or None if it has none."""
    order: Order | None = getattr(event, "order", None)
    return order


def event_time(event: Event) -> datetime:
    """Return the time at which an event's message was received. Without a message or its date, the event's time."""
    return (isinstance(event, SmsReceived) and event.sms.received) or event.at


def sort_key(order: Order, sort: str, newest: Mapping[int, int]) -> tuple[str | float, int]:
    """Return the key by which the table is sorted.

    Args:
        order: The order.
        sort: One of `SORTS`.
        newest: Order id -> `seq` of its last message.

    """
    key: str | float = 0
    if sort == "expires":
        key = order.until.timestamp() if order.until else math.inf
    elif sort == "service":
        key = fmt.service(order).casefold()
    elif sort == "country":
        key = order.country.casefold()
    elif sort == "newest":
        key = -newest.get(order.id, 0)
    return key, order.id
