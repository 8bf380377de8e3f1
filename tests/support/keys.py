"""A recognizable key, and everything that a program might print or store about a call made with it."""

from __future__ import annotations

import copy
import pickle
import traceback
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import httpx

from smspva_async import Pace, Retry, SmspvaClient
from smspva_async.errors import SmspvaError

if TYPE_CHECKING:
    import pytest

    from tests.support.samples import Call

# Every encoding changes its end, and none changes its beginning.
KEY = "Sentinel/4f+9c=e&7"
HEAD = "Sentinel"
ENCODINGS = {
    "plain": KEY,
    "percent": quote(KEY, safe=""),
    "percent, lower case": quote(KEY, safe="").lower().replace("sentinel", HEAD),
    "form": quote_plus(KEY),
    "path": quote(KEY),
    "JSON": KEY.replace("/", r"\/"),
    "HTML": escape(KEY),
}


def dump_log(caplog: pytest.LogCaptureFixture) -> str:
    """Return all log records with their attributes as text."""
    return caplog.text + "".join(repr(vars(record)) for record in caplog.records)


def dump(error: BaseException) -> str:
    """Return everything that a program might print or store about an error, including its causes and contexts."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    parts = ["".join(trace.format()), str(error), repr(error), repr(vars(error))]
    if isinstance(error, SmspvaError):
        parts += [repr(vars(duplicate)) for duplicate in (copy.copy(error), copy.deepcopy(error))]
        parts.append(pickle.dumps(error).decode("latin-1"))
    parts += [dump(linked) for linked in (error.__cause__, error.__context__) if linked is not None]
    return "".join(parts)


async def dump_result(call: Call, client: SmspvaClient) -> str:
    """Make a call and return its result or error as text."""
    try:
        result = await call.make(client)
    except SmspvaError as error:
        return dump(error)
    rows = result if isinstance(result, list) else [result]
    return repr(result) + repr([getattr(row, "extra", None) for row in rows])


def mocked_client(answer: Any, key: str = KEY, **settings: Any) -> SmspvaClient:
    """Return a client with a mock transport."""
    settings = {"pace": Pace(gap=0), "retry": Retry(attempts=2, first=0), **settings}
    return SmspvaClient(key, transport=httpx.MockTransport(answer), **settings)
