"""Regular expressions for the words around a code, and for numbers that aren't codes.

Each pattern is compiled when it is first used, and reads a character a bounded number of times: repetitions are bounded
or possessive, and a match only starts where no match of the same kind could have started before.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from smspva_async._codes.normalize import normalize
from smspva_async._codes.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable

BLANK = "\0"
"""Replaces each character of a number that can't be a code."""

_LETTER = r"[^\W\d_]"
# In Hebrew and Arabic, a letter of the word itself, not of an article or preposition attached to it.
_NO_STEM_BEFORE = "(?<![גדזחטינסעפצקרתتثجحخدذرزسشصضطظعغقمنهي])"
_STARTS = r"(?<![^\W_])"
_ENDS = r"(?![^\W_])"


# -- words ---------------------------------------------------------------------------------------------------------


def _any_of(listed: Iterable[str]) -> str:
    """Return a pattern of the words, each in lower case and normalized, the longest first."""
    normalized = sorted({normalize(word).lower() for word in listed}, key=lambda word: (-len(word), word))
    # The lookahead skips most places in a text by their first letter.
    first_letters = "".join(sorted({re.escape(word[0]) for word in normalized}))
    alternatives = "|".join(re.escape(word).replace(r"\ ", "[ -]?") for word in normalized)
    return f"(?=[{first_letters}])(?:{alternatives})"


def _starred(listed: Iterable[str]) -> str:
    """Return a pattern of words, where "kod*" begins with, and "*kod*" contains, the letters between the stars."""
    inside, prefixes, whole = list[str](), list[str](), list[str]()
    for word in listed:
        (inside if word[0] == "*" else prefixes if word[-1] == "*" else whole).append(word.strip("*"))
    anywhere, begins, is_whole = (_any_of(kind) if kind else "(?!)" for kind in (inside, prefixes, whole))
    return rf"(?={_LETTER})(?:{_STARTS}(?:{begins}|{is_whole}(?!{_LETTER}))|{anywhere})"


def _starred_words(*headings: str) -> str:
    return _starred(words(*headings))


def _any_word(heading: str) -> str:
    return _any_of(words(heading))


@cache
def code_words() -> re.Pattern[str]:
    """Return a pattern of the names of a one-time code, with their grammatical endings."""
    # Endings only in alphabets with capitals: in others, the word for "is" can look like one.
    endings = rf"(?:{_any_word('code endings')})?(?![a-z\u0370-\u058f])"
    return re.compile(rf"{_NO_STEM_BEFORE}(?:{_starred_words('code')}){endings}")


@cache
def purposes() -> re.Pattern[str]:
    """Return a pattern of the purposes of a code, such as "verification", without those in `purposes_done`."""
    return re.compile(rf"(?!{purposes_done().pattern})(?:{_starred_words('purpose')})")


@cache
def purposes_done() -> re.Pattern[str]:
    """Return a pattern of reports that something was confirmed, activated or the like."""
    return re.compile(rf"{_STARTS}(?:{_any_word('purpose done')}){_ENDS}")


@cache
def instructions() -> re.Pattern[str]:
    """Return a pattern of instructions for a code, such as "use" and "enter"."""
    return re.compile(_starred_words("instruction"))


@cache
def other_number_words() -> re.Pattern[str]:
    """Return a pattern of the words for things with other numbers, such as an order or an account."""
    return re.compile(_starred_words("other number", "other code before", "other code after"))


@cache
def number_words() -> re.Pattern[str]:
    """Return a pattern of the words for "number"."""
    return re.compile(_starred_words("number"))


@cache
def offers() -> re.Pattern[str]:
    """Return a pattern of the words of advertising, and of percentages."""
    return re.compile(rf"{_starred_words('offer')}|\d\s?%")


@cache
def common_words() -> re.Pattern[str]:
    """Return a pattern of the most common words, by which a language counts as known."""
    return re.compile(rf"{_STARTS}(?:{_any_word('common')}){_ENDS}")


