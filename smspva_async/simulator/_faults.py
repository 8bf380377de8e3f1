"""Scripted and random faults: which request gets which fault."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from attrs import Factory, frozen

from smspva_async.simulator._methods import LIST_METHODS, MAPPING_METHODS, METHOD_NAMES, MethodName

if TYPE_CHECKING:
    from collections.abc import Iterable

ClientMethodName = Literal[
    "countries",
    "services",
    "countries_for",
    "offers",
    "stock",
    "stock_multi",
    "canada_paypal_days",
    "minimum_paypal_days",
    "rent",
    "rent_multi",
    "add_service",
    "prolong_days",
    "restore",
    "history",
    "restore_quote",
]
"""Names of the Python client's methods that differ from the API's; a name that both share is a `MethodName`."""
_CLIENT_NAMES: dict[str, MethodName] = {
    "countries": "getcountries",
    "services": "get_default_services",
    "countries_for": "get_country_by_service",
    "offers": "getdata",
    "stock": "getCountWithProviders",
    "stock_multi": "get_count_multi",
    "canada_paypal_days": "get_days_canada_paypal",
    "minimum_paypal_days": "get_min_paypal_days",
    "rent": "create",
    "rent_multi": "create_multi",
    "add_service": "add_service_to_order",
    "prolong_days": "prolong_max",
    "restore": "restore_user",
    "history": "get_rent_history",
    "restore_quote": "restore_user_precalc",
}
_WIRE_NAMES: dict[str, MethodName] = {**{name: name for name in METHOD_NAMES}, **_CLIENT_NAMES}

FaultName = Literal[
    "refused",
    "connect_timeout",
    "lost",
    "reset",
    "hang",
    "latency",
    "slow_body",
    "cut",
    "half",
    "http_500",
    "http_503",
    "html_502",
    "http_429",
    "too_many",
    "html",
    "text",
    "redirect",
    "echo",
    "refusal",
    "empty",
    "flapping",
    "duplicate",
    "bad_row",
    "nameless_row",
    "unknown_state",
]
"""Names of faults; the docstring of `Faults` has a table."""
_FAULT_NAMES: tuple[FaultName, ...] = get_args(FaultName)

AnyMethod: TypeAlias = 'MethodName | ClientMethodName | Literal["*"]'
"""A method by its name in the API or in the Python client; `"*"` means every method that the fault can affect."""


@frozen
class _Kind:
    """The properties of a fault."""

    done: bool
    """The default of `done`: whether the provider executes the request."""
    can_choose_done: bool = False
    """True if a test can choose `done`."""
    seconds: float | None = None
    """The default of `seconds`; None: the fault has no seconds."""
    methods: tuple[MethodName, ...] = METHOD_NAMES
    """The methods that the fault can affect."""
    random: tuple[MethodName, ...] = Factory(lambda kind: kind.methods, takes_self=True)
    """The methods that a random fault can affect."""


_KINDS: dict[FaultName, _Kind] = {
    "refused": _Kind(done=False),
    "connect_timeout": _Kind(done=False),
    "lost": _Kind(done=True, can_choose_done=True),
    "reset": _Kind(done=True, can_choose_done=True),
    "hang": _Kind(done=True, can_choose_done=True),
    "latency": _Kind(done=True, seconds=10.0),
    "slow_body": _Kind(done=True, seconds=10.0),
    "cut": _Kind(done=True, can_choose_done=True),
    "half": _Kind(done=True, can_choose_done=True),
    "http_500": _Kind(done=False, can_choose_done=True),
    "http_503": _Kind(done=False, can_choose_done=True),
    "html_502": _Kind(done=False, can_choose_done=True),
    "http_429": _Kind(done=False, seconds=5.0),
    "too_many": _Kind(done=False),
    "html": _Kind(done=True, can_choose_done=True),
    "text": _Kind(done=True, can_choose_done=True),
    "redirect": _Kind(done=False, can_choose_done=True),
    "echo": _Kind(done=False),
    "refusal": _Kind(done=False, random=()),
    "empty": _Kind(done=True, methods=LIST_METHODS),
    "flapping": _Kind(done=True, methods=LIST_METHODS),
    # A client can't tell a duplicated message from two messages, so `sms` is not chosen at random.
    "duplicate": _Kind(
        done=True,
        methods=tuple(name for name in LIST_METHODS if name not in MAPPING_METHODS),  # a mapping can't repeat a key
        random=("getcountries", "get_default_services", "getdata", "getdataWithProviders", "orders"),
    ),
    "bad_row": _Kind(done=True, methods=LIST_METHODS),
    "nameless_row": _Kind(done=True, methods=LIST_METHODS),
    "unknown_state": _Kind(done=True, methods=("orders",)),
}


_RANDOM_NAMES: tuple[FaultName, ...] = tuple(name for name in _FAULT_NAMES if _KINDS[name].random)


@frozen
class Fault:
    """The fault of one request."""

    name: FaultName
    """The name in the table of `Faults`."""
    done: bool
    """True: the provider executes the request, although the client may not learn of it."""
    seconds: float = 0.0
    """Seconds of delay, or the value of `Retry-After`."""
    msg: str = ""
    """The text of a `refusal`."""


class Faults:
    """Faults of requests: scripted (`next`, `always`) or random (`rate`).

    A request gets at most one fault: the first one in the queue that applies to its method, else the one set with
    `always`, else a random one. `"*"` means every method that the fault applies to.

    ==================  ==============================================================================  =========
    fault               what the client sees                                                            executed
    ==================  ==============================================================================  =========
    `refused`           the connection is refused                                                       never
    `connect_timeout`   connecting takes too long                                                       never
    `lost`              the server closes the connection without an answer                              yes *
    `reset`             the connection is reset while the client waits for the answer                   yes *
    `hang`              the answer never comes                                                          yes *
    `latency`           the whole answer is `seconds` late (10)                                         yes
    `slow_body`         the body takes `seconds` to arrive (10)                                         yes
    `cut`               the connection drops in the middle of the body                                  yes *
    `half`              a complete HTTP response whose JSON stops in the middle                         yes *
    `http_500`          HTTP 500 without a body                                                         no *
    `http_503`          HTTP 503 with plain text                                                        no *
    `html_502`          HTTP 502 with an HTML page                                                      no *
    `http_429`          HTTP 429 with `Retry-After: seconds` (5)                                        never
    `too_many`          the provider's refusal of too many requests                                     never
    `html`              HTTP 200 with an HTML page                                                      yes *
    `text`              HTTP 200 with plain text in Russian                                             yes *
    `redirect`          HTTP 302 whose `Location` repeats the query, including the key                  no *
    `echo`              a refusal whose text repeats the key                                            never
    `refusal`           a refusal with the text `msg`                                                   never
    `empty`             a list without its rows                                                         yes
    `flapping`          one row of a list is missing                                                    yes
    `duplicate`         one row of a list is repeated                                                   yes
    `bad_row`           one row is unreadable except for its id                                         yes
    `nameless_row`      one row is unreadable, including its id                                         yes
    `unknown_state`     one order has an unknown state                                                  yes
    ==================  ==============================================================================  =========

    "executed": whether the provider executes the request. `*`: the default; `done=` changes it.
    """

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed} faults")  # noqa: S311 - not cryptography
        self._queue: deque[tuple[str, Fault]] = deque()
        self._always: dict[str, Fault] = {}
        self._probability = 0.0
        self._kinds: tuple[FaultName, ...] = _RANDOM_NAMES
        self._methods: tuple[MethodName, ...] = METHOD_NAMES

    @property
    def pending(self) -> int:
        """The number of queued faults that no request has got yet."""
        return len(self._queue)

    def next(
        self,
        method: AnyMethod,
        fault: FaultName,
        *,
        count: int = 1,
        done: bool | None = None,
        seconds: float | None = None,
        msg: str | None = None,
    ) -> None:
        """Add a fault for the next request of a method to the queue.

        Args:
            method: The method by its name in the API (`create`) or in the client (`rent`); `"*"`: every method that the
                fault applies to.
            fault: The name in the table above.
            count: The number of requests that get the fault.
            done: True: the provider executes the request; only for faults with a `*`. None: as in the table.
            seconds: The delay of `latency` and `slow_body`, or the `Retry-After` of `http_429`; None: as in the table.
            msg: The text of a `refusal`, such as `No numbers available`; required for it, not allowed for other faults.

        Raises:
            ValueError: The fault doesn't apply to the method, or an argument doesn't apply to the fault.

        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        scope = _scope(method)
        self._queue.extend([(scope, _fault(scope, fault, done, seconds, msg))] * count)

    def always(
        self,
        method: AnyMethod,
        fault: FaultName,
        *,
        done: bool | None = None,
        seconds: float | None = None,
        msg: str | None = None,
    ) -> None:
        """Set a fault for all requests of a method until `clear`, like an outage.

        Args:
            method: The method; the fault replaces the method's earlier one. `"*"`: all methods without an own
                fault.
            fault: The name in the table above.
            done: As for `next`.
            seconds: As for `next`.
            msg: As for `next`.

        Raises:
            ValueError: The fault doesn't apply to the method, or an argument doesn't apply to the fault.

        """
        scope = _scope(method)
        self._always[scope] = _fault(scope, fault, done, seconds, msg)

    def rate(
        self,
        probability: float,
        *,
        kinds: Iterable[FaultName] | None = None,
        methods: Iterable[MethodName | ClientMethodName] | None = None,
    ) -> None:
        """Set the probability of random faults. Each call replaces the previous one.

        A random fault is never a `refusal`, nor the `duplicate` of a message or of an archived order: no client could
        recognize these as faults.

        Args:
            probability: From 0 (no random faults) to 1.
            kinds: The faults to choose from; None: all.
            methods: The methods that they affect; None: all.

        Raises:
            ValueError: The probability is out of range, or a fault or method doesn't exist.

        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, got {probability}")
        chosen_kinds = _RANDOM_NAMES if kinds is None else tuple(kinds)
        for kind in chosen_kinds:
            _check("random fault", kind, _RANDOM_NAMES)
        chosen: tuple[MethodName, ...] = METHOD_NAMES
        if methods is not None:
            chosen = tuple([_wire_name(method) for method in methods])
        self._probability, self._kinds, self._methods = probability, chosen_kinds, chosen

    def clear(self, method: AnyMethod = "*") -> None:
        """Remove the faults of a method, or all faults.

        Args:
            method: The method; faults for `"*"` stay. `"*"`: remove all faults, random ones included.

        Raises:
            ValueError: The method doesn't exist.

        """
        scope = _scope(method)
        if scope == "*":
            self._queue.clear()
            self._always.clear()
            self._probability = 0.0
        else:
            self._queue = deque(entry for entry in self._queue if entry[0] != scope)
            self._always.pop(scope, None)

    def take(self, method: str) -> Fault | None:
        """Return the fault of a request, removed from the queue. The simulator calls this once per request.

        Args:
            method: The method of the request, which may be unknown.

        """
        for entry in self._queue:
            if _applies(*entry, method):
                self._queue.remove(entry)
                return entry[1]
        for scope in (method, "*"):
            fault = self._always.get(scope)
            if fault is not None and _applies(scope, fault, method):
                return fault
        return self._draw(method)

    def _draw(self, method: str) -> Fault | None:
        if method not in self._methods or self._rng.random() >= self._probability:
            return None
        applicable: list[FaultName] = [name for name in self._kinds if method in _KINDS[name].random]
        if not applicable:
            return None
        name = self._rng.choice(applicable)
        kind = _KINDS[name]
        return Fault(name, kind.done, kind.seconds or 0.0)


def _applies(scope: str, fault: Fault, method: str) -> bool:
    if scope == "*":
        allowed = _KINDS[fault.name].methods
        # A fault that applies to all methods also applies to a method that the API doesn't have.
        return method in allowed or allowed == METHOD_NAMES
    return scope == method


def _check(kind: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {kind} {value!r}; use one of {', '.join(allowed)}")


def _scope(method: AnyMethod) -> str:
    return "*" if method == "*" else _wire_name(method)


def _wire_name(method: MethodName | ClientMethodName) -> MethodName:
    try:
        return _WIRE_NAMES[method]
    except KeyError:
        raise ValueError(f"unknown method {method!r}; use one of {', '.join(_WIRE_NAMES)}, *") from None


def _fault(scope: str, name: FaultName, done: bool | None, seconds: float | None, msg: str | None) -> Fault:  # noqa: FBT001 - keywords of the public methods
    _check("fault", name, _FAULT_NAMES)
    kind = _KINDS[name]
    if scope not in {"*", *kind.methods}:
        raise ValueError(f"{name!r} doesn't apply to {scope}; it applies to {', '.join(kind.methods)}")
    if done is not None and done is not kind.done and not kind.can_choose_done:
        can_choose_done = ", ".join(other for other, properties in _KINDS.items() if properties.can_choose_done)
        raise ValueError(f"{name!r} doesn't allow done={done}; these faults do: {can_choose_done}")
    if seconds is not None and (kind.seconds is None or seconds < 0):
        timed = ", ".join(other for other, properties in _KINDS.items() if properties.seconds is not None)
        raise ValueError(f"{name!r} doesn't allow seconds={seconds}; these faults allow seconds >= 0: {timed}")
    if (msg is not None) is not (name == "refusal"):
        raise ValueError("msg= is required for 'refusal' and not allowed for other faults")
    default_seconds = kind.seconds or 0.0
    return Fault(name, kind.done if done is None else done, default_seconds if seconds is None else seconds, msg or "")
