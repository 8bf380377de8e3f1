"""The provider's state and rules: orders, activations, prices, the archive. No HTTP and no encoding."""

from __future__ import annotations

from decimal import Decimal
from itertools import chain
from math import ceil, floor
from typing import TYPE_CHECKING

from attrs import evolve

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._catalogue import Country, Offer, build_catalogue
from smspva_async.simulator._clock import DAY, Clock
from smspva_async.simulator._orders import ACTIVATING, ACTIVE, INACTIVE, Message, SimulatedOrder
from smspva_async.simulator._refusals import RefusedError, RestoreRefusal, restore_texts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from smspva_async.simulator._behavior import Behavior

MIN_DAYS, MAX_DAYS = 7, 90
"""The shortest and longest rental in days (rental page, and the refusal of a wrong duration)."""

_MAX_EXTRA_DAYS = 6
"""The most days that `prolong_max` adds."""

RESTORE_DAYS = 30
"""The days that restoring pays in advance (`prolongTo` in the page's sample)."""

_ALWAYS_ACTIVE_PROBABILITY = {"always": 1.0, "on_demand": 0.0, "both": 0.75}
"""The probability that a new number is always active. In a country with both types, always-active numbers have priority
(rental page); 0.75 is assumed."""

_FIRST_ID = 40_300  # from the page's sample of `orders`


def common_stock(offers: Iterable[Offer]) -> dict[str, int]:
    """Return how many numbers of each provider serve all offers (assumed: the smallest stock among the offers)."""
    stocks = [offer.stock for offer in offers]
    return {name: min(stock.get(name, 0) for stock in stocks) for name in dict.fromkeys(chain(*stocks))}


def _price(offers: Iterable[Offer], days: int) -> Decimal:
    return sum((offer.rate(days) * days for offer in offers), Decimal(0))


