"""Faults by script and by seed: what goes wrong between the client and the provider, and when."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from attrs import frozen

from smspva_async.simulator._methods import LIST_METHODS, MAPPING_METHODS, METHOD_NAMES, MethodName

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AnyMethod", "ClientMethodName", "Fault", "FaultName", "Faults"]

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
"""Names that a Python client has for methods of the API; where both are the same, it is a `MethodName`."""
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
_WIRE_NAMES: dict[str, MethodName] = dict(zip(METHOD_NAMES, METHOD_NAMES, strict=True))
_WIRE_NAMES.update(_CLIENT_NAMES)

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
"""A method by its name in the API or in a Python client, or `"*"` for any that a fault can affect."""
_Scope: TypeAlias = 'MethodName | Literal["*"]'


@frozen
class _Kind:
    """Properties of a kind of fault."""

    done: bool
    """Default for `done`: the provider does what the request asks for."""
    choosable: bool = False
    """True if a test may choose `done`."""
    seconds: float | None = None
    """Default for `seconds`; None: it has none."""
    methods: tuple[MethodName, ...] = METHOD_NAMES
    random: tuple[MethodName, ...] | None = None
    """The methods that it affects at random; None: all of `methods`."""


_KINDS: dict[FaultName, _Kind] = {
    "refused": _Kind(done=False),
    "connect_timeout": _Kind(done=False),
    "lost": _Kind(done=True, choosable=True),
    "reset": _Kind(done=True, choosable=True),
    "hang": _Kind(done=True, choosable=True),
    "latency": _Kind(done=True, seconds=10.0),
    "slow_body": _Kind(done=True, seconds=10.0),
    "cut": _Kind(done=True, choosable=True),
    "half": _Kind(done=True, choosable=True),
    "http_500": _Kind(done=False, choosable=True),
    "http_503": _Kind(done=False, choosable=True),
    "html_502": _Kind(done=False, choosable=True),
    "http_429": _Kind(done=False, seconds=5.0),
    "too_many": _Kind(done=False),
    "html": _Kind(done=True, choosable=True),
    "text": _Kind(done=True, choosable=True),
    "redirect": _Kind(done=False, choosable=True),
    "echo": _Kind(done=False),
    "refusal": _Kind(done=False, random=()),
    "empty": _Kind(done=True, methods=LIST_METHODS),
    "flapping": _Kind(done=True, methods=LIST_METHODS),
    # A message that comes twice looks like two messages, so `sms` is not chosen at random.
    "duplicate": _Kind(
        done=True,
        methods=tuple(name for name in LIST_METHODS if name not in MAPPING_METHODS),  # a mapping has no key twice
        random=("getcountries", "get_default_services", "getdata", "getdataWithProviders", "orders"),
    ),
    "bad_row": _Kind(done=True, methods=LIST_METHODS),
    "nameless_row": _Kind(done=True, methods=LIST_METHODS),
    "unknown_state": _Kind(done=True, methods=("orders",)),
}


def _random_methods(name: FaultName) -> tuple[MethodName, ...]:
    kind = _KINDS[name]
    return kind.methods if kind.random is None else kind.random


_RANDOM_NAMES: tuple[FaultName, ...] = tuple(name for name in _FAULT_NAMES if _random_methods(name))


@frozen
class Fault:
    """One fault, as it is met."""

    name: FaultName
    """Its name in the table of `Faults`."""
    done: bool
    """True: the provider does what the request asks for, although the client doesn't learn of it."""
    seconds: float = 0.0
    """Seconds of delay, or the value of `Retry-After`."""
    msg: str = ""
    """The text of a `refusal`."""


