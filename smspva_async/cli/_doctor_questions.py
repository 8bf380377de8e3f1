"""The questions of `smspva doctor`: calls that only read, with their raw answers and what they say about the server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, cast

from attrs import define, evolve, field, frozen

from smspva_async import (
    ApiError,
    ConnectionFailed,
    Country,
    InvalidKey,
    Offer,
    Order,
    PastOrder,
    Purchase,
    RequestTimeout,
    Rows,
    Service,
    Sms,
    SmspvaClient,
    UnexpectedResponse,
)
from smspva_async._http.recording import RawAnswer, RecordingTransport
from smspva_async.cli import _answer_shapes as shapes
from smspva_async.cli._answer_comparison import Comparison, Difference, compare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterable

    from smspva_async.cli._account import Account

T = TypeVar("T")

_MESSAGE_LISTS = 3
"""The number of orders whose messages are read."""
_UNKNOWN_ORDER = 2_000_000_000
_UNKNOWN_COUNTRY, _UNKNOWN_SERVICE = "ZZ", "opt999999"
_COUNTRY, _SERVICE = "RU", "opt16"
"""A country and a service of the rental page's samples, for an account or an answer that names none."""
_PAYPAL = ("CA", "opt83")
_PURCHASES = {"create", "create_multi", "add_service_to_order", "restore_user"}
_SERVER_ERROR, _HTTP_TOO_MANY = 500, 429
_HINT = re.compile(r"retry-after|rate-?limit", re.IGNORECASE)


@frozen
class Call:
    """A call and its answers, of which there are several if it was repeated."""

    method: str
    is_probe: bool
    """True if the call should be refused."""
    answers: Sequence[RawAnswer]
    comparisons: Sequence[Comparison]
    """One for each answer that isn't a failure of the server."""

    @property
    def failed(self) -> bool:
        """True if there was no answer in the end, or the server failed."""
        return not self.comparisons

    @property
    def differences(self) -> Sequence[Difference]:
        """The differences of all answers, each once."""
        return [*dict.fromkeys(difference for one in self.comparisons for difference in one.differences)]


@frozen
class Flags:
    """The flags `hasnewsms` before and after messages were read."""

    read: int
    """The orders with a raised flag whose messages were read."""
    fell: int


@frozen
class Listing:
    """An order that a purchase of the ledger created."""

    method: str
    age: float
    """Seconds since the purchase."""
    found_in: str
    """``orders``, ``archive`` or ``nowhere``."""


