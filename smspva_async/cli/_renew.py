"""The command `renew`: prolong the rentals that end soon, within a budget."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import anyio
import click
from attrs import frozen

from smspva_async import (
    WEEK,
    ApiError,
    InsufficientFunds,
    InvalidKey,
    Order,
    OutcomeUnknown,
    Period,
    Purchase,
    RateLimited,
    SmspvaClient,
    SmspvaError,
    to_dict,
)
from smspva_async._purchases.tracker import StaleOrder
from smspva_async.cli import _formatting as fmt
from smspva_async.cli._account import Account, with_ledger
from smspva_async.cli._estimates import prolongation_prices
from smspva_async.cli._exit_codes import REFUSED, UNKNOWN
from smspva_async.cli._help import examples
from smspva_async.cli._ledger_client import open_ledger_client, report_interrupted_call
from smspva_async.cli._output import Printer, warn_of_skipped_rows, with_printer
from smspva_async.cli._parameters import DOLLARS, with_period
from smspva_async.cli._prompts import confirm, yes_option
from smspva_async.cli._spending_call import PROLONGABLE, prolongation_obstacle
from smspva_async.cli._stderr import print_stderr
from smspva_async.cli._vocabulary import as_command, describe_error, describe_unknown
from smspva_async.client import competing_call, prolong_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_Outcome: TypeAlias = Literal["renewed", "skipped", "refused", "unknown"]


@frozen
class Terms:
    """The user's terms for renewing rentals."""

    within: timedelta
    """Rentals that end within this time are renewed."""
    period: Period
    """The period to prolong by."""


@frozen
class Decision:
    """The decision on a rental that ends soon, or whose end is unknown."""

    order: Order
    price: Decimal | None
    """The estimated price in US dollars; None if it is unknown."""
    obstacle: str = ""
    """The reason why the rental isn't renewed; "" if it is."""
    exit_code: int = 0
    """The command's exit code because of the obstacle."""


def decide(
    due: Iterable[Order],
    prices: Mapping[int, Decimal],
    competitors: Mapping[int, Purchase],
    terms: Terms,
    *,
    budget: Decimal,
    now: datetime,
) -> list[Decision]:
    """Return the decision on each rental that is due, the cheapest first, and of equal prices the first to end.

    Args:
        due: The orders that are due.
        prices: The estimated price of renewing an order, by its id, in US dollars. A missing price is unknown.
        competitors: Calls whose effect the orders may not show, by the order's id.
        terms: The user's terms.
        budget: US dollars for all renewals together.
        now: The time.

    """
    ranked = sorted(
        due,
        key=lambda it: (it.id not in prices, prices.get(it.id), it.until or datetime.max.replace(tzinfo=UTC), it.id),
    )
    decisions: list[Decision] = []
    for order in ranked:
        price = prices.get(order.id)
        if (call := competitors.get(order.id)) is not None:
            obstacle, exit_code = _describe_competitor(call)
        else:
            obstacle = _obstacle(order, price, terms, budget, now)
            exit_code = REFUSED if obstacle else 0
        if price is not None and not obstacle:
            budget -= price
        decisions.append(Decision(order, price, obstacle, exit_code))
    return decisions


def is_due(order: Order, terms: Terms, now: datetime) -> bool:
    """Return whether a rental ends soon, or its end is unknown."""
    return order.until is None or order.until - now <= terms.within


def _obstacle(order: Order, price: Decimal | None, terms: Terms, budget: Decimal, now: datetime) -> str:
    """Return the reason why a rental can't be renewed, or ""."""
    if order.until is None:
        return "its end is unknown"
    if obstacle := prolongation_obstacle(order, terms.period.days, now):
        return f"it {obstacle}"
    if price is None:
        return "the price is unknown"
    return f"it costs more than what is left of --max-total, ${budget:.2f}" if price > budget else ""


def _describe_competitor(call: Purchase) -> tuple[str, int]:
    """Return the reason why a call prevents the renewal of its order, and the exit code."""
    started = f"{as_command(call)}, started {fmt.second(call.started_at)}"
    if call.outcome == "unknown":
        return f"the outcome of {started}, is unknown; smspva unsettled checks it, unless it is in progress", UNKNOWN
    return f"{started}, may have moved its end already", 0


