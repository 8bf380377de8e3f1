"""The simulator: the provider behind its address, and what tests and demos may do to it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from smspva_async.simulator._clock import DAY, Clock
from smspva_async.simulator._dialects import ContractDialect, Dialect, DialectName, LiveDialect, PageDialect
from smspva_async.simulator._faults import Faults
from smspva_async.simulator._orders import SimulatedOrder
from smspva_async.simulator._provider import Provider
from smspva_async.simulator._server import RecordedRequest, Server
from smspva_async.simulator._switches import Switches
from smspva_async.simulator._transport import Receive, Scope, Send, SimulatorTransport, serve_asgi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smspva_async.simulator._catalogue import Country
    from smspva_async.simulator._refusals import RestoreRefusal

__all__ = ["Simulator"]

_DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)


class Simulator:
    """SMSPVA's rental API and balance in memory: an ASGI app, and a transport for httpx clients in the same process.

    The state of the world is a function of time on anyio's clock, so that it works in real and in virtual time, under
    asyncio and trio, without tasks of its own. The clock starts with the first use inside an event loop; what is done
    before happens at the start. Whatever is left to chance is drawn from the seed.

    It answers at `/api/rent.php`, with the key in the query, and at `/activation/balance`, with the key in the header
    `apikey` (contract). Any other path is HTTP 404, whatever the host.

    Rules come from the rental page and the provider's contract where they have any; docstrings say which are assumed.

    Args:
        seed: The seed of everything random; the same seed and the same requests give the same answers.
        dialect: Shapes of the answers: `page` (the rental page's samples), `live` (those seen on the live server, at
            random) or `contract` (the JSON types that the provider's own SDK states).
        start: The server's time at the start, aware; fractions of a second are dropped.
        api_key: The only key that is accepted; None: any is.
        balance: The account's balance in USD.
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
        self._switches = Switches(activation=activation, active=active, page_calls_only=dialect == "page")
        self._faults = Faults(seed)
        self._dialect: DialectName = dialect
        self._clock = Clock(start)
        self._provider = Provider(
            self._clock,
            Random(f"{seed} world"),  # noqa: S311 - not cryptography
            self._switches,
            Decimal(balance),
            renumbers=dialect != "page",
        )
        contract = ContractDialect(self._switches)
        dialects: dict[DialectName, Dialect] = {
            "page": PageDialect(contract),
            "live": LiveDialect(seed),
            "contract": contract,
        }
        self._server = Server(
            self._provider,
            self._clock,
            dialects[dialect],
            self._switches,
            self._faults,
            Random(f"{seed} damage"),  # noqa: S311 - not cryptography
            api_key,
        )

    # Ways in

    def transport(self) -> SimulatorTransport:
        """Return a new httpx transport that leads here, to be given to a client as `transport`."""
        return SimulatorTransport(self._server.respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI: HTTP and the lifespan.

        ASGI can't refuse a connection, nor drop it before an answer: `refused`, `connect_timeout`, `lost` and `reset`
        raise `ConnectionResetError`, which a server turns into HTTP 500 or a closed connection; `cut` raises it after
        half of the body; `hang` lasts until the client has gone.
        """
        await serve_asgi(self._server.respond, scope, receive, send)

    # Settings and records

    @property
    def switches(self) -> Switches:
        """Settings for the unknowns of the real server, and its times. They may be changed at any time."""
        return self._switches

    @property
    def faults(self) -> Faults:
        """The faults that requests meet, by script or by chance."""
        return self._faults

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request, in order. It may be cleared."""
        return self._server.requests

    @property
    def violations(self) -> list[str]:
        """Rules of the provider that requests broke. Tests assert that it is empty."""
        return self._server.violations

    @property
    def dialect(self) -> DialectName:
        """The shapes of the answers."""
        return self._dialect

    @property
    def api_key(self) -> str | None:
        """The only key that is accepted; None: any is."""
        return self._server.api_key

    @api_key.setter
    def api_key(self, key: str | None) -> None:
        self._server.api_key = key

    # The world

    @property
    def now(self) -> datetime:
        """The server's clock, aware UTC."""
        return self._clock.at(self._clock.elapsed())

    @property
    def balance(self) -> Decimal:
        """The account's balance in USD; every purchase is charged to it, and `balance` answers it. It can be set."""
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
        """Add an order as if it had been rented before. It costs nothing and is listed at once.

        Args:
            country: The country's code. One outside the catalogue needs `phone` and `ccode`, and the order can't be
                restored then.
            service: The service's code, or several. An order with a service outside of the catalogue can't be restored.
            order_id: The order's id; by default the next one.
            phone: The whole number with its plus, or the part after the dial code; by default it is drawn.
            ccode: The dial code, by default the country's; with an empty one `pnumber` is the whole number.
            days: The length in days, from now or up to `until`.
            until: The end, aware, by default `days` from now; one in the past makes an archived order.
            state: 0, 1, 2 or -1 (any other number is a state that the page doesn't know), as by `set_state`; by default
                it is 1 for always-active numbers and 0 for others.
            always_active: True for a number that is active all the time; by default where a country has no others.
            owned: False makes it another user's.
            provider: The company that the number comes from; the live dialect lists it for some orders.
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
        names = {} if home is None else {code: offer.name for code, offer in home.offers.items()}
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
        rebate: int | None = None,
        count: int | None = None,
    ) -> None:
        """Set the price of an offer of the catalogue, or how many numbers are free.

        Args:
            country: The country's code.
            service: The service's code.
            price_day: USD per day, without a rebate unless one is given; None leaves it.
            rebate: Percent off the price of each day of a rental of 30 days or more; None leaves it.
            count: The free numbers, all of the provider `A`; None leaves them.

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
        """Let a message arrive at a number, and raise `hasnewsms`.

        Args:
            order_id: The order's id.
            text: The message.
            sender: The sender; None: the server leaves it out.
            date: The unix time of its arrival, in whole seconds; None: the server leaves it out.
            other: True to list it in `OtherSms`; the page's dialect has no such list.
            network: True to deliver it as a real network does: it is lost unless the number is active and still
                rented. By default it arrives whatever the state.

        Returns:
            Whether it arrived.

        Raises:
            LookupError: There is no such order.
            ValueError: The page's dialect has no `other` messages.

        """
        order = self.order(order_id)
        if other and self.dialect == "page":
            raise ValueError("the page's dialect has no OtherSms: use dialect='live' or 'contract'")
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


def _split(phone: str, ccode: str) -> tuple[str, str]:
    """Return the dial code with its plus, or nothing, and the digits after it."""
    code = f"+{ccode.removeprefix('+')}" if ccode else ""
    if phone.startswith("+") and not phone.startswith(code):
        raise ValueError(f"{phone} doesn't begin with the dial code {code}")
    number = phone.removeprefix(code or "+") if phone.startswith("+") else phone
    if not (number.isascii() and number.isdigit()):
        raise ValueError(f"{phone!r} is no phone number")
    return code, number