@define
class Examination:
    """Asks all that costs nothing and changes nothing.

    Args:
        client: An open client.
        recorder: The client's transport.

    """

    client: SmspvaClient
    recorder: RecordingTransport
    current: str = "orders"
    """The call in progress."""
    calls: list[Call] = field(factory=list[Call], init=False)
    flags: Flags | None = field(default=None, init=False)
    """None if the orders couldn't be read."""
    message_order: str = field(default="not known", init=False)
    listings: list[Listing] = field(factory=list[Listing], init=False)
    _unread: dict[int, int] = field(factory=dict[int, int], init=False)
    """The orders whose messages couldn't be read, by the index of the call."""

    async def run(self) -> None:
        """Ask everything.

        Raises:
            InvalidKey: The server refuses the key in its answer to the first request.
            SmspvaError: The server gives no answer to the first request.

        """
        client = self.client
        # One after the other, so that another program has little time to change the flags.
        before = await self._ask("orders", client.orders())
        read = await self._messages(before or ())
        after = await self._ask("orders", client.orders())
        if after is not None:
            self._tolerate_deleted({order.id for order in after})
        if before is not None and after is not None:
            self._compare_flags(before, after, read)
        await self._catalogue(next(iter(before or ()), None))
        await self._ask("balance", client.balance())
        past: Sequence[PastOrder] = await self._ask("get_rent_history", client.history()) or []
        restorable = next((order for order in past if order.restorable is not False), None)
        if restorable is not None:
            quote = client.restore_quote(restorable.order_id)
            await self._ask("restore_user_precalc", quote, tolerated=shapes.RESTORE_REFUSED)
        await self._probe()
        if after is not None:
            self._compare_ledger(client.purchases(), after, past)

    @property
    def hints(self) -> Sequence[tuple[str, str, str]]:
        """The headers that tell of a limit on requests: call, name and value."""
        return [
            (call.method, name, value)
            for call in self.calls
            for answer in call.answers
            for name, value in answer.headers.items()
            if _HINT.search(name)
        ]

    @property
    def unknown_messages(self) -> Sequence[str]:
        """The messages of refusals that no source names, as sent."""
        messages = [one.message for call in self.calls for one in call.comparisons if one.refusal == ""]
        return [*dict.fromkeys(messages)]

    @property
    def refused_for_pace(self) -> int:
        """The number of requests that were refused because there were too many."""
        texts = [one.refusal for call in self.calls for one in call.comparisons]
        codes = [answer.status for call in self.calls for answer in call.answers]
        return texts.count(shapes.TOO_MANY) + codes.count(_HTTP_TOO_MANY)

    async def _catalogue(self, order: Order | None) -> None:
        """Ask for countries, services, prices and stock; for those of an order of the account, if it has one."""
        client = self.client
        countries: Sequence[Country] = await self._ask("getcountries", client.countries()) or []
        services: Sequence[Service] = await self._ask("get_default_services", client.services()) or []
        codes = [order.country if order else "", *(it.code for it in countries)]
        country = next((code for code in codes if re.fullmatch("[A-Za-z]{2}", code)), _COUNTRY)
        codes = [order.service if order else "", *(it.service for it in services)]
        service = next((code for code in codes if re.fullmatch("opt[0-9]+", code)), _SERVICE)
        await self._ask("get_country_by_service", client.countries_for(service))
        offers: Sequence[Offer] = await self._ask("getdata", client.offers(country)) or []
        await self._ask("getdataWithProviders", client.offers(country, by_provider=True))
        await self._ask("getCountWithProviders", client.stock(country))
        offered = [*dict.fromkeys(it.service for it in offers if re.fullmatch("opt[0-9]+", it.service))][:2] or [
            _SERVICE
        ]
        await self._ask("get_count_multi", client.stock_multi(country, offered))
        await self._ask("get_days_canada_paypal", client.canada_paypal_days())
        tolerated = (*shapes.OFFER_UNKNOWN, *shapes.SOLD_OUT)
        await self._ask("get_min_paypal_days", client.minimum_paypal_days(*_PAYPAL), tolerated=tolerated)

    async def _messages(self, orders: Iterable[Order]) -> set[int]:
        """Read the messages of a few orders, those with a raised flag first, and return the ids of these orders."""
        chosen = sorted(orders, key=lambda order: not order.has_new_sms)[:_MESSAGE_LISTS]
        lists = [await self._sms(order.id) for order in chosen]
        self.message_order = _order_of([messages for messages in lists if messages])
        return {order.id for order, messages in zip(chosen, lists, strict=True) if messages is not None}

    async def _sms(self, order_id: int) -> Sequence[Sms] | None:
        messages = await self._ask("sms", self.client.sms(order_id))
        if messages is None:
            self._unread[len(self.calls) - 1] = order_id
        return messages

    def _tolerate_deleted(self, listed: set[int]) -> None:
        """Remove the differences of calls that were refused because their order no longer exists."""
        for index, order_id in self._unread.items():
            if order_id not in listed:
                call = self.calls[index]
                comparisons = [
                    evolve(one, differences=tuple(it for it in one.differences if it.kind != "message"))
                    if one.refusal in shapes.ORDER_UNKNOWN
                    else one
                    for one in call.comparisons
                ]
                self.calls[index] = evolve(call, comparisons=comparisons)

    async def _probe(self) -> None:
        """Ask for what doesn't exist, to compare the refusals."""
        client = self.client
        await self._ask("sms", client.sms(_UNKNOWN_ORDER), shapes.ORDER_UNKNOWN)
        expected = (*shapes.RESTORE_REFUSED, *shapes.ORDER_UNKNOWN)
        await self._ask("restore_user_precalc", client.restore_quote(_UNKNOWN_ORDER), expected)
        await self._ask("getdata", client.offers(_UNKNOWN_COUNTRY), shapes.OFFER_UNKNOWN)
        await self._ask("get_country_by_service", client.countries_for(_UNKNOWN_SERVICE), shapes.OFFER_UNKNOWN)

    async def _ask(
        self, method: str, call: Awaitable[T], expected: tuple[str, ...] = (), tolerated: tuple[str, ...] = ()
    ) -> T | None:
        """Make a call, compare its answers, and return its result, or None if it failed."""
        self.current = method
        first, begin = not self.calls, len(self.recorder.answers)
        result, failure = None, None
        try:
            result = await call
        except (ApiError, ConnectionFailed, RequestTimeout, UnexpectedResponse) as error:
            if first and isinstance(error, InvalidKey):
                raise
            failure = error
        answers = self.recorder.answers[begin:]
        compared = [it for it in answers if it.status < _SERVER_ERROR and it.status != _HTTP_TOO_MANY]
        # The outcome is that of the last answer.
        comparisons = [compare(method, answer.body, expected, tolerated) for answer in compared]
        if isinstance(failure, ConnectionFailed | RequestTimeout) or (answers and answers[-1] not in compared):
            comparisons = []
        skipped = _skipped(result)
        is_unreadable = isinstance(failure, UnexpectedResponse) or (
            isinstance(failure, ApiError) and not tolerated and bool(comparisons) and comparisons[-1].refusal is None
        )
        if comparisons and not comparisons[-1].differences and (skipped or is_unreadable):
            part, count = ("row", skipped) if skipped else ("answer", 1)
            unreadable = Difference("form", part, "one that the library can read", "another", count)
            comparisons[-1] = evolve(comparisons[-1], differences=(unreadable,))
        self.calls.append(Call(method, bool(expected), answers, comparisons))
        if first and failure is not None and not comparisons:
            raise failure
        return result

    def _compare_flags(self, before: Iterable[Order], after: Iterable[Order], read: set[int]) -> None:
        flags = {order.id: bool(order.has_new_sms) for order in after}
        compared = [flags[order.id] for order in before if order.has_new_sms and order.id in read & flags.keys()]
        self.flags = Flags(read=len(compared), fell=compared.count(False))

    def _compare_ledger(
        self, purchases: Sequence[Purchase], orders: Sequence[Order], past: Sequence[PastOrder]
    ) -> None:
        """Compare the purchases with the lists of orders and of past orders."""
        now = datetime.now(UTC)
        listed, archived = {order.id for order in orders}, {order.order_id for order in past}
        for purchase in purchases:
            if purchase.outcome == "done" and purchase.method in _PURCHASES:
                age = (now - purchase.started_at).total_seconds()
                for order_id in purchase.order_ids:
                    found_in = "orders" if order_id in listed else "archive" if order_id in archived else "nowhere"
                    self.listings.append(Listing(purchase.method, age, found_in))


@asynccontextmanager
async def open_examination(account: Account) -> AsyncGenerator[Examination]:
    """Open a client of the account, for an examination of its server."""
    recorder = RecordingTransport(account.key)
    async with account.client(recorder) as client:
        yield Examination(client, recorder)


def _skipped(result: object) -> int:
    """Return the number of rows that the library couldn't read."""
    return len(cast("Rows[object]", result).skipped) if isinstance(result, Rows) else 0


def _order_of(lists: Iterable[Sequence[Sms]]) -> str:
    """Return the order of the messages in lists, by their times."""
    found: set[str] = set()
    for messages in lists:
        times = [sms.received for sms in messages if sms.received is not None and not sms.other]
        if len({*times}) > 1:
            ordered = sorted(times)
            found.add("oldest first" if times == ordered else "newest first" if times == ordered[::-1] else "mixed")
    return "not known" if not found else found.pop() if len(found) == 1 else "mixed"
