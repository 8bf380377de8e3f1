"""Patterns of the words around a code, and of numbers that are something else.

Each is made when it is first used. Each looks at a character a bounded number of times: what repeats has an end or
doesn't give back what it took, and begins only where nothing of its kind stands before.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from smspva_async._codes import words
from smspva_async._codes.normalize import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BLANK",
    "asks",
    "blank_others",
    "codes",
    "common",
    "copula",
    "done",
    "introduction",
    "labels",
    "no_code",
    "numbered",
    "offers",
    "parted",
    "proofs",
    "sentence_end",
    "statement",
]

BLANK = "\0"
"""Stands for each character of a number that is something else than a code."""

_LETTER = r"[^\W\d_]"
# What is a letter of the word itself, and no article or preposition, before a word in Hebrew or Arabic.
_STEM_BEFORE = "(?<![גדזחטינסעפצקרתتثجحخدذرزسشصضطظعغقمنهي])"
_STARTS = r"(?<![^\W_])"
_ENDS = r"(?![^\W_])"


def _split(*tables: str | dict[str, str]) -> list[str]:
    parts = (part for table in tables for part in ([table] if isinstance(table, str) else table.values()))
    return [word for part in parts for word in part.split()]


def _any(listed: Iterable[str]) -> str:
    """Return an alternative for each word, as a folded text in small letters has it."""
    folded = sorted({fold(word).lower() for word in listed}, key=lambda word: (-len(word), word))
    first = "".join(sorted({re.escape(word[0]) for word in folded}))
    # Most places in a text are passed over for their first letter.
    return rf"(?=[{first}])(?:{'|'.join(re.escape(word).replace('_', '[ -]?') for word in folded)})"


def _stems(listed: Iterable[str]) -> str:
    """Return the pattern of words written as in the tables."""
    kinds: dict[str, list[str]] = {"inside": [], "whole": [], "begins": []}
    for word in listed:
        kinds["inside" if word[0] == "*" else "whole" if word[-1] == "|" else "begins"].append(word.strip("*|"))
    inside, whole, begins = (_any(kinds[kind]) if kinds[kind] else "(?!)" for kind in ("inside", "whole", "begins"))
    return rf"(?={_LETTER})(?:{_STARTS}(?:{begins}|{whole}(?!{_LETTER}))|{inside})"


def _compiled(*tables: str | dict[str, str]) -> re.Pattern[str]:
    return re.compile(_stems(_split(*tables)))


@cache
def codes() -> re.Pattern[str]:
    """Return what a one-time code is called, with its ending; abbreviations see `_message`."""
    # In an alphabet with capitals: in others the word for "is" may be a part of it.
    return re.compile(
        rf"{_STEM_BEFORE}(?:{_stems(_split(words.CODES))})(?:{_any(_split(words.ENDINGS))})?(?![a-z\u0370-\u058f])"
    )


# A letter next to a number that may be a code.
_GLUED = re.compile(r"[0-9]{4}[^\W\d_]|(?<=[^\W\d_])[0-9]{4}")
# "1234Do not share it"
_NO_SPACE = re.compile(r"(?<![0-9A-Za-z-])[0-9]{4,8}(?=[A-Z][a-z]{1,15}(?![0-9A-Za-z]))")

# Cash on delivery; in small letters, or before another word, it may be Romanian for "code".
_CASH = re.compile("(?<![A-Za-z])COD(?![A-Za-z]| [A-Z]{2})")


@cache
def _glue() -> re.Pattern[str]:
    """Return a word for a code right before a number, or a number right before such a word."""
    number = "[0-9]{4,8}"
    return re.compile(rf"{codes().pattern}(?={number}(?![0-9a-z]))|{_STARTS}{number}(?={codes().pattern}(?![0-9a-z]))")


def parted(text: str) -> str:
    """Return a folded text with a space between a number and the word, or the next sentence, that it is written to."""
    text = _CASH.sub("amount", _NO_SPACE.sub(r"\g<0> ", text))
    if not _GLUED.search(text):
        return text
    ends = [0, *(match.end() for match in _glue().finditer(text.lower())), len(text)]
    return " ".join(text[begin:end] for begin, end in pairwise(ends))


@cache
def _other_codes() -> re.Pattern[str]:
    """Return codes of other things, such as "promo code AB12", and words with "code" in them."""
    code, of = f"(?:{_stems(_split(words.CODE_WORDS))})", _any(_split(words.OF))
    before = rf"(?:{_stems(_split(words.OTHER_BEFORE, words.OFFERS))}){_LETTER}{{0,6}}(?:'s)?[ -]{{0,2}}{code}"
    other = _stems(_split(words.OTHER_AFTER, words.OFFERS))
    after = rf"{code}{_LETTER}{{0,6}}[ -]{{0,2}}(?:{of}[ '])?(?:{of}[ '])?(?:{other})"
    named = rf"(?:{before}|{after}|{_stems(_split(words.OTHER_WHOLE))}){_LETTER}{{0,12}}"
    return re.compile(rf"{named}(?:{_BETWEEN}(?:{_is()} )?[0-9a-z][0-9a-z-]{{2,19}})?")


@cache
def proofs() -> re.Pattern[str]:
    """Return what a one-time code is for: verification, a login, security; not that it has been done."""
    return re.compile(rf"(?!{done().pattern})(?:{_stems(_split(words.PROOFS))})")


@cache
def done() -> re.Pattern[str]:
    """Return what reports that something was confirmed or the like."""
    return re.compile(rf"{_STARTS}(?:{_any(_split(words.DONE))}){_ENDS}")


@cache
def asks() -> re.Pattern[str]:
    """Return what one is asked to do with a code: to use it, to enter it."""
    return _compiled(words.ASKS)


@cache
def labels() -> re.Pattern[str]:
    """Return whose a number is that isn't a code: an order's, an account's."""
    return _compiled(words.LABELS, words.OTHER_BEFORE, words.OTHER_AFTER)


