"""Request and response, free of HTTP libraries, and the effects of faults on a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from random import Random

    from smspva_async.simulator._faults import Fault, FaultName
    from smspva_async.simulator._methods import Json, Row

__all__ = ["NOT_FOUND", "ConnectionFault", "Request", "Response", "apply_fault", "spoil_rows"]

ConnectionFault = Literal["refused", "connect_timeout", "lost", "reset", "hang", "cut"]


@frozen
class Request:
    """A request as it arrived."""

    verb: str
    path: str
    query: str
    """The query as it stands in the address."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """Their names in lower case."""
    body: bytes = field(repr=False)


@frozen
class Response:
    """An answer, and how the connection behaves."""

    body: bytes
    content_type: str = "text/html; charset=UTF-8"
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Headers other than `Content-Type` and `Content-Length`."""
    delay: float = 0.0
    """Seconds before the answer begins."""
    body_seconds: float = 0.0
    """Seconds that the body takes to come."""
    connection_fault: ConnectionFault | None = None
    """The failure of the connection, if any."""

    @property
    def all_headers(self) -> dict[str, str]:
        """Every header of the answer."""
        return {
            **self.headers,
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
        }

    @property
    def parts(self) -> list[bytes]:
        """The pieces that the body comes in: the first half alone if it is cut."""
        middle = len(self.body) // 2
        first, second = self.body[:middle], self.body[middle:]
        return [first] if self.connection_fault == "cut" else [first, second]


_PAGE = """<!DOCTYPE html>
<html><head><title>{title}</title></head>
<body><center><h1>{title}</h1></center><hr><center>nginx</center></body></html>
"""
NOT_FOUND = Response(_PAGE.format(title="404 Not Found").encode(), status=404)
"""The answer at a path that the server doesn't know."""

_Effect: TypeAlias = "Callable[[Response, Fault, Request], Response]"

_PLAIN_TYPE = "text/plain; charset=UTF-8"


def _breaks(how: ConnectionFault) -> _Effect:
    return lambda response, _fault, _request: evolve(response, connection_fault=how)


def _instead(other: Response) -> _Effect:
    return lambda _response, _fault, _request: other


def _late(response: Response, fault: Fault, _request: Request) -> Response:
    return evolve(response, delay=fault.seconds)


def _slow(response: Response, fault: Fault, _request: Request) -> Response:
    return evolve(response, body_seconds=fault.seconds)


def _half(response: Response, _fault: Fault, _request: Request) -> Response:
    return evolve(response, body=response.body[: len(response.body) // 2])


def _come_later(_response: Response, fault: Fault, _request: Request) -> Response:
    headers = {"Retry-After": f"{fault.seconds:.0f}"}
    return Response(b"Too Many Requests", _PLAIN_TYPE, status=429, headers=headers)


def _redirected(_response: Response, _fault: Fault, request: Request) -> Response:
    return Response(b"", status=302, headers={"Location": f"https://smspva.example{request.path}?{request.query}"})


_EFFECTS: dict[FaultName, _Effect] = {
    "refused": _breaks("refused"),
    "connect_timeout": _breaks("connect_timeout"),
    "lost": _breaks("lost"),
    "reset": _breaks("reset"),
    "hang": _breaks("hang"),
    "cut": _breaks("cut"),
    "latency": _late,
    "slow_body": _slow,
    "half": _half,
    "http_500": _instead(Response(b"", status=500)),
    "http_503": _instead(Response(b"Service Temporarily Unavailable", _PLAIN_TYPE, status=503)),
    "html_502": _instead(Response(_PAGE.format(title="502 Bad Gateway").encode(), status=502)),
    "http_429": _come_later,
    "html": _instead(Response(_PAGE.format(title="Технические работы").encode())),
    "text": _instead(Response("Сервис временно недоступен, повторите попытку позже.".encode())),
    "redirect": _redirected,
}


def apply_fault(response: Response, fault: Fault, request: Request) -> Response:
    """Return the response as the client gets it; refusals and spoilt rows are in its body already."""
    effect = _EFFECTS.get(fault.name)
    return response if effect is None else effect(response, fault, request)


def spoil_rows(data: Json, fault: Fault, rng: Random) -> Json:
    """Return a list as it comes under a fault of its rows; other answers stay as they are."""
    if not isinstance(data, list):
        return data
    if fault.name == "empty":
        return []
    if not data:
        return data
    rows = list(data)
    index = rng.randrange(len(rows))
    row = rows[index]
    if not isinstance(row, dict):
        return data
    match fault.name:
        case "flapping":
            del rows[index]
        case "duplicate":
            rows.insert(index, row)
        case "bad_row":
            rows[index] = _garble(row, keep=("id", "orderId"))
        case "nameless_row":
            rows[index] = _garble(row, keep=())
        case "unknown_state":
            rows[index] = {**row, "state": rng.randint(3, 9)}
        case _:
            pass
    return rows


def _garble(row: Row, keep: tuple[str, ...]) -> Row:
    return {key: value if key in keep or key.startswith("_") else [[]] for key, value in row.items()}
