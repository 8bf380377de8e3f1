"""The provider itself: orders, the activation queue, money, the archive. No HTTP and no encoding."""

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
from smspva_async.simulator._refusals import RefusedError, RestoreRefusal, restore_wordings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from smspva_async.simulator._switches import Switches

__all__ = ["LONGEST", "RESTORED_DAYS", "SHORTEST", "Provider", "common_stock"]

SHORTEST, LONGEST = 7, 90
"""Days of a rental (rental page, and the message about a wrong duration)."""

LONGEST_BY_DAYS = 6
"""Days that `prolong_max` adds at most."""

RESTORED_DAYS = 30
"""Days that restoring pays in advance (`prolongTo` of the page's sample)."""

_SHARE_ALWAYS_ACTIVE = 0.75
"""Of new numbers where a country has both types: those come first (rental page); how often is assumed."""

_FIRST_ID = 40_300  # the page's sample of `orders`


def common_stock(offers: Iterable[Offer]) -> dict[str, int]:
    """Return how many numbers of each provider serve all of the offers (assumed: as many as the scarcest has)."""
    stocks = [offer.stock for offer in offers]
    return {name: min(stock.get(name, 0) for stock in stocks) for name in dict.fromkeys(chain(*stocks))}


class Provider:
    """The state of the provider for one account, and its rules."""

    def __init__(self, clock: Clock, rng: Random, switches: Switches, balance: Decimal, *, renumbers: bool) -> None:
        self.clock = clock
        self.switches = switches
        self.balance = balance
        self.catalogue = build_catalogue(rng)
        self.orders: dict[int, SimulatedOrder] = {}
        self._rng = rng
        self._renumbers = renumbers
        self._flapped: set[int] = set()
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
        """Return an open order of the account, or refuse as the server does."""
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
        """Return what one answer of `orders` lists: late purchases and flapping orders are missing."""
        now, share = self.clock.elapsed(), self.switches.flapping
        listed = [order for order in self.open_orders() if order.listed_from <= now]
        # Nothing is drawn in vain: how often a client polls must not decide when its numbers become active.
        steady = self._flapped if share else {order.id for order in listed}
        self._flapped = {order.id for order in listed if order.id not in steady and self._rng.random() < share}
        return [order for order in listed if order.id not in self._flapped]

    def listed_services(self, order: SimulatedOrder) -> list[tuple[str, str]]:
        """Return code and name of the service in each row that lists an order."""
        services = list(order.services.items())
        match self.switches.multi_orders:
            case "joined":
                codes, names = zip(*services, strict=True)
                return [(",".join(codes), ", ".join(names))]
            case "one_row":
                return services[:1]
            case _:
                return services

    def add(self, order: SimulatedOrder) -> SimulatedOrder:
        """Take an order into the books."""
        self.orders[order.id] = order
        self._numbers.add(order.phone)
        return order

    def next_id(self) -> int:
        """Return an id that no order has."""
        while self._next_id in self.orders:
            self._next_id += 1
        return self._next_id

    def draw_number(self, country: Country) -> str:
        """Return a free number of the country, without its dial code."""
        rest = country.digits - len(country.prefix)
        while True:
            number = f"{country.prefix}{self._rng.randrange(10**rest):0{rest}d}"
            if f"{country.dial}{number}" not in self._numbers:
                return number

    def draw_always_active(self, country: Country) -> bool:
        """Return whether a new number is always active."""
        share = {"always": 1.0, "on_demand": 0.0, "both": _SHARE_ALWAYS_ACTIVE}[country.activation]
        return self._rng.random() < share

    def days_from_now(self, days: int) -> float:
        """Return the end of a rental that begins now, on a whole second since the API has no fractions."""
        return floor(self.clock.elapsed()) + days * DAY

    # Money

    def offer(self, country: str, service: str) -> Offer:
        """Return an offer, or refuse."""
        try:
            return self.catalogue[country].offers[service]
        except KeyError:
            raise RefusedError(refusals.UNKNOWN_OFFER) from None

    def _charge(self, amount: Decimal) -> None:
        if amount > self.balance:
            raise RefusedError(refusals.NO_MONEY)
        self.balance -= amount

    def offers(self, country: str, services: Iterable[str]) -> list[Offer]:
        """Return an offer for each service, or refuse."""
        return [self.offer(country, service) for service in services]

    def rent(self, country: str, services: list[str], days: int, provider: str | None) -> list[SimulatedOrder]:
        """Rent one number for all of the services; a service that is named twice is rented once (assumed).

        Returns:
            One order, or an order per service if the switch `multi_orders` is `own_ids`.

        """
        if not SHORTEST <= days <= LONGEST:
            raise RefusedError(refusals.DURATION)
        offers = self.offers(country, dict.fromkeys(services))
        free = common_stock(offers)
        source = provider or max(free, key=lambda name: free[name], default="")
        if free.get(source, 0) < 1:
            raise RefusedError(refusals.NO_NUMBERS)
        self._charge(sum((offer.rate(days) * days for offer in offers), Decimal(0)))
        for offer in offers:
            offer.stock[source] -= 1
        home = self.catalogue[country]
        number, always_active = self.draw_number(home), self.draw_always_active(home)
        own_ids = self.switches.multi_orders == "own_ids"
        return [
            self._buy(
                home,
                part,
                number=number,
                ends=self.days_from_now(days),
                provider=source,
                always_active=always_active,
            )
            for part in ([[offer] for offer in offers] if own_ids else [offers])
        ]

    def _buy(
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
            listed_from=now + self.switches.listing_delay,
        )
        return self.add(order)

    def add_service(self, order_id: int, service: str, phone: str, days: int | None) -> SimulatedOrder:
        """Rent another service on a number, for `days` or as long as the order lasts (assumed)."""
        order = self.open_order(order_id)
        if phone != order.phone.removeprefix("+"):
            raise RefusedError(refusals.ORDER_UNKNOWN)
        home = self.catalogue.get(order.country)
        if home is None or service not in home.offers:
            raise RefusedError(refusals.SERVICE_UNKNOWN)
        ends = order.ends if days is None else self.days_from_now(days)
        offer, charged = home.offers[service], ceil((ends - self.clock.elapsed()) / DAY)
        self._charge(offer.rate(charged) * charged)
        return self._buy(
            home,
            [offer],
            number=order.number,
            ends=ends,
            provider=order.provider,
            always_active=order.always_active,
        )

    def prolong(self, order_id: int, days: int) -> SimulatedOrder:
        """Prolong a rental by weeks or months, at the price of its services."""
        if not SHORTEST <= days <= LONGEST:
            raise RefusedError(refusals.DURATION)
        return self._prolong(order_id, days)

    def prolong_days(self, order_id: int, days: int) -> SimulatedOrder:
        """Prolong a rental by a few days, under the same conditions (assumed)."""
        if not 1 <= days <= LONGEST_BY_DAYS:
            raise RefusedError(refusals.DURATION_IN_DAYS)
        return self._prolong(order_id, days)

    def _prolong(self, order_id: int, days: int) -> SimulatedOrder:
        order = self.open_order(order_id)
        if not order.can_prolong:
            raise RefusedError(refusals.PROLONG_EARLY)
        self._charge(self._price(order, days))
        order.ends += days * DAY
        order.days += days
        return order

    def _price(self, order: SimulatedOrder, days: int) -> Decimal:
        return sum((offer.rate(days) * days for offer in self.offers(order.country, order.services)), Decimal(0))

    def delete(self, order_id: int) -> SimulatedOrder:
        """End a rental without a refund; it goes to the archive (assumed)."""
        order = self.open_order(order_id)
        order.closed = self.clock.elapsed()
        return order

    # Numbers and messages

    def draw_stay(self) -> float:
        """Return how long a number stays active, in seconds."""
        return self._rng.uniform(*self.switches.active)

    def activate(self, order: SimulatedOrder) -> None:
        """Put a number in the queue; nothing changes unless it is inactive (assumed)."""
        if order.state != INACTIVE:
            return
        wait = self._rng.uniform(*self.switches.activation)
        if self._rng.random() < self.switches.slow_activation:
            wait *= self._rng.uniform(2, 6)
        order.queue(wait, self.draw_stay())

    def set_state(self, order: SimulatedOrder, state: int) -> None:
        """Put a number in a state as if the provider had done so."""
        if state == ACTIVE and order.always_active:
            return
        order.switch_off()
        if state == ACTIVATING:
            self.activate(order)
        elif state == ACTIVE:
            order.queue(0.0, self.draw_stay())
        elif state != INACTIVE:
            order.fixed_state = state

    def receive(self, order: SimulatedOrder, text: str, sender: str | None, date: int | None, *, other: bool) -> None:
        """Take in a message."""
        order.messages.append(Message(text, sender, date, other, len(order.messages)))
        order.flagged = self.clock.elapsed()

    def has_new_sms(self, order: SimulatedOrder) -> bool:
        """Return the order's flag as `orders` shows it."""
        if order.flagged is None or not self.switches.flag_rises:
            return False
        lifetime = self.switches.flag_lifetime
        return lifetime is None or self.clock.elapsed() - order.flagged < lifetime

    def read(self, order_id: int) -> list[Message]:
        """Return what `sms` lists."""
        order = self.open_order(order_id)
        if self.switches.read_clears_flag:
            order.flagged = None
        keep = self.switches.sms_keep
        listed = order.messages[max(len(order.messages) - keep, 0) :] if keep is not None else list(order.messages)
        if self.switches.sms_order == "newest":
            listed.reverse()
        elif self.switches.sms_order == "shuffled":
            self._rng.shuffle(listed)
        return listed

    # Archive

    def archive(self) -> list[SimulatedOrder]:
        """Return the account's closed orders, the one that was closed last first."""
        closed = [order for order in self.orders.values() if order.owned and not order.is_open]
        return sorted(closed, key=self.closed_at, reverse=True)

    @staticmethod
    def closed_at(order: SimulatedOrder) -> float:
        """Return when an archived order was closed."""
        return order.ends if order.closed is None else order.closed

    def quote(self, order_id: int) -> tuple[SimulatedOrder, int, Decimal]:
        """Return an archived order, its overdue days and the price of restoring it, or refuse.

        The price is that of the overdue days without a rebate, and of the days paid in advance (rental page).
        """
        order = self.orders.get(order_id)
        if order is None or order.restored_as is not None:
            raise RefusedError(restore_wordings("NOREMOTEDATA"))
        overdue = ceil((self.clock.elapsed() - order.ends) / DAY)
        code = self._why_not_restored(order, overdue)
        if code is not None:
            raise RefusedError(restore_wordings(code))
        overdue_day = sum(offer.price_day for offer in self.offers(order.country, order.services))
        return order, overdue, overdue_day * overdue + self._price(order, RESTORED_DAYS)

    def _why_not_restored(self, order: SimulatedOrder, overdue: int) -> RestoreRefusal | None:
        if order.restore_refusal not in {None, "false"}:
            return order.restore_refusal
        home = self.catalogue.get(order.country)
        reasons: list[tuple[bool, RestoreRefusal]] = [
            (not order.owned, "NOTOWNER"),
            (self.clock.elapsed() < order.ends, "DATEDIFFINVERT"),
            (home is None, "NOORDERCOUNTRY"),
            (home is not None and not home.offers.keys() >= order.services.keys(), "NOSERVICEDATA"),
            (overdue > LONGEST, "NOAVAILDAYS"),  # the limit is assumed
        ]
        return next((code for applies, code in reasons if applies), None)

    def is_restorable(self, order: SimulatedOrder) -> bool:
        """Return `isAvailForRestore` of the history."""
        try:
            self.quote(order.id)
        except RefusedError:
            return False
        return order.restore_refusal is None

    def restore(self, order_id: int) -> SimulatedOrder | None:
        """Restore an order and charge it; None is the server's `data: false`.

        The page's server gives the same order back, the live one a new order with a new id. Messages come along.
        """
        order, _overdue, price = self.quote(order_id)
        if order.restore_refusal == "false":
            return None
        if price > self.balance:
            raise RefusedError(restore_wordings("NOBALANCE", f"{price:.2f}"))
        self.balance -= price
        now, ends = self.clock.elapsed(), self.days_from_now(RESTORED_DAYS)
        if not self._renumbers:
            order.closed, order.ends, order.days = None, ends, RESTORED_DAYS
            order.listed_from = now + self.switches.listing_delay
            return order
        successor = evolve(
            order,
            id=self.next_id(),
            services=dict(order.services),
            begins=now,
            ends=ends,
            days=RESTORED_DAYS,
            listed_from=now + self.switches.listing_delay,
            closed=None,
            messages=list(order.messages),
        )
        order.restored_as = successor.id
        return self.add(successor)
