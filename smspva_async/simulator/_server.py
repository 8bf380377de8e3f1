"""The provider's server: routing, checks, answers, and the effects of faults."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from math import ceil
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from attrs import evolve, frozen

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._dialects import BalanceDialect, Dialect, refusal_in
from smspva_async.simulator._faults import Fault, FaultName, Faults
from smspva_async.simulator._http import NOT_FOUND, Request, Response, apply_fault, spoil_rows
from smspva_async.simulator._methods import BALANCE, METHODS, Json, Method, complaints
from smspva_async.simulator._refusals import RefusedError

if TYPE_CHECKING:
    from random import Random

    from smspva_async.simulator._clock import Clock
    from smspva_async.simulator._provider import Provider
    from smspva_async.simulator._switches import Switches

__all__ = ["RecordedRequest", "Server"]

RENT_PATH, BALANCE_PATH = "/api/rent.php", "/activation/balance"

_KEY_HEADERS = {"authorization", "apikey", "api-key", "x-api-key"}
_SHORT_KEY = 8
"""A key of fewer characters may occur in other text by accident."""


@frozen
class RecordedRequest:
    """A request that was made, also one that a fault kept from arriving."""

    method: str
    """The API method, or `balance` for `/activation/balance`; empty if none was named."""
    params: Mapping[str, str]
    """The other parameters, without the key."""
    time: float
    """Seconds on the simulator's clock."""
    at: datetime
    """The same as aware UTC time."""
    fault: FaultName | None
    """The fault that it met, if any."""
    path: str = RENT_PATH
    """The path that it went to."""


@frozen
class _Call:
    """A request as the server understands it."""

    name: str
    """The API method, as in `RecordedRequest`."""
    params: Mapping[str, str]
    key: str
    dialect: Dialect | None
    """The encoding of its answer; None: the path is unknown."""
    method: Method | None
    """The method; None: it is unknown."""


