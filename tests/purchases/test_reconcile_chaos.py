"""Verdicts of `reconcile` on random calls of two programs, compared with what the server did."""

from __future__ import annotations

from contextlib import AsyncExitStack
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from attrs import Factory, define
from hypothesis import given, strategies as st

from smspva_async.errors import OutcomeUnknown, SmspvaError
from smspva_async.models import Rental
from smspva_async.simulator import Simulator, VirtualTimeLoop
from tests.support.reconciliation import WEEK, Dialect, LaggingTransport, client_of, ids, lagging
from tests.support.samples import SPENDING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from smspva_async import SmspvaClient
    from smspva_async.simulator import MultiOrders, SimulatedOrder

pytestmark = pytest.mark.usefixtures("cheap_fingerprints")

SPENDING_METHODS = {call.method for call in SPENDING}
PURCHASES = ("create", "create_multi", "add_service_to_order")


@define(eq=False)
class Step:
    """A call of a program, and how it is answered."""

    minute: int
    action: str
    program: int
    service: str
    order: int
    answer: str
    """`whole`, `half`, `lost`, or `refused` if no connection is made."""
    is_done: bool
    """True if the server executes a call whose answer is lost."""
    before: float
    """Seconds until the server executes it."""
    after: float
    """Seconds from then until the answer."""
    changed: set[int] = Factory(set[int])
    """The orders that the server created, extended or ended."""


ACTIONS: dict[str, Callable[[SmspvaClient, World, Step], Awaitable[Any]]] = {
    "rent": lambda client, _, step: client.rent("RU", step.service, WEEK),
    "rent_multi": lambda client, _, step: client.rent_multi("RU", [step.service, "opt20"], WEEK),
    "add_service": lambda client, world, step: client.add_service(
        world.orders[step.order].id, step.service, phone=world.orders[step.order].phone
    ),
    "prolong": lambda client, world, step: client.prolong(world.orders[step.order].id, WEEK),
    "prolong_days": lambda client, world, step: client.prolong_days(world.orders[step.order].id, 1),
    "delete": lambda client, world, step: client.delete(world.orders[step.order].id),
    "restore": lambda client, world, step: client.restore(world.past[step.order].id),
    "orders": lambda client, _, __: client.orders(),
    "reconcile": lambda client, world, _: world.reconcile(client),
}
steps = st.builds(
    Step,
    minute=st.integers(0, 20) | st.integers(0, 200),
    action=st.sampled_from([*ACTIONS, "rent", "rent_multi", "prolong_days", "reconcile"]),
    program=st.integers(0, 1),
    service=st.sampled_from(["opt7", "opt16"]),
    order=st.integers(0, 2),
    answer=st.sampled_from(["lost", "lost", "whole", "half", "refused"]),
    is_done=st.booleans(),
    before=st.sampled_from([0.0, 5.0, 40.0]),
    after=st.sampled_from([0.0, 5.0, 40.0]),
)


