"""Vocabulary of the command line: words and colors for order states, and the names of commands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from smspva_async import Order, OrderState, SmspvaError
from smspva_async._api import methods
from smspva_async.cli import _formatting as fmt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smspva_async import OutcomeUnknown, Purchase

STATE_WORDS = {
    OrderState.INACTIVE: "inactive",
    OrderState.ACTIVATING: "queued",
    OrderState.ACTIVE: "active",
    OrderState.ABSENT: "absent",
}
"""A state in one word, for a table."""
STATE_MEANINGS = {
    OrderState.INACTIVE: "needs activation",
    OrderState.ACTIVATING: "waiting in queue",
    OrderState.ACTIVE: "can receive SMS",
    OrderState.ABSENT: "not in the provider's system",
}
"""The meaning of a state that an order has just entered."""
STATE_STYLES = {OrderState.INACTIVE: "", OrderState.ACTIVATING: "yellow", OrderState.ACTIVE: "green"}
ALARM = "red"
"""The style of other states, and of anything else that needs attention."""

_LONGEST_STATE = 16
_CALLS: Mapping[str, Sequence[methods.Method[Any]]] = {
    "services": [methods.SERVICES],
    "countries": [methods.COUNTRIES, methods.COUNTRIES_FOR],
    "offers": [methods.OFFERS, methods.OFFERS_BY_PROVIDER],
    "stock": [methods.STOCK, methods.STOCK_MULTI],
    "balance": [methods.BALANCE],
    "rent": [methods.RENT, methods.RENT_MULTI],
    "orders": [methods.ORDERS],
    "sms": [methods.SMS],
    "activate": [methods.ACTIVATE],
    "prolong": [methods.PROLONG, methods.PROLONG_DAYS],
    "add-service": [methods.ADD_SERVICE],
    "delete": [methods.DELETE],
    "history": [methods.HISTORY],
    "restore": [methods.RESTORE, methods.RESTORE_QUOTE],
}
_COMMANDS = {call.name: command for command, calls in _CALLS.items() for call in calls}
"""Wire name of a call -> the command that makes it."""


def state_word(order: Order) -> str:
    """Return an order's state in one word, or ``state N`` if it is unknown."""
    return STATE_WORDS.get(order.state) or f"state {raw_state(order)}"


def raw_state(order: Order) -> str:
    """Return an order's state as the server sent it."""
    return "?" if order.raw_state is None else fmt.clean(str(order.raw_state))[:_LONGEST_STATE]


def command_name(method: str | None) -> str:
    """Return the command that makes a call with this wire name, or the wire name if there is none."""
    return _COMMANDS.get(method or "", method or "")


def as_command(call: OutcomeUnknown | Purchase) -> str:
    """Return the command line of a spending call, such as ``rent PL opt29 --weeks 2``."""
    params = call.params
    words = [command_name(call.method), *(params[name] for name in ("country", "id", "service") if name in params)]
    words += params.get("services", "").split(",") if "services" in params else []
    words += [f"--{params['dtype']}s", params.get("dcount", "?")] if "dtype" in params else []
    words += ["--days", params["rent_days"]] if "rent_days" in params else []
    words += ["--provider", params["provider"]] if "provider" in params else []
    return fmt.clean(shlex.join(words))


def describe_unknown(error: OutcomeUnknown) -> str:
    """Return a message about a call whose outcome is unknown: the reason, if any, and the command to use next."""
    reason = f" ({error.__cause__.message})" if isinstance(error.__cause__, SmspvaError) else ""
    return f"the request was sent, but its outcome is unknown{reason}; don't repeat it; run smspva unsettled to check"


def describe_error(error: SmspvaError) -> str:
    """Return an error's message with the command that failed and the seconds it took."""
    name = command_name(error.method)
    text = f"{name}: {error.message}" if name else error.message
    return text if error.elapsed is None else f"{text} [after {error.elapsed:.1f} s]"
