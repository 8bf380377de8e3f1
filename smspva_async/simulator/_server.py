"""The provider's server: what it checks before anything is done, how it answers, and what a fault makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from math import ceil
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from attrs import evolve, frozen

from smspva_async.simulator import _refusals as refusals
from smspva_async.simulator._faults import Fault, FaultName, Faults
from smspva_async.simulator._methods import METHODS, Json, complaints
from smspva_async.simulator._refusals import RefusedError
from smspva_async.simulator._replies import Asked, Reply, break_reply, spoil_rows

if TYPE_CHECKING:
    from random import Random

    from smspva_async.simulator._clock import Clock
    from smspva_async.simulator._dialects import Dialect
    from smspva_async.simulator._provider import Provider
    from smspva_async.simulator._switches import Switches

__all__ = ["RecordedRequest", "Server"]

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


class Server:
    """Answers requests, and keeps a record of them.

    Args:
        provider: What is asked of.
        clock: The time.
        dialect: How answers are written.
        switches: What isn't known of the real server.
        faults: What goes wrong.
        rng: What chance is drawn from where an answer is damaged.
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
        self._switches = switches
        self._faults = faults
        self._rng = rng
        self._last_arrival: float | None = None

    def respond(self, asked: Asked) -> Reply:
        """Answer a request: the deed is done here and now, before the answer travels."""
        with self._clock.held():
            return self._exchange(asked)

    def _exchange(self, asked: Asked) -> Reply:
        pairs = parse_qsl(asked.query, keep_blank_values=True)
        params = dict(pairs)
        method, key = params.pop("method", ""), params.pop("apikey", "")
        fault = self._faults.meet(method)
        now = self._clock.elapsed()
        self.requests.append(
            RecordedRequest(method, params, now, self._clock.at(now), None if fault is None else fault.name)
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
        zero = method == "prolong" and self._switches.prolong_status_zero
        return Reply(self._dialect.success(method, data, zero=zero), self._dialect.content_type)

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
        if self._switches.banned:
            raise RefusedError(refusals.BANNED)

    def _too_soon(self) -> bool:
        """Return whether the request breaks the rate limit; those that were refused for it count too (assumed)."""
        now, last, gap = self._clock.elapsed(), self._last_arrival, self._switches.rate_limit
        self._last_arrival = now
        # The clock is rounded to the microsecond, and so are the differences.
        return gap is not None and last is not None and round(now - last, 6) < gap

    def _too_many(self) -> Reply:
        match self._switches.rate_limit_answer:
            case "json":
                return self._refusal(refusals.TOO_MANY)
            case "text":
                return Reply(refusals.TOO_MANY[0].encode())
            case "http_429":
                wait = ceil(self._switches.rate_limit or 0)
                return Reply(b"Too Many Requests", status=429, headers={"Retry-After": str(wait)})

    def _refusal(self, wordings: tuple[str, ...]) -> Reply:
        return Reply(self._dialect.refusal(wordings), self._dialect.content_type)


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
