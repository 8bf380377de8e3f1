"""The client: one method per call of the provider's rental API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smspva_async._api import methods, validation
from smspva_async._http.executor import RequestExecutor
from smspva_async._http.rate_limiter import Pace, RateLimiter
from smspva_async._http.redaction import ApiKey
from smspva_async._http.retry import Retry
from smspva_async._purchases.reconcile import decide, gather_evidence
from smspva_async._purchases.store import SqliteLedger
from smspva_async._purchases.tracker import PurchaseTracker, purchase_of
from smspva_async._watch.source import ClientSource
from smspva_async.errors import NoNumbers, OrderNotFound, PriceTooHigh, name_call
from smspva_async.models import LONGEST_RENTAL, WEEK, Rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from smspva_async._http.fleet import Fleet
    from smspva_async._http.transport import Transport
    from smspva_async._operations import Observer
    from smspva_async._purchases.store import PurchaseStore
    from smspva_async.errors import ApiError, OutcomeUnknown
    from smspva_async.journal.shared import SharedJournal
    from smspva_async.models import (
        Country,
        CountryOffer,
        Offer,
        Order,
        PastOrder,
        Period,
        Purchase,
        Reconciliation,
        Rental,
        RestoreQuote,
        Service,
        Sms,
        Stock,
    )
    from smspva_async.statistics import ClientStatistics

__all__ = ["SmspvaClient"]

_LONGEST_PROLONGATION = 6
"""In days, by the provider's reference site."""