class Server:
    """Answers requests, and keeps a record of them.

    Args:
        provider: The state and the rules.
        clock: The time.
        dialect: The encoding of answers.
        switches: Settings for the unknowns of the real server.
        faults: The faults that requests meet.
        rng: The random generator for damaged answers.
        api_key: The only key that is accepted; None: any is.

    """

    def __init__(
        self,
        provider: Provider,
        clock: Clock,
        dialect: Dialect,
        switches: Switches,
        faults: Faults,
        rng: Random,
        api_key: str | None,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.violations: list[str] = []
        self.api_key = api_key
        self._provider = provider
        self._clock = clock
        self._dialect = dialect
        self._balance_dialect = BalanceDialect(switches)
        self._switches = switches
        self._faults = faults
        self._rng = rng
        self._last_arrival: float | None = None

    def respond(self, request: Request) -> Response:
        """Answer a request. Its side effects happen here and now, before the answer travels."""
        with self._clock.held():
            return self._exchange(request)

    def _exchange(self, request: Request) -> Response:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        call = self._understand(request, dict(pairs))
        fault = None if call.dialect is None else self._faults.meet(call.name)
        now = self._clock.elapsed()
        self.requests.append(
            RecordedRequest(
                call.name, call.params, now, self._clock.at(now), None if fault is None else fault.name, request.path
            )
        )
        wrong = _wrong_ways(request, pairs, call)
        self.violations += [f"{call.name or 'no method'}: {what}" for what in wrong]
        response = self._response(request.verb, call, fault)
        if fault is not None:
            response = apply_fault(response, fault, request)
        date = format_datetime(self._clock.at(self._clock.elapsed() + response.delay), usegmt=True)
        return evolve(response, headers={"Server": "nginx", "Date": date, **response.headers})

    def _understand(self, request: Request, params: dict[str, str]) -> _Call:
        key = params.pop("apikey", "")
        if request.path == BALANCE_PATH:
            sent = dict(request.headers).get("apikey", "")
            return _Call("balance", params, sent, self._balance_dialect, BALANCE)
        name = params.pop("method", "")
        dialect = self._dialect if request.path == RENT_PATH else None
        return _Call(name, params, key, dialect, METHODS.get(name))

    def _response(self, verb: str, call: _Call, fault: Fault | None) -> Response:
        if call.dialect is None:
            return NOT_FOUND
        if fault is not None and not fault.done:
            return self._refusal(call, _wordings(fault, call.key))
        if self._too_soon():
            return self._too_many(call)
        try:
            data = self._do(verb, call)
        except RefusedError as refused:
            return self._refusal(call, refused.wordings)
        if fault is not None:
            data = spoil_rows(data, fault, self._rng)
        zero = call.name == "prolong" and self._switches.prolong_status_zero
        return call.dialect.success(call.name, data, zero=zero)

    def _do(self, verb: str, call: _Call) -> Json:
        method = call.method
        if method is None or verb != "GET" or (self._switches.page_calls_only and not method.on_page):
            raise RefusedError(refusals.METHOD_UNKNOWN)
        if method.key == "required" or (method.key == "optional" and call.key):
            self._check_key(call.key)
        return method.answer(self._provider, call.params)

    def _check_key(self, key: str) -> None:
        if not key:
            raise RefusedError(refusals.KEY_MISSING)
        if self.api_key is not None and key != self.api_key:
            raise RefusedError(refusals.KEY_UNKNOWN)
        if self._switches.banned:
            raise RefusedError(refusals.BANNED)

    def _too_soon(self) -> bool:
        """Return whether the request breaks the rate limit; those that were refused for it count too (assumed)."""
        now, last, gap = self._clock.elapsed(), self._last_arrival, self._switches.rate_limit
        self._last_arrival = now
        # The clock is rounded to the microsecond, and so are the differences.
        return gap is not None and last is not None and round(now - last, 6) < gap

    def _too_many(self, call: _Call) -> Response:
        match self._switches.rate_limit_answer:
            case "json":
                return self._refusal(call, refusals.TOO_MANY)
            case "text":
                return Response(refusals.TOO_MANY[0].encode())
            case "http_429":
                wait = ceil(self._switches.rate_limit or 0)
                return Response(b"Too Many Requests", status=429, headers={"Retry-After": str(wait)})

    def _refusal(self, call: _Call, wordings: tuple[str, ...]) -> Response:
        form = self._switches.refusal_form
        if form is not None and call.dialect is self._dialect:
            return refusal_in(form, wordings[0])
        return (call.dialect or self._dialect).refusal(wordings)


def _wordings(fault: Fault, key: str) -> tuple[str, ...]:
    """Return the refusal for a request that a fault kept from being served; most faults hide it."""
    match fault.name:
        case "too_many":
            return refusals.TOO_MANY
        case "refusal":
            return (fault.msg,)
        case "echo":
            return (f"Incorrect request: apikey={key}",)
        case _:
            return ("Server error",)


def _wrong_ways(request: Request, pairs: list[tuple[str, str]], call: _Call) -> list[str]:
    """Return what is wrong with a request, without its key."""
    names = [name for name, _value in pairs]
    is_balance = call.method is BALANCE
    long_key = call.key if len(call.key) >= _SHORT_KEY else None
    return [
        *([f"{request.verb} instead of GET"] if request.verb != "GET" else []),
        *(["a body"] if request.body else []),
        *(["unknown path"] if call.dialect is None else []),
        *(f"repeated parameter {name}" for name in sorted(set(names)) if names.count(name) > 1),
        *(["key in the query"] if is_balance and "apikey" in names else []),
        *(
            f"key in the header {name}"
            for name, value in request.headers
            if not (is_balance and name == "apikey")
            and (name in _KEY_HEADERS or (call.key and value == call.key) or (long_key and long_key in value))
        ),
        *(["key in the path"] if long_key and long_key in request.path else []),
        *complaints(call.name, call.method, call.params),
    ]