@cache
def numbered() -> re.Pattern[str]:
    """Return the words for a number."""
    return _compiled(words.NUMBERED)


@cache
def offers() -> re.Pattern[str]:
    """Return what promotions are about."""
    return re.compile(rf"{_stems(_split(words.OFFERS))}|\d\s?%")


@cache
def common() -> re.Pattern[str]:
    """Return the little words of languages that the tables know."""
    return re.compile(rf"{_STARTS}(?:{_any(_split(words.COMMON))}){_ENDS}")


def _is() -> str:
    return _stems(word if word[0] == "*" else f"{word}|" for word in _split(words.COPULAS))


@cache
def introduction() -> re.Pattern[str]:
    """Return the end of what introduces a number: a colon, or a word for "is"."""
    return re.compile(rf"(?:[:=>]|-\s|{_is()})[\s\"'(\[{{*<#【「《-]*$")


@cache
def copula() -> re.Pattern[str]:
    """Return a word for "is" that follows."""
    return re.compile(rf"[\"')\]]? ?(?:{_is()}|-(?!{_LETTER}))")


@cache
def statement() -> re.Pattern[str]:
    """Return all that stands between a code and the word for it where it is said to be the code."""
    return re.compile(rf"(?:{copula().pattern})[^\W\d_]*(?:[ '-]{{1,2}}[^\W\d_]+){{0,4}}[ '-]{{0,2}}")


@cache
def no_code() -> re.Pattern[str]:
    """Return words that may stand in capitals where a code could."""
    return re.compile(_any(_split(words.NO_CODE)))


@cache
def sentence_end() -> re.Pattern[str]:
    """Return the end of a sentence or line; not the full stop of a short word before a number, as in "nr. 5"."""
    stops = r".!?;\u061f\u06d4"
    abbreviation = r"(?<=\b[^\W\d_])\. [0-9]|(?<=\b[^\W\d_]{2})\. [0-9]"
    return re.compile(
        rf"(?!{abbreviation})(?<![{stops}])[{stops}]++(?=\s|$|[^\x00-\x7f])|[\u3002\u0964\u0965\u0589]|\n+"
    )