@cache
def not_codes() -> re.Pattern[str]:
    """Return a pattern of words that messages write in capitals where a code could be."""
    return re.compile(_any_word("not a code"))


# -- sentences -----------------------------------------------------------------------------------------------------


@cache
def introduction() -> re.Pattern[str]:
    """Return a pattern of the end of a text that introduces a code: a colon, or a word for "is"."""
    return re.compile(rf"(?:[:=>]|-\s|{_starred_words('is')})[\s\"'(\[{{*<#【「《-]*$")


@cache
def is_word() -> re.Pattern[str]:
    """Return a pattern of a word for "is", or a dash, right after a code or a word for a code."""
    return re.compile(rf"[\"')\]]? ?(?:{_starred_words('is')}|-(?!{_LETTER}))")


@cache
def statement() -> re.Pattern[str]:
    """Return a pattern of the text between a code and the word for it in "1234 is your login code"."""
    return re.compile(rf"(?:{is_word().pattern})[^\W\d_]*(?:[ '-]{{1,2}}[^\W\d_]+){{0,4}}[ '-]{{0,2}}")


@cache
def sentence_ends() -> re.Pattern[str]:
    """Return a pattern of the end of a sentence or line, but not of the dot in "nr. 5"."""
    stops = r".!?;\u061f\u06d4"
    abbreviation = r"(?<=\b[^\W\d_])\. [0-9]|(?<=\b[^\W\d_]{2})\. [0-9]"
    return re.compile(
        rf"(?!{abbreviation})(?<![{stops}])[{stops}]++(?=\s|$|[^\x00-\x7f])|[\u3002\u0964\u0965\u0589]|\n+"
    )


# -- numbers attached to words -------------------------------------------------------------------------------------

# A letter next to a number that may be a code.
_GLUED = re.compile(r"[0-9]{4}[^\W\d_]|(?<=[^\W\d_])[0-9]{4}")
# "1234Do not share it"
_NO_SPACE = re.compile(r"(?<![0-9A-Za-z-])[0-9]{4,8}(?=[A-Z][a-z]{1,15}(?![0-9A-Za-z]))")
# Cash on delivery. In lower case, or before another word in capitals, it may be Romanian for "code".
_CASH_ON_DELIVERY = re.compile("(?<![A-Za-z])COD(?![A-Za-z]| [A-Z]{2})")


@cache
def _glued() -> re.Pattern[str]:
    """Return a pattern of a word for a code right before a number, or a number right before such a word."""
    number = "[0-9]{4,8}"
    word = code_words().pattern
    return re.compile(rf"{word}(?={number}(?![0-9a-z]))|{_STARTS}{number}(?={word}(?![0-9a-z]))")


def separate_glued(text: str) -> str:
    """Return a normalized text with a space between a number and an attached word for a code, or sentence."""
    text = _CASH_ON_DELIVERY.sub("amount", _NO_SPACE.sub(r"\g<0> ", text))
    if not _GLUED.search(text):
        return text
    ends = [0, *(match.end() for match in _glued().finditer(text.lower())), len(text)]
    return " ".join(text[begin:end] for begin, end in pairwise(ends))


# -- numbers that aren't codes -------------------------------------------------------------------------------------

