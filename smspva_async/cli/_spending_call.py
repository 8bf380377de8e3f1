"""A spending call: confirmation, ledger check, error notes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import click
from attrs import frozen

from smspva_async import JournalError, OutcomeUnknown, Purchase, SmspvaClient, SmspvaError
from smspva_async._api import methods
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._account import Account
from smspva_async.cli._exit_codes import UNKNOWN
from smspva_async.cli._ledger_client import open_ledger_client, read_ledger, report_interrupted_call
from smspva_async.cli._prompts import confirm
from smspva_async.cli._vocabulary import as_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from smspva_async import Order

PROLONGABLE = timedelta(days=7)
"""The provider prolongs a rental only in this time before its end (rental page)."""
_RENTALS = {methods.RENT.name, methods.RENT_MULTI.name}
_PROLONGATIONS = {methods.PROLONG.name, methods.PROLONG_DAYS.name}


class PossibleRepeatError(click.ClickException):
    """The ledger has the same call with an unknown outcome, so this call could repeat it."""

    exit_code = UNKNOWN


@frozen
class SpendingCall:
    """A call that is sent only after confirmation, and only if the ledger has no such call with an unknown outcome."""

    account: Account
    method: str
    params: Mapping[str, str]
    """The parameters that identify the call."""
    yes: bool

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[SmspvaClient]:
        """Open a client. Errors raised before the call is sent get a note that nothing was bought or deleted."""
        try:
            async with open_ledger_client(self.account) as client:
                self._refuse_to_repeat(client)
                with report_interrupted_call(client):
                    yield client
        except JournalError as error:
            if "nothing was sent" not in error.message.casefold():
                error.message += "; nothing was sent"
            raise
        except SmspvaError as error:
            if error.method != self.method:  # an error of the spending call itself says what happened
                error.message += f"; nothing was {'deleted' if self.method == methods.DELETE.name else 'bought'}"
            raise

    async def confirm(self, client: SmspvaClient, action: str, *details: str) -> None:
        """Ask for confirmation, and then read the ledger again, because the answer may have taken a long time."""
        self._refuse_to_repeat(client)
        confirm(action, *details, yes=self.yes)
        async with read_ledger(self.account) as ledger:
            self._refuse_to_repeat(ledger)

    def _refuse_to_repeat(self, client: SmspvaClient) -> None:
        """Raise if the client's ledger had the same call without an outcome when it was last read."""
        for error in client.unsettled:
            if self._is_same(error):
                raise PossibleRepeatError(
                    f"the outcome of {as_command(error)}, started {fmt.second(error.started_at)}"
                    f" ({fmt.short_id(error)}), is unknown; nothing was sent, because this could repeat it;"
                    " run smspva unsettled to check"
                )
        for purchase in client.purchases():
            if purchase.outcome == "unknown" and self._is_same(purchase):
                raise PossibleRepeatError(
                    f"{as_command(purchase)}, started {fmt.second(purchase.started_at)}, is in progress in another"
                    " program; nothing was sent, because this could repeat it; smspva purchases shows its outcome"
                    " later"
                )

    def _is_same(self, other: OutcomeUnknown | Purchase) -> bool:
        both = {self.method, other.method}
        if both <= _RENTALS:  # a service in both would be paid twice
            common = _service_codes(self.params) & _service_codes(other.params)
            return self.params["country"] == other.params.get("country") and bool(common)
        if len(both) > 1 and not both <= _PROLONGATIONS:
            return False
        is_same_order = self.params["id"] == other.params.get("id")
        return is_same_order and _service_codes(self.params) == _service_codes(other.params)


def prolongation_obstacle(order: Order, days: int, now: datetime) -> str:
    """Return why the provider would refuse to prolong an order, such as ``can't be prolonged now``, or ""."""
    if order.can_prolong is False:
        is_early = order.until is not None and order.until - now > PROLONGABLE
        return f"can't be prolonged now{', only in its last 7 days' if is_early else ''}"
    if order.can_prolong_days is not None and order.can_prolong_days < days:
        return f"can be prolonged by at most {fmt.days(order.can_prolong_days)} now"
    return ""


def _service_codes(params: Mapping[str, str]) -> set[str]:
    """Return the services of a call in lower case, because the provider may accept ``OPT16`` as ``opt16``."""
    return {code.casefold() for code in params.get("services", params.get("service", "")).split(",")}