_WIDE = 90  # characters before a number in which a word for a code may stand
_MARKS = " :#\"'(*=-."
_STOPS = re.compile(r"[0-9.!?;:\u3002]")
_CLAUSE_END = re.compile(r" ?(?:[.!\n]|$)")
_DAY, _MONTH, _YEAR = "(?:0?[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|1[0-2])", "(?:19|20)[0-9]{2}"
_ALONE = "(?<![0-9a-z])"
_THOUSANDS = r"[0-9]{1,3}(?:[ ,.'][0-9]{3}){1,5}(?![0-9])(?:[.,][0-9]{1,2}(?![0-9]))?"
_NUMBER = rf"(?:{_THOUSANDS}|[0-9]{{1,12}}(?:[.,][0-9]{{1,3}}(?![0-9]))?)"
_DIALLED = r"\+?\(?[0-9](?:[ ()/-]{0,2}[0-9]|\.[0-9]){1,17}"
_GROUP_OF_PHONE = r"(?: \(?[0-9]{2,4}\)?)"
_BETWEEN = "[ :#\"'(*=-]{0,3}"
_SIGN = "(?:[a-z]{0,2}\\$|[€£¥₽₴₹₩₺₸₼₾₦₱฿₫₪₮₲₡₵₨])"


def _fillers() -> str:
    return f"(?:(?:{_any(_split(words.FILLERS))})[ .:#\"'(*-]{{0,3}}){{0,3}}"


def _moments() -> str:
    units = f"(?:{_any(_split(words.UNITS))}){_ENDS}"
    return "|".join(
        [
            rf"{_ALONE}[0-9]{{1,2}}(?::[0-9]{{2}}){{1,2}}(?![0-9])",
            rf"{_ALONE}[0-9]{{1,2}}h[0-9]{{2}}(?![0-9a-z])",
            rf"{_ALONE}{_DAY}(?:[./]{_MONTH}[./](?:{_YEAR}|[0-9]{{2}})|-{_MONTH}-{_YEAR})(?![0-9])",
            rf"{_ALONE}{_YEAR}[./-]{_MONTH}[./-]{_DAY}(?![0-9])",
            rf"{_ALONE}[0-9]{{1,9}} ?{units}",
            rf"{_ALONE}[0-9]{{1,4}}(?:-{units}|[- ]?{_any(_split(words.UNITS_UNSPACED))}|[smhdgx]{_ENDS})",
            r"[0-9]{1,12}(?:/[0-9]{1,12})+",
        ]
    )


def _amounts() -> str:
    currency = f"(?:{_any(_split(words.CURRENCIES))})"
    return "|".join(
        [
            rf"(?:{_SIGN}|{_STARTS}{currency}\.?) ?{_NUMBER}(?![0-9a-z])",
            rf"{_ALONE}{_NUMBER} ?(?:{_SIGN}(?! ?[0-9])|[元圆塊円원%]|{currency}{_ENDS})",
            rf"{_ALONE}(?<![0-9][.,])[0-9]{{1,9}}[.,][0-9]{{1,2}}(?![.,]?[0-9])",
            rf"{_ALONE}[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])",
        ]
    )