class World(httpx.AsyncBaseTransport):
    """An account that two programs use, and a record of what the server did.

    It is the programs' transport: the step decides how a spending request ends. The server executes a request even if
    the program stops waiting for it.
    """

    def __init__(self, sim: Simulator, inner: LaggingTransport, tasks: TaskGroup) -> None:
        self.sim = sim
        self._inner = inner
        self._tasks = tasks
        self._step: ContextVar[Step] = ContextVar("step")
        self._one_at_a_time = anyio.Lock()
        self._steps: dict[str, Step] = {}
        self.orders: list[SimulatedOrder] = []
        self.past: list[SimulatedOrder] = []
        self.returned: list[int] = []
        self.named_by_number: set[str] = set()
        self.candidates: set[int] = set()
        self.settled: set[str] = set()

    def populate(self) -> None:
        """Add the first orders."""
        self.orders = [
            self.sim.add_order(days=5, always_active=True),
            self.sim.add_order(service="opt7", days=2, always_active=True),
            self.sim.add_order(until=self.sim.now + timedelta(hours=2), always_active=True),
        ]
        ends = self.sim.now - timedelta(days=3)
        self.past = [self.sim.add_order(service=it, until=ends) for it in ("opt7", "opt16", "opt7")]
        self.old = set(ids(self.sim))

    # -- the server ----------------------------------------------------------------------------------------------------

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        if request.url.params["method"] not in SPENDING_METHODS:
            return await self._inner.handle_async_request(request)
        step = self._step.get()
        if step.answer == "refused":
            raise httpx.ConnectError("down")
        body = b""
        ended = anyio.Event()

        async def serve() -> None:
            nonlocal body
            await anyio.sleep(step.before)
            if step.is_done or step.answer != "lost":
                body = await self._execute(step, request)
            await anyio.sleep(step.after)
            ended.set()

        self._tasks.start_soon(serve)
        await ended.wait()
        if step.answer == "lost":
            raise httpx.ReadError("lost")
        return httpx.Response(200, content=body[: len(body) // 2] if step.answer == "half" else body)

    async def _execute(self, step: Step, request: httpx.Request) -> bytes:
        async with self._one_at_a_time:
            before = self._state()
            answer = await self._inner.handle_async_request(request)
            step.changed = {order_id for order_id, _ in before ^ self._state()}
            return await answer.aread()

    def _state(self) -> set[tuple[int, float]]:
        return {(order.id, order.ends) for order in self.sim.orders}

    # -- the programs --------------------------------------------------------------------------------------------------

    async def run(self, step: Step, client: SmspvaClient) -> None:
        """Run a step at its time."""
        await anyio.sleep(60 * step.minute)
        self._step.set(step)
        try:
            result = await ACTIONS[step.action](client, self, step)
        except OutcomeUnknown as error:
            self._steps[error.call] = step
        except SmspvaError:
            pass
        else:
            self._record_returned(step, result)

    def _record_returned(self, step: Step, result: Any) -> None:
        """Record the orders that a call returned."""
        match step.action, result:
            case "rent" | "add_service", Rental():
                self.returned.append(result.id)
            case "rent_multi", _:
                # If each service has its own order, the answer names one; the caller knows the others by number.
                self.returned += [rental.id for rental in result]
                self.named_by_number |= {rental.phone for rental in result}
            case "restore", int():
                self.returned.append(result)
            case "add_service" | "restore", _:
                self.named_by_number.add((self.past if step.action == "restore" else self.orders)[step.order].phone)
            case _:
                pass

    async def reconcile(self, client: SmspvaClient) -> None:
        """Reconcile and settle calls, as a program does at its start, and check each verdict."""
        for error in client.unsettled:
            if error.call not in self._steps:
                continue  # the program doesn't have the error yet
            found = await client.reconcile(error)
            step = self._steps[error.call]
            if found.verdict == "done" and error.method == "delete":
                assert not self.orders[step.order].is_open, f"false done of {step}"
            elif found.verdict == "done":
                assert step.changed, f"false done of {step}"
            elif found.verdict == "not_done":
                assert not step.changed, f"false not_done of {step}"
                assert error.method not in PURCHASES
            self.candidates.update(order.id for order in found.candidates)
            if found.verdict != "open":
                client.settle(error)

    def check(self) -> None:
        """Check that each order was returned by one call, or is a candidate of a call with an unknown outcome."""
        assert len(set(self.returned)) == len(self.returned)
        found = {*self.returned, *self.candidates, *self.old}
        assert [it for it in self.sim.orders if it.id not in found and it.phone not in self.named_by_number] == []


@given(
    plan=st.lists(steps, min_size=1, max_size=8),
    dialect=st.sampled_from(["page", "live", "contract"]),
    form=st.sampled_from(["own_ids", "joined", "row_per_service"]),
    lag=st.sampled_from([0, 900]),
    delay=st.sampled_from([0, 600]),
    has_ledger=st.booleans(),
)
def test_every_verdict_is_correct(
    plan: list[Step],
    dialect: Dialect,
    form: MultiOrders,
    lag: float,
    delay: float,
    has_ledger: bool,  # noqa: FBT001
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for step in plan:
        step.changed = set()
    ledger = tmp_path_factory.mktemp("ledger") / "ledger" if has_ledger else None

    async def main() -> None:
        sim = Simulator(dialect=dialect, balance=10**9)
        sim.behavior.page_calls_only, sim.behavior.listing_delay, sim.behavior.multi_orders = False, delay, form
        async with lagging(sim, lag) as inner, anyio.create_task_group() as serving:
            world = World(sim, inner, serving)
            world.populate()
            await inner.record()
            await anyio.sleep(2 * lag)
            await follow(world)

    async def follow(world: World) -> None:
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(client_of(world.sim, transport=world, ledger=ledger))
                for _ in range(2 if ledger else 1)
            ]
            async with anyio.create_task_group() as tasks:
                for step in plan:
                    tasks.start_soon(world.run, step, opened[step.program % len(opened)])
            for pause in (60, 1800, 7200):
                await anyio.sleep(pause)
                for client in opened:
                    await world.reconcile(client)
        if ledger:
            async with client_of(world.sim, transport=world, ledger=ledger) as client:
                await world.reconcile(client)
        world.check()

    anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})
