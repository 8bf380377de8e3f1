"""The API key: an object that doesn't show it, and its removal from answers and logs."""

from __future__ import annotations

import hashlib
import html
import json
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import quote
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable

_MASK = "[key]"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_SHORT = 8
"""A key with fewer characters is removed only as a whole word, since it may be part of other words."""
_ROUNDS = 100_000
_LONGEST_COINCIDENCE = 3
"""The number of the key's first characters with which unrelated text may end by chance."""


class ApiKey:
    """An API key. Its `repr` doesn't show the key."""

    def __init__(self, key: str) -> None:
        self.key = key
        # An address, HTML and JSON (in which PHP escapes slashes, and optionally more) may contain the key encoded.
        percent = quote(key, safe="")
        json_escaped = json.dumps(key)[1:-1]
        php_escaped = json_escaped.replace("/", r"\/")
        forms = {key, percent, re.sub("%..", lambda escape: escape[0].lower(), percent), quote(key), html.escape(key)}
        forms |= {json_escaped, php_escaped, re.sub("[<>&']", lambda it: rf"\u{ord(it[0]):04X}", php_escaped)}
        longest_first = sorted(forms, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first))
        pattern = rf"(?<!\w)(?:{pattern})(?!\w)" if len(key) < _SHORT else pattern
        self.redact: Callable[[str], str] = partial(re.compile(pattern).sub, _MASK)
        """Returns text without the key."""
        self.forms = [form.encode() for form in longest_first]
        """The encodings of the key that an answer may contain."""
        _redact_logs_of(self)

    def __repr__(self) -> str:
        return _MASK

    def fingerprint(self) -> str:
        """Return an identifier of the account. Slow on purpose (tens of milliseconds), against guessing the key."""
        return hashlib.pbkdf2_hmac("sha256", self.key.encode(), b"smspva_async account", _ROUNDS, dklen=12).hex()

    def redact_truncated(self, text: str) -> str:
        """Return text without the key. The text may be cut off in the middle of the key."""
        text = self.redact(text)
        starts = (self.key[:length] for length in range(len(self.key) - 1, _LONGEST_COINCIDENCE, -1))
        cut = next((start for start in starts if text.endswith(start)), "")
        return text.removesuffix(cut) + _MASK if cut else text

    def redact_body(self, body: bytes) -> bytes:
        """Return an answer's body without the key. JSON stays JSON, and numbers stay even if they contain the key."""
        try:
            redacted = json.dumps(self._redact_json(json.loads(body)))
        except (ValueError, RecursionError):
            redacted = self.redact(body.decode("utf-8", "surrogateescape"))
        return redacted.encode("utf-8", "surrogateescape")

    def _redact_json(self, value: object) -> object:
        if isinstance(value, str):
            is_number = _NUMBER.fullmatch(value) and (value != self.key or len(value) < _SHORT)
            return value if is_number else self.redact(value)
        if isinstance(value, list):
            return [self._redact_json(item) for item in cast("list[object]", value)]
        if isinstance(value, dict):
            # A short key may equal the name of a field.
            redact_name = self.redact if len(self.key) >= _SHORT else str
            fields = cast("dict[str, object]", value).items()
            return {redact_name(name): self._redact_json(item) for name, item in fields}
        return value


# -- logs ------------------------------------------------------------------------------------------------------------

_in_use: list[ref[ApiKey]] = []


def _redact_record(record: logging.LogRecord) -> bool:
    """Remove all keys in use from a log record."""
    message = redacted = record.getMessage()
    for key in filter(None, [known() for known in list(_in_use)]):
        redacted = key.redact(redacted)
    if redacted != message:
        record.msg, record.args = redacted, None
    return True


def _redact_logs_of(key: ApiKey) -> None:
    _in_use.append(ref(key, _in_use.remove))
    # At DEBUG, httpcore logs an answer's headers, which may redirect to an address with the key.
    for library in ("httpcore", "httpcore2"):
        for part in ("connection", "http11", "http2", "proxy", "socks"):
            logging.getLogger(f"{library}.{part}").addFilter(_redact_record)
