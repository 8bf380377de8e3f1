"""The message and the exit code of an error of the library."""

from __future__ import annotations

from smspva_async import (
    ConnectionFailed,
    DeliveryFailed,
    JournalError,
    OrderGone,
    OutcomeUnknown,
    RequestTimeout,
    SmspvaError,
    UnexpectedResponse,
    WaitTimeout,
)
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._exit_codes import FAILED, REFUSED, UNKNOWN, WRONG_USAGE
from smspva_async.cli._vocabulary import STATE_WORDS, command_name, describe_error, describe_unknown


def describe_failure(error: Exception) -> tuple[str, int] | None:
    """Return the message and the exit code of an error, or None if it is a mistake in the program."""
    match error:
        case SmspvaError():
            return _explain(error), _exit_code(error)
        case ValueError():  # the library raises it for invalid arguments, before anything is sent
            return str(error), WRONG_USAGE
        case OSError():  # such as a full disk behind standard output
            return error.strerror or str(error), REFUSED
        case _:
            return None


def _explain(error: SmspvaError) -> str:
    """Return a message: what happened, and which command to use next."""
    match error:
        case OutcomeUnknown():
            return f"{command_name(error.method)}: {describe_unknown(error)}"
        case WaitTimeout(state=state, last_success=last):
            timeout = error.message.partition(";")[0]
            state_text = (
                "it was never listed" if state is None else f"it is {STATE_WORDS.get(state, 'in an unknown state')}"
            )
            last_answer = "none" if last is None else fmt.second(last)
            last_failure = error.last_failure or "none"
            return (
                f"{timeout}; {state_text}; last answer: {last_answer}; last failure: {last_failure}; you can wait again"
            )
        case OrderGone():
            return (
                f"order {error.order_id} is no longer listed: it expired or was deleted; smspva history lists past"
                " orders"
            )
        case _:
            return describe_error(error)


def _exit_code(error: SmspvaError) -> int:
    match error:
        case OutcomeUnknown():
            return UNKNOWN
        case ConnectionFailed() | RequestTimeout() | UnexpectedResponse() | DeliveryFailed():
            return FAILED
        case JournalError():
            return WRONG_USAGE
        case _:
            return REFUSED