def _phones_and_cards() -> str:
    sent = rf"(?:{_sent().pattern}){_LETTER}{{0,8}}(?: [\w\"]{{1,12}}){{0,4}} (?:{_any(_split(words.SENT_TO))})"
    return "|".join(
        [
            r"(?<![^\W_])\+ ?\(?[0-9](?:[ ()./-]{0,2}[0-9]){5,17}",
            # "8 800 100-70-10": of two dividers, which no code has
            rf"{_ALONE}(?=[0-9 ()-]{{11}})\(?[0-9]{{1,4}}\)?{_GROUP_OF_PHONE}{{1,2}}(?:-[0-9]{{2,4}}){{1,3}}(?![0-9])",
            rf"{sent}[ -][0-9]{{3,6}}(?![0-9])",
            rf"{_ALONE}[0-9]{{4}}[ -]?[0-9]{{0,4}}(?=[*x]{{2}}|[ -][*x]{{4}})",
            r"(?:\*\*[ -]?|\*|(?<![a-z0-9])(?:x|x{2,12}[ -]?)|(?<![a-z.])\.{2,8} ?|## ?)[0-9]{3,4}(?![0-9a-z]| ?\*)",
            r"\*[0-9]{2,4}(?:\*[0-9]{1,16}){0,4}#",
        ]
    )


@cache
def _labelled() -> list[re.Pattern[str]]:
    """Return a number with the word right before it that says whose it is: a phone's, an order's, an account's."""
    number = r"[a-z]{0,5}-?[0-9][0-9a-z]*+(?:[-/.][0-9]++)*+"
    phones = rf"(?:{_compiled(words.PHONES).pattern}){_LETTER}{{0,12}}(?: {_LETTER}{{2,12}})?"
    kinds = (phones, _DIALLED), (rf"(?:{labels().pattern}){_LETTER}{{0,12}}", number)
    return [re.compile(rf"{label}\.?{_BETWEEN}{_fillers()}(?P<number>{form})") for label, form in kinds]


@cache
def _sent() -> re.Pattern[str]:
    return _compiled(words.SENDS)


@cache
def _purpose() -> re.Pattern[str]:
    """Return a word for a code, and what begins to say what it is for."""
    proof = rf"(?:{_any(_split(words.OF))}[ '])?(?:{_stems(_split(words.PROOFS))})"
    return re.compile(rf"{codes().pattern}(?P<purpose> ?(?:{_any(_split(words.FOR))}{_ENDS}|{proof}))?")


_LINKS = (
    r"(?:https?://|www\.)[!-~]+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}\.[a-z0-9.-]{2,253}"
    r"|(?<![a-z0-9@.-])[a-z][a-z0-9-]{0,62}\.(?:[a-z0-9-]{1,63}\.){0,3}"
    r"(?:[a-z]{2,12}/[!-~]*|(?:com|net|org|info|app|io|ru|ua|by|kz|de|fr|pl|uk|br|cn|jp|tr|gg|ly|biz|shop|online)(?![\w-]))"
)


@cache
def _others() -> list[re.Pattern[str]]:
    # Links first, as they hold anything.
    return [re.compile(form) for form in (_LINKS, _moments(), _amounts(), _phones_and_cards())]


@cache
def _is_code() -> re.Pattern[str]:
    return re.compile(rf"(?!\W*-){statement().pattern}{codes().pattern}")


def _blank(match: re.Match[str]) -> str:
    return BLANK * len(match[0])


def _blank_labelled(match: re.Match[str]) -> str:
    # These have a label and a code all the same: "code to confirm the order: 1234", "ID: 1234 is your code".
    said, text, end = match[0], match.string, match.end()
    if _is_code().match(text, end) or codes().search(said):
        return said
    start = match.start("number")
    clause = _STOPS.split(text[max(0, start - _WIDE) : start].rstrip(_MARKS))[-1]
    spoken = None if _sent().search(clause) else _purpose().search(clause)
    introduced = introduction().search(said[: start - match.start()])
    named = spoken and (introduced or (spoken["purpose"] and _CLAUSE_END.match(text, end)))
    return said if named else _blank(match)


def blank_others(text: str) -> str:
    """Return a folded text in small letters, as long as it was, without the numbers that can't be codes."""
    for pattern in _others():
        text = pattern.sub(_blank, text)
    for pattern in _labelled():
        text = pattern.sub(_blank_labelled, text)
    return _other_codes().sub(_blank, text)
