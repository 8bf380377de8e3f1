"""What the server shows of a call whose outcome isn't known: the questions that `SmspvaClient.reconcile` asks."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from smspva_async._api import methods
from smspva_async._money.reconcile import Evidence
from smspva_async.errors import ApiError, InvalidKey, OrderNotFound, RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from smspva_async.errors import OutcomeUnknown
    from smspva_async.models import Order, PastOrder, RestoreQuote, Rows, Sms

__all__ = ["gather_evidence"]


class _Client(Protocol):
    """What is asked here of a `SmspvaClient`."""

    async def orders(self) -> Rows[Order]: ...
    async def sms(self, order_id: int) -> Rows[Sms]: ...
    def iter_history(self) -> AsyncGenerator[PastOrder, None]: ...
    async def restore_quote(self, order_id: int) -> RestoreQuote: ...


async def gather_evidence(client: _Client, error: OutcomeUnknown) -> Evidence:
    """Ask the server, and return what it shows, without `Evidence.others`. Spends nothing."""
    evidence = Evidence(await client.orders())
    subject = int(error.params.get("id", 0))
    if evidence.of(subject) is None and error.method == methods.DELETE.name:
        return evolve(evidence, is_gone=await _is_gone(client, subject))
    if evidence.of(subject) is None and error.method == methods.RESTORE.name:
        past = await _past(client, subject)
        return evolve(evidence, past=past, is_restorable=await _is_restorable(client, subject))
    return evidence


async def _is_gone(client: _Client, order_id: int) -> bool:
    try:
        await client.sms(order_id)
    except OrderNotFound:
        return True
    return False


async def _past(client: _Client, order_id: int) -> PastOrder | None:
    async with aclosing(client.iter_history()) as orders:
        async for order in orders:
            if order.order_id == order_id:
                return order
    return None


async def _is_restorable(client: _Client, order_id: int) -> bool:
    try:
        await client.restore_quote(order_id)
    except (RateLimited, InvalidKey):
        raise
    except ApiError:
        return False
    return True