def _parse_within(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,2})([dh])", value)
    within = timedelta() if match is None else timedelta(hours=int(match[1]) * (24 if match[2] == "d" else 1))
    if not timedelta() < within <= PROLONGABLE:
        raise click.BadParameter(f"expected days or hours up to 7d, such as 2d or 36h, got {value!r}")
    return within


@click.command(
    epilog=examples(
        "smspva renew --within 2d --max-total 20",
        "smspva renew --within 36h --max-total 20 --yes --json",
        "smspva renew --within 2d --max-total 50 --months 1",
    )
)
@click.option(
    "--within",
    required=True,
    callback=_parse_within,
    metavar="TIME",
    help="Renew rentals that end within this time, such as 2d or 36h, up to 7d.",
)
@click.option("--max-total", type=DOLLARS, required=True, help="Budget for all renewals of this run.")
@with_period
@yes_option
@with_ledger
@with_printer
async def renew(
    printer: Printer,
    account: Account,
    within: timedelta,
    max_total: Decimal,
    period: Period | None,
    *,
    yes: bool,
) -> int:
    """Prolong the rentals that end soon, within a budget.

    The cheapest are prolonged first, as far as the budget goes. The command shows them with their prices and asks
    before it spends money. It may run at any time, also twice at once: no rental is prolonged twice. With --json, the
    output is one object. The exit code is 0 only if every rental that ends soon is prolonged.
    """
    terms = Terms(within, period or WEEK)
    async with open_ledger_client(account) as client:
        with report_interrupted_call(client):
            try:
                orders = await client.orders()
                warn_of_skipped_rows(orders)
                plan = await _decide(client, orders, terms, max_total)
            except SmspvaError as error:
                error.message += "; nothing was bought"
                raise
            _show(plan, terms, max_total, yes=yes)
            report = _Report(printer, max_total, plan)
            if orders.skipped:  # one of them may end soon
                report.exit_code = max(report.exit_code, REFUSED)
            try:
                await _renew_all(client, plan, terms, report)
            finally:
                report.finish()
    if report.failure is not None:
        if report.exit_code != UNKNOWN:
            raise report.failure
        print_stderr(f"smspva: {fmt.clean(describe_error(report.failure))}")
    return report.exit_code


async def _decide(client: SmspvaClient, orders: Iterable[Order], terms: Terms, budget: Decimal) -> list[Decision]:
    now = datetime.now(UTC)
    due = [order for order in orders if is_due(order, terms, now)]
    prices = await prolongation_prices(client, due, terms.period)
    competitors = {order.id: call for order in due if (call := competing_call(client, order.id)) is not None}
    return decide(due, prices, competitors, terms, budget=budget, now=now)


def _show(plan: Sequence[Decision], terms: Terms, max_total: Decimal, *, yes: bool) -> None:
    """Show the plan, and ask unless `yes` is set or there is nothing to buy."""
    prices = [decision.price for decision in plan if decision.price is not None and not decision.obstacle]
    details = [f"not {_describe(it)}: {it.obstacle}" if it.obstacle else _describe(it) for it in plan]
    if not prices:
        print_stderr("\n  ".join(["No rental can be renewed now." if plan else "No rental ends soon.", *details]))
        return
    length = f"{fmt.period(terms.period)} ({fmt.days(terms.period.days)})"
    total = f"about ${sum(prices, Decimal()):.2f}, of at most ${max_total:.2f}"
    confirm(f"Renew {_rentals(len(prices))} by {length}: {total}", *details, yes=yes)


async def _renew_all(client: SmspvaClient, plan: Sequence[Decision], terms: Terms, report: _Report) -> None:
    for decision in plan:
        try:
            if not decision.obstacle and not await _renew(client, decision, terms, report):
                return
        except SmspvaError as error:
            report.stop(decision, error)
            return


async def _renew(client: SmspvaClient, planned: Decision, terms: Terms, report: _Report) -> bool:
    """Renew a rental if its end and its price now still allow it. Return False if the price exceeds the budget."""
    listed = [order for order in await client.orders() if order.id == planned.order.id]
    if not listed:  # an order may be missing from one answer
        report.note(planned, "skipped", "it isn't listed now", REFUSED)
        return True
    decisions = await _decide(client, listed, terms, report.left)
    if not decisions:
        report.note(planned, "skipped", "its end has moved")
        return True
    (decision,) = decisions
    if decision.obstacle:
        report.note(decision, "skipped", decision.obstacle, decision.exit_code)
        return decision.price is None or decision.price <= report.left
    await _prolong(client, decision, terms, report)
    return True


