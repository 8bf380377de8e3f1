"""Orders: the provider's records of rented numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from smspva_async.simulator._clock import DAY, Clock
from smspva_async.simulator._refusals import RestoreRefusal, check_restore_refusal

if TYPE_CHECKING:
    from datetime import datetime

INACTIVE, ACTIVE, ACTIVATING, ABSENT = 0, 1, 2, -1


@frozen
class Message:
    """A text message on a number."""

    text: str
    """The text of the message."""
    sender: str | None
    """The sender, or None if the server leaves it out."""
    date: int | None
    """The unix time of arrival, or None if the server leaves it out."""
    other: bool
    """True if the message belongs to no service of the order (`OtherSms`)."""
    number: int
    """The index among the messages of the order, from 0."""


@define(eq=False, kw_only=True)
class SimulatedOrder:
    """A rented number. Values that depend on the time are computed on access."""

    id: int
    """The id in the API; by default ids count up from 40300, as in the page's sample."""
    country: str
    """The country code, such as `RU`."""
    services: dict[str, str]
    """The services' names by code; the name is empty if the service is not in the catalogue."""
    ccode: str
    """The dial code with its plus, such as `+7`; empty if `pnumber` is the whole number."""
    number: str
    """The digits after the dial code, or all digits if `ccode` is empty."""
    provider: str
    """The company that supplies the number."""
    always_active: bool
    """True if the number needs no activation and never becomes inactive."""
    owned: bool
    """False if the order belongs to another user."""
    days: int
    """The number of paid days."""
    begins: float
    """The start of the rental, in seconds on the simulator's clock like all times below."""
    ends: float
    """The end of the rental."""
    listed_from: float
    """The time from which `orders` lists the order."""
    restore_refusal: RestoreRefusal | None = field(default=None, validator=check_restore_refusal)
    """The reason why `restore_user` refuses the order: one of the page's codes, or `false` for `data: false`; None: it
    does not refuse."""
    closed: float | None = None
    """The time of deletion."""
    restored_as: int | None = None
    """The id of the order that replaced this one."""
    messages: list[Message] = field(factory=list[Message])
    """All messages that arrived, oldest first, including those that `sms` no longer lists."""
    unread_since: float | None = None
    """The arrival of the newest message if it is unread; None: nothing is unread."""
    fixed_state: int | None = None
    """A state that changes neither with time nor by `activate`."""
    active_from: float | None = None
    """The time when the last activation takes effect; None: no activation, or `deactivate` has ended it."""
    active_until: float = 0.0
    """The time when the number becomes inactive again."""
    _previous_online: float = field(default=0.0, init=False)
    _clock: Clock = field(alias="clock", repr=False)

    def __attrs_post_init__(self) -> None:
        self._previous_online = self.begins

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
        """The end of the rental, aware UTC. Setting it simulates a change on the website."""
        return self._clock.at(self.ends)

    @until.setter
    def until(self, moment: datetime) -> None:
        self.ends = self._clock.seconds(moment)

    @property
    def is_open(self) -> bool:
        """True while the order is neither deleted nor expired."""
        return self.closed is None and self._clock.elapsed() < self.ends

    @property
    def state(self) -> int:
        """The state: 0 inactive, 2 activating, 1 active, -1 not in the system (rental page)."""
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
        """The time when the number was last active, on the simulator's clock; now if the number is active."""
        now = self._clock.elapsed()
        if self.state == ACTIVE:
            return now
        if self.active_from is not None and now >= self.active_until:
            return self.active_until
        return self._previous_online

    def schedule_activation(self, delay: float, duration: float) -> None:
        """Make the number active for a time, as after an activation.

        Args:
            delay: Seconds until the number is active.
            duration: Seconds that it stays active.

        """
        self._previous_online = self.last_online
        self.active_from = self._clock.elapsed() + delay
        self.active_until = self.active_from + duration

    def deactivate(self) -> None:
        """Make the number inactive now. An always-active number becomes an ordinary one."""
        self._previous_online = self.last_online
        self.active_from, self.fixed_state, self.always_active = None, None, False

    @property
    def can_prolong(self) -> bool:
        """True if at most 7 days are left (rental page)."""
        return self.ends - self._clock.elapsed() <= 7 * DAY
