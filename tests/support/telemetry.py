"""OpenTelemetry's SDK in memory: the spans and metrics that the library reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from smspva_async.otel import Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.trace import ReadableSpan


@define
class Recorded:
    """A `Telemetry` with what it reports."""

    telemetry: Telemetry = field(init=False)
    tracer: Tracer = field(init=False)
    """A tracer for the spans of the program itself."""
    _exporter: InMemorySpanExporter = field(factory=InMemorySpanExporter, init=False)
    _reader: InMemoryMetricReader = field(factory=InMemoryMetricReader, init=False)

    def __attrs_post_init__(self) -> None:
        tracer_provider = TracerProvider(shutdown_on_exit=False)
        tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = tracer_provider.get_tracer("program")
        self.telemetry = Telemetry(tracer_provider=tracer_provider, meter_provider=meter_provider)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Return the spans that have ended, oldest first, of one name or of all."""
        return [span for span in self._exporter.get_finished_spans() if name in ("", span.name)]

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        (span,) = self.spans(name)
        return span

    def _metrics(self) -> list[Metric]:
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else data.resource_metrics[0].scope_metrics
        return [metric for scope in scopes for metric in scope.metrics]

    def metrics(self) -> dict[str, dict[tuple[Any, ...], Any]]:
        """Return the value of each metric by its attributes' values; of a histogram, its count and sum in seconds."""
        return {
            metric.name: {tuple((point.attributes or {}).values()): _value(point) for point in metric.data.data_points}
            for metric in self._metrics()
        }

    def attributes(self) -> dict[str, set[str]]:
        """Return the names of the attributes of each metric."""
        return {
            metric.name: {name for point in metric.data.data_points for name in point.attributes or ()}
            for metric in self._metrics()
        }

    def everything(self) -> str:
        """Return all spans and metrics as text."""
        data = self._reader.get_metrics_data()
        return "".join([span.to_json() for span in self.spans()] + ([] if data is None else [data.to_json()]))


def _value(point: Any) -> Any:
    return (point.count, round(point.sum, 6)) if isinstance(point, HistogramDataPoint) else point.value
