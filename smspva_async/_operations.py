"""The operations that an observer measures: calls of the API, polls of a watcher, and waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias

from attrs import define, field, frozen

from smspva_async.events import Event


@define
class Call:
    """A call of the API, from the first attempt to the last. It changes while the call runs."""

    method: str
    """The provider's method."""
    order_id: int | None
    requests: int = 0
    """Requests sent so far."""
    waited: float = 0.0
    """Seconds of waiting for the pace so far."""
    status: int | None = None
    """The HTTP status of the last request's answer; None if there is none."""


@define
class Poll:
    """A watcher's poll of the orders, or of one order's messages, until its answer is applied."""

    method: Literal["orders", "sms"]
    order_id: int | None
    events: list[Event] = field(factory=list[Event])
    """The events that it caused."""
    failure: str | None = None
    """The class of the error if it failed. An error that ends the watch is raised instead."""


@frozen
class Wait:
    """A caller's wait for an order."""

    kind: Literal["state", "message", "activation"]
    order_id: int


Operation: TypeAlias = Call | Poll | Wait
Observer: TypeAlias = Callable[[Operation], AbstractContextManager[object]]
"""Returns the context manager in which an operation runs. `contextlib.nullcontext` observes nothing."""
