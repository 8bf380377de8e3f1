"""HTTP requests and responses, independent of HTTP libraries, and the effects of faults on responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from random import Random

    from smspva_async.simulator._faults import Fault, FaultName
    from smspva_async.simulator._methods import Json, Row

ConnectionFault = Literal["refused", "connect_timeout", "lost", "reset", "hang", "cut"]


@frozen
class Request:
    """A received request."""

    verb: str
    path: str
    query: str
    """The query string, still encoded."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """The headers, with lower-case names."""
    body: bytes = field(repr=False)


@frozen
class Response:
    """A response, with its timing and a possible failure of the connection."""

    body: bytes
    content_type: str = "text/html; charset=UTF-8"
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """The headers, except `Content-Type` and `Content-Length`."""
    delay: float = 0.0
    """Seconds before the response starts."""
    body_seconds: float = 0.0
    """Seconds that the body takes to arrive."""
    connection_fault: ConnectionFault | None = None
    """The failure of the connection, if any."""

    @property
    def all_headers(self) -> dict[str, str]:
        """All headers of the response."""
        return {
            **self.headers,
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
        }

    @property
    def parts(self) -> list[bytes]:
        """The body in two halves; only the first one if the connection is cut."""
        middle = len(self.body) // 2
        first, second = self.body[:middle], self.body[middle:]
        return [first] if self.connection_fault == "cut" else [first, second]


_PAGE = """<!DOCTYPE html>
<html><head><title>{title}</title></head>
<body><center><h1>{title}</h1></center><hr><center>nginx</center></body></html>
"""
_PLAIN_TYPE = "text/plain; charset=UTF-8"

NOT_FOUND = Response(_PAGE.format(title="404 Not Found").encode(), status=404)
"""The response for an unknown path."""

_REPLACEMENTS: dict[FaultName, Response] = {
    "http_500": Response(b"", status=500),
    "http_503": Response(b"Service Temporarily Unavailable", _PLAIN_TYPE, status=503),
    "html_502": Response(_PAGE.format(title="502 Bad Gateway").encode(), status=502),
    "html": Response(_PAGE.format(title="Технические работы").encode()),
    "text": Response("Сервис временно недоступен, повторите попытку позже.".encode()),
}
"""The responses of faults that replace the whole response."""


def apply_fault(response: Response, fault: Fault, request: Request) -> Response:
    """Return the response that the client gets. Refusals and corrupt rows are already in its body."""
    match fault.name:
        case "refused" | "connect_timeout" | "lost" | "reset" | "hang" | "cut" as connection_fault:
            response = evolve(response, connection_fault=connection_fault)
        case "latency":
            response = evolve(response, delay=fault.seconds)
        case "slow_body":
            response = evolve(response, body_seconds=fault.seconds)
        case "half":
            response = evolve(response, body=response.body[: len(response.body) // 2])
        case "http_429":
            headers = {"Retry-After": f"{fault.seconds:.0f}"}
            response = Response(b"Too Many Requests", _PLAIN_TYPE, status=429, headers=headers)
        case "redirect":
            location = f"https://smspva.example{request.path}?{request.query}"
            response = Response(b"", status=302, headers={"Location": location})
        case name:
            response = _REPLACEMENTS.get(name, response)
    return response


def corrupt_rows(data: Json, fault: Fault, rng: Random) -> Json:
    """Apply a row fault to a list. Return other data, and the data of other faults, unchanged."""
    if not isinstance(data, list) or not data:
        return data
    if fault.name == "empty":
        return []
    rows: list[Row] = [*data]
    index = rng.randrange(len(rows))
    row = rows[index]
    match fault.name:
        case "flapping":
            del rows[index]
        case "duplicate":
            rows.insert(index, row)
        case "bad_row":
            rows[index] = _corrupt(row, keep=("id", "orderId"))
        case "nameless_row":
            rows[index] = _corrupt(row, keep=())
        case "unknown_state":
            rows[index] = {**row, "state": rng.randint(3, 9)}
        case _:
            pass
    return rows


def _corrupt(row: Row, keep: tuple[str, ...]) -> Row:
    return {key: value if key in keep or key.startswith("_") else [[]] for key, value in row.items()}