async def _prolong(client: SmspvaClient, decision: Decision, terms: Terms, report: _Report) -> None:
    began = datetime.now(UTC)
    try:
        await prolong_once(client, decision.order.id, terms.period)
    except anyio.get_cancelled_exc_class():
        calls = [call for call in client.purchases() if call.params.get("id") == str(decision.order.id)]
        if any(call.started_at >= began and call.outcome not in ("not_sent", "refused") for call in calls):
            report.note(decision, "unknown", "interrupted; smspva purchases shows its outcome")
        raise
    except StaleOrder as error:
        too_old = "the request had to wait for more than two minutes; run the command again", REFUSED
        report.note(decision, "skipped", *(_describe_competitor(error.other) if error.other else too_old))
    except OutcomeUnknown as error:
        report.note(decision, "unknown", describe_unknown(error), UNKNOWN)
    except (InvalidKey, InsufficientFunds, RateLimited):
        raise  # the other renewals would fail too
    except ApiError as error:
        report.note(decision, "refused", error.message, REFUSED)
    else:
        report.note(decision, "renewed")


class _Report:
    """The results of a run: a line for each result for people, one JSON object at the end for programs."""

    def __init__(self, printer: Printer, max_total: Decimal, plan: Sequence[Decision]) -> None:
        self._printer = printer
        self._max_total = max_total
        self._plan = plan
        self._results: dict[int, _Result] = {}
        """The results by the order's id, without those of rentals that aren't tried yet."""
        self.exit_code = 0
        self.failure: SmspvaError | None = None
        """The error that stopped the run."""
        for decision in plan:
            if decision.obstacle:
                self._keep(decision, "skipped", decision.obstacle, decision.exit_code)

    @property
    def left(self) -> Decimal:
        """The rest of the budget in US dollars. A call whose outcome is unknown counts as paid."""
        return self._max_total - self._total

    @property
    def _total(self) -> Decimal:
        spent = [result.decision.price for result in self._results.values() if result.outcome in ("renewed", "unknown")]
        return sum((price for price in spent if price is not None), Decimal())

    def note(self, decision: Decision, outcome: _Outcome, reason: str = "", exit_code: int = 0) -> None:
        """Record the result for a rental, and print it for people."""
        self._keep(decision, outcome, reason, exit_code)
        if self._printer.as_json:
            return
        if outcome == "renewed":
            self._printer.print_done(({}, f"Renewed: {_describe(decision, 'beyond')}"))
        else:
            print_stderr(f"smspva: not renewed: {_describe(decision)}: {fmt.shorten(reason)}")

    def _keep(self, decision: Decision, outcome: _Outcome, reason: str, exit_code: int = 0) -> None:
        self._results[decision.order.id] = _Result(decision, outcome, reason)
        self.exit_code = max(self.exit_code, exit_code)

    def stop(self, decision: Decision, error: SmspvaError) -> None:
        """Record the error that stops the run, and the rental that it came with."""
        self._keep(decision, "refused" if isinstance(error, ApiError) else "skipped", error.message)
        renewed = sum(result.outcome == "renewed" for result in self._results.values())
        error.message += f"; stopped at #{decision.order.id}, after renewing {_rentals(renewed)}"
        self.failure = error

    def finish(self) -> None:
        """Print the JSON object, or for people the rentals that weren't tried."""
        for decision in self._plan:
            if decision.order.id not in self._results:
                self.note(decision, "skipped", "renewing stopped before its request was sent")
        if not self._printer.as_json:
            return
        fields = {
            "orders": [
                {
                    "order": to_dict(decision.order),
                    "price": None if decision.price is None else str(decision.price),
                    "outcome": outcome,
                    "reason": reason or None,
                }
                for decision, outcome, reason in (self._results[planned.order.id] for planned in self._plan)
            ],
            "total": str(self._total),
            "max_total": str(self._max_total),
        }
        self._printer.print_done((fields, json.dumps(fields)))


class _Result(NamedTuple):
    decision: Decision
    outcome: _Outcome
    reason: str


def _describe(decision: Decision, preposition: str = "until") -> str:
    price = "" if decision.price is None else f", about ${decision.price:.2f}"
    return fmt.order(decision.order, preposition) + price


def _rentals(count: int) -> str:
    return f"{count} rental{'s' * (count != 1)}"
