"""Calls that spend or destroy: each is sent once, and none is lost sight of."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

from smspva_async._api import methods
from smspva_async._api.decoding import decode
from smspva_async.errors import (
    ApiError,
    ClientClosed,
    ClientInUse,
    ConnectionFailed,
    OutcomeUnknown,
    RequestTimeout,
    UnexpectedResponse,
)
from smspva_async.models import Rental, Rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smspva_async._api.decoding import Answer
    from smspva_async._api.methods import Method
    from smspva_async._money.books import Books

__all__ = ["spend"]

T = TypeVar("T")

_log = logging.getLogger("smspva_async")


async def spend(
    books: Books, method: Method[T], params: Mapping[str, str], send: Callable[[list[str]], Awaitable[Answer]]
) -> T:
    """Return what a call that is sent once answers, or leave an `OutcomeUnknown` behind.

    Args:
        books: Where it is kept.
        method: Which.
        params: Its parameters.
        send: Sends the request; its argument gets the text of the answer as it comes.

    """
    with books.under_way(method, params) as call:
        await books.write_down(call)
        return await _send(books, call, method, send)


async def _send(
    books: Books, call: OutcomeUnknown, method: Method[T], send: Callable[[list[str]], Awaitable[Answer]]
) -> T:
    began = anyio.current_time()
    received: list[str] = []

    def leave(reason: str, data: object = None) -> OutcomeUnknown:
        # What can't be read may be half an answer, with a paid order's id.
        call.data = data or "".join(received) or None
        books.leave_open(call, method, reason)
        with contextlib.suppress(RuntimeError):  # a call may be given up when its event loop is gone
            call.elapsed = anyio.current_time() - began
        return call

    try:
        value = decode(method, call.params, await send(received))
    except ApiError as error:
        books.end(call, "refused")
        error.message += f"; {method.refusal_note}"
        raise
    except (ClientClosed, ClientInUse):
        books.end(call, "not_sent")
        raise
    except ConnectionFailed as error:
        if not error.sent:
            books.end(call, "not_sent")
            raise
        failure: ConnectionFailed | RequestTimeout | UnexpectedResponse = error
    except (RequestTimeout, UnexpectedResponse) as error:
        failure = error
    except BaseException as error:
        _log.warning("%s", leave(f"interrupted after its request began ({type(error).__name__})"))
        raise
    else:
        # Nothing is awaited from here on, so that what was paid for reaches the caller.
        orders, told = _told(call, value)
        books.done(call, orders, told=told)
        return value
    raise leave(failure.message, getattr(failure, "data", None)) from failure


def _told(call: OutcomeUnknown, value: object) -> tuple[tuple[int, ...], bool]:
    """Return the orders that a call's caller was given, and whether they are all that it made."""
    if isinstance(value, Rental):
        return (value.id,), True
    if isinstance(value, int):
        return (value,), True
    if isinstance(value, Rows):
        rentals = cast("Rows[Rental]", value)
        ids = [*(rental.id for rental in rentals), *(row.order_id for row in rentals.skipped)]
        return tuple(order_id for order_id in ids if order_id is not None), None not in ids
    # The order is the same one, or a new one that the server left untold.
    if call.method == methods.RESTORE.name:
        return (int(call.params["id"]),), False
    return (), call.method != methods.ADD_SERVICE.name
