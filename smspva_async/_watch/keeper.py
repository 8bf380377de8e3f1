"""Which numbers are to be kept active, and when to ask for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from attrs import define

from smspva_async.errors import (
    ConnectionFailed,
    OrderNotFound,
    RateLimited,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
)
from smspva_async.models import OrderState

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from smspva_async.models import Order

__all__ = ["Keeper", "Kept", "asking"]

_ASK_AGAIN_AFTER = 120.0
_UP = (OrderState.ACTIVE, OrderState.ACTIVATING)
# What may be over by the next poll. An order that was just bought may not be found at first.
_PASSING = (ConnectionFailed, RequestTimeout, UnexpectedResponse, RateLimited, OrderNotFound, TimeoutError, OSError)


@define
class Kept:
    """A number that somebody wants active."""

    sessions: int = 0
    """How many do."""
    asked_at: float | None = None
    """When its activation was asked for, on anyio's clock; None: not since it was last up."""
    asking: bool = False
    """Whether it is being asked for."""
    failure: SmspvaError | None = None
    """Why that was refused."""
    refusals: int = 0
    """How often it was."""


class Keeper:
    """The numbers to be kept active. One that is down is activated, and again two minutes later if it stays down."""

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}

    @contextlib.contextmanager
    def keeping(self, order_id: int) -> Generator[Kept]:
        """Keep a number active."""
        kept = self._kept.setdefault(order_id, Kept())
        kept.sessions += 1
        if kept.failure is not None and not kept.asking:
            kept.asked_at = None  # who comes new has it tried anew
        try:
            yield kept
        finally:
            kept.sessions -= 1

    def due(self, orders: Mapping[int, Order], now: float) -> list[tuple[int, Kept]]:
        """Return the numbers whose activation is to be asked for, as their orders are listed now.

        They count as asked for from now on, before whoever asks gets round to it.
        """
        found: list[tuple[int, Kept]] = []
        for order_id, kept in list(self._kept.items()):
            order = orders.get(order_id)
            if order is not None and order.state in _UP:
                kept.asked_at = kept.failure = None
            if kept.asking:
                continue
            long_ago = kept.asked_at is None or now - kept.asked_at >= _ASK_AGAIN_AFTER
            if not kept.sessions:
                # Until then a session that comes next knows that its activation was asked for.
                if long_ago or order is None:
                    del self._kept[order_id]
            elif order is not None and order.state not in _UP and long_ago:
                kept.asking, kept.asked_at = True, now
                found.append((order_id, kept))
        return found


@contextlib.contextmanager
def asking(kept: Kept) -> Generator[None]:
    """Ask for the activation of a number that is due inside of this; a failure is taken note of."""
    try:
        yield
        kept.failure = None
    except _PASSING:
        kept.asked_at = None
        raise
    except Exception as error:
        told = error if isinstance(error, SmspvaError) else SmspvaError(f"the activation failed: {error!r}")
        kept.failure, kept.refusals = told, kept.refusals + 1
        raise
    finally:
        kept.asking = False
