"""The one-time code in a message.

Numbers that are something else are blanked out first (see `_code_cues`). What is left and has the form of a code is
weighed by what stands around it; the heaviest is the code if it is heavy enough.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from smspva_async import _code_cues as cues
from smspva_async._code_text import fold

__all__ = ["extract_code"]

# The last line of a message that is meant for one site only: "@example.com #123456".
_BOUND = re.compile(r"@[a-zA-Z0-9.-]{3,253} #([0-9a-zA-Z]{3,10})(?: [@%][!-~]{1,253})?")
# What an app finds its own message by, at the very end.
_APP_HASH = re.compile(r"(?![0-9]{11}|[A-Za-z][a-z]{10})[0-9A-Za-z+/]{11}")

# Without one of these there is no code, and nothing to weigh.
_POSSIBLE = re.compile(r"(?<![0-9])[0-9]{1,10}(?![0-9])|[A-Z]{3}")
# These give nothing back, so that each character is read once.
_NUMBERS = re.compile(r"(?<![0-9a-z])(?:[0-9]++(?:-[0-9]++)++|[0-9]++(?:\.[0-9]++)++|[0-9]++(?: [0-9]++)*+)")
_PIECES = re.compile(r"[0-9a-z]++(?:-[0-9a-z]++)*+")
_GLUED = re.compile(r"([a-z]{2,12})?([0-9]{4,8})([a-z]{2,12})?")
_MODEL = re.compile(r"[A-Za-z][a-z]+[0-9]+|[0-9]+[a-z]+")  # "Windows11", "100mbps"
_CAPITAL_NAMES = re.compile(r"(?<![A-Za-z])(?:[a-z]{1,5})?(?:TAN|TAC)(?![A-Za-z])")
_SENTENCE_END = re.compile(r"[.!?;]+(?=\s|$|[^\x00-\x7f])|[。！？؟।॥։]|\n+")
_WORD = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_YEAR = re.compile("(?:19|20)[0-9]{2}")
_DATE = re.compile("(?:0[1-9]|[12][0-9]|3[01])[-.](?:0[1-9]|1[0-2])[-.][0-9]{2}")

_SHORTEST, _LONGEST = 3, 10
_GROUP = 4  # digits in a group of a longer code, at most
_NEAR = 120  # characters from a word to the code that it speaks of
_FIRST = 40  # characters before it at most, none of them letters, if a code comes first
_BRIEF = 160  # characters of a message whose only number may be a code without a word that says so
_ENOUGH = 6


class _Candidate(NamedTuple):
    start: int
    end: int
    code: str
    form: int
    """How much its form alone speaks for it."""


class _Places:
    """Where the words of one kind stand, in order."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]

    def before(self, place: int) -> range:
        """Return which end before a place and near it, the last few."""
        last = bisect_right(self.ends, place)
        return range(max(bisect_left(self.ends, place - _NEAR), last - 3), last)

    def after(self, place: int) -> range:
        """Return which begin after a place and near it, the first few."""
        first = bisect_left(self.starts, place)
        return range(first, min(bisect_right(self.starts, place + _NEAR), first + 3))


def extract_code(text: str) -> str | None:
    """Return the one-time code in a message, or None if there is none to be seen.

    The code is as one types it: 3 to 10 ASCII digits and letters, without what divides its groups (``"Code Instagram:
    671 094."`` gives ``"671094"``), with ASCII digits for those of other scripts, and without the letters that say whose
    it is (``"G-123456"`` gives ``"123456"``: the field asks for the digits). Letters keep their case.

    It is found by what stands around it: words such as "code" in some sixty languages, what lies between, sentences,
    its form. Amounts, dates, times, numbers of phones, cards and orders, links, and codes for something else ("promo
    code") are left out. Without a known word it is the only number of 4 to 8 digits in a short message. In doubt it is
    None. It takes time linear in the length of the text.
    """
    folded = fold(text).strip()
    bound = _BOUND.fullmatch(folded, folded.rfind("\n") + 1)
    if bound is not None:
        return bound[1]
    return _Message(_without_app_hash(folded)).code() if _POSSIBLE.search(folded) else None


def _without_app_hash(text: str) -> str:
    start = max(text.rfind(" "), text.rfind("\n")) + 1
    return text[:start].rstrip() if start and _APP_HASH.fullmatch(text, start) else text


