"""The API key: an object that doesn't show it, and its removal from answers and logs."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from functools import cached_property, partial
from itertools import groupby
from typing import TYPE_CHECKING, cast
from weakref import ref

from smspva_async._api.decoding import parse
from smspva_async.errors import LONGEST_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MASK = "[key]"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_SHORT = 8
"""A key with fewer characters is removed only as a whole word, since it may be part of other words."""
_ROUNDS = 100_000
_CERTAIN = 4
"""The number of the key's first characters with which unrelated text hardly ends by chance."""


class ApiKey:
    """An API key. Its `repr` doesn't show the key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._pattern = self._compile("".join(_parts(key)))
        self.redact: Callable[[str], str] = partial(self._pattern.sub, _MASK)
        """Returns text without the key."""
        escape = (b"\\",) if _BACKSLASHED.search(key) else (b"\\", rb"\u00")  # a single byte is found much faster
        self.signs = ((b"%",), (b"&",), escape, (key[:_CERTAIN].encode(),))
        """Texts: an answer with the key, encoded or cut off, contains all texts of at least one of these."""
        _redact_logs_of(self)

    def __repr__(self) -> str:
        return _MASK

    def fingerprint(self) -> str:
        """Return an identifier of the account. Slow on purpose (tens of milliseconds), against guessing the key."""
        return hashlib.pbkdf2_hmac("sha256", self.key.encode(), b"smspva_async account", _ROUNDS, dklen=12).hex()

    def redact_truncated(self, body: bytes) -> str:
        """Return the beginning of a body as text without the key. The body may be cut off in the middle of the key."""
        text = body.decode("utf-8", "replace")[:LONGEST_DATA]
        may_be_in = any(all(part in body for part in sign) for sign in self.signs)
        return self._truncated_pattern.sub(_MASK, text) if may_be_in else text

    def redact_body(self, body: bytes) -> bytes:
        """Return an answer's body without the key. JSON stays JSON, and numbers stay even if they contain the key."""
        text = body.decode("utf-8", "surrogateescape")
        # In JSON, the letter of an escape such as \n before a short key is no part of a word.
        if len(self.key) >= _SHORT and not self._pattern.search(text):
            return body
        try:
            redacted = json.dumps(self._redact_json(parse(body)))
        except (ValueError, RecursionError):
            redacted = self.redact(text)
        return redacted.encode("utf-8", "surrogateescape")

    def _redact_json(self, value: object) -> object:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return self.redact(value)
        if isinstance(value, list):
            return [self._redact_json(item) for item in cast("list[object]", value)]
        if isinstance(value, dict):
            # A short key may equal the name of a field.
            redact_name = self.redact if len(self.key) >= _SHORT else str
            fields = cast("dict[str, object]", value).items()
            return {redact_name(name): self._redact_json(item) for name, item in fields}
        return _MASK if len(self.key) >= _SHORT and str(value) == self.key else value

    @cached_property
    def _truncated_pattern(self) -> re.Pattern[str]:
        """Matches the key, or its beginning at the end of a text."""
        parts = [*_parts(self.key)]
        return self._compile(
            "".join(parts[:_CERTAIN]) + "".join(rf"(?:{part}|{_CUT_OFF})" for part in parts[_CERTAIN:])
        )

    def _compile(self, pattern: str) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)" if len(self.key) < _SHORT else pattern)


# -- encodings -------------------------------------------------------------------------------------------------------

_BACKSLASHED = re.compile(r"""[\\/"']""")
"""Characters that may be escaped by a backslash alone."""
_ENTITIES = {"&": "|amp", "<": "|lt", ">": "|gt", '"': "|quot", "'": "|apos"}
_CUT_OFF = r"(?:\\{1,3}u?[\da-fA-F]{0,3}|%[\da-fA-F]?|(?:&|\\u0026)[#\w]{0,9})?\Z"
"""The beginning of an encoded character at the end of a text."""


def _parts(key: str) -> Iterator[str]:
    """Yield the patterns of the key's characters. Each may be encoded for JSON, an address or HTML, or not at all.

    An echo in a JSON text that is itself a text in JSON is escaped twice.
    """
    for character, run in groupby(key):
        code, length = ord(character), len([*run])
        digits = "".join(f"[{digit}{digit.upper()}]" for digit in f"{code:02x}")
        entity = rf"(?:#0*{code}|#[xX]0*{digits}{_ENTITIES.get(character, '')});"
        # Every alternative begins with a plain character, by which `re` finds a match fast.
        forms = [re.escape(character), rf"\\\\?u00{digits}", f"%{digits}", f"&{entity}", rf"\\u0026{entity}"]
        if character == "\\":
            # An escaped backslash looks like two of them, so their number isn't known.
            yield f"(?:{'|'.join(reversed(forms))}){{{length},{4 * length}}}"
            continue
        if _BACKSLASHED.match(character):
            forms.append(rf"\\\\{{0,2}}{character}")
        yield from [f"(?:{'|'.join(forms)})"] * length


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
