"""The one-time code in a message."""

from __future__ import annotations

import re

__all__ = ["extract_code"]

_KEYWORD = re.compile(
    r"code|pin\b|passcode|password|otp\b|token|verif|confirm|код|парол|подтвержд"
    r"|c[oó]digo|codice|kod\b|kode|mã\b|代码|验证码|認証|コード|인증",
    re.IGNORECASE,
)
# In one piece, or in equal pieces with a space or hyphen between them.
_DIGITS = re.compile(
    r"(?<![\d+])(?:\d{4}[ -]\d{4}|\d{3}[ -]\d{3}|\d{2}(?:[ -]\d{2}){1,3}|\d{4,8})(?![ -]?\d)|(?<![\d+])\d{4,8}(?!\d)"
)


def extract_code(text: str) -> str | None:
    """Return the one-time code in a message, or None if there is none to be seen.

    The code is the run of 4 to 8 digits nearest to a word such as "code", without the single spaces or hyphens inside
    it: ``"Code Instagram: 671 094."`` gives ``"671094"``. Without such a word it is the only run of that length.
    """
    runs = [(match.start(), match.end(), re.sub(r"\D", "", match.group())) for match in _DIGITS.finditer(text)]
    keywords = [(match.start(), match.end()) for match in _KEYWORD.finditer(text)]
    if not keywords:
        return runs[0][2] if len(runs) == 1 else None

    def distance(run: tuple[int, int, str]) -> int:
        start, end, _ = run
        return min(max(start - after, before - end) for before, after in keywords)

    return min(runs, key=distance)[2] if runs else None
