"""The API key as something that doesn't show itself, and its removal from whatever a server or a log says."""

from __future__ import annotations

import hashlib
import html
import json
import logging
import re
from typing import cast
from urllib.parse import quote, quote_plus

__all__ = ["Secret", "hide_in_logs", "stop_hiding"]

_MASK = "[key]"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_SHORT = 8
_ROUNDS = 100_000
_INNOCENT = 3  # letters of the key that end a text by chance
# Below our own transport the key is in the address, and at DEBUG these print a redirect's address or an echoing header.
_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")


class Secret:
    """An API key."""

    def __init__(self, key: str) -> None:
        self._key = key
        # As it stands, and as it comes back in an address, in JSON or in HTML.
        escaped = json.dumps(key)[1:-1]
        percent = quote(key, safe="")
        small = re.sub("%..", lambda escape: escape[0].lower(), percent)
        forms = {key, percent, small, percent.lower(), quote(key), quote_plus(key), escaped, html.escape(key)}
        forms |= {escaped.replace("/", r"\/"), json.dumps(key, ensure_ascii=False)[1:-1]}
        self._forms = sorted(forms, key=len, reverse=True)
        self._encoded = [form.encode() for form in self._forms]
        # In JSON that broke off: JSON may write any letter as an escape, as PHP does on demand with those of HTML.
        in_escapes = "".join(rf"(?:\\?{re.escape(letter)}|\\u00(?i:{ord(letter):02x}))" for letter in key)
        alternatives = "|".join([*map(re.escape, self._forms), in_escapes])
        # A short key may be part of an innocent word.
        self._pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)" if len(key) < _SHORT else alternatives)

    def __repr__(self) -> str:
        return _MASK

    def reveal(self) -> str:
        """Return the key itself."""
        return self._key

    def fingerprint(self) -> str:
        """Return what tells this account's files from another's. It takes a while, so that keys can't be tried out."""
        return hashlib.pbkdf2_hmac("sha256", self._key.encode(), b"smspva_async account", _ROUNDS, dklen=12).hex()

    def hide(self, text: str) -> str:
        """Return the text without the key."""
        return self._pattern.sub(_MASK, text)

    def hide_end(self, text: str) -> str:
        """Return a text that was cut off, in the middle of the key perhaps, without the key's beginning at its end."""
        beginnings = (self._key[:length] for length in range(len(self._key) - 1, _INNOCENT, -1))
        end = next((beginning for beginning in beginnings if text.endswith(beginning)), "")
        return text.removesuffix(end) + _MASK if end else text

    def hide_in(self, body: bytes) -> bytes:
        r"""Return an answer's body without the key, whatever is JSON in it still being the same JSON.

        Numbers are left alone, in texts as well: a key of a few digits stands in a phone number by chance.
        """
        # The second: JSON may write any letter as an escape, though hardly ever one of ASCII.
        is_escaped = b"\\" in body and rb"\u00" in body
        if not is_escaped and not any(form in body for form in self._encoded):
            return body
        try:
            hidden = json.dumps(self._hide_in_json(json.loads(body)))
        except (ValueError, RecursionError):
            hidden = self.hide(body.decode("utf-8", "surrogateescape"))
        return hidden.encode("utf-8", "surrogateescape")

    def _hide_in_json(self, value: object) -> object:
        if isinstance(value, str):
            is_number = _NUMBER.fullmatch(value) and (value != self._key or len(value) < _SHORT)
            return value if is_number else self.hide(value)
        if isinstance(value, list):
            return [self._hide_in_json(item) for item in cast("list[object]", value)]
        if isinstance(value, dict):
            # The name of a field is none of a short key's words.
            hide_name = self.hide if len(self._key) >= _SHORT else str
            return {
                hide_name(name): self._hide_in_json(item) for name, item in cast("dict[str, object]", value).items()
            }
        return value


class _Filter(logging.Filter):
    """Takes the keys of open clients out of log records."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: list[Secret] = []

    def filter(self, record: logging.LogRecord) -> bool:
        message = hidden = record.getMessage()
        for secret in self.secrets:
            hidden = secret.hide(hidden)
        if hidden != message:
            record.msg, record.args = hidden, None
        return True


_filter = _Filter()


def hide_in_logs(secret: Secret) -> None:
    """Keep a key out of the lower library's log until `stop_hiding` is called with it."""
    _filter.secrets.append(secret)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)


def stop_hiding(secret: Secret) -> None:
    """End what `hide_in_logs` began."""
    _filter.secrets.remove(secret)
    if not _filter.secrets:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(_filter)