_CLAUSE = 90  # characters before a number in which a word for a code can refer to it
_MARKS = " :#\"'(*=-."
_STOPS = re.compile(r"[0-9.!?;:\u3002]")
_CLAUSE_END = re.compile(r" ?(?:[.!\n]|$)")
_DAY, _MONTH, _YEAR = "(?:0?[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|1[0-2])", "(?:19|20)[0-9]{2}"
_NOT_INSIDE = "(?<![0-9a-z])"
_THOUSANDS = r"[0-9]{1,3}(?:[ ,.'][0-9]{3}){1,5}(?![0-9])(?:[.,][0-9]{1,2}(?![0-9]))?"
_NUMBER = rf"(?:{_THOUSANDS}|[0-9]{{1,12}}(?:[.,][0-9]{{1,3}}(?![0-9]))?)"
_PHONE = r"\+?\(?[0-9](?:[ ()/-]{0,2}[0-9]|\.[0-9]){1,17}"
# "8 800 100-70-10": codes don't mix two separators
_SPACES_AND_HYPHENS = r"(?=[0-9 ()-]{11})\(?[0-9]{1,4}\)?(?: \(?[0-9]{2,4}\)?){1,2}(?:-[0-9]{2,4}){1,3}"
_BETWEEN = "[ :#\"'(*=-]{0,3}"
_SIGN = "(?:[a-z]{0,2}\\$|[€£¥₽₴₹₩₺₸₼₾₦₱฿₫₪₮₲₡₵₨])"
_LINKS = (
    r"(?:https?://|www\.)[!-~]+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}\.[a-z0-9.-]{2,253}"
    r"|(?<![a-z0-9@.-])[a-z][a-z0-9-]{0,62}\.(?:[a-z0-9-]{1,63}\.){0,3}"
    r"(?:[a-z]{2,12}/[!-~]*|(?:com|net|org|info|app|io|ru|ua|by|kz|de|fr|pl|uk|br|cn|jp|tr|gg|ly|biz|shop|online)(?![\w-]))"
)


def blank_other_numbers(text: str) -> str:
    """Return a normalized text in lower case, of the same length, with numbers that can't be codes blanked out."""
    for pattern in _by_form():
        text = pattern.sub(_blank, text)
    for pattern in _labelled():
        text = pattern.sub(_blank_labelled, text)
    return _other_codes().sub(_blank, text)


@cache
def _by_form() -> list[re.Pattern[str]]:
    # Links first, because they can contain anything.
    return [re.compile(form) for form in (_LINKS, _times(), _amounts(), _phones_and_cards())]


def _times() -> str:
    """Return a pattern of times, dates, durations and other numbers with a unit."""
    spaced = f"(?:{_any_of(unit for unit in words('unit') if unit[-1] != '*')}){_ENDS}"
    unspaced = _any_of(unit.strip("*") for unit in words("unit") if unit[-1] == "*")
    return "|".join(
        [
            rf"{_NOT_INSIDE}[0-9]{{1,2}}(?::[0-9]{{2}}){{1,2}}(?![0-9])",
            rf"{_NOT_INSIDE}[0-9]{{1,2}}h[0-9]{{2}}(?![0-9a-z])",
            rf"{_NOT_INSIDE}{_DAY}(?:[./]{_MONTH}[./](?:{_YEAR}|[0-9]{{2}})|-{_MONTH}-{_YEAR})(?![0-9])",
            rf"{_NOT_INSIDE}{_YEAR}[./-]{_MONTH}[./-]{_DAY}(?![0-9])",
            rf"{_NOT_INSIDE}[0-9]{{1,9}} ?{spaced}",
            rf"{_NOT_INSIDE}[0-9]{{1,4}}(?:-{spaced}|[- ]?{unspaced}|[smhdgx]{_ENDS})",
            r"[0-9]{1,12}(?:/[0-9]{1,12})+",
        ]
    )


def _amounts() -> str:
    currency = f"(?:{_any_word('currency')})"
    return "|".join(
        [
            rf"(?:{_SIGN}|{_STARTS}{currency}\.?) ?{_NUMBER}(?![0-9a-z])",
            rf"{_NOT_INSIDE}{_NUMBER} ?(?:{_SIGN}(?! ?[0-9])|[元圆塊円원%]|{currency}{_ENDS})",
            rf"{_NOT_INSIDE}(?<![0-9][.,])[0-9]{{1,9}}[.,][0-9]{{1,2}}(?![.,]?[0-9])",
            rf"{_NOT_INSIDE}[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])",
        ]
    )


