"""The one-time code in a message: a rule made from how such messages are built.

A message has a word for the code ("code", "PIN", "OTP"), the code, and around them the sender, the purpose (a login, a
payment), how long it holds, a warning, a link, a number to call. So, in this order:

1. The text is written in one spelling (`normalize`): ASCII digits, plain spaces and dashes, no accents, no invisible
   marks.
2. A line `@example.com #123456` names the code, and is believed.
3. Numbers of another kind are blanked out (`patterns`): links, times, dates, amounts, phones and masked cards by their
   form; those of orders, accounts, phones or promotions by the word right before them, unless the message speaks of a
   code for this word ("code to verify your phone: 1234"). The words themselves are in `words`.
4. The rest that looks like a code (`candidates`) is a candidate: 3 to 10 digits, in one piece or in groups, and letters
   and digits mixed; where none of these will do, capitals in a code's place.
5. Each candidate is weighed (`message`), mostly by its nearest word for a code: next to it, behind a colon or "is",
   some words off, in another sentence. A word speaks of one candidate: the one that it leads to, or that is said to be
   it. Without such a word the purpose and the instruction count ("use 1234 to log in"). Form and place count a little:
   six digits are usual, three or a year aren't; codes stand first in a sentence, or alone.
6. The heaviest is the code if it is heavy enough. In a short message without a word for a code its only number may be,
   where nothing else explains it and it looks or stands like one.
"""

from __future__ import annotations

import re

from smspva_async._codes.candidates import possible
from smspva_async._codes.message import Message
from smspva_async._codes.normalize import fold
from smspva_async._codes.patterns import parted

__all__ = ["extract_code"]

# Of a longer text this many characters are read, half of them at its end: many times what fits into a message.
_READ = 4_000
# What may be a part of a number where a text is cut off, and where it goes on.
_CUT_OFF = re.compile(r"(?<![0-9])(?<![0-9][ ._-])(?:[0-9][ ._-]?)++\Z")
_CUT_ON = re.compile(r"\A(?:[ ._-]?[0-9])++")
# The line by which a browser knows the site that a code is for: "@example.com #123456".
_BOUND = re.compile(r"(?:^|[ .])@[a-zA-Z0-9.-]{3,253} #([0-9a-zA-Z]{3,10})(?: [@%][!-~]{1,253})?$", re.MULTILINE)
# What an app finds its own message by, at the very end: eleven characters that are neither a number nor a word.
_APP_HASH = re.compile(r"(?![0-9]{11}|[A-Za-z][a-z]{10})[0-9A-Za-z+/]{11}")


def extract_code(text: str) -> str | None:
    """Return the one-time code in a message, or None if there is none to be seen.

    The code is as one types it, 3 to 10 digits, or 4 to 10 ASCII letters with or without digits: ``"Code Instagram:
    671 094."`` gives ``"671094"``, ``"ABC-123"`` gives ``"ABC123"``. Digits of other scripts become ASCII, letters keep
    their case. Letters and a hyphen before a longer number, as in ``"G-123456"``, say who sent it and aren't part of
    the code: that gives ``"123456"``. In a line ``@example.com #abc`` three letters are enough.

    It is found by what stands around it, such as the words for a code in some sixty languages. Where no known word
    speaks of one, it may be the only number of 4 to 8 digits in a short message, if nothing else explains it and if it
    is of a usual length or in a usual place. Amounts, dates, times, phones, cards, orders, links and promo codes are
    passed over. What only the sense of a message tells may be wrong: a lone number that nothing explains, letters alone
    that nothing calls a code, a brand whose name is a word for an offer.

    The time grows with the length of the text and has a bound: of more than 4000 characters the first and the last 2000
    are read. The first call takes longer, as the patterns are made in it. What isn't a text raises `ValueError`.
    """
    if not isinstance(text, str):
        raise ValueError(f"extract_code takes a text: {text!r}")  # noqa: TRY004 - as all arguments
    folded = (fold(text) if len(text) <= _READ else _ends(text)).strip()
    if bound := _BOUND.findall(folded):
        return str(bound[-1])
    return Message(parted(_without_app_hash(folded))).code() if possible(folded) else None


def _ends(text: str) -> str:
    """Return the beginning and the end of a text, folded, without what is left of a number where it was cut."""
    beginning, end = fold(text[: _READ // 2]), fold(text[-_READ // 2 :])
    return f"{_CUT_OFF.sub('', beginning)}\n{_CUT_ON.sub('', end)}"


def _without_app_hash(text: str) -> str:
    start = max(text.rfind(" "), text.rfind("\n")) + 1
    return text[:start].rstrip() if start and _APP_HASH.fullmatch(text, start) else text