class SmspvaClient:
    """A client of SMSPVA's number rental API, for asyncio and trio.

    Use it as an async context manager, or call `aclose` when done. One client serves any number of tasks, which share
    its pace: spending calls go first, then other calls, then a watcher's polls. While one of these three kinds waits,
    it gets at least one request in four. Calls that only read, and `activate`, are retried when the network or the
    server fails; calls that spend money or destroy something are sent only once (see `OutcomeUnknown`).

    A client works in one event loop at a time. It can be used in another one after that loop has ended or the client
    was closed. Until then calls in another loop or thread raise `ClientInUse`, and nothing is sent. An injected
    `transport` belongs to one event loop, except for httpx's `MockTransport`.

    The key is added below everything that logs or traces httpx requests. Two exceptions: behind an HTTP proxy, or on an
    injected transport that isn't httpx's own, the request's URL contains the key; and `balance` sends it in a header.

    Every call may raise `ApiError` or a subclass such as `InvalidKey` (the provider refused; nothing was done),
    `ConnectionFailed`, `RequestTimeout`, `UnexpectedResponse`, `ClientClosed` and `ClientInUse`. Spending calls raise
    `OutcomeUnknown` instead if the request was sent. Invalid input raises `ValueError` before anything is sent. The
    methods below list the errors that are specific to them.

    The provider's method is in parentheses. It and its description come from the provider's rental page unless another
    source is named: the provider's newer reference site, its contract, or the live server.

    Args:
        api_key: The account's key; None: the environment variable ``SMSPVA_API_KEY``.
        base_url: The server's address, for a mirror or a simulator. https, or http on this machine; no query. None:
            the environment variable ``SMSPVA_BASE_URL``, or else the provider's own address.
        timeout: Seconds for one attempt, without the wait for the pace.
        pace: The limit on how quickly requests follow each other.
        retry: The settings for retrying failed calls.
        ledger: An SQLite file that records spending calls, to keep them after the program ends: each is written before
            it is sent, and its outcome before the call returns; see `purchases` and `unsettled`. The first such call
            creates the file, readable by its owner only and without the key. Programs of one account may share it.
        transport: A transport of httpx (or httpx2) to use instead of the network; closed with the client.
        account_url: The address for `balance`, without the path ``/activation/balance``; https, or http on this
            machine. None: the environment variable ``SMSPVA_ACCOUNT_URL``, or else the provider's own address if
            `base_url` is the provider's or a known mirror, and the host of `base_url` otherwise.
        fleet: A `RedisFleet`, through which several processes share the account: one pace, one ledger, and one journal
            for their watchers. It has the ledger, so `ledger` must be None.

    Raises:
        ValueError: There is no key, or a setting is invalid.
        JournalError: On entering (or at the first call, or the first access to `unsettled`): the ledger can't be used.
            From a spending call: the ledger can't be written; nothing was sent.
        RuntimeError: On entering a client that is already entered.

    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = 30.0,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        retry: Retry = Retry(),  # noqa: B008 - frozen
        ledger: Path | str | None = None,
        transport: Transport | None = None,
        account_url: str | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        given = os.environ.get(validation.API_KEY_VARIABLE, "") if api_key is None else api_key
        api_key = None  # a traceback of the errors below must not show it
        problem = validation.api_key_problem(given)
        key = None if problem else ApiKey(given.strip())
        del given
        if key is None:
            raise ValueError(problem)
        # Imported late: httpx takes as long to import as all the rest, and imports click and rich if installed.
        from smspva_async._http.transport import HttpSession  # noqa: PLC0415

        validation.seconds("the timeout", timeout)
        if not isinstance(pace, Pace) or not isinstance(retry, Retry):
            raise ValueError(f"pace must be a Pace and retry a Retry, got {pace!r} and {retry!r}")  # noqa: TRY004 - all invalid input
        self._base_url = validation.base_url(base_url)
        self._fingerprint = key.fingerprint
        if fleet is not None and ledger is not None:
            raise ValueError("use either ledger or fleet, not both: a fleet has its own ledger")
        self._fleet = fleet
        rate_limiter = RateLimiter(pace.gap) if fleet is None else fleet.attach(key.fingerprint, pace.gap)
        store: PurchaseStore | None = None if fleet is None else fleet.ledger
        if ledger is not None:
            store = SqliteLedger(validation.path("the ledger", ledger), key.fingerprint)
        self._purchases = PurchaseTracker(store)
        self._executor = RequestExecutor(
            lambda: HttpSession(key, transport),
            base_url=self._base_url,
            account_url=validation.account_url(account_url, self._base_url),
            timeout=timeout,
            rate_limiter=rate_limiter,
            retry=retry,
            purchases=self._purchases,
            fleet=fleet,
        )

    def __repr__(self) -> str:
        # A traceback with local variables may show a client whose constructor failed.
        return f"<SmspvaClient {getattr(self, '_base_url', '')}>"

    async def __aenter__(self) -> Self:
        await self._executor.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client and its connections; later calls raise `ClientClosed`.

        Reading calls in progress fail; a spending call in progress is finished.
        """
        await self._executor.aclose()

    # -- the catalogue -----------------------------------------------------------------------------------------------

    async def countries(self) -> Rows[Country]:
        """Return the countries that have numbers (`getcountries`). The key isn't sent, since it isn't needed."""
        return await self._executor.call(methods.COUNTRIES, {})

    async def services(self) -> Rows[Service]:
        """Return the services for which numbers can be rented (`get_default_services`). The key isn't sent."""
        return await self._executor.call(methods.SERVICES, {})

    async def countries_for(self, service: str, period: Period = WEEK) -> Rows[CountryOffer]:
        """Return the countries that offer a service, cheapest first (`get_country_by_service`). The key isn't sent.

        Args:
            service: The service's code, such as ``opt16``.
            period: The rental period.

        Raises:
            ApiError: The provider doesn't know the service.

        """
        params = {"service": validation.service(service), **validation.period(period)}
        return await self._executor.call(methods.COUNTRIES_FOR, params)

    async def offers(self, country: str, period: Period = WEEK, *, by_provider: bool = False) -> Rows[Offer]:
        """Return the services of a country, with availability and price per day in US dollars (`getdata`).

        Args:
            country: Two letters. ``GB`` is sent as ``UK``, the provider's code.
            period: The rental period; the price and the availability may depend on it.
            by_provider: Also return the availability per provider, `Offer.by_provider` (`getdataWithProviders`).

        Raises:
            ApiError: The provider doesn't know the country.

        """
        method = methods.OFFERS_BY_PROVIDER if by_provider else methods.OFFERS
        return await self._executor.call(method, {"country": validation.country(country), **validation.period(period)})

    async def stock(self, country: str, period: Period = WEEK) -> Mapping[str, Stock]:
        """Return the availability of each service in a country, by service code (`getCountWithProviders`).

        Args:
            country: Two letters; ``GB`` means ``UK``.
            period: The rental period.

        Raises:
            ApiError: The provider doesn't know the country.

        """
        params = {"country": validation.country(country), **validation.period(period)}
        return await self._executor.call(methods.STOCK, params)

    async def stock_multi(self, country: str, services: Iterable[str], period: Period = WEEK) -> int:
        """Return how many numbers support all the given services (`get_count_multi`). The key isn't sent.

        Args:
            country: Two letters; ``GB`` means ``UK``.
            services: The services' codes, at least one.
            period: The rental period.

        Raises:
            ApiError: The provider doesn't know the country or a service.

        """
        params = {"country": validation.country(country), "services": validation.services(services)}
        return await self._executor.call(methods.STOCK_MULTI, {**params, **validation.period(period)})

    async def canada_paypal_days(self) -> Mapping[int, int]:
        """Return the number of Canadian numbers for PayPal, by rental days (`get_days_canada_paypal`).

        The key isn't sent.
        """
        return await self._executor.call(methods.CANADA_PAYPAL_DAYS, {})

    async def minimum_paypal_days(self, country: str, service: str) -> int:
        """Return the shortest rental of a number for PayPal, in days (`get_min_paypal_days`).

        The key isn't sent.

        Args:
            country: Two letters; ``GB`` means ``UK``.
            service: The service's code.

        Raises:
            ApiError: The provider refused; the message says why.

        """
        params = {"country": validation.country(country), "service": validation.service(service)}
        return await self._executor.call(methods.MINIMUM_PAYPAL_DAYS, params)

    async def balance(self) -> Decimal:
        """Return the account's balance in US dollars (`balance`).

        Contract: ``GET /activation/balance`` at the client's `account_url`, with the key in the header ``apikey``. The
        call keeps the client's pace.

        Raises:
            InvalidKey: The provider doesn't know the key.

        """
        return await self._executor.call(methods.BALANCE, {})

    # -- renting: spends money ---------------------------------------------------------------------------------------

    async def rent(
        self,
        country: str,
        service: str,
        period: Period = WEEK,
        *,
        provider: str | None = None,
        max_price: Decimal | None = None,
    ) -> Rental:
        """Rent a number (`create`). Spends money; sent once.

        Args:
            country: Two letters; ``GB`` means ``UK``.
            service: The service's code, such as ``opt16``.
            period: The rental period.
            provider: The company that the number comes from, a key of `Offer.by_provider`; None lets the server choose.
            max_price: The highest price for the whole period in US dollars; None for any price. It is compared with an
                estimate, which is requested first (`getdata`): the price per day times `Period.days`, without rebates,
                whatever the provider.

        Raises:
            PriceTooHigh: The estimate is above `max_price`, or the server states no price; nothing was sent.
            NoNumbers: No number is available, or with `max_price` the service isn't offered; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: Another refusal, such as an unknown service or country; nothing was charged.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        params = {
            "country": validation.country(country),
            "service": validation.service(service),
            **validation.period(period),
        }
        if provider is not None:
            params["provider"] = validation.provider(provider)
        if max_price is not None:
            await self._check_price(country, service, period, validation.max_price(max_price))
        return await self._executor.call(methods.RENT, params)

    async def _check_price(self, country: str, service: str, period: Period, max_price: Decimal) -> None:
        """Raise if the price can't be estimated, or the estimate is above `max_price` in US dollars."""
        offers = await self.offers(country, period)
        offered = [offer for offer in offers if offer.service.casefold() == service.casefold()]
        prices = [offer.price_day for offer in offered if offer.price_day is not None and offer.price_day > 0]
        error: ApiError | None = None
        if not offered:
            error = NoNumbers(f"{service} isn't offered in {country} for this period; nothing was sent")
        elif len(prices) < len(offered):
            error = PriceTooHigh(f"the server states no price for {service}; nothing was sent", price=None)
        elif (price := max(prices) * period.days) > max_price:
            error = PriceTooHigh(
                f"{service} in {country} costs about ${price:.2f} for {period.days} days (an estimate without rebates),"
                f" more than max_price, ${max_price:.2f}; nothing was sent",
                price=price,
            )
        if error is not None:
            name_call(error, methods.RENT.name, methods.RENT.python_name)
            raise error

    async def rent_multi(
        self, country: str, services: Iterable[str], period: Period = WEEK, *, provider: str | None = None
    ) -> Rows[Rental]:
        """Rent one number for several services (`create_multi`). Spends money; sent once.

        The server usually answers with one rental that has all services. An unreadable rental is paid too: it is in
        `Rows.skipped`, with the server's data.

        Args:
            country: Two letters; ``GB`` means ``UK``.
            services: The services' codes, at least one.
            period: The rental period.
            provider: The company that the number comes from, a key of `Offer.by_provider`; None lets the server choose.

        Raises:
            NoNumbers: No number is available; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: Another refusal, such as an unknown service or country; nothing was charged.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        params = {"country": validation.country(country), "services": validation.services(services)}
        params |= validation.period(period)
        if provider is not None:
            params["provider"] = validation.provider(provider)
        return await self._executor.call(methods.RENT_MULTI, params)

    async def add_service(
        self, order_id: int, service: str, *, phone: str | None = None, rent_days: int | None = None
    ) -> Rental | None:
        """Rent another service on a number (`add_service_to_order`). Spends money; sent once.

        Args:
            order_id: The order that has the number.
            service: The other service's code, such as ``opt89``.
            phone: The whole number, such as `Order.phone`; None looks it up (`orders`).
            rent_days: The number of days, 1 to 90; None lets the server choose.

        Returns:
            The new rental, or None if the answer has no order id (rental page).

        Raises:
            OrderNotFound: There is no such order, or its number isn't known; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: Another refusal, such as an unknown service; nothing was charged.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        params = {"id": validation.order_id(order_id), "service": validation.service(service)}
        if rent_days is not None:
            params["rent_days"] = validation.integer("rent_days", rent_days, 1, LONGEST_RENTAL)
        params["pnumber"] = validation.phone(await self._phone_of(order_id) if phone is None else phone)
        return await self._executor.call(methods.ADD_SERVICE, params)

    async def _phone_of(self, order_id: int) -> str:
        phone = next((order.phone for order in await self.orders() if order.id == order_id), "")
        if not phone:
            error = OrderNotFound(f"order {order_id} isn't listed with a phone number; nothing was sent; pass phone")
            name_call(error, methods.ADD_SERVICE.name, methods.ADD_SERVICE.python_name)
            raise error
        return phone

    async def prolong(self, order_id: int, period: Period = WEEK) -> None:
        """Prolong a rental (`prolong`). Spends money; sent once.

        The provider allows this in the last 7 days before `Order.until`, and guarantees up to 90 days (rental page).
        `Order.can_prolong`, `can_prolong_days` and `can_prolong_until` show the current limits.

        Args:
            order_id: The order's id.
            period: The additional period.

        Raises:
            OrderNotFound: There is no such order; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: Another refusal, for example because it is too early; nothing was charged.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        await self._executor.call(methods.PROLONG, {"id": validation.order_id(order_id), **validation.period(period)})

    async def prolong_days(self, order_id: int, days: int) -> None:
        """Prolong a rental by some days (`prolong_max`). Spends money; sent once.

        Args:
            order_id: The order's id.
            days: The number of additional days, 1 to 6.

        Raises:
            OrderNotFound: There is no such order; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: Another refusal, for example because it is too early; nothing was charged.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        dcount = validation.integer("days", days, 1, _LONGEST_PROLONGATION)
        params = {"id": validation.order_id(order_id), "dtype": "day", "dcount": dcount}
        await self._executor.call(methods.PROLONG_DAYS, params)

    # -- orders and messages -----------------------------------------------------------------------------------------

    async def orders(self) -> Rows[Order]:
        """Return the account's current orders (`orders`); `history` has the expired ones.

        A new purchase may be listed late, and a single answer may lack an order: the provider gives no guarantee.
        """
        return await self._executor.call(methods.ORDERS, {})

    async def sms(self, order_id: int) -> Rows[Sms]:
        """Return the messages that an order's number received (`sms`), in the server's order.

        Messages that the server lists separately (`Sms.other`) come last. It isn't known whether reading clears
        `Order.has_new_sms`, or whether the provider drops old messages.

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order.

        """
        return await self._executor.call(methods.SMS, {"id": validation.order_id(order_id)})

    async def activate(self, order_id: int) -> None:
        """Request a number's activation (`activate`).

        Activation takes 10 to 15 minutes on average, sometimes much longer, and lasts 10 to 30 minutes (rental page). A
        second request does no harm. `Watcher.activated` activates a number whenever needed.

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order.

        """
        await self._executor.call(methods.ACTIVATE, {"id": validation.order_id(order_id)})

    async def delete(self, order_id: int) -> None:
        """Delete an order and give up its number (`delete`). Sent once.

        There is no refund once a message was received; otherwise the provider decides case by case (rental page).

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        await self._executor.call(methods.DELETE, {"id": validation.order_id(order_id)})

    # -- the archive -------------------------------------------------------------------------------------------------

    async def history(self, *, skip: int = 0, take: int = 50) -> Rows[PastOrder]:
        """Return one page of the archive of past orders (`get_rent_history`).

        Args:
            skip: The number of orders to skip, 0 or more.
            take: The maximum number of orders to return, 1 or more.

        """
        params = {"skip": validation.integer("skip", skip, 0), "take": validation.integer("take", take, 1)}
        return await self._executor.call(methods.HISTORY, params)

    async def iter_history(self, *, page: int = 50) -> AsyncGenerator[PastOrder, None]:
        """Iterate over all past orders, each once (`get_rent_history`).

        Args:
            page: The number of orders per request, 1 or more.

        """
        skip = 0
        seen: set[int] = set()
        stale: Rows[PastOrder] | None = None
        while rows := await self.history(skip=skip, take=page):
            # An order that is archived between two requests shifts the others, so a page may repeat some.
            fresh = [order for order in rows if order.order_id not in seen]
            seen.update(order.order_id for order in fresh)
            for order in fresh:
                yield order
            if not fresh and rows == stale:
                return  # a server that ignores `skip` repeats the page for ever
            stale = None if fresh else rows
            skip += len(rows) + len(rows.skipped)

    async def restore_quote(self, order_id: int) -> RestoreQuote:
        """Return the cost of restoring an expired order (`restore_user_precalc`). Spends nothing.

        Args:
            order_id: The id of the expired order, such as `PastOrder.order_id`.

        Raises:
            RestoreRefused: The order can't be restored; `code` gives the reason.
            InsufficientFunds: The balance is too low to restore the order.
            OrderNotFound: There is no such order.

        """
        return await self._executor.call(methods.RESTORE_QUOTE, {"id": validation.order_id(order_id)})

    async def restore(self, order_id: int) -> int | None:
        """Restore an expired order (`restore_user`). Spends the amount of `restore_quote`; sent once.

        Args:
            order_id: The id of the expired order, such as `PastOrder.order_id`.

        Returns:
            The new order id if the answer has one (live server). None if it only reports success (rental page): then
            the order may have the same id or a new one.

        Raises:
            RestoreRefused: The order can't be restored; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            OrderNotFound: There is no such order; nothing was charged.
            OutcomeUnknown: The request was sent and may have been carried out.

        """
        return await self._executor.call(methods.RESTORE, {"id": validation.order_id(order_id)})

    # -- purchases ---------------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> Sequence[OutcomeUnknown]:
        """The spending calls whose outcome is unknown: failed after sending, or cancelled.

        A call that is cancelled while its answer arrives is listed too, since nobody gets its result; `reconcile` finds
        it. After a restart, `purchases` has it as done.

        With a `ledger`, it also has the calls of programs that ended before the outcome was known, but not the calls
        that another program is making now. A snapshot in memory: the ledger is read on entering, or at the first access
        before that, and again by every spending call and by `reconcile`.

        Raises:
            JournalError: The ledger can't be read completely.

        """
        return self._purchases.unsettled

    def purchases(self) -> Sequence[Purchase]:
        """Return all spending calls in the order in which they began, with the orders named in their answers.

        With a `ledger`, it also returns the calls of earlier runs and of other programs, so that the purchases of a
        killed program can be found. A snapshot in memory, like `unsettled`. Of the calls that were refused or not sent,
        only the newest 1,000 are kept, in memory and in a ledger file.

        Raises:
            JournalError: The ledger can't be read completely.

        """
        return self._purchases.purchases()

    async def reconcile(self, error: OutcomeUnknown) -> Reconciliation:
        """Compare the server's state with the state before a call, to find out the call's outcome.

        This spends nothing and settles nothing, and may be repeated. It requests `orders`. For a deletion it may also
        request `sms`, and for a restoration `get_rent_history` and `restore_user_precalc`. If the outcome is still
        unclear, the verdict is ``"open"``, with the orders that the call may have created:

        - A purchase (`rent`, `rent_multi`, `add_service`): ``"done"`` if the answer named an order that is listed, or
          if enough new, unclaimed and matching orders are listed for all calls without a known order that may have
          created them. Never ``"not_done"``, since a purchase may be listed late. Orders that were rented elsewhere in
          the meantime can't be distinguished from them. A settled call still competes for the orders that `reconcile`
          last showed for it, and for no others.
        - `prolong`, `prolong_days`: ``"done"`` if the order ends later than in the last list before the call, and no
          other call since then, or within an hour before that list, may have moved its end; ``"not_done"`` if the order
          still ends as before in a row whose `last_online` is at least ten minutes after the call, since a list may
          lag, and isn't in the future.
        - `delete`: ``"done"`` if the order is neither listed nor known to the server; ``"not_done"`` if it is listed
          with such a `last_online`.
        - `restore`: ``"done"`` if the order is listed again, or a new one with its number and service is;
          ``"not_done"`` if the server still quotes a price for it an hour later, by the server's clock.

        The server's time comes from the ``Date`` of its answers. A verdict that depends on it is ``"open"`` while only
        one answer shows it and this machine's clock differs, and after the machine slept until an answer agrees.

        If the ledger has the call's outcome in the meantime, the verdict follows from it.

        Args:
            error: The call's error: as raised, from `unsettled`, or a copy.

        Raises:
            ValueError: It isn't the `OutcomeUnknown` of a spending call.
            JournalError: The ledger can't be read completely.
            SmspvaError: A request failed, as in any call that only reads.

        """
        validation.outcome_unknown("reconcile", error)
        server_time = self._purchases.known_orders.server_time
        evidence = await gather_evidence(self, self._purchases.record_of(error), server_time)
        # Read after the requests, so that orders that other calls created in the meantime are known.
        await self._purchases.read()
        found = decide(self._purchases.record_of(error), self._purchases.records, evidence)
        self._purchases.note_finding(error, found)
        return found

    def settle(self, error: OutcomeUnknown) -> None:
        """Remove a call from `unsettled`, because you know its outcome or don't need it. A second call does nothing.

        This takes effect at once. The `ledger` is written before the next spending call is sent and before `aclose`
        returns. If it can't be written, these raise `JournalError`, and the call appears in `unsettled` again.

        Args:
            error: The call's error: as raised, from `unsettled`, or a copy.

        Raises:
            ValueError: It isn't the `OutcomeUnknown` of a spending call.

        """
        validation.outcome_unknown("settle", error)
        self._purchases.settle(error)

    # -- statistics --------------------------------------------------------------------------------------------------

    def statistics(self) -> ClientStatistics:
        """Return a snapshot of the requests and failures so far, and of the calls that wait for the pace."""
        return self._executor.statistics()


def polled_client(client: SmspvaClient, deadline: float) -> ClientSource:
    """Return a client as a source for a watcher, with a deadline in seconds for each call."""
    executor, account = client._executor, client._fingerprint  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module
    return ClientSource(executor, account, deadline)


def observe_calls(client: SmspvaClient, observer: Observer) -> None:
    """Let an observer measure a client's calls."""
    client._executor.observe = observer  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module


def competing_call(client: SmspvaClient, order_id: int) -> Purchase | None:
    """Return a call because of which `prolong_once` would refuse to prolong an order, or None."""
    competitors = client._executor.purchases.competitors(order_id)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module
    return purchase_of(competitors[0]) if competitors else None


async def prolong_once(client: SmspvaClient, order_id: int, period: Period) -> None:
    """Prolong a rental like `SmspvaClient.prolong`, after the orders were listed, unless that could repeat a call.

    Any number of programs that share a ledger or a fleet may do this at once: the order is prolonged once.

    Raises:
        StaleOrder: Another call about the order has no known outcome, or it may have moved the order's end and the
            last list of orders may lack this. Nothing was sent.

    """
    executor = client._executor  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module
    params = {"id": validation.order_id(order_id), **validation.period(period)}
    await executor.call(methods.PROLONG, params, exclusive=True)


def fleet_journal(source: object) -> SharedJournal | None:
    """Return the journal of a client's fleet; None if the source isn't a client, or has no fleet."""
    fleet = source._fleet if isinstance(source, SmspvaClient) else None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module
    return None if fleet is None else fleet.journal
