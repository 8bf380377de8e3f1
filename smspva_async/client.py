"""The client: a method per call of the provider's rental API."""

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
from smspva_async._purchases.tracker import PurchaseTracker
from smspva_async._watch.source import ClientSource
from smspva_async.errors import NoNumbers, OrderNotFound, PriceTooHigh, name_call
from smspva_async.models import WEEK, Rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from smspva_async._http.transport import Transport
    from smspva_async.errors import ApiError, OutcomeUnknown
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


class SmspvaClient:
    """A client of SMSPVA's number rental API, for asyncio and trio.

    Use it as an async context manager, or call `aclose` when done. One client serves any number of tasks; they share
    its pace: calls that spend go first, a watcher's polls last, and each of the three kinds gets one request in four at
    least while it waits. Calls that only read, and `activate`, are tried again when the network or the server fails;
    calls that spend money or destroy something are sent once, whatever happens (see `OutcomeUnknown`).

    A client works in one event loop at a time, and in the next one once that loop has ended or the client was closed.
    Until then calls in another loop, or thread, raise `ClientInUse`, and nothing is sent. An injected `transport`
    belongs to one event loop, httpx's `MockTransport` aside.

    The key is added below whatever logs or traces requests of httpx. Where an HTTP proxy or an injected transport of
    another kind than httpx's own is used, the request's URL has it; the header of `balance` has it in any case.

    Every call may raise `ApiError` and its kinds (the provider refused: nothing was done; `InvalidKey`, for one),
    `ConnectionFailed`, `RequestTimeout`, `UnexpectedResponse`, `ClientClosed` and `ClientInUse`; calls that spend raise
    `OutcomeUnknown` where the others raise one of those after sending. Input that can't be right raises `ValueError`
    before anything is sent. The methods below name what is to be expected of each among that.

    A call's method is in parentheses. It is of the provider's rental page, and so is what is told of it, where nothing
    else is said: the provider's newer reference site, or what was seen on the live server.

    Args:
        api_key: The account's key; None takes it from the environment variable ``SMSPVA_API_KEY``.
        base_url: The server's address, for a mirror or a simulator. https, or http on this machine; no query. None
            takes it from the environment variable ``SMSPVA_BASE_URL``, or else ``https://smspva.com/api/rent.php``.
        timeout: Seconds for one attempt as a whole; waiting for the pace is not counted.
        pace: How quickly requests may follow each other.
        retry: How often and when calls that may be repeated are tried again.
        ledger: An SQLite file that remembers calls that spend when the program ends, also by force: each is on disk
            before it is sent and its outcome before the call returns, see `purchases` and `unsettled`. Made with the
            first such call, readable by its owner only, without the key. Programs of one account may share it.
        transport: A transport of httpx (or httpx2) to send with instead of the network; closed with the client.
        account_url: The address of `balance`, without the path ``/activation/balance``; https, or http on this machine.
            None takes it from the environment variable ``SMSPVA_ACCOUNT_URL``, or else ``https://api.smspva.com`` where
            `base_url` is the provider's or a known mirror, and otherwise the host of `base_url`.

    Raises:
        ValueError: There is no key, or a setting can't be right.
        JournalError: On entering, or else at the first call or look at `unsettled`: the ledger can't be used. From a
            call that spends: it can't be written, so that nothing was sent.
        RuntimeError: On entering a client that is entered already.

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
    ) -> None:
        # Not at the top: httpx imports click and rich where they are installed, and takes as long as all the rest.
        from smspva_async._http.transport import HttpSession  # noqa: PLC0415

        given = os.environ.get("SMSPVA_API_KEY", "") if api_key is None else api_key
        api_key = None  # so that a traceback of what raises below can't show it
        problem = validation.api_key_problem(given)
        key = None if problem else ApiKey(given.strip())
        del given
        if key is None:
            raise ValueError(problem)
        validation.seconds("the timeout", timeout)
        if not isinstance(pace, Pace) or not isinstance(retry, Retry):
            raise ValueError(f"pace takes a Pace and retry a Retry: {pace!r}, {retry!r}")  # noqa: TRY004 - all input
        self._base_url = validation.base_url(
            (os.environ.get("SMSPVA_BASE_URL") or None) if base_url is None else base_url
        )
        self._purchases = PurchaseTracker(
            None if ledger is None else SqliteLedger(validation.path("the ledger", ledger), key.fingerprint)
        )
        self._executor = RequestExecutor(
            lambda: HttpSession(key, transport),
            base_url=self._base_url,
            account_url=validation.account_url(
                (os.environ.get("SMSPVA_ACCOUNT_URL") or None) if account_url is None else account_url, self._base_url
            ),
            timeout=timeout,
            rate_limiter=RateLimiter(pace.gap),
            retry=retry,
            purchases=self._purchases,
        )
        self._fingerprint = key.fingerprint

    def __repr__(self) -> str:
        # A traceback that shows local variables may come by before the address was found to be good.
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

        Calls that only read and are in progress fail; one that spends goes on to its end.
        """
        await self._executor.aclose()

    # -- the catalogue -----------------------------------------------------------------------------------------------

    async def countries(self) -> Rows[Country]:
        """Return the countries that have numbers (`getcountries`). The key isn't sent: the provider needs none here."""
        return await self._executor.call(methods.COUNTRIES, {})

    async def services(self) -> Rows[Service]:
        """Return the services that numbers can be rented for (`get_default_services`). The key isn't sent."""
        return await self._executor.call(methods.SERVICES, {})

    async def countries_for(self, service: str, period: Period = WEEK) -> Rows[CountryOffer]:
        """Return the countries that offer a service, cheapest first (`get_country_by_service`). The key isn't sent.

        Args:
            service: The service's code, such as ``opt16``.
            period: For how long.

        Raises:
            ApiError: The provider doesn't know the service.

        """
        params = {"service": validation.service(service), **validation.period(period)}
        return await self._executor.call(methods.COUNTRIES_FOR, params)

    async def offers(self, country: str, period: Period = WEEK, *, by_provider: bool = False) -> Rows[Offer]:
        """Return the services to rent in a country, with price per day in US dollars and availability (`getdata`).

        Args:
            country: Two letters. ``GB`` is sent as ``UK``, as the provider has it.
            period: For how long; the price and the availability may depend on it.
            by_provider: Also return how many numbers each provider has, `Offer.by_provider` (`getdataWithProviders`).

        Raises:
            ApiError: The provider doesn't know the country.

        """
        method = methods.OFFERS_BY_PROVIDER if by_provider else methods.OFFERS
        return await self._executor.call(method, {"country": validation.country(country), **validation.period(period)})

    async def stock(self, country: str, period: Period = WEEK) -> Mapping[str, Stock]:
        """Return how many numbers each service has in a country, by service code (`getCountWithProviders`).

        Args:
            country: Two letters, ``GB`` or ``UK`` alike.
            period: For how long.

        Raises:
            ApiError: The provider doesn't know the country.

        """
        params = {"country": validation.country(country), **validation.period(period)}
        return await self._executor.call(methods.STOCK, params)

    async def stock_multi(self, country: str, services: Iterable[str], period: Period = WEEK) -> int:
        """Return how many numbers serve all of some services (`get_count_multi`). The key isn't sent.

        Args:
            country: Two letters, ``GB`` or ``UK`` alike.
            services: The services' codes, one at least.
            period: For how long.

        Raises:
            ApiError: The provider doesn't know the country or a service.

        """
        params = {"country": validation.country(country), "services": validation.services(services)}
        return await self._executor.call(methods.STOCK_MULTI, {**params, **validation.period(period)})

    async def canada_paypal_days(self) -> Mapping[int, int]:
        """Return for which numbers of days Canadian numbers for PayPal can be rented, and how many there are of each.

        The provider's `get_days_canada_paypal`. The key isn't sent.
        """
        return await self._executor.call(methods.CANADA_PAYPAL_DAYS, {})

    async def minimum_paypal_days(self, country: str, service: str) -> int:
        """Return the fewest days for which a number for PayPal can be rented (`get_min_paypal_days`).

        The key isn't sent.

        Args:
            country: Two letters, ``GB`` or ``UK`` alike.
            service: The service's code.

        Raises:
            ApiError: The provider can't tell, and says why.

        """
        params = {"country": validation.country(country), "service": validation.service(service)}
        return await self._executor.call(methods.MINIMUM_PAYPAL_DAYS, params)

    async def balance(self) -> Decimal:
        """Return the account's balance in US dollars (`balance`).

        Contract: ``GET /activation/balance`` at the client's `account_url`, with the key in the header ``apikey``. The
        call is made at the same pace as all others.

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
            country: Two letters, ``GB`` or ``UK`` alike.
            service: The service's code, such as ``opt16``.
            period: For how long.
            provider: One of the companies that the numbers come from, a key of `Offer.by_provider`; None leaves the
                choice to the server.
            max_price: The most US dollars to spend on the whole period; None for any price. The price is asked for
                before (`getdata`). It is an estimate: the price per day times `Period.days`, without rebates, of
                whichever provider.

        Raises:
            PriceTooHigh: The estimate is above `max_price`, or the server states no price; nothing was sent.
            NoNumbers: None is available, or with `max_price` the service isn't offered; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: The provider doesn't know the service or the country, for one; nothing was charged.
            OutcomeUnknown: It was sent and may have been done.

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

    async def _check_price(self, country: str, service: str, period: Period, most: Decimal) -> None:
        """Raise unless a rental is offered for at most that many US dollars."""
        offers = await self.offers(country, period)
        offered = [offer for offer in offers if offer.service.casefold() == service.casefold()]
        prices = [offer.price_day for offer in offered if offer.price_day is not None and offer.price_day > 0]
        error: ApiError | None = None
        if not offered:
            error = NoNumbers(f"{service} isn't offered in {country} for this period; nothing was sent")
        elif len(prices) < len(offered):
            error = PriceTooHigh(f"the server states no price for {service}; nothing was sent", price=None)
        elif (price := max(prices) * period.days) > most:
            error = PriceTooHigh(
                f"{service} in {country} costs about ${price:.2f} for {period.days} days (an estimate without rebates),"
                f" more than max_price, ${most:.2f}; nothing was sent",
                price=price,
            )
        if error is not None:
            name_call(error, methods.RENT.name, methods.RENT.python_name)
            raise error

    async def rent_multi(
        self, country: str, services: Iterable[str], period: Period = WEEK, *, provider: str | None = None
    ) -> Rows[Rental]:
        """Rent one number for several services (`create_multi`). Spends money; sent once.

        The server usually answers with one rental that has all services. A rental that can't be read is in
        `Rows.skipped`, with whatever the server said of it: it is paid.

        Args:
            country: Two letters, ``GB`` or ``UK`` alike.
            services: The services' codes, one at least.
            period: For how long.
            provider: One of the companies that the numbers come from, a key of `Offer.by_provider`; None leaves the
                choice to the server.

        Raises:
            NoNumbers: None is available; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: The provider doesn't know the service or the country, for one; nothing was charged.
            OutcomeUnknown: It was sent and may have been done.

        """
        params = {"country": validation.country(country), "services": validation.services(services)}
        params |= validation.period(period)
        if provider is not None:
            params["provider"] = validation.provider(provider)
        return await self._executor.call(methods.RENT_MULTI, params)

    async def add_service(
        self, order_id: int, service: str, *, phone: str | None = None, rent_days: int | None = None
    ) -> Rental | None:
        """Rent a further service on a number (`add_service_to_order`). Spends money; sent once.

        Args:
            order_id: The order that has the number.
            service: The further service's code, such as ``opt89``.
            phone: The whole number, such as `Order.phone`; None looks it up (`orders`).
            rent_days: For how many days, 1 to 90; None leaves it to the server.

        Returns:
            The new rental, or None where the answer has no order id (rental page).

        Raises:
            OrderNotFound: There is no such order, or its number isn't known; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: The provider doesn't know the service, for one; nothing was charged.
            OutcomeUnknown: It was sent and may have been done.

        """
        params = {"id": validation.order_id(order_id), "service": validation.service(service)}
        if rent_days is not None:
            params["rent_days"] = validation.number("rent_days", rent_days, 1, 90)
        params["pnumber"] = validation.phone(await self._phone_of(order_id) if phone is None else phone)
        return await self._executor.call(methods.ADD_SERVICE, params)

    async def _phone_of(self, order_id: int) -> str:
        phone = next((order.phone for order in await self.orders() if order.id == order_id), "")
        if not phone:
            error = OrderNotFound(f"order {order_id} isn't listed with a phone number; nothing was sent, pass phone")
            name_call(error, methods.ADD_SERVICE.name, methods.ADD_SERVICE.python_name)
            raise error
        return phone

    async def prolong(self, order_id: int, period: Period = WEEK) -> None:
        """Prolong a rental (`prolong`). Spends money; sent once.

        The provider allows it within the last 7 days before `Order.until`, and guarantees 90 days at most (rental
        page). `Order.can_prolong` and the two fields after it state what it allows now.

        Args:
            order_id: The order's id.
            period: By how long.

        Raises:
            OrderNotFound: There is no such order; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: It is too early, for one; nothing was charged.
            OutcomeUnknown: It was sent and may have been done.

        """
        await self._executor.call(methods.PROLONG, {"id": validation.order_id(order_id), **validation.period(period)})

    async def prolong_days(self, order_id: int, days: int) -> None:
        """Prolong a rental by some days (`prolong_max`). Spends money; sent once.

        Args:
            order_id: The order's id.
            days: By how many days, 1 to 6.

        Raises:
            OrderNotFound: There is no such order; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            ApiError: It is too early, for one; nothing was charged.
            OutcomeUnknown: It was sent and may have been done.

        """
        params = {"id": validation.order_id(order_id), "dtype": "day", "dcount": validation.number("days", days, 1, 6)}
        await self._executor.call(methods.PROLONG_DAYS, params)

    # -- orders and messages -----------------------------------------------------------------------------------------

    async def orders(self) -> Rows[Order]:
        """Return the account's orders (`orders`): those whose time isn't up; `history` has the others.

        A purchase may be listed late, and an order may be missing from an answer: neither is known of the provider.
        """
        return await self._executor.call(methods.ORDERS, {})

    async def sms(self, order_id: int) -> Rows[Sms]:
        """Return the messages that an order's number received (`sms`), in whatever order the server lists them.

        Those that the server lists apart (`Sms.other`) come last. Whether reading clears `Order.has_new_sms`, and
        whether old messages are dropped, isn't known of the provider.

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order.

        """
        return await self._executor.call(methods.SMS, {"id": validation.order_id(order_id)})

    async def activate(self, order_id: int) -> None:
        """Ask for a number's activation (`activate`).

        It takes 10 to 15 minutes on average, sometimes much longer, and lasts 10 to 30 minutes (rental page). Asking
        twice does no harm. `Watcher.activated` does it whenever it is needed.

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order.

        """
        await self._executor.call(methods.ACTIVATE, {"id": validation.order_id(order_id)})

    async def delete(self, order_id: int) -> None:
        """Give a number up (`delete`). Destroys; sent once.

        There is no refund once a message was received; otherwise the provider decides case by case (rental page).

        Args:
            order_id: The order's id.

        Raises:
            OrderNotFound: There is no such order.
            OutcomeUnknown: It was sent and may have been done.

        """
        await self._executor.call(methods.DELETE, {"id": validation.order_id(order_id)})

    # -- the archive -------------------------------------------------------------------------------------------------

    async def history(self, *, skip: int = 0, take: int = 50) -> Rows[PastOrder]:
        """Return a part of the archive of past orders (`get_rent_history`).

        Args:
            skip: How many to pass over, 0 or more.
            take: How many to return at most, 1 or more.

        """
        params = {"skip": validation.number("skip", skip, 0), "take": validation.number("take", take, 1)}
        return await self._executor.call(methods.HISTORY, params)

    async def iter_history(self, *, page: int = 50) -> AsyncGenerator[PastOrder, None]:
        """Iterate over all past orders, each once (`get_rent_history`).

        Args:
            page: How many to ask for at a time, 1 or more.

        """
        skip = 0
        seen: set[int] = set()
        stale: Rows[PastOrder] | None = None
        while rows := await self.history(skip=skip, take=page):
            # An order archived meanwhile moves the others on by one, so that a page may have known ones.
            fresh = [order for order in rows if order.order_id not in seen]
            seen.update(order.order_id for order in fresh)
            for order in fresh:
                yield order
            if not fresh and rows == stale:
                return  # a server that ignores `skip` would go on for ever
            stale = None if fresh else rows
            skip += len(rows) + len(rows.skipped)

    async def restore_quote(self, order_id: int) -> RestoreQuote:
        """Return what restoring an expired order would cost (`restore_user_precalc`). Spends nothing.

        Args:
            order_id: The id of the expired order, such as `PastOrder.order_id`.

        Raises:
            RestoreRefused: It can't be restored; `code` says why.
            InsufficientFunds: The balance is too low to restore it.
            OrderNotFound: There is no such order.

        """
        return await self._executor.call(methods.RESTORE_QUOTE, {"id": validation.order_id(order_id)})

    async def restore(self, order_id: int) -> int | None:
        """Restore an expired order (`restore_user`). Spends money, what `restore_quote` tells; sent once.

        Args:
            order_id: The id of the expired order, such as `PastOrder.order_id`.

        Returns:
            The new order id where the server names one (seen on the live server), None where it says no more than
            that it is done (rental page), be it under the same id or another.

        Raises:
            RestoreRefused: It can't be restored; nothing was charged.
            InsufficientFunds: The balance is too low; nothing was charged.
            OrderNotFound: There is no such order; nothing was charged.
            OutcomeUnknown: It was sent and may have been done.

        """
        return await self._executor.call(methods.RESTORE, {"id": validation.order_id(order_id)})

    # -- purchases whose outcome isn't known -------------------------------------------------------------------------

    @property
    def unsettled(self) -> Sequence[OutcomeUnknown]:
        """Calls that spend and whose outcome isn't known: failed after sending, or cancelled.

        With a `ledger`, those of programs that ended before they had an outcome as well; a call that another program
        has in progress isn't one of them. A snapshot in memory, read on entering (before that, from the file) and again
        by every call that spends and by `reconcile`.

        Raises:
            JournalError: The ledger can't be read whole.

        """
        return self._purchases.unsettled

    def purchases(self) -> Sequence[Purchase]:
        """Return all calls that spend, in the order in which they began, with the orders that their answers named.

        With a `ledger`, those of earlier runs and of other programs as well: what a program that was killed had bought
        is found here. A snapshot in memory, as `unsettled` is.

        Raises:
            JournalError: The ledger can't be read whole.

        """
        return self._purchases.purchases()

    async def reconcile(self, error: OutcomeUnknown) -> Reconciliation:
        """Compare the server with what was known before a call, and return what that shows of its outcome.

        Spends nothing and settles nothing; it may be asked again. It asks for `orders`, then if need be for the `sms`
        of an order that was to be deleted, or for `get_rent_history` and `restore_user_precalc` of one that was to be
        restored. What can't be told is ``"open"``, with the orders that the call may have made:

        - A purchase (`rent`, `rent_multi`, `add_service`): ``"done"`` if the answer named an order that is listed, or
          if as many new, unclaimed and matching orders are listed as calls without a known order may have made. Never
          ``"not_done"``: a purchase may be listed late. What is rented elsewhere meanwhile can't be told from it. A
          call that was settled still competes for the orders that `reconcile` last showed for it, and for no others.
        - `prolong`, `prolong_days`: ``"done"`` if the order ends later than it was listed before, and no other call
          of the hour before that list or since may have done that; ``"not_done"`` if the order still ends as before in
          a row whose `last_online` is at least ten minutes after the call, since a list may lag.
        - `delete`: ``"done"`` if the order is neither listed nor known to the server; ``"not_done"`` if it is listed in
          such a row.
        - `restore`: ``"done"`` if the order is listed again, or a new one with its number and service is;
          ``"not_done"`` if the server still quotes a price for it an hour later, by its own clock.

        A call that has an outcome in the ledger by now is judged by that.

        Args:
            error: The call, from `unsettled`, as it was raised, or a copy of it.

        Raises:
            ValueError: It isn't an `OutcomeUnknown` of this client's calls.
            JournalError: The ledger can't be read whole.
            SmspvaError: The server couldn't be asked, as with any call that only reads.

        """
        validation.outcome_unknown("reconcile", error)
        evidence = await gather_evidence(self, self._purchases.record_of(error))
        # Last, so that an order which is given to a caller meanwhile is known as theirs.
        await self._purchases.read()
        found = decide(self._purchases.record_of(error), self._purchases.records, evidence)
        self._purchases.note_finding(error, found)
        return found

    def settle(self, error: OutcomeUnknown) -> None:
        """Take a call out of `unsettled`, since you know its outcome or don't need to; settling twice does nothing.

        It takes effect at once. A `ledger` is written before the next call that spends is sent, and before `aclose`
        returns: a failure raises `JournalError` there, and the call appears again.

        Args:
            error: The call, from `unsettled`, as it was raised, or a copy of it.

        Raises:
            ValueError: It isn't an `OutcomeUnknown` of this client's calls.

        """
        validation.outcome_unknown("settle", error)
        self._purchases.settle(error)

    # -- how things stand --------------------------------------------------------------------------------------------

    def statistics(self) -> ClientStatistics:
        """Return what was asked so far, what failed, and what waits for the pace: a snapshot, at a constant cost."""
        return self._executor.statistics()


def polled_client(client: SmspvaClient, deadline: float) -> ClientSource:
    """Return a client as a watcher polls it, with seconds for each call."""
    executor, account = client._executor, client._fingerprint  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of one module
    return ClientSource(executor, account, deadline)