class Faults:
    """Faults of requests, by script (`next`, `always`) or by chance (`rate`).

    A request meets one fault at most: the first in the queue that fits its method, else what was set for always, else
    one drawn by chance. `"*"` means any method that the fault applies to.

    ==================  ==============================================================================  =========
    fault               what the client sees                                                            effect
    ==================  ==============================================================================  =========
    `refused`           the connection is refused                                                       never
    `connect_timeout`   the connection isn't made in time                                               never
    `lost`              the server closes the connection instead of an answer                           done *
    `reset`             the connection is reset while the answer is waited for                          done *
    `hang`              no answer, ever                                                                 done *
    `latency`           the whole answer comes `seconds` late (10)                                      done
    `slow_body`         the body takes `seconds` to come (10)                                           done
    `cut`               the connection drops in the middle of the body                                  done *
    `half`              a whole HTTP answer whose JSON stops in the middle                              done *
    `http_500`          HTTP 500 without a body                                                         not done *
    `http_503`          HTTP 503 with a plain text                                                      not done *
    `html_502`          HTTP 502 with an HTML page                                                      not done *
    `http_429`          HTTP 429 with `Retry-After: seconds` (5)                                        never
    `too_many`          the refusal of too many requests                                                never
    `html`              an HTML page under HTTP 200                                                     done *
    `text`              a plain text in Russian under HTTP 200                                          done *
    `redirect`          HTTP 302 whose `Location` repeats the query, key included                       not done *
    `echo`              a refusal whose message repeats the key                                         never
    `refusal`           a refusal with the message `msg`                                                never
    `empty`             an empty list where rows are due                                                done
    `flapping`          one row of a list is missing                                                    done
    `duplicate`         one row comes twice                                                             done
    `bad_row`           one row can't be read but for its id                                            done
    `nameless_row`      one row can't be read at all                                                    done
    `unknown_state`     one order is in a state never seen                                              done
    ==================  ==============================================================================  =========

    "effect": whether the provider does what the request asks for. `*`: the default; `done=` changes it.
    """

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed} faults")  # noqa: S311 - not cryptography
        self._queue: deque[tuple[_Scope, Fault]] = deque()
        self._always: dict[_Scope, Fault] = {}
        self._probability = 0.0
        self._kinds: tuple[FaultName, ...] = _RANDOM_NAMES
        self._methods: tuple[MethodName, ...] = METHOD_NAMES

    @property
    def pending(self) -> int:
        """The number of scripted faults that no request has met yet."""
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
        """Let the next request of a method meet a fault. Calls queue up.

        Args:
            method: The method, such as `orders`, by its name in the API (`create`) or in the client (`rent`); `"*"` for
                any that the fault applies to.
            fault: Its name in the table above.
            count: The number of requests that meet it.
            done: True: the provider does what the request asks for; for the faults with a `*`. None: as in the table.
            seconds: The delay of `latency` and `slow_body`, or the wait that `http_429` asks for; None: as in
                the table.
            msg: The text of a `refusal`, such as `No numbers available`; needed there, and for no other fault.

        Raises:
            ValueError: The fault doesn't apply to the method, or doesn't take the argument.

        """
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        scope = _scope(method)
        entry: tuple[_Scope, Fault] = (scope, _fault(scope, fault, done, seconds, msg))
        self._queue.extend([entry] * count)

    def always(
        self,
        method: AnyMethod,
        fault: FaultName,
        *,
        done: bool | None = None,
        seconds: float | None = None,
        msg: str | None = None,
    ) -> None:
        """Let every request of a method meet a fault until `clear`: an outage.

        Args:
            method: The method of the API, whose fault replaces the one before, or `"*"` for those that have none.
            fault: Its name in the table above.
            done: As for `next`.
            seconds: As for `next`.
            msg: As for `next`.

        Raises:
            ValueError: The fault doesn't apply to the method, or doesn't take the argument.

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
        """Let requests meet random faults of the table above. Each call replaces the one before.

        Chance has no `refusal`, and no `duplicate` of a message or of an archived order, since no client could see
        through that.

        Args:
            probability: From 0, which ends it, to 1.
            kinds: The faults to choose from; None: all.
            methods: The methods that they affect; None: all.

        Raises:
            ValueError: There is no such probability, fault or method.

        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {probability}")
        chosen_kinds = _RANDOM_NAMES if kinds is None else tuple(kinds)
        for kind in chosen_kinds:
            _check("random fault", kind, _RANDOM_NAMES)
        chosen: tuple[MethodName, ...] = METHOD_NAMES
        if methods is not None:
            chosen = tuple([_wire_name(method) for method in methods])
        self._probability, self._kinds, self._methods = probability, chosen_kinds, chosen

    def clear(self, method: AnyMethod = "*") -> None:
        """Forget what was scripted for a method; without one, everything, chance included.

        Args:
            method: The method of the API; what was scripted for any method stays. `"*"`: everything.

        Raises:
            ValueError: There is no such method.

        """
        scope = _scope(method)
        if scope == "*":
            self._queue.clear()
            self._always.clear()
            self._probability = 0.0
        else:
            self._queue = deque(entry for entry in self._queue if entry[0] != scope)
            self._always.pop(scope, None)

    def meet(self, method: str) -> Fault | None:
        """Remove and return the fault that a request meets. The simulator calls it for each request.

        Args:
            method: The method of the request, known or not.

        """
        for entry in self._queue:
            if _fits(*entry, method):
                self._queue.remove(entry)
                return entry[1]
        for scope in (method, "*"):
            for key, fault in self._always.items():
                if key == scope and _fits(key, fault, method):
                    return fault
        return self._draw(method)

    def _draw(self, method: str) -> Fault | None:
        if method not in self._methods or self._rng.random() >= self._probability:
            return None
        fitting: list[FaultName] = [name for name in self._kinds if method in _random_methods(name)]
        if not fitting:
            return None
        name = self._rng.choice(fitting)
        kind = _KINDS[name]
        return Fault(name, kind.done, kind.seconds or 0.0)


def _fits(scope: _Scope, fault: Fault, method: str) -> bool:
    allowed = _KINDS[fault.name].methods
    if scope == "*":
        # An unknown method is as good as any for a fault of the connection.
        return method in allowed or allowed == METHOD_NAMES
    return scope == method


def _check(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{value!r} is no {what}; use one of {', '.join(allowed)}")


def _scope(method: AnyMethod) -> _Scope:
    return "*" if method == "*" else _wire_name(method)


def _wire_name(method: MethodName | ClientMethodName) -> MethodName:
    try:
        return _WIRE_NAMES[method]
    except KeyError:
        raise ValueError(f"{method!r} is no method; use one of {', '.join(_WIRE_NAMES)}, *") from None


def _fault(method: _Scope, name: FaultName, done: bool | None, seconds: float | None, msg: str | None) -> Fault:  # noqa: FBT001 - keywords of the public methods
    _check("fault", name, _FAULT_NAMES)
    kind = _KINDS[name]
    if method != "*" and method not in kind.methods:
        raise ValueError(f"{name!r} doesn't apply to {method}; it applies to {', '.join(kind.methods)}")
    if done is not None and done is not kind.done and not kind.choosable:
        choosable = ", ".join(known for known, what in _KINDS.items() if what.choosable)
        raise ValueError(f"{name!r} can't take done={done}; these can: {choosable}")
    if seconds is not None and (kind.seconds is None or seconds < 0):
        timed = ", ".join(known for known, what in _KINDS.items() if what.seconds is not None)
        raise ValueError(f"{name!r} can't take seconds={seconds}; these take seconds from 0: {timed}")
    if (msg is not None) is not (name == "refusal"):
        raise ValueError("msg= goes with 'refusal', and with nothing else")
    return Fault(
        name,
        kind.done if done is None else done,
        (kind.seconds or 0.0) if seconds is None else seconds,
        msg or "",
    )
