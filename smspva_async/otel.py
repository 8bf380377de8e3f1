"""OpenTelemetry: spans and metrics of calls, polls and waits. Needs the extra ``otel``."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import ref

import anyio
from attrs import define

try:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Observation, get_meter
    from opentelemetry.trace import SpanKind, StatusCode, get_tracer
except ModuleNotFoundError as _error:
    if not str(_error.name).startswith("opentelemetry"):
        raise
    raise ImportError('Telemetry needs the package opentelemetry-api: pip install "smspva-async[otel]"') from None

from smspva_async import __version__
from smspva_async._operations import Call, Poll, Wait
from smspva_async.client import SmspvaClient, observe_calls
from smspva_async.models import OrderState
from smspva_async.watcher import Watcher, observe_watch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from smspva_async._operations import Operation

__all__ = ["Telemetry"]

T = TypeVar("T", bound=SmspvaClient | Watcher)

_log = logging.getLogger("smspva_async.otel")

_NAME = "smspva_async"
_CANCELLED = "cancelled"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""The bounds of the histograms: an answer takes a fraction of a second, and an activation up to an hour."""


class Telemetry:
    """Reports calls, polls and waits by OpenTelemetry's API, as spans and metrics. It needs the extra ``otel``.

    They contain the provider's methods, ids and states of orders, counts, times, HTTP statuses and the names of our
    classes and of errors, and nothing else: no key, phone number, message, code, or text of an error. The program
    configures OpenTelemetry's SDK, which exports them. Without the SDK they go nowhere.

    A program needs one for all its clients and watchers; of a second one with the same meter provider, OpenTelemetry
    drops the gauges. To separate accounts, make one for each, with its own providers. An error of OpenTelemetry is
    logged, and reaches no call.

    Args:
        tracer_provider: Gets the spans; None: the global one.
        meter_provider: Gets the metrics; None: the global one.

    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = get_tracer(_NAME, __version__, tracer_provider)
        meter = get_meter(_NAME, __version__, meter_provider)

        def histogram(name: str, description: str) -> Histogram:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=_SECONDS)

        self._calls = histogram(
            "smspva.client.call.duration", "Duration of calls, with retries and waits for the pace."
        )
        self._pace_waits = histogram("smspva.client.pace.wait.duration", "Time that a call waited for the pace.")
        self._requests = meter.create_counter("smspva.client.requests", "{request}", "Requests sent.")
        self._polls = histogram(
            "smspva.watcher.poll.duration", "Duration of polls, with retries and waits for the pace."
        )
        self._waits = histogram("smspva.watcher.wait.duration", "Duration of waits for a state, message or activation.")
        self._events = meter.create_counter("smspva.watcher.events", "{event}", "Events reported.")
        self._watched: tuple[_Watched, ...] = ()
        self._has_failed = False
        meter.create_observable_up_down_counter(
            "smspva.watcher.orders", [self._count_orders], "{order}", "Orders by state."
        )
        meter.create_observable_gauge(
            "smspva.watcher.poll.age", [self._poll_age], "s", "Time since the last good poll of the orders."
        )

    def observe(self, target: T) -> T:
        """Report a client's calls, or a watcher's polls and waits, from now on, and return the client or watcher.

        A watcher's requests are reported as calls if its client is observed too.

        Args:
            target: The client or the watcher. To see the first poll, observe a watcher before entering it.

        Raises:
            ValueError: It is neither.

        """
        if isinstance(target, SmspvaClient):
            observe_calls(target, partial(self._observe, None))
        elif isinstance(target, Watcher):
            watched = _Watched(ref(target), time.monotonic())
            # A new tuple, because an exporter's thread may iterate over the old one.
            self._watched = (*(other for other in self._watched if other.watcher() not in (None, target)), watched)
            observe_watch(target, partial(self._observe, watched))
        else:
            raise ValueError(f"expected a SmspvaClient or a Watcher, got {type(target).__name__}")  # noqa: TRY004 - all invalid input
        return target

    @contextlib.contextmanager
    def _observe(self, watched: _Watched | None, operation: Operation) -> Generator[None]:
        """Run an operation in a span, and measure it, without letting an error of OpenTelemetry reach it."""
        measuring = self._measure(watched, operation)
        with self._guarded():
            measuring.__enter__()
        try:
            yield
        except BaseException as error:
            with self._guarded(but=error):
                measuring.__exit__(type(error), error, error.__traceback__)
            raise
        with self._guarded():
            measuring.__exit__(None, None, None)

    @contextlib.contextmanager
    def _guarded(self, *, but: BaseException | None = None) -> Generator[None]:
        """Log the first error, unless it is the operation's own."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the user configures the SDK
            if error is not but and not self._has_failed:
                self._has_failed = True
                _log.exception("reporting to OpenTelemetry fails; calls and watches go on")

    @contextlib.contextmanager
    def _measure(self, watched: _Watched | None, operation: Operation) -> Generator[None]:
        match operation:
            case Call(method=method):
                name, histogram, attributes = f"smspva {method}", self._calls, {"smspva.method": method}
            case Poll(method=method):
                name, histogram, attributes = f"smspva poll {method}", self._polls, {"smspva.method": method}
            case Wait(kind=kind):
                name, histogram, attributes = f"smspva wait {kind}", self._waits, {"smspva.wait.kind": kind}
        order = {} if operation.order_id is None else {"smspva.order.id": operation.order_id}
        began = anyio.current_time()
        with self._tracer.start_as_current_span(
            name,
            # A watch has no end, so each poll is a trace of its own, and not part of the one in which the watch began.
            context=Context() if isinstance(operation, Poll) else None,
            kind=SpanKind.CLIENT if isinstance(operation, Call) else SpanKind.INTERNAL,
            attributes={**attributes, **order},
            record_exception=False,  # an error's text may have a phone number or a part of an answer
            set_status_on_exception=False,
        ) as span:
            failure: str | None = None
            try:
                yield
            except BaseException as error:
                failure = type(error).__name__ if isinstance(error, Exception) else _CANCELLED
                raise
            finally:
                if isinstance(operation, Poll):
                    failure = failure or operation.failure
                outcome = {} if failure is None else {"error.type": failure}
                span.set_attributes(outcome)
                if failure not in (None, _CANCELLED):
                    span.set_status(StatusCode.ERROR)
                with contextlib.suppress(RuntimeError):  # the event loop may have ended
                    histogram.record(anyio.current_time() - began, {**attributes, **outcome})
                if isinstance(operation, Call):
                    self._end_call(operation, span)
                elif isinstance(operation, Poll):
                    self._end_poll(operation, watched, is_good=failure is None)

    def _end_call(self, call: Call, span: Span) -> None:
        attributes = {"smspva.method": call.method}
        span.set_attribute("smspva.pace.wait.duration", call.waited)
        if call.status is not None:
            span.set_attribute("http.response.status_code", call.status)
        if call.requests > 1:
            span.set_attribute("http.request.resend_count", call.requests - 1)
        self._pace_waits.record(call.waited, attributes)
        self._requests.add(call.requests, attributes)

    def _end_poll(self, poll: Poll, watched: _Watched | None, *, is_good: bool) -> None:
        for event in poll.events:
            self._events.add(1, {"smspva.event": type(event).__name__})
        if watched is not None and poll.method == "orders" and is_good:
            watched.polled_at = time.monotonic()

    def _count_orders(self, _: CallbackOptions) -> Iterable[Observation]:
        leading = [watcher for watcher, _ in self._leading()]
        states = Counter(order.state for watcher in leading for order in watcher.orders.values())
        return [Observation(states[state], {"smspva.order.state": state.name}) for state in OrderState if leading]

    def _poll_age(self, _: CallbackOptions) -> Iterable[Observation]:
        polled = [watched.polled_at for _, watched in self._leading()]
        return [Observation(time.monotonic() - min(polled))] if polled else []

    def _leading(self) -> Iterable[tuple[Watcher, _Watched]]:
        """Return the watchers that poll. In a fleet, the others would report the same."""
        leading: list[tuple[Watcher, _Watched]] = []
        for watched in self._watched:
            watcher = watched.watcher()
            if watcher is not None and watcher.leads:
                leading.append((watcher, watched))
            else:
                watched.polled_at = time.monotonic()  # another process polls, and this one may take over
        return leading


@define(eq=False)
class _Watched:
    """A watcher that is observed."""

    watcher: ref[Watcher]
    polled_at: float
    """The time, by `time.monotonic`, of the last good poll of the orders, or at which it last didn't poll."""
