"""A rented number as the provider keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from smspva_async.simulator._clock import DAY, Clock
from smspva_async.simulator._refusals import RestoreRefusal, check_restore_refusal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Message", "SimulatedOrder"]

INACTIVE, ACTIVE, ACTIVATING, ABSENT = 0, 1, 2, -1


@frozen
class Message:
    """A text message on a number."""

    text: str
    """What it says."""
    sender: str | None
    """Who it is from, or None for a message whose sender the server doesn't tell."""
    date: int | None
    """Unix time of its arrival, or None for a message that the server doesn't date."""
    other: bool
    """Whether it belongs to no service that was rented (`OtherSms` of the live server)."""
    number: int
    """Its place among the messages of its order, from 0."""


@define(eq=False, kw_only=True)
class SimulatedOrder:
    """A rented number. What depends on time is computed when it is asked for."""

    id: int
    """By which the API knows it; numbers count up from 40300, as in the page's sample."""
    country: str
    """Country code, such as `RU`."""
    services: dict[str, str]
    """Names by service code; the name is empty if the catalogue has no such service."""
    ccode: str
    """Dial code with its plus, such as `+7`; empty if the server tells the number whole."""
    number: str
    """Digits after the dial code, or all of them where `ccode` is empty."""
    provider: str
    """The company that the number comes from."""
    always_active: bool
    """Whether it needs no activation, and never lapses."""
    owned: bool
    """False for a number of another user."""
    days: int
    """Days that were paid for."""
    begins: float
    """Second on the simulator's clock, as all the times below."""
    ends: float
    """When the time that was paid for is up."""
    listed_from: float
    """When the purchase shows up in `orders`."""
    restore_refusal: RestoreRefusal | None = field(default=None, validator=check_restore_refusal)
    """Why this order can't be restored: one of the page's codes, or `false` for `data: false`; None: it can."""
    closed: float | None = None
    """When it was deleted."""
    restored_as: int | None = None
    """Id of the order that has taken its place."""
    messages: list[Message] = field(factory=list[Message])
    """All that arrived, oldest first, whatever `sms` still lists."""
    flagged: float | None = None
    """When the newest unread message arrived."""
    fixed_state: int | None = None
    """A state that neither time nor `activate` changes."""
    active_from: float | None = None
    """When the last activation takes effect; None: there was none, or it was ended by `switch_off`."""
    active_until: float = 0.0
    """When it lapses."""
    _seen_online: float = field(default=0.0, init=False)
    _clock: Clock = field(alias="clock", repr=False)

    def __attrs_post_init__(self) -> None:
        self._seen_online = self.begins

    @property
    def service(self) -> str:
        """The code of the first service, such as `opt16`."""
        return next(iter(self.services))

    @property
    def service_name(self) -> str:
        """The name of the first service."""
        return self.services[self.service]

    @service_name.setter
    def service_name(self, name: str) -> None:
        self.services[self.service] = name

    @property
    def phone(self) -> str:
        """The whole number with its plus, such as `+79096037108`."""
        return f"+{self.ccode.removeprefix('+')}{self.number}"

    @property
    def until(self) -> datetime:
        """The end of the rental, aware UTC; it can be set, as by somebody who prolongs on the website."""
        return self._clock.at(self.ends)

    @until.setter
    def until(self, moment: datetime) -> None:
        self.ends = self._clock.seconds(moment)

    @property
    def is_open(self) -> bool:
        """Whether the rental runs: neither deleted nor expired."""
        return self.closed is None and self._clock.elapsed() < self.ends

    @property
    def state(self) -> int:
        """0 not active, 2 activating, 1 active, -1 not in the system (rental page)."""
        if self.fixed_state is not None:
            return self.fixed_state
        if self.always_active:
            return ACTIVE
        now = self._clock.elapsed()
        if self.active_from is None or now >= self.active_until:
            return INACTIVE
        return ACTIVE if now >= self.active_from else ACTIVATING

    @property
    def last_online(self) -> float:
        """When the number was last active, on the simulator's clock; it moves on as long as it is."""
        now = self._clock.elapsed()
        if self.state == ACTIVE:
            return now
        if self.active_from is not None and now >= self.active_until:
            return self.active_until
        return self._seen_online

    def queue(self, wait: float, stay: float) -> None:
        """Become active, and lapse then, as after an activation.

        Args:
            wait: Seconds in the queue.
            stay: Seconds that it is active then.

        """
        self._seen_online = self.last_online
        self.active_from = self._clock.elapsed() + wait
        self.active_until = self.active_from + stay

    def switch_off(self) -> None:
        """Become inactive now, and an ordinary number if it was always active."""
        self._seen_online = self.last_online
        self.active_from, self.fixed_state, self.always_active = None, None, False

    @property
    def can_prolong(self) -> bool:
        """Whether at most 7 days are left (rental page: only then)."""
        return self.ends - self._clock.elapsed() <= 7 * DAY
