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
    """The text."""
    sender: str | None
    """The sender, or None if the server leaves it out."""
    date: int | None
    """Unix time of its arrival, or None if the server leaves it out."""
    other: bool
    """True if it belongs to no service of the order (`OtherSms`)."""
    number: int
    """Its place among the messages of its order, from 0."""


@define(eq=False, kw_only=True)
class SimulatedOrder:
    """A rented number. Values that depend on time are computed on access."""

    id: int
    """The id in the API; ids count up from 40300, as in the page's sample."""
    country: str
    """Country code, such as `RU`."""
    services: dict[str, str]
    """Names by service code; the name is empty if the catalogue has no such service."""
    ccode: str
    """Dial code with its plus, such as `+7`; empty if `pnumber` is the whole number."""
    number: str
    """Digits after the dial code, or all of them where `ccode` is empty."""
    provider: str
    """The company that the number comes from."""
    always_active: bool
    """True if it needs no activation and never lapses."""
    owned: bool
    """False for a number of another user."""
    days: int
    """Days that were paid for."""
    begins: float
    """Second on the simulator's clock, as all the times below."""
    ends: float
    """The end of the time that was paid for."""
    listed_from: float
    """The time from which `orders` lists it."""
    restore_refusal: RestoreRefusal | None = field(default=None, validator=check_restore_refusal)
    """The reason why `restore_user` refuses it: one of the page's codes, or `false` for `data: false`; None: none."""
    closed: float | None = None
    """The time of its deletion."""
    restored_as: int | None = None
    """Id of the order that has taken its place."""
    messages: list[Message] = field(factory=list[Message])
    """All messages that arrived, oldest first, also those that `sms` no longer lists."""
    flagged: float | None = None
    """The arrival of the newest unread message."""
    fixed_state: int | None = None
    """A state that neither time nor `activate` changes."""
    active_from: float | None = None
    """The time when the last activation takes effect; None: there was none, or it was ended by `switch_off`."""
    active_until: float = 0.0
    """The time when it lapses."""
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
        """True while the rental runs: neither deleted nor expired."""
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
        """The time when the number was last active, on the simulator's clock; it moves on as long as it is."""
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
        """True if at most 7 days are left (rental page: only then)."""
        return self.ends - self._clock.elapsed() <= 7 * DAY
