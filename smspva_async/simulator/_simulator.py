"""The simulator: the provider behind its address, and what tests and demos may do to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import parse_qsl

from attrs import evolve, frozen

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._clock import DAY, Clock
from smspva_async.simulator._dialects import Dialect, DialectName, LiveDialect, PageDialect
from smspva_async.simulator._faults import Fault, FaultName, Faults
from smspva_async.simulator._methods import METHODS, Json, complaints
from smspva_async.simulator._orders import SimulatedOrder
from smspva_async.simulator._provider import Provider
from smspva_async.simulator._refusals import RefusedError, RestoreRefusal
from smspva_async.simulator._replies import Asked, Reply, break_reply, spoil_rows
from smspva_async.simulator._switches import Switches
from smspva_async.simulator._transport import Receive, Scope, Send, SimulatorTransport, serve_asgi

if TYPE_CHECKING:
    from smspva_async.simulator._catalogue import Country

__all__ = ["RecordedRequest", "Simulator"]

_DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
_KEY_HEADERS = {"authorization", "apikey", "api-key", "x-api-key"}
# From this length on a key that is found inside other text is no accident.
_TELLING_LENGTH = 8


@frozen
class RecordedRequest:
    """A request that was made, also one that a fault kept from arriving."""

    method: str
    """The API method; empty if none was named."""
    params: Mapping[str, str]
    """The other parameters, without the key."""
    time: float
    """Seconds on the simulator's clock."""
    at: datetime
    """The same as aware UTC time."""
    fault: FaultName | None
    """The fault that it met, if any."""


