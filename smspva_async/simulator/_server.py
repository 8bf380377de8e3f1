"""The provider's HTTP server: routing, checks, responses and faults."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from math import ceil
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from attrs import evolve, frozen

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._dialects import BalanceDialect, Dialect, encode_refusal
from smspva_async.simulator._faults import Fault, FaultName, Faults
from smspva_async.simulator._http import NOT_FOUND, Request, Response, apply_fault, corrupt_rows
from smspva_async.simulator._methods import BALANCE, METHODS, Data, Method, parameter_violations
from smspva_async.simulator._refusals import RefusedError

if TYPE_CHECKING:
    from random import Random

    from smspva_async.simulator._behavior import Behavior
    from smspva_async.simulator._clock import Clock
    from smspva_async.simulator._provider import Provider

RENT_PATH, BALANCE_PATH = "/api/rent.php", "/activation/balance"

_KEY_HEADERS = {"authorization", "apikey", "api-key", "x-api-key"}
_LONG_KEY = 8
"""The shortest key that is searched for inside other text: a shorter one may occur there by accident."""


@frozen
class RecordedRequest:
    """A request of a client, including one that did not arrive because of a fault."""

    method: str
    """The API method, or `balance` for `/activation/balance`; empty if the request has none."""
    params: Mapping[str, str]
    """The other parameters, without the key."""
    time: float
    """Seconds on the simulator's clock."""
    at: datetime
    """The same time, as aware UTC time."""
    fault: FaultName | None
    """The fault that the request got, if any."""
    path: str = RENT_PATH
    """The path of the URL."""


@frozen
class _Call:
    """A parsed request."""

    name: str
    """The API method, as in `RecordedRequest`."""
    params: Mapping[str, str]
    key: str
    dialect: Dialect | None
    """The encoding of the response; None: the path is unknown."""
    method: Method | None
    """The called method; None: unknown."""


class Server:
    """Answers and records requests.

    Args:
        provider: The provider's state and rules.
        clock: The server's clock.
        dialect: The encoding of the rental API's responses.
        behavior: Settings for the unknown behavior of the real server.
        faults: The faults of requests.
        rng: The random generator for corrupt rows.
        api_key: The only accepted key; None: every key is accepted.

    """

    def __init__(
        self,
        provider: Provider,
        clock: Clock,
        dialect: Dialect,
        behavior: Behavior,
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
        self._balance_dialect = BalanceDialect(behavior)
        self._behavior = behavior
        self._faults = faults
        self._rng = rng
        self._last_arrival: float | None = None

    def respond(self, request: Request) -> Response:
        """Answer a request. Its side effects happen at once, before the response is delivered."""
        with self._clock.paused():
            return self._respond(request)

    def _respond(self, request: Request) -> Response:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        call = self._parse(request, dict(pairs))
        fault = None if call.dialect is None else self._faults.take(call.name)
        now = self._clock.elapsed()
        self.requests.append(
            RecordedRequest(
                method=call.name,
                params=call.params,
                time=now,
                at=self._clock.at(now),
                fault=None if fault is None else fault.name,
                path=request.path,
            )
        )
        violations = _violations(request, pairs, call)
        self.violations += [f"{call.name or 'no method'}: {violation}" for violation in violations]
        response = NOT_FOUND if call.dialect is None else self._call(request.verb, call, call.dialect, fault)
        if fault is not None:
            response = apply_fault(response, fault, request)
        date = format_datetime(self._clock.at(now + response.delay), usegmt=True)
        return evolve(response, headers={"Server": "nginx", "Date": date, **response.headers})

    def _parse(self, request: Request, params: dict[str, str]) -> _Call:
        key = params.pop("apikey", "")
        if request.path == BALANCE_PATH:
            header_key = dict(request.headers).get("apikey", "")
            return _Call("balance", params, header_key, self._balance_dialect, BALANCE)
        name = params.pop("method", "")
        dialect = self._dialect if request.path == RENT_PATH else None
        return _Call(name, params, key, dialect, METHODS.get(name))

    def _call(self, verb: str, call: _Call, dialect: Dialect, fault: Fault | None) -> Response:
        if fault is not None and not fault.done:
            return self._refusal(dialect, _refusal_texts(fault, call.key))
        if self._is_rate_limited():
            return self._rate_limit_response(dialect)
        try:
            data = self._execute(verb, call)
        except RefusedError as refused:
            return self._refusal(dialect, refused.texts)
        if fault is not None:
            data = corrupt_rows(data, fault, self._rng)
        zero = call.name == "prolong" and self._behavior.prolong_status_zero
        return dialect.success(call.name, data, zero=zero)

    def _execute(self, verb: str, call: _Call) -> Data:
        method = call.method
        if method is None or verb != "GET" or (self._behavior.page_calls_only and not method.on_page):
            raise RefusedError(refusals.METHOD_UNKNOWN)
        if method.key == "required" or (method.key == "optional" and call.key):
            self._check_key(call.key)
        return method.call(self._provider, call.params)

    def _check_key(self, key: str) -> None:
        if not key:
            raise RefusedError(refusals.KEY_MISSING)
        if self.api_key is not None and key != self.api_key:
            raise RefusedError(refusals.KEY_UNKNOWN)
        if self._behavior.banned:
            raise RefusedError(refusals.BANNED)

    def _is_rate_limited(self) -> bool:
        """Return True if the request exceeds the rate limit. Refused requests count too (assumed)."""
        now, last, gap = self._clock.elapsed(), self._last_arrival, self._behavior.rate_limit
        self._last_arrival = now
        # The clock is rounded to microseconds, so the difference is too.
        return gap is not None and last is not None and round(now - last, 6) < gap

    def _rate_limit_response(self, dialect: Dialect) -> Response:
        match self._behavior.rate_limit_answer:
            case "json":
                return self._refusal(dialect, refusals.TOO_MANY)
            case "text":
                return Response(refusals.TOO_MANY[0].encode())
            case "http_429":
                wait = ceil(self._behavior.rate_limit or 0)
                return Response(b"Too Many Requests", status=429, headers={"Retry-After": str(wait)})

    def _refusal(self, dialect: Dialect, texts: tuple[str, ...]) -> Response:
        form = self._behavior.refusal_form
        if form is not None and dialect is self._dialect:
            return encode_refusal(form, texts[0])
        return dialect.refusal(texts)


def _refusal_texts(fault: Fault, key: str) -> tuple[str, ...]:
    """Return the refusal of a request that is not executed. Most faults replace this refusal later."""
    match fault.name:
        case "too_many":
            return refusals.TOO_MANY
        case "refusal":
            return (fault.msg,)
        case "echo":
            return (f"Incorrect request: apikey={key}",)
        case _:
            return ("Server error",)


def _violations(request: Request, pairs: list[tuple[str, str]], call: _Call) -> list[str]:
    """Return the provider's rules that a request breaks. The texts never contain the key."""
    names = [name for name, _value in pairs]
    is_balance = call.method is BALANCE
    long_key = call.key if len(call.key) >= _LONG_KEY else None
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
        *parameter_violations(call.name, call.method, call.params),
    ]
