"""Extraction of the one-time code from a message, by rules.

A typical message has a word for the code ("code", "PIN", "OTP"), the code itself, and around them the sender, the
purpose (a login, a payment), how long the code is valid, a warning, a link, a phone number. The steps:

1. `normalize` writes the text with ASCII digits, plain spaces and dashes, no accents and no invisible characters.
2. If a line `@example.com #123456` names a code, that code is the result.
3. Numbers of another kind are blanked out (`patterns`): links, times, dates, amounts, phone numbers and masked cards by
   their form; numbers of orders, accounts, phones or promotions by the word right before them, unless it is the purpose
   of a code ("code to verify your phone: 1234"). The words are in `words.ini`.
4. Other parts with the form of a code are candidates (`candidates`): 3 to 10 digits, in one piece or in groups, letters
   mixed with digits, and if none of these is the code, capitals.
5. Each candidate gets a score (`message`), mostly from the nearest word for a code: next to it, with a colon or "is"
   between them, some words away, in another sentence. A word counts for one candidate: the one it leads to, or the one
   before it in "1234 is your code". Without a word for a code, the purpose and the instruction count ("use 1234 to log
   in"). Form and position count a little: six digits are usual, three digits or a year are not; codes begin a sentence,
   or are alone.
6. The candidate with the highest score is the code, if the score is high enough. In a short message without a word for
   a code, the only number can be the code, if nothing else explains it and its form or position is usual.
"""

from __future__ import annotations

import re

from smspva_async._codes.candidates import may_contain_code
from smspva_async._codes.normalize import normalize

__all__ = ["extract_code"]

# Many times the length of a real message. A longer text is read only at its ends, half of this at each.
_MAX_LENGTH = 4_000
# Parts of a number at the place where a long text is cut.
_CUT_END = re.compile(r"(?<![0-9])(?<![0-9][ ._-])(?:[0-9][ ._-]?)++\Z")
_CUT_START = re.compile(r"\A(?:[ ._-]?[0-9])++")
# The line that tells a browser which site a code is for: "@example.com #123456".
_BOUND_TO_SITE = re.compile(
    r"(?:^|[ .])@[a-zA-Z0-9.-]{3,253} #([0-9a-zA-Z]{3,10})(?: [@%][!-~]{1,253})?$", re.MULTILINE
)
# The hash at the end of a message for an Android app: 11 characters, neither a number nor a word.
_APP_HASH = re.compile(r"(?![0-9]{11}|[A-Za-z][a-z]{10})[0-9A-Za-z+/]{11}")


def extract_code(text: str) -> str | None:
    """Return the one-time code in a message, or None if no code is found.

    The result is the code as a person types it: 3 to 10 digits, or 4 to 10 ASCII letters with or without digits.
    ``"Code Instagram: 671 094."`` gives ``"671094"``, ``"ABC-123"`` gives ``"ABC123"``. Digits of other scripts become
    ASCII digits; letters keep their case. Letters and a hyphen before a longer number name the sender and aren't part
    of the code: ``"G-123456"`` gives ``"123456"``. In a line ``@example.com #abc`` three letters are enough.

    The code is found by the words around it, such as the words for "code" in some sixty languages. Without a known word
    the code can be the only number of 4 to 8 digits in a short message, if nothing else explains the number and its
    length or position is usual. Amounts, dates, times, phone numbers, cards, orders, links and promo codes are ignored.
    The result can be wrong if only the meaning of a message decides: a single unexplained number, letters without a
    word for a code, a brand whose name means an offer.

    The time grows with the length of the text, up to a limit: only the first and the last 2000 characters of a text
    with more than 4000 are read. The first call takes longer, because it compiles the patterns.

    Raises:
        ValueError: The argument isn't a string.

    """
    if not isinstance(text, str):
        raise ValueError(f"extract_code: expected a string, got {text!r}")  # noqa: TRY004 - the same type as for all arguments
    normalized = (normalize(text) if len(text) <= _MAX_LENGTH else _both_ends(text)).strip()
    if bound := _BOUND_TO_SITE.findall(normalized):
        return str(bound[-1])
    if not may_contain_code(normalized):
        return None
    # Programs that never look for a code don't load the word list and the modules that read it.
    from smspva_async._codes.message import Message  # noqa: PLC0415
    from smspva_async._codes.patterns import separate_glued  # noqa: PLC0415

    return Message(separate_glued(_without_app_hash(normalized))).code()


def _both_ends(text: str) -> str:
    """Return the beginning and the end of a text, normalized, without parts of a number at the cut."""
    beginning, end = normalize(text[: _MAX_LENGTH // 2]), normalize(text[-_MAX_LENGTH // 2 :])
    return f"{_CUT_END.sub('', beginning)}\n{_CUT_START.sub('', end)}"


def _without_app_hash(text: str) -> str:
    start = max(text.rfind(" "), text.rfind("\n")) + 1
    return text[:start].rstrip() if start and _APP_HASH.fullmatch(text, start) else text