class Simulator:
    """SMSPVA's rental API in memory: an ASGI app, and a transport for httpx clients in the same process.

    The state of the world is a function of time on anyio's clock, so that it works in real and in virtual time, under
    asyncio and trio, without tasks of its own. The clock starts with the first use inside an event loop; what is done
    before happens at the start. Whatever is left to chance is drawn from the seed.

    Rules come from the rental page where it has any; docstrings tell which ones are assumed.

    Args:
        seed: What chance is drawn from; the same seed and the same requests give the same answers.
        dialect: `page` (shapes of the rental page's samples) or `live` (those that the live server was seen to give).
        start: The server's time at the start, aware; fractions of a second are dropped.
        api_key: The only key that is accepted; None: any is.
        balance: What the account has, in USD.
        activation: Shortest and longest seconds that a number waits to be active (rental page: 10 to 15 minutes).
        active: Shortest and longest seconds that it is active then (rental page: 10 to 30 minutes).

    Raises:
        ValueError: There is no such dialect, `start` has no time zone, or a pair isn't (lowest, highest).

    """

    def __init__(
        self,
        *,
        seed: int = 0,
        dialect: DialectName = "page",
        start: datetime = _DEFAULT_START,
        api_key: str | None = None,
        balance: Decimal | int | str = 1000,
        activation: tuple[float, float] = (600.0, 900.0),
        active: tuple[float, float] = (600.0, 1800.0),
    ) -> None:
        if dialect not in get_args(DialectName):
            raise ValueError(f"dialect must be one of {', '.join(get_args(DialectName))}, not {dialect!r}")
        self.switches: Switches = Switches(activation=activation, active=active)
        """What isn't known of the real server, and its times. May be changed at any time."""
        self.faults: Faults = Faults(seed)
        """What goes wrong, by script or by chance."""
        self.requests: list[RecordedRequest] = []
        """Every request, in order."""
        self.violations: list[str] = []
        """What was wrong with requests by the provider's rules. Tests assert that it is empty."""
        self.api_key = api_key
        """The only key that is accepted; None: any is."""
        self.dialect: DialectName = dialect
        """The shapes of the answers, as chosen when it was made; setting it later doesn't change them."""
        self._clock = Clock(start)
        self._rng = Random(f"{seed} damage")  # noqa: S311 - not cryptography
        self._writer: Dialect = LiveDialect(seed) if dialect == "live" else PageDialect()
        self._provider = Provider(
            self._clock,
            Random(f"{seed} world"),  # noqa: S311 - not cryptography
            self.switches,
            Decimal(balance),
            renumbers=dialect == "live",
        )
        self._last_arrival: float | None = None

    # Ways in

    def transport(self) -> SimulatorTransport:
        """Return a new httpx transport that leads here, to be given to a client as `transport`."""
        return SimulatorTransport(self._respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI: HTTP under any path, and the lifespan.

        ASGI can't refuse a connection, nor drop it before an answer: `refused`, `connect_timeout`, `lost` and `reset`
        raise `ConnectionResetError`, which a server turns into HTTP 500 or a closed connection; `cut` raises it after
        half of the body; `hang` lasts until the client has gone.
        """
        await serve_asgi(self._respond, scope, receive, send)

    # The world

    @property
    def now(self) -> datetime:
        """The server's clock, aware UTC."""
        return self._clock.at(self._clock.elapsed())

    @property
    def balance(self) -> Decimal:
        """The account's balance in USD; every purchase is charged to it. It can be set."""
        return self._provider.balance

    @balance.setter
    def balance(self, amount: Decimal | int | str) -> None:
        self._provider.balance = Decimal(amount)

    @property
    def catalogue(self) -> Mapping[str, Country]:
        """The countries on offer by code, with their services, prices and stock; offers can be changed in place."""
        return self._provider.catalogue

    @property
    def orders(self) -> list[SimulatedOrder]:
        """The account's open orders."""
        return self._provider.open_orders()

    def order(self, order_id: int) -> SimulatedOrder:
        """Return an order, also a closed one or one of another user.

        Args:
            order_id: The order's id.

        Raises:
            LookupError: There is no such order.

        """
        return self._provider.order(order_id)

    def add_order(  # noqa: PLR0913 - keywords
        self,
        country: str = "RU",
        service: str = "opt16",
        *,
        order_id: int | None = None,
        phone: str | None = None,
        ccode: str | None = None,
        days: int = 7,
        until: datetime | None = None,
        state: int | None = None,
        always_active: bool | None = None,
        owned: bool = True,
        provider: str = "A",
        restore_refusal: RestoreRefusal | None = None,
    ) -> SimulatedOrder:
        """Add an order as if it had been rented before. It costs nothing and is listed at once.

        Args:
            country: The country's code. One outside the catalogue needs `phone` and `ccode`, and the order can't be
                restored then.
            service: The service's code. An order whose service is outside of the catalogue can't be restored.
            order_id: The order's id; by default the next one.
            phone: The whole number with its plus, or the part after the dial code; by default it is drawn.
            ccode: The dial code, by default the country's; with an empty one the server tells the number whole.
            days: How many days it lasts, from now or up to `until`.
            until: The end, aware, by default `days` from now; one in the past makes an archived order.
            state: 0, 1, 2 or -1 (any other number is a state that the page doesn't know), as by `set_state`; by default
                it is 1 for always-active numbers and 0 for others.
            always_active: Whether the number is active all the time; by default where a country has no others.
            owned: False makes it another user's.
            provider: The company that the number comes from; the live dialect tells it for some orders.
            restore_refusal: Why it can't be restored, once it has expired; None: it can.

        Raises:
            ValueError: The country needs a number, the number isn't one of that dial code, the id is taken, `until` has
                no time zone, or there is no such refusal.

        """
        home = self._provider.catalogue.get(country)
        if home is None and (phone is None or ccode is None):
            raise ValueError(f"{country!r} is not in the catalogue: give phone and ccode")
        if order_id is not None and order_id in self._provider.orders:
            raise ValueError(f"order {order_id} exists")
        if home is not None:
            ccode = home.dial if ccode is None else ccode
            phone = self._provider.draw_number(home) if phone is None else phone
        ccode, number = _split(phone or "", ccode or "")
        now = self._clock.elapsed()
        ends = self._provider.days_from_now(days) if until is None else self._clock.seconds(until)
        begins = min(now, ends - days * DAY)
        order = SimulatedOrder(
            clock=self._clock,
            id=self._provider.next_id() if order_id is None else order_id,
            country=country,
            service=service,
            service_name=home.offers[service].name if home is not None and service in home.offers else "",
            ccode=ccode,
            number=number,
            provider=provider,
            always_active=(
                home is not None and home.activation == "always" if always_active is None else always_active
            ),
            owned=owned,
            days=ceil((ends - begins) / DAY),
            begins=begins,
            ends=ends,
            listed_from=now,
            restore_refusal=restore_refusal,
        )
        self._provider.add(order)
        if state is not None:
            self._provider.set_state(order, state)
        return order

    def set_state(self, order_id: int, state: int) -> None:
        """Put a number in a state: 0 inactive, 1 active, 2 in the queue; any other stays until it is set again.

        States 1 and 2 go on from there as after an activation. An always-active number given another state becomes an
        ordinary one.

        Args:
            order_id: The order's id.
            state: The state's number, as the rental page has it or any other.

        Raises:
            LookupError: There is no such order.

        """
        self._provider.set_state(self.order(order_id), state)

    def set_offer(
        self,
        country: str,
        service: str,
        *,
        price_day: Decimal | int | str | None = None,
        count: int | None = None,
    ) -> None:
        """Set the price of an offer of the catalogue, or how many numbers are free.

        Args:
            country: The country's code.
            service: The service's code.
            price_day: USD per day; None leaves it.
            count: How many numbers are free, all of the provider `A`; None leaves them.

        Raises:
            LookupError: The catalogue has no such offer.

        """
        try:
            offer = self._provider.catalogue[country].offers[service]
        except KeyError:
            raise LookupError(f"the catalogue has no {service} in {country}") from None
        if price_day is not None:
            offer.price_day = Decimal(price_day)
        if count is not None:
            offer.stock = {"A": count}

    def deliver(
        self,
        order_id: int,
        text: str,
        *,
        sender: str | None = "INFO",
        date: int | Literal["now"] | None = "now",
        other: bool = False,
        network: bool = False,
    ) -> bool:
        """Let a message arrive at a number, and raise `hasnewsms`.

        Args:
            order_id: The order's id.
            text: The message.
            sender: Who it is from; None: the server doesn't tell it.
            date: When it arrived, as unix time in whole seconds; None: the server doesn't tell it.
            other: Whether the live server lists it among its `OtherSms`; the page's dialect has no place for those.
            network: Whether it goes the way of a real message, which is lost unless the number is active and still
                rented. By default it arrives whatever the state.

        Returns:
            Whether it arrived.

        Raises:
            LookupError: There is no such order.
            ValueError: The page's dialect has no `other` messages.

        """
        order = self.order(order_id)
        if other and self.dialect == "page":
            raise ValueError("the page's dialect has no OtherSms: use dialect='live'")
        if network and not (order.is_open and order.state == 1):
            return False
        if date == "now":
            date = self._clock.unix(self._clock.elapsed())
        self._provider.receive(order, text, sender, date, other=other)
        return True

    def read_elsewhere(self, order_id: int) -> None:
        """Clear `hasnewsms`, as somebody does who reads the messages on the website.

        Args:
            order_id: The order's id.

        Raises:
            LookupError: There is no such order.

        """
        self.order(order_id).flagged = None

    def remove_order(self, order_id: int) -> None:
        """End an order now, as somebody does who deletes it on the website.

        Args:
            order_id: The order's id.

        Raises:
            LookupError: There is no such order.

        """
        self.order(order_id).closed = self._clock.elapsed()

    # The server

    def _respond(self, asked: Asked) -> Reply:
        """Answer a request: the deed is done here and now, before the answer travels."""
        with self._clock.held():
            return self._exchange(asked)

    def _exchange(self, asked: Asked) -> Reply:
        pairs = parse_qsl(asked.query, keep_blank_values=True)
        params = dict(pairs)
        method, key = params.pop("method", ""), params.pop("apikey", "")
        fault = self.faults.meet(method)
        self.requests.append(
            RecordedRequest(method, params, self._clock.elapsed(), self.now, None if fault is None else fault.name)
        )
        wrong = [*_wrong_ways(asked, pairs, key), *complaints(method, params)]
        self.violations += [f"{method or 'no method'}: {what}" for what in wrong]
        reply = self._reply(asked.verb, method, params, key, fault)
        if fault is not None:
            reply = break_reply(reply, fault, asked)
        date = format_datetime(self._clock.at(self._clock.elapsed() + reply.delay), usegmt=True)
        return evolve(reply, headers={"Server": "nginx", "Date": date, **reply.headers})

    def _reply(self, verb: str, method: str, params: Mapping[str, str], key: str, fault: Fault | None) -> Reply:
        if fault is not None and not fault.done:
            return self._refusal(_wordings(fault, key))
        if self._too_soon():
            return self._too_many()
        try:
            data = self._do(verb, method, params, key)
        except RefusedError as refused:
            return self._refusal(refused.wordings)
        if fault is not None:
            data = spoil_rows(data, fault, self._rng)
        zero = method == "prolong" and self.switches.prolong_status_zero
        return Reply(self._writer.success(method, data, zero=zero), self._writer.content_type)

    def _do(self, verb: str, method: str, params: Mapping[str, str], key: str) -> Json:
        known = METHODS.get(method)
        if known is None or verb != "GET":
            raise RefusedError(refusals.METHOD_UNKNOWN)
        if known.needs_key:
            self._check_key(key)
        return known.answer(self._provider, params)

    def _check_key(self, key: str) -> None:
        if not key:
            raise RefusedError(refusals.KEY_MISSING)
        if self.api_key is not None and key != self.api_key:
            raise RefusedError(refusals.KEY_UNKNOWN)
        if self.switches.banned:
            raise RefusedError(refusals.BANNED)

    def _too_soon(self) -> bool:
        """Return whether the request breaks the rate limit; those that were refused for it count too (assumed)."""
        now, last, gap = self._clock.elapsed(), self._last_arrival, self.switches.rate_limit
        self._last_arrival = now
        # The clock is rounded to the microsecond, and so are the differences.
        return gap is not None and last is not None and round(now - last, 6) < gap

    def _too_many(self) -> Reply:
        match self.switches.rate_limit_answer:
            case "json":
                return self._refusal(refusals.TOO_MANY)
            case "text":
                return Reply(refusals.TOO_MANY[0].encode())
            case "http_429":
                wait = ceil(self.switches.rate_limit or 0)
                return Reply(b"Too Many Requests", status=429, headers={"Retry-After": str(wait)})

    def _refusal(self, wordings: tuple[str, ...]) -> Reply:
        return Reply(self._writer.refusal(wordings), self._writer.content_type)


def _wordings(fault: Fault, key: str) -> tuple[str, ...]:
    """Return the refusal of a server that a fault kept from doing what was asked; most faults hide it."""
    match fault.name:
        case "too_many":
            return refusals.TOO_MANY
        case "refusal":
            return (fault.msg,)
        case "echo":
            return (f"Incorrect request: apikey={key}",)
        case _:
            return ("Server error",)


def _wrong_ways(asked: Asked, pairs: list[tuple[str, str]], key: str) -> list[str]:
    """Return what is wrong with the way of asking, whatever the method; never tells the key."""
    names = [name for name, _value in pairs]
    telling = len(key) >= _TELLING_LENGTH
    return [
        *([f"{asked.verb} instead of GET"] if asked.verb != "GET" else []),
        *(["a body"] if asked.body else []),
        *(f"repeated parameter {name}" for name in sorted(set(names)) if names.count(name) > 1),
        *(
            f"key in the header {name}"
            for name, value in asked.headers
            if name in _KEY_HEADERS or (key and value == key) or (telling and key in value)
        ),
        *(["key in the path"] if telling and key in asked.path else []),
    ]


def _split(phone: str, ccode: str) -> tuple[str, str]:
    """Return the dial code with its plus, or nothing, and the digits after it."""
    code = f"+{ccode.removeprefix('+')}" if ccode else ""
    if phone.startswith("+") and not phone.startswith(code):
        raise ValueError(f"{phone} doesn't begin with the dial code {code}")
    number = phone.removeprefix(code or "+") if phone.startswith("+") else phone
    if not (number.isascii() and number.isdigit()):
        raise ValueError(f"{phone!r} is no phone number")
    return code, number