def _phones_and_cards() -> str:
    sent = rf"(?:{_send().pattern}){_LETTER}{{0,8}}(?: [\w\"]{{1,12}}){{0,4}} (?:{_any_word('send to')})"
    return "|".join(
        [
            r"(?<![^\W_])\+ ?\(?[0-9](?:[ ()./-]{0,2}[0-9]){5,17}",
            rf"{_NOT_INSIDE}{_SPACES_AND_HYPHENS}(?![0-9])",
            rf"{sent}[ -][0-9]{{3,6}}(?![0-9])",
            rf"{_NOT_INSIDE}[0-9]{{4}}[ -]?[0-9]{{0,4}}(?=[*x]{{2}}|[ -][*x]{{4}})",
            r"(?:\*\*[ -]?|\*|(?<![a-z0-9])(?:x|x{2,12}[ -]?)|(?<![a-z.])\.{2,8} ?|## ?)[0-9]{3,4}(?![0-9a-z]| ?\*)",
            r"\*[0-9]{2,4}(?:\*[0-9]{1,16}){0,4}#",
        ]
    )


@cache
def _labelled() -> list[re.Pattern[str]]:
    """Return patterns of numbers after a label: one for phones, then one for orders, accounts and others."""
    number = r"[a-z]{0,5}-?[0-9][0-9a-z]*+(?:[-/.][0-9]++)*+"
    phone_label = rf"(?:{_starred_words('phone')}){_LETTER}{{0,12}}(?: {_LETTER}{{2,12}})?"
    other_label = rf"(?:{other_number_words().pattern}){_LETTER}{{0,12}}"
    fillers = f"(?:(?:{_any_word('filler')})[ .:#\"'(*-]{{0,3}}){{0,3}}"
    return [
        re.compile(rf"{label}\.?{_BETWEEN}{fillers}(?P<number>{form})")
        for label, form in ((phone_label, _PHONE), (other_label, number))
    ]


@cache
def _other_codes() -> re.Pattern[str]:
    """Return a pattern of other codes, such as "promo code AB12", and of words that only contain a word for a code."""
    code, of = f"(?:{_starred_words('generic code')})", _any_word("of")
    before = rf"(?:{_starred_words('other code before', 'offer')}){_LETTER}{{0,6}}(?:'s)?[ -]{{0,2}}{code}"
    after_words = _starred_words("other code after", "offer")
    after = rf"{code}{_LETTER}{{0,6}}[ -]{{0,2}}(?:{of}[ '])?(?:{of}[ '])?(?:{after_words})"
    name = rf"(?:{before}|{after}|{_starred_words('other code whole')}){_LETTER}{{0,12}}"
    return re.compile(rf"{name}(?:{_BETWEEN}(?:{_starred_words('is')} )?[0-9a-z][0-9a-z-]{{2,19}})?")


@cache
def _send() -> re.Pattern[str]:
    return re.compile(_starred_words("send"))


@cache
def _code_with_purpose() -> re.Pattern[str]:
    """Return a pattern of a word for a code, and of the beginning of its purpose if one follows."""
    purpose = rf"(?:{_any_word('of')}[ '])?(?:{_starred_words('purpose')})"
    return re.compile(rf"{code_words().pattern}(?P<purpose> ?(?:{_any_word('for')}{_ENDS}|{purpose}))?")


@cache
def _is_a_code() -> re.Pattern[str]:
    return re.compile(rf"(?!\W*-){statement().pattern}{code_words().pattern}")


def _blank(match: re.Match[str]) -> str:
    return BLANK * len(match[0])


def _blank_labelled(match: re.Match[str]) -> str:
    """Blank out a labelled number, unless it is a code: "code to confirm the order: 1234", "ID: 1234 is your code"."""
    labelled, text, end = match[0], match.string, match.end()
    if _is_a_code().match(text, end) or code_words().search(labelled):
        return labelled
    start = match.start("number")
    clause = _STOPS.split(text[max(0, start - _CLAUSE) : start].rstrip(_MARKS))[-1]
    code_word = None if _send().search(clause) else _code_with_purpose().search(clause)
    if code_word is None:
        return _blank(match)
    is_introduced = introduction().search(labelled[: start - match.start()])
    is_code = is_introduced or (code_word["purpose"] and _CLAUSE_END.match(text, end))
    return labelled if is_code else _blank(match)