class Provider:
    """The provider's state for one account, and its rules."""

    def __init__(
        self, clock: Clock, rng: Random, behavior: Behavior, balance: Decimal, *, restore_changes_id: bool
    ) -> None:
        self.clock = clock
        self.behavior = behavior
        self.balance = balance
        self.catalogue = build_catalogue(rng)
        self.orders: dict[int, SimulatedOrder] = {}
        self._rng = rng
        self._restore_changes_id = restore_changes_id
        self._unlisted: set[int] = set()
        self._next_id = _FIRST_ID
        self._numbers: set[str] = set()

    # Orders

    def order(self, order_id: int) -> SimulatedOrder:
        """Return an order of any user, open or archived."""
        try:
            return self.orders[order_id]
        except KeyError:
            raise LookupError(f"the simulator has no order {order_id}") from None

    def open_order(self, order_id: int) -> SimulatedOrder:
        """Return an open order of the account, or raise `RefusedError`."""
        order = self.orders.get(order_id)
        if order is None or not order.is_open:
            raise RefusedError(refusals.ORDER_UNKNOWN)
        if not order.owned:
            raise RefusedError(refusals.NOT_YOURS)
        return order

    def open_orders(self) -> list[SimulatedOrder]:
        """Return the account's open orders."""
        return [order for order in self.orders.values() if order.owned and order.is_open]

    def listed_orders(self) -> list[SimulatedOrder]:
        """Return the orders for one answer of `orders`, without those hidden by `listing_delay` or `flapping`."""
        now, probability = self.clock.elapsed(), self.behavior.flapping
        orders = [order for order in self.open_orders() if order.listed_from <= now]
        # Without flapping, draw no random number: polls must not influence later choices, such as activation times.
        certain = self._unlisted if probability else {order.id for order in orders}
        self._unlisted = {order.id for order in orders if order.id not in certain and self._rng.random() < probability}
        return [order for order in orders if order.id not in self._unlisted]

    def listed_services(self, order: SimulatedOrder) -> list[tuple[str, str]]:
        """Return the service's code and name in each row that lists the order."""
        services = list(order.services.items())
        match self.behavior.multi_orders:
            case "joined":
                codes, names = zip(*services, strict=True)
                return [(",".join(codes), ", ".join(names))]
            case "one_row":
                return services[:1]
            case _:
                return services

    def add(self, order: SimulatedOrder) -> SimulatedOrder:
        """Add an order."""
        self.orders[order.id] = order
        self._numbers.add(order.phone)
        return order

    def next_id(self) -> int:
        """Return an unused id."""
        while self._next_id in self.orders:
            self._next_id += 1
        return self._next_id

    def draw_number(self, country: Country) -> str:
        """Return a random unused number of the country, without the dial code."""
        rest = country.digits - len(country.prefix)
        while True:
            number = f"{country.prefix}{self._rng.randrange(10**rest):0{rest}d}"
            if f"{country.dial}{number}" not in self._numbers:
                return number

    def days_from_now(self, days: int) -> float:
        """Return the end of a rental that begins now, in whole seconds as in the API."""
        return floor(self.clock.elapsed()) + days * DAY

    # Money

    def _charge(self, offers: Iterable[Offer], days: int) -> None:
        amount = _price(offers, days)
        if amount > self.balance:
            raise RefusedError(refusals.NO_MONEY)
        self.balance -= amount

    def offers(self, country: str, services: Iterable[str]) -> list[Offer]:
        """Return the offer of each service, or raise `RefusedError`."""
        try:
            return [self.catalogue[country].offers[service] for service in services]
        except KeyError:
            raise RefusedError(refusals.UNKNOWN_OFFER) from None

    def rent(self, country: str, services: list[str], days: int, provider: str | None) -> list[SimulatedOrder]:
        """Rent one number for all services; a repeated service is rented once (assumed).

        Returns:
            One order, or an order per service if `Behavior.multi_orders` is `own_ids`.

        """
        if not MIN_DAYS <= days <= MAX_DAYS:
            raise RefusedError(refusals.DURATION)
        offers = self.offers(country, dict.fromkeys(services))
        free = common_stock(offers)
        source = provider or max(free, key=lambda name: free[name], default="")
        if free.get(source, 0) < 1:
            raise RefusedError(refusals.NO_NUMBERS)
        self._charge(offers, days)
        for offer in offers:
            offer.stock[source] -= 1
        entry = self.catalogue[country]
        number = self.draw_number(entry)
        always_active = self._rng.random() < _ALWAYS_ACTIVE_PROBABILITY[entry.activation]
        own_ids = self.behavior.multi_orders == "own_ids"
        return [
            self._add_purchase(
                entry,
                order_offers,
                number=number,
                ends=self.days_from_now(days),
                provider=source,
                always_active=always_active,
            )
            for order_offers in ([[offer] for offer in offers] if own_ids else [offers])
        ]

    def _add_purchase(
        self,
        country: Country,
        offers: list[Offer],
        *,
        number: str,
        ends: float,
        provider: str,
        always_active: bool,
    ) -> SimulatedOrder:
        now = self.clock.elapsed()
        order = SimulatedOrder(
            clock=self.clock,
            id=self.next_id(),
            country=country.code,
            services={offer.service: offer.name for offer in offers},
            ccode=country.dial,
            number=number,
            provider=provider,
            always_active=always_active,
            owned=True,
            days=ceil((ends - now) / DAY),
            begins=now,
            ends=ends,
            listed_from=now + self.behavior.listing_delay,
        )
        return self.add(order)

    def add_service(self, order_id: int, service: str, phone: str, days: int | None) -> SimulatedOrder:
        """Rent another service on a number, for `days` or until the order's end (assumed)."""
        order = self.open_order(order_id)
        if phone != order.phone.removeprefix("+"):
            raise RefusedError(refusals.ORDER_UNKNOWN)
        entry = self.catalogue.get(order.country)
        if entry is None or service not in entry.offers:
            raise RefusedError(refusals.SERVICE_UNKNOWN)
        ends = order.ends if days is None else self.days_from_now(days)
        offers = [entry.offers[service]]
        self._charge(offers, ceil((ends - self.clock.elapsed()) / DAY))
        return self._add_purchase(
            entry,
            offers,
            number=order.number,
            ends=ends,
            provider=order.provider,
            always_active=order.always_active,
        )

    def prolong(self, order_id: int, days: int) -> SimulatedOrder:
        """Prolong a rental by weeks or months, at the price of its services."""
        if not MIN_DAYS <= days <= MAX_DAYS:
            raise RefusedError(refusals.DURATION)
        return self._prolong(order_id, days)

    def prolong_days(self, order_id: int, days: int) -> SimulatedOrder:
        """Prolong a rental by a few days, under the conditions of `prolong` (assumed)."""
        if not 1 <= days <= _MAX_EXTRA_DAYS:
            raise RefusedError(refusals.DURATION_IN_DAYS)
        return self._prolong(order_id, days)

    def _prolong(self, order_id: int, days: int) -> SimulatedOrder:
        order = self.open_order(order_id)
        if not order.can_prolong:
            raise RefusedError(refusals.PROLONG_EARLY)
        self._charge(self.offers(order.country, order.services), days)
        order.ends += days * DAY
        order.days += days
        return order

    def delete(self, order_id: int) -> SimulatedOrder:
        """End a rental without a refund and move it to the archive (assumed)."""
        order = self.open_order(order_id)
        order.closed = self.clock.elapsed()
        return order

    # Numbers and messages

    def activate(self, order: SimulatedOrder) -> None:
        """Start the activation of a number, unless it is active or activating (assumed)."""
        if order.state != INACTIVE:
            return
        delay = self._rng.uniform(*self.behavior.activation)
        if self._rng.random() < self.behavior.slow_activation:
            delay *= self._rng.uniform(2, 6)
        order.schedule_activation(delay, self._rng.uniform(*self.behavior.active))

    def set_state(self, order: SimulatedOrder, state: int) -> None:
        """Set the state of a number."""
        if state == ACTIVE and order.always_active:
            return
        order.deactivate()
        if state == ACTIVATING:
            self.activate(order)
        elif state == ACTIVE:
            order.schedule_activation(0.0, self._rng.uniform(*self.behavior.active))
        elif state != INACTIVE:
            order.fixed_state = state

    def add_message(
        self, order: SimulatedOrder, text: str, sender: str | None, date: int | None, *, other: bool
    ) -> None:
        """Add a message to an order and raise the order's flag."""
        order.messages.append(Message(text, sender, date, other, len(order.messages)))
        order.unread_since = self.clock.elapsed()

    def has_new_sms(self, order: SimulatedOrder) -> bool:
        """Return `hasnewsms` of an order."""
        if order.unread_since is None or not self.behavior.flag_rises:
            return False
        lifetime = self.behavior.flag_lifetime
        return lifetime is None or self.clock.elapsed() - order.unread_since < lifetime

    def read_messages(self, order_id: int) -> list[Message]:
        """Return the messages that `sms` lists, and clear the flag."""
        order = self.open_order(order_id)
        if self.behavior.read_clears_flag:
            order.unread_since = None
        keep = self.behavior.sms_keep
        listed = order.messages[:] if keep is None else order.messages[max(len(order.messages) - keep, 0) :]
        if self.behavior.sms_order == "newest":
            listed.reverse()
        elif self.behavior.sms_order == "shuffled":
            self._rng.shuffle(listed)
        return listed

    # Archive

    def archive(self) -> list[SimulatedOrder]:
        """Return the account's closed orders, most recently closed first."""
        closed = [order for order in self.orders.values() if order.owned and not order.is_open]
        return sorted(closed, key=self.closed_at, reverse=True)

    @staticmethod
    def closed_at(order: SimulatedOrder) -> float:
        """Return the time when an archived order was closed."""
        return order.ends if order.closed is None else order.closed

    def quote(self, order_id: int) -> tuple[SimulatedOrder, int, Decimal]:
        """Return an archived order, its overdue days and the price of restoring it, or raise `RefusedError`.

        The price covers the overdue days without a discount and the days paid in advance (rental page).
        """
        order = self.orders.get(order_id)
        if order is None or order.restored_as is not None:
            raise RefusedError(restore_texts("NOREMOTEDATA"))
        overdue = ceil((self.clock.elapsed() - order.ends) / DAY)
        code = self._restore_refusal(order, overdue)
        if code is not None:
            raise RefusedError(restore_texts(code))
        offers = self.offers(order.country, order.services)
        overdue_day = sum(offer.price_day for offer in offers)
        return order, overdue, overdue_day * overdue + _price(offers, RESTORE_DAYS)

    def _restore_refusal(self, order: SimulatedOrder, overdue: int) -> RestoreRefusal | None:
        if order.restore_refusal not in {None, "false"}:
            return order.restore_refusal
        entry = self.catalogue.get(order.country)
        reasons: list[tuple[bool, RestoreRefusal]] = [
            (not order.owned, "NOTOWNER"),
            (self.clock.elapsed() < order.ends, "DATEDIFFINVERT"),
            (entry is None, "NOORDERCOUNTRY"),
            (entry is not None and not entry.offers.keys() >= order.services.keys(), "NOSERVICEDATA"),
            (overdue > MAX_DAYS, "NOAVAILDAYS"),  # the limit is assumed
        ]
        return next((code for applies, code in reasons if applies), None)

    def is_restorable(self, order: SimulatedOrder) -> bool:
        """Return `isAvailForRestore` in the history."""
        try:
            self.quote(order.id)
        except RefusedError:
            return False
        return order.restore_refusal is None

    def restore(self, order_id: int) -> SimulatedOrder | None:
        """Restore an order and charge for it; None represents the server's `data: false`.

        In the dialect `page` the order keeps its id, in the others it gets a new one. It keeps its messages.
        """
        order, _overdue, price = self.quote(order_id)
        if order.restore_refusal == "false":
            return None
        if price > self.balance:
            raise RefusedError(restore_texts("NOBALANCE", f"{price:.2f}"))
        self.balance -= price
        now, ends = self.clock.elapsed(), self.days_from_now(RESTORE_DAYS)
        if not self._restore_changes_id:
            order.closed, order.ends, order.days = None, ends, RESTORE_DAYS
            order.listed_from = now + self.behavior.listing_delay
            return order
        successor = evolve(
            order,
            id=self.next_id(),
            services=dict(order.services),
            begins=now,
            ends=ends,
            days=RESTORE_DAYS,
            listed_from=now + self.behavior.listing_delay,
            closed=None,
            messages=list(order.messages),
        )
        order.restored_as = successor.id
        return self.add(successor)