class _Message:
    """A folded message, and the words in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.low = low = text.lower()
        self.blanked = cues.blank_others(low)
        ends = [match.span() for match in _SENTENCE_END.finditer(low)]
        self.stops = [start for start, _ in ends]
        self.starts = [0, *(end for _, end in ends)]
        self.codes = self._codes()
        self.warned = {self.sentence(match.start()) for match in cues.warnings().finditer(low)}
        self.proofs = _Places(self._spans(cues.proofs()))
        self.asks = _Places(self._spans(cues.asks()))
        self.is_notice = cues.notices().search(low) is not None
        self.is_offer = cues.offers().search(low) is not None and not self.proofs.ends
        self.taken: set[int] = set()

    def code(self) -> str | None:
        """Return its code."""
        if not self.codes.ends and not self.proofs.ends and not self.asks.ends:
            return self._only_number()
        if self.is_offer:
            return None
        digits = list(_digits(self.blanked))
        for candidate in digits:
            self._take(candidate)
        best = self._best(digits)
        if best is None and self.codes.ends:
            best = self._best(list(_mixed(self)))
        if best is None and self.codes.ends:
            best = self._best(list(_capitals(self)))
        if best is None and not self.codes.ends:
            return self._only_number()
        return best

    def _spans(self, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
        return [match.span() for match in pattern.finditer(self.low)]

    def _codes(self) -> _Places:
        """Return where it speaks of a code; not of another kind of code."""
        spans = sorted({*self._spans(cues.codes()), *(match.span() for match in _CAPITAL_NAMES.finditer(self.text))})
        others = _Places(self._spans(cues.other_codes()))
        return _Places([span for span in spans if not self._within(others, span)])

    @staticmethod
    def _within(others: _Places, span: tuple[int, int]) -> bool:
        number = bisect_left(others.starts, span[1]) - 1
        return number >= 0 and others.ends[number] > span[0]

    def sentence(self, place: int) -> int:
        """Return which sentence a place is in."""
        return bisect_left(self.stops, place)

    def around(self, candidate: _Candidate) -> tuple[str, str]:
        """Return what is before and after a candidate in its sentence, as far as it is near."""
        first, last = self.sentence(candidate.start), self.sentence(candidate.end)
        end = self.stops[last] if last < len(self.stops) else len(self.low)
        return (
            self.low[max(self.starts[first], candidate.start - _NEAR) : candidate.start],
            self.low[candidate.end : min(end, candidate.end + _NEAR)],
        )

    def _take(self, candidate: _Candidate) -> None:
        """Note that the word right before this number speaks of it, and so of none that stands before the word."""
        for number in self.codes.before(candidate.start)[-1:]:
            gap = self.low[self.codes.ends[number] : candidate.start]
            if not _LETTERS.search(gap) and not _ends_sentence(gap):
                self.taken.add(number)

    def _best(self, candidates: list[_Candidate]) -> str | None:
        weighed = [(self._weight(candidate), -candidate.start, candidate.code) for candidate in candidates]
        weight, _, code = max(weighed, default=(0, 0, ""))
        return code if weight >= _ENOUGH else None

    def _weight(self, candidate: _Candidate) -> int:
        weight = candidate.form + self._position(candidate)
        if self.codes.ends:
            return weight + self._announced(candidate) + bool(self.warned) + bool(self.proofs.ends)
        return weight + self._meant(candidate) - 3 * self.is_notice

    def _position(self, candidate: _Candidate) -> int:
        """A code stands by itself, or with a name, or first."""
        before, after = self.around(candidate)
        words = len(_WORD.findall(before)) + len(_WORD.findall(after))
        return 3 * (words <= 2) + 2 * (candidate.start < _FIRST and not _WORD.search(self.low, 0, candidate.start))  # noqa: PLR2004

    def _announced(self, candidate: _Candidate) -> int:
        """By the word for a code that is best placed."""
        best = 2  # it is in the message at least
        for number in self.codes.before(candidate.start):
            best = max(best, self._as_announced(self.codes.ends[number], candidate))
        for number in self.codes.after(candidate.end):
            if number not in self.taken:
                best = max(best, self._as_told(candidate, self.codes.starts[number]))
        return best

    def _as_announced(self, word: int, candidate: _Candidate) -> int:
        """The word is before: "code: 1234"."""
        gap = self.low[word : candidate.start]
        words = _steps(gap)
        if not words and not _ends_sentence(gap):
            return 10
        if self.sentence(word) != self.sentence(candidate.start):
            return 1 if self.sentence(word) in self.warned else 3
        if words <= 12 and cues.introduction().search(gap[-24:]):
            return 9
        return 8 if words <= 3 else 6 if words <= 8 else 5

    def _as_told(self, candidate: _Candidate, word: int) -> int:
        """The word is after: "1234 is your code"."""
        if self.sentence(candidate.end) != self.sentence(word):
            return 2 if self.sentence(word) in self.warned else 3
        words = _steps(self.low[candidate.end : word])
        return 9 if words <= 4 else 7 if words <= 8 else 5

    def _meant(self, candidate: _Candidate) -> int:
        """By what it is for or what one shall do with it: "use 1234 to log in"."""
        proof, ask = self._spoken_of(self.proofs, 5, candidate), self._spoken_of(self.asks, 6, candidate)
        return max(proof, ask) + 2 * (proof > 2 < ask)

    def _spoken_of(self, places: _Places, adjoining: int, candidate: _Candidate) -> int:
        best = 0
        for number in places.before(candidate.start):
            gap = self.low[places.ends[number] : candidate.start]
            words = _steps(gap) - (_LETTERS.match(gap) is not None)  # without the rest of the word itself
            if self.sentence(places.ends[number]) != self.sentence(candidate.start):
                best = max(best, 2)
            else:
                best = max(best, adjoining if words <= 0 else 6 if self._introduced(candidate) else 4)
        for number in places.after(candidate.end):
            same = self.sentence(candidate.end) == self.sentence(places.starts[number])
            best = max(best, 4 if same else 2)
        return best

    def _introduced(self, candidate: _Candidate) -> bool:
        return cues.introduction().search(self.low[max(0, candidate.start - 24) : candidate.start]) is not None

    def introduces(self, start: int, end: int) -> bool:
        """Whether a code of capitals is in the place of one: "code: ABCD", "ABCD is your code"."""
        word = self.low[start:end]
        if cues.codes().match(word) or cues.proofs().match(word) or cues.no_code().fullmatch(word):
            return False
        for number in self.codes.before(start)[-1:]:
            gap = self.low[self.codes.ends[number] : start]
            if _steps(gap) <= 8 and not _ends_sentence(gap) and cues.introduction().search(gap[-24:]):
                near = self.text[max(0, start - 40) : start] + self.text[end : end + 40]
                return ":" in gap or any(map(str.islower, near))
        return not _WORD.search(self.low, 0, min(start, _FIRST)) and cues.copula().match(self.low, end) is not None

    def _only_number(self) -> str | None:
        """Return the only number of a short message in which nothing says what it is."""
        numbers = [number for number in _digits(self.blanked) if len(number.code) > _SHORTEST]
        if len({number.code for number in numbers}) != 1 or len(self.low) > _BRIEF:
            return None
        number = numbers[0]
        if len(number.code) > _LONGEST - 2:
            return None
        if not _LETTERS.search(self.low):
            return number.code
        if _YEAR.fullmatch(number.code) or self.is_offer or self.is_notice:
            return None
        if self.low.startswith("#", number.start - 1):
            return None
        known = self.proofs.ends or self.asks.ends or len({match[0] for match in cues.common().finditer(self.low)}) > 1
        if not known and cues.BLANK not in self.blanked:
            return number.code
        stands_out = self._introduced(number) or self._position(number) > 0
        return number.code if stands_out and number.form > 1 else None


def _ends_sentence(gap: str) -> bool:
    return _SENTENCE_END.search(gap.rstrip("\n")) is not None


def _steps(gap: str) -> int:
    """Return how many words lie between, also where words aren't divided."""
    return max(len(_WORD.findall(gap)), len(_LETTERS.findall(gap)) and len(gap) // 12)


def _digits(text: str) -> Iterator[_Candidate]:
    """Yield the numbers that have the form of a code, groups put together."""
    for match in _NUMBERS.finditer(text):
        run, start = match[0], match.start()
        if text[match.end() : match.end() + 1].isascii() and text[match.end() : match.end() + 1].isalpha():
            run = run[: max(run.rfind(" "), run.rfind("-"), run.rfind("."), 0)]  # the last goes on with letters
        if len(run) == _SHORTEST and _beside_letters(text, start, start + len(run)):
            continue  # half of "ABC-123"
        divider = next((mark for mark in "- ." if mark in run), "")
        if not divider:
            yield from _number(start, start + len(run), run)
        elif divider == " ":
            yield from _spaced(start, run.split(" "))
        else:
            yield from _joined(start, run, divider)
    for match in _PIECES.finditer(text):
        glued = _GLUED.fullmatch(match[0])
        if glued is not None and bool(glued[1]) != bool(glued[3]):
            yield from _number(match.start() + glued.start(2), match.start() + glued.end(2), glued[2])


def _beside_letters(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (before[1:] == "-" and before[0].isalpha()) or (after[:1] == "-" and after[1:].isalpha())


def _number(start: int, end: int, code: str, form: int = 0) -> Iterator[_Candidate]:
    if _SHORTEST <= len(code) <= _LONGEST:
        usual = {3: -3, 6: 2, 9: -3, 10: -4}.get(len(code), 1)
        yield _Candidate(start, end, code, usual + form - 5 * (_YEAR.fullmatch(code) is not None))


def _spaced(start: int, groups: list[str]) -> Iterator[_Candidate]:
    """Put together neighbouring groups of equal length: in "671 094 5 minutes" two, in "1234 5 minutes" none."""
    digits = sum(map(len, groups))
    even = len({len(group) for group in groups}) == 1
    if len(groups) > 2 and len(groups[0]) <= _GROUP and digits >= _LONGEST and not even:  # noqa: PLR2004
        return  # a phone
    if len(groups) == 2 and digits <= _LONGEST - 2 and len(groups[0]) < 3 <= len(groups[1]):  # noqa: PLR2004
        yield from _number(start, start + digits + 1, "".join(groups), -3)
        return
    for length, equal in groupby(groups, len):
        code = "".join(together := list(equal))
        end = start + len(code) + len(together) - 1
        if len(together) == 1 or (length <= _GROUP and len(code) <= _LONGEST):
            yield from _number(start, end, code)
        elif length > _GROUP:
            for group in together:
                yield from _number(start, start + length, group)
                start += length + 1
        start = end + 1


def _joined(start: int, run: str, divider: str) -> Iterator[_Candidate]:
    """Put together groups with hyphens or dots, if they are not too many and not those of a phone or a date."""
    groups = run.split(divider)
    code = "".join(groups)
    even = len({len(group) for group in groups}) == 1
    if even and len(groups[0]) <= _GROUP:
        odd = divider == "." or _DATE.fullmatch(run) is not None
        yield from _number(start, start + len(run), code, -3 * odd)
    elif len(groups) == 2 and len(code) < _LONGEST - 1:  # noqa: PLR2004
        yield from _number(start, start + len(run), code, -3)


def _mixed(message: _Message) -> Iterator[_Candidate]:
    """Yield what is of letters and digits."""
    for match in _PIECES.finditer(message.blanked):
        code = _ungrouped(message.text[match.start() : match.end()])
        if not code or not any(map(str.isdigit, code)) or code.isdigit() or _MODEL.fullmatch(code):
            continue
        yield _Candidate(match.start(), match.end(), code, -3)


def _capitals(message: _Message) -> Iterator[_Candidate]:
    """Yield what is of capitals alone, where a word for a code introduces it."""
    for match in _PIECES.finditer(message.blanked):
        code = _ungrouped(message.text[match.start() : match.end()])
        if code and code.isalpha() and code.isupper() and message.introduces(match.start(), match.end()):
            yield _Candidate(match.start(), match.end(), code, -2)


def _ungrouped(piece: str) -> str:
    """Return a piece without the hyphens between equal groups, or nothing if it is too short or too long."""
    groups = piece.split("-", _GROUP)
    code = "".join(groups)
    equal = len({len(group) for group in groups}) == 1 and len(groups) < max(2, len(groups[0]) + 2)
    return code if equal and _GROUP <= len(code) <= _LONGEST else ""
