"""The `Simulator` class: access to the simulated provider, and control over it for tests and demos."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from smspva_async.simulator._behavior import Behavior
from smspva_async.simulator._clock import DAY, Clock
from smspva_async.simulator._dialects import ContractDialect, Dialect, DialectName, LiveDialect, PageDialect
from smspva_async.simulator._faults import Faults
from smspva_async.simulator._orders import SimulatedOrder
from smspva_async.simulator._provider import Provider
from smspva_async.simulator._server import RecordedRequest, Server
from smspva_async.simulator._transport import Receive, Scope, Send, SimulatorTransport, serve_asgi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smspva_async.simulator._catalogue import Country
    from smspva_async.simulator._refusals import RestoreRefusal

_DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)


class Simulator:
    """SMSPVA's rental API and balance in memory: an ASGI app, and a transport for httpx clients in the same process.

    All state is a function of the time on anyio's clock. So the simulator works in real and in virtual time, under
    asyncio and trio, without tasks of its own. The clock starts at the first use inside an event loop; earlier changes
    happen at the start time. All random choices depend on the seed.

    It answers at `/api/rent.php`, with the key in the query, and at `/activation/balance`, with the key in the header
    `apikey` (contract). Any other path is HTTP 404. The host is ignored.

    The rules are those of the rental page and the provider's contract; docstrings say which ones are assumed.

    Args:
        seed: The random seed; the same seed and the same requests give the same answers.
        dialect: The response formats: `page` (the rental page's samples), `live` (those seen on the live server, chosen
            at random) or `contract` (the JSON types of the provider's own SDK).
        start: The server's start time, aware; fractions of a second are dropped.
        api_key: The only accepted key; None: every key is accepted.
        balance: The account's balance in USD.
        activation: Shortest and longest wait for an activation, in seconds (rental page: 10 to 15 minutes).
        active: Shortest and longest time that a number stays active, in seconds (rental page: 10 to 30 minutes).

    Raises:
        ValueError: The dialect doesn't exist, `start` has no time zone, or a pair isn't (lowest, highest).

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
            raise ValueError(f"dialect must be one of {', '.join(get_args(DialectName))}, got {dialect!r}")
        self._behavior = Behavior(activation=activation, active=active, page_calls_only=dialect == "page")
        self._faults = Faults(seed)
        self._dialect: DialectName = dialect
        self._clock = Clock(start)
        self._provider = Provider(
            self._clock,
            Random(f"{seed} world"),  # noqa: S311 - not cryptography
            self._behavior,
            Decimal(balance),
            restore_changes_id=dialect != "page",
        )
        contract = ContractDialect(self._behavior)
        dialects: dict[DialectName, Dialect] = {
            "page": PageDialect(contract),
            "live": LiveDialect(seed),
            "contract": contract,
        }
        self._server = Server(
            self._provider,
            self._clock,
            dialects[dialect],
            self._behavior,
            self._faults,
            Random(f"{seed} damage"),  # noqa: S311 - not cryptography
            api_key,
        )

    # Access

    def transport(self) -> SimulatorTransport:
        """Return a new httpx transport to this simulator, for a client's argument `transport`."""
        return SimulatorTransport(self._server.respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI: HTTP and the lifespan protocol.

        An ASGI app can't refuse or drop a connection. So the faults `refused`, `connect_timeout`, `lost` and `reset`
        raise `ConnectionResetError`, which a server turns into HTTP 500 or a closed connection. `cut` raises it after
        half of the body, and `hang` lasts until the client disconnects.
        """
        await serve_asgi(self._server.respond, scope, receive, send)

    # Settings and records

    @property
    def behavior(self) -> Behavior:
        """Settings for the unknown behavior of the real server, and its times. They can change at any time."""
        return self._behavior

    @property
    def faults(self) -> Faults:
        """The faults of requests, scripted or random."""
        return self._faults

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests, in order. The list can be cleared."""
        return self._server.requests

    @property
    def violations(self) -> list[str]:
        """The provider's rules that requests broke. Tests assert that this list is empty."""
        return self._server.violations

    @property
    def dialect(self) -> DialectName:
        """The response formats."""
        return self._dialect

    @property
    def api_key(self) -> str | None:
        """The only accepted key; None: every key is accepted. It can be set."""
        return self._server.api_key

    @api_key.setter
    def api_key(self, key: str | None) -> None:
        self._server.api_key = key

    # The provider's state

    @property
    def now(self) -> datetime:
        """The server's time, aware UTC."""
        return self._clock.at(self._clock.elapsed())

    @property
    def balance(self) -> Decimal:
        """The account's balance in USD, which pays for all purchases. It can be set."""
        return self._provider.balance

    @balance.setter
    def balance(self, amount: Decimal | int | str) -> None:
        self._provider.balance = Decimal(amount)

    @property
    def catalogue(self) -> Mapping[str, Country]:
        """The countries by code, with their services, prices and stock. Offers can be changed in place."""
        return self._provider.catalogue

    @property
    def orders(self) -> list[SimulatedOrder]:
        """The account's open orders."""
        return self._provider.open_orders()

    def order(self, order_id: int) -> SimulatedOrder:
        """Return an order, which may be closed or belong to another user.

        Args:
            order_id: The order's id.

        Raises:
            LookupError: There is no such order.

        """
        return self._provider.order(order_id)

    def add_order(  # noqa: PLR0913 - keywords
        self,
        country: str = "RU",
        service: str | Sequence[str] = "opt16",
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
        """Add an earlier purchase. It costs nothing, and `orders` lists it at once.

        Args:
            country: The country's code. A country that is not in the catalogue requires `phone` and `ccode`, and its
                order can't be restored.
            service: One or more service codes. An order with a service that is not in the catalogue can't be restored.
            order_id: The order's id; default: the next one.
            phone: The whole number with its plus, or the part after the dial code; default: a random number.
            ccode: The dial code; default: the country's. If it is empty, `pnumber` is the whole number.
            days: The length in days, starting now or ending at `until`.
            until: The end, aware; default: `days` from now. An end in the past makes an archived order.
            state: The state as in `set_state`; default: 1 for an always-active number, else 0.
            always_active: True for a number that is always active; default: True if the country has no other numbers.
            owned: False for an order of another user.
            provider: The company that supplies the number; the dialect `live` lists it for some orders.
            restore_refusal: The reason why the order can't be restored after it has expired; None: it can.

        Raises:
            ValueError: The country requires a number, the number doesn't match the dial code, the id is taken, `until`
                has no time zone, or the refusal doesn't exist.

        """
        entry = self._provider.catalogue.get(country)
        if entry is None and (phone is None or ccode is None):
            raise ValueError(f"{country!r} is not in the catalogue: pass phone and ccode")
        if order_id is not None and order_id in self._provider.orders:
            raise ValueError(f"order {order_id} already exists")
        if entry is not None:
            ccode = entry.dial if ccode is None else ccode
            phone = self._provider.draw_number(entry) if phone is None else phone
        ccode, number = _split_phone(phone or "", ccode or "")
        names = {} if entry is None else {code: offer.name for code, offer in entry.offers.items()}
        now = self._clock.elapsed()
        ends = self._provider.days_from_now(days) if until is None else self._clock.seconds(until)
        begins = min(now, ends - days * DAY)
        order = SimulatedOrder(
            clock=self._clock,
            id=self._provider.next_id() if order_id is None else order_id,
            country=country,
            services={code: names.get(code, "") for code in ([service] if isinstance(service, str) else service)},
            ccode=ccode,
            number=number,
            provider=provider,
            always_active=(
                entry is not None and entry.activation == "always" if always_active is None else always_active
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
        """Set the state of a number.

        The states 1 (active) and 2 (activating) continue as after an activation. 0 is inactive. Any other state stays
        until the next call. An always-active number that gets another state becomes an ordinary one.

        Args:
            order_id: The order's id.
            state: The state, from the rental page (0, 1, 2 or -1) or any other number.

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
        rebate: int | None = None,
        count: int | None = None,
    ) -> None:
        """Change the price or the stock of an offer in the catalogue.

        Args:
            country: The country's code.
            service: The service's code.
            price_day: USD per day; this resets the rebate unless `rebate` is given. None: unchanged.
            rebate: The discount in percent for rentals of 30 days or more. None: unchanged.
            count: The number of free numbers, all at the provider `A`. None: unchanged.

        Raises:
            LookupError: The catalogue has no such offer.

        """
        try:
            offer = self._provider.catalogue[country].offers[service]
        except KeyError:
            raise LookupError(f"the catalogue has no {service} in {country}") from None
        if price_day is not None:
            offer.price_day, offer.rebate = Decimal(price_day), 0
        if rebate is not None:
            offer.rebate = rebate
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
        """Deliver a message to a number, and raise `hasnewsms`.

        Args:
            order_id: The order's id.
            text: The text of the message.
            sender: The sender; None: the server leaves it out.
            date: The unix time of arrival, in whole seconds; None: the server leaves it out.
            other: True: `sms` lists the message in `OtherSms`, which the dialect `page` doesn't have.
            network: True: the message is lost, as in a real network, unless the number is active and still rented.
                False: the message always arrives.

        Returns:
            True if the message arrived.

        Raises:
            LookupError: There is no such order.
            ValueError: `other` is True in the dialect `page`.

        """
        order = self.order(order_id)
        if other and self.dialect == "page":
            raise ValueError("the dialect 'page' has no OtherSms; use dialect='live' or 'contract'")
        if network and not (order.is_open and order.state == 1):
            return False
        if date == "now":
            date = self._clock.unix(self._clock.elapsed())
        self._provider.add_message(order, text, sender, date, other=other)
        return True

    def read_elsewhere(self, order_id: int) -> None:
        """Clear `hasnewsms`, like a user who reads the messages on the website.

        Args:
            order_id: The order's id.

        Raises:
            LookupError: There is no such order.

        """
        self.order(order_id).unread_since = None

    def remove_order(self, order_id: int) -> None:
        """End an order now, like a user who deletes it on the website.

        Args:
            order_id: The order's id.

        Raises:
            LookupError: There is no such order.

        """
        self.order(order_id).closed = self._clock.elapsed()


def _split_phone(phone: str, ccode: str) -> tuple[str, str]:
    """Return the dial code with its plus, or an empty string, and the digits after it."""
    code = f"+{ccode.removeprefix('+')}" if ccode else ""
    if phone.startswith("+") and not phone.startswith(code):
        raise ValueError(f"{phone} doesn't begin with the dial code {code}")
    number = phone.removeprefix(code or "+") if phone.startswith("+") else phone
    if not (number.isascii() and number.isdigit()):
        raise ValueError(f"{phone!r} is not a phone number")
    return code, number
