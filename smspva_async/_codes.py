"""The one-time code in a message.

Numbers that are something else are blanked out (`_code_cues`). What is left and has the form of a code (`_code_forms`)
is weighed by its form, its place and what stands around it; the heaviest is the code if it is heavy enough.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from smspva_async import _code_cues as cues, _code_forms as forms
from smspva_async._code_text import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smspva_async._code_forms import Candidate

__all__ = ["extract_code"]

# The last line of a message that is meant for one site only: "@example.com #123456".
_BOUND = re.compile(r"@[a-zA-Z0-9.-]{3,253} #([0-9a-zA-Z]{3,10})(?: [@%][!-~]{1,253})?")
# What an app finds its own message by, at the very end: eleven characters that are neither a number nor a word.
_APP_HASH = re.compile(r"(?![0-9]{11}|[A-Za-z][a-z]{10})[0-9A-Za-z+/]{11}")
# Common words if in small letters.
_ABBREVIATIONS = re.compile(r"(?<![A-Za-z])(?:[a-z]{1,5})?(?:TAN|TAC)(?![A-Za-z])")

_SENTENCE_END = re.compile(r"[.!?;\u061f\u06d4]+(?=\s|$|[^\x00-\x7f])|[\u3002\u0964\u0965\u0589]|\n+")
_WORD = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[^\W\d_]+")

_NEAR = 120  # characters from a word to the code that it speaks of, at most
_MOST = 3  # words of a kind that are asked on either side
_INTRODUCTION = 24  # characters in which it ends
_BEGINNING = 40  # characters that may stand before the first word
_STEP = 12  # characters that count as a word, where words aren't divided
_LINE_AROUND = 40  # characters that tell whether a text is in capitals
_BRIEF = 160  # characters of a message whose only number may be its code though no word says so
_ENOUGH = 6

# How much a word for a code speaks for a number, by where it is and how many words lie between.
_ADJOINING, _INTRODUCED = 10, 9
_BEFORE = ((3, 8), (8, 6), (_NEAR, 4))
_AFTER = ((4, 9), (8, 7), (_NEAR, 5))
_INTRODUCED_WITHIN, _CAPITALS_WITHIN = 12, 8
_OTHER_SENTENCE, _WARNED_BEFORE, _WARNED_AFTER, _ANYWHERE = 3, 1, 2, 2
# The same for a word for what a code is for, or for what to do with it.
_ASKED, _PROVED, _MEANT_INTRODUCED, _MEANT, _ASKED_AFTER, _MEANT_ELSEWHERE, _BOTH = 6, 5, 6, 4, 3, 2, 2
_NOTICE = -3  # and for a message that speaks of something else
# And its place: by itself, with two words at most, and before any other word.
_ALONE, _ALONE_WITH, _FIRST = 3, 2, 2


def extract_code(text: str) -> str | None:
    """Return the one-time code in a message, or None if there is none to be seen.

    The code is as one types it: 3 to 10 ASCII digits and letters, without what divides its groups (``"Code Instagram:
    671 094."`` gives ``"671094"``), with ASCII digits for those of other scripts, and without the letters that say
    whose it is (``"G-123456"`` gives ``"123456"``: the field asks for the digits). Letters keep their case.

    It is found by what stands around it: words such as "code" in some sixty languages, what lies between, sentences,
    its form. Amounts, dates, times, numbers of phones, cards and orders, links, and codes for something else ("promo
    code") are left out. Where no known word speaks of a code it is the only number of 4 to 8 digits in a short message
    that isn't of another kind. In doubt it is None. It takes time linear in the length of the text.
    """
    folded = fold(text).strip()
    bound = _BOUND.fullmatch(folded, folded.rfind("\n") + 1)
    if bound is not None:
        return bound[1]
    return _Message(_without_app_hash(folded)).code() if forms.possible(folded) else None


def _without_app_hash(text: str) -> str:
    start = max(text.rfind(" "), text.rfind("\n")) + 1
    return text[:start].rstrip() if start and _APP_HASH.fullmatch(text, start) else text


class _Places:
    """Where the words of one kind stand, in order."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self.spans = list(spans)
        self.starts = [start for start, _ in self.spans]
        self.ends = [end for _, end in self.spans]

    def __bool__(self) -> bool:
        return bool(self.spans)

    def before(self, place: int) -> range:
        """Return which end before a place and near it, the last few."""
        last = bisect_right(self.ends, place)
        return range(max(bisect_left(self.ends, place - _NEAR), last - _MOST), last)

    def after(self, place: int) -> range:
        """Return which begin after a place and near it, the first few."""
        first = bisect_left(self.starts, place)
        return range(first, min(bisect_right(self.starts, place + _NEAR), first + _MOST))

    def overlap(self, span: tuple[int, int]) -> bool:
        """Return whether one of them shares a character with a span."""
        number = bisect_left(self.starts, span[1]) - 1
        return number >= 0 and self.ends[number] > span[0]


class _Message:
    """A folded message, and the words in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.low = low = text.lower()
        self.blanked = cues.blank_others(low)
        self.sentence_ends = _Places(match.span() for match in _SENTENCE_END.finditer(low))
        self.codes = self._words_for_codes()
        self.proofs = self._places(cues.proofs())
        self.asks = self._places(cues.asks())
        self.warned = {self._sentence(start) for start in self._places(cues.warnings()).starts}
        # Other than by the word for the code itself, as in "password".
        self.is_proof = any(not self.codes.overlap(span) for span in self.proofs.spans)
        self.is_notice = cues.notices().search(low) is not None
        self.is_offer = cues.offers().search(low) is not None
        self.taken: set[int] = set()

    def _places(self, pattern: re.Pattern[str]) -> _Places:
        return _Places(match.span() for match in pattern.finditer(self.low))

    def _words_for_codes(self) -> _Places:
        abbreviations = {match.span() for match in _ABBREVIATIONS.finditer(self.text)}
        others = self._places(cues.other_codes())
        spans = sorted({*self._places(cues.codes()).spans, *abbreviations})
        return _Places(span for span in spans if not others.overlap(span))

    def code(self) -> str | None:
        """Return its code."""
        if self.is_offer and not self.proofs:
            return None
        numbers = list(forms.numbers(self.blanked))
        if not self.codes:
            spoken = self._heaviest(number for number in numbers if not self._is_counted(number))
            return spoken or self._only(numbers)
        for number in numbers:
            self._take(number)
        best = self._heaviest(numbers)
        if best is None and not self.is_offer:
            best = self._heaviest(forms.mixed(self.text, self.blanked))
        if best is None and not self.is_offer:
            words = forms.capitals(self.text, self.blanked)
            best = self._heaviest(word for word in words if self._is_in_place(word))
        return best

    def _take(self, number: Candidate) -> None:
        """Note that the word right before a number speaks of it, and so of none before the word."""
        for word in self.codes.before(number.start)[-1:]:
            gap = self.low[self.codes.ends[word] : number.start]
            if not _LETTERS.search(gap) and not _ends_sentence(gap):
                self.taken.add(word)

    def _heaviest(self, candidates: Iterable[Candidate]) -> str | None:
        weighed = ((self._weight(candidate), -candidate.start, candidate.code) for candidate in candidates)
        weight, _, code = max(weighed, default=(0, 0, ""))
        return code if weight >= _ENOUGH else None

    def _weight(self, candidate: Candidate) -> int:
        weight = candidate.form + self._place(candidate)
        if self.codes:
            return weight + self._announced(candidate) + bool(self.warned) + self.is_proof
        return weight + self._meant(candidate) + _NOTICE * self.is_notice

    def _sentence(self, place: int) -> int:
        return bisect_left(self.sentence_ends.starts, place)

    def _place(self, candidate: Candidate) -> int:
        """Weigh its place: codes stand by themselves, or with a name, or first."""
        words = len(_WORD.findall(self._before(candidate))) + len(_WORD.findall(self._after(candidate)))
        alone = words <= _ALONE_WITH
        return _ALONE * alone + _FIRST * self._begins_at(candidate.start)

    def _before(self, candidate: Candidate) -> str:
        """Return what is before it in its sentence, as far as it is near."""
        sentence = self._sentence(candidate.start)
        begin = self.sentence_ends.ends[sentence - 1] if sentence else 0
        return self.low[max(begin, candidate.start - _NEAR) : candidate.start]

    def _after(self, candidate: Candidate) -> str:
        """Return what is after it in its sentence, as far as it is near."""
        sentence = self._sentence(candidate.end)
        ends = self.sentence_ends.starts
        end = ends[sentence] if sentence < len(ends) else len(self.low)
        return self.low[candidate.end : min(end, candidate.end + _NEAR)]

    def _begins_at(self, place: int) -> bool:
        return place < _BEGINNING and not _WORD.search(self.low, 0, place)

    def _announced(self, candidate: Candidate) -> int:
        """Weigh it by the word for a code that is best placed."""
        before = [self._announced_by(self.codes.ends[word], candidate) for word in self.codes.before(candidate.start)]
        after = [
            self._told_by(candidate, self.codes.starts[word])
            for word in self.codes.after(candidate.end)
            if word not in self.taken
        ]
        return max([*before, *after, _ANYWHERE])

    def _announced_by(self, word: int, candidate: Candidate) -> int:
        """Weigh it by a word before it: "code: 1234"."""
        gap = self.low[word : candidate.start]
        steps = _steps(gap)
        said = steps == 1 and cues.copula().match(self.low, word) is not None  # "code is 1234"
        if (said or not steps) and not _ends_sentence(gap):
            return _ADJOINING
        sentence = self._sentence(word)
        if sentence != self._sentence(candidate.start) and (_ends_sentence(gap) or not self._is_introduced(candidate)):
            return _WARNED_BEFORE if sentence in self.warned else _OTHER_SENTENCE
        if steps <= _INTRODUCED_WITHIN and self._is_introduced(candidate):
            return _INTRODUCED
        return next(weight for most, weight in _BEFORE if steps <= most)

    def _told_by(self, candidate: Candidate, word: int) -> int:
        """Weigh it by a word after it: "1234 is your code"."""
        sentence = self._sentence(word)
        if sentence != self._sentence(candidate.end):
            return _WARNED_AFTER if sentence in self.warned else _OTHER_SENTENCE
        steps = _steps(self.low[candidate.end : word])
        return next(weight for most, weight in _AFTER if steps <= most)

    def _meant(self, candidate: Candidate) -> int:
        """Weigh it by what it is for and what one shall do with it: "use 1234 to log in"."""
        proved = self._spoken_of(self.proofs, _PROVED, _MEANT, candidate)
        asked = self._spoken_of(self.asks, _ASKED, _ASKED_AFTER, candidate)
        return max(proved, asked) + _BOTH * (proved > _MEANT_ELSEWHERE < asked)

    def _spoken_of(self, places: _Places, adjoining: int, after: int, candidate: Candidate) -> int:
        best = 0
        for word in places.before(candidate.start):
            gap = self.low[places.ends[word] : candidate.start]
            steps = _steps(gap) - (_LETTERS.match(gap) is not None)  # without the rest of the word itself
            if self._sentence(places.ends[word]) != self._sentence(candidate.start):
                best = max(best, _MEANT_ELSEWHERE)
            elif steps <= 0:
                best = max(best, adjoining)
            else:
                best = max(best, _MEANT_INTRODUCED if self._is_introduced(candidate) else _MEANT)
        for word in places.after(candidate.end):
            same = self._sentence(candidate.end) == self._sentence(places.starts[word])
            best = max(best, after if same else _MEANT_ELSEWHERE)
        return best

    def _is_introduced(self, candidate: Candidate) -> bool:
        before = self.low[max(0, candidate.start - _INTRODUCTION) : candidate.start]
        return cues.introduction().search(before) is not None

    def _is_in_place(self, word: Candidate) -> bool:
        """Return whether capitals are where a code is: "code: ABCD", "ABCD is your code"."""
        spoken = self.low[word.start : word.end]
        if cues.codes().match(spoken) or cues.proofs().match(spoken) or cues.no_code().fullmatch(spoken):
            return False
        for cue in self.codes.before(word.start)[-1:]:
            gap = self.low[self.codes.ends[cue] : word.start]
            if _steps(gap) <= _CAPITALS_WITHIN and not _ends_sentence(gap) and self._is_introduced(word):
                line = self.text[max(0, word.start - _LINE_AROUND) : word.end + _LINE_AROUND]
                return ":" in gap or any(map(str.islower, line))
        return self._begins_at(word.start) and cues.copula().match(self.low, word.end) is not None

    def _only(self, numbers: list[Candidate]) -> str | None:
        """Return the only number of a short message in which nothing says what it is."""
        longer = [number for number in numbers if len(number.code) > forms.SHORTEST]
        if len({number.code for number in longer}) != 1 or len(self.low) > _BRIEF:
            return None
        only = longer[0]
        if len(only.code) > forms.LONGEST_LONE or not _LETTERS.search(self.low):
            return only.code if len(only.code) <= forms.LONGEST_LONE else None
        numbered = self._is_counted(only) or cues.numbered().search(self.low)
        if self.is_notice or numbered or forms.is_year(only.code):
            return None
        usual = only.form > 1
        stands_out = self._is_introduced(only) or self._place(only) > 0
        if self._is_foreign():
            return only.code if usual or stands_out or not _WORD.search(self._after(only)) else None
        return only.code if usual and stands_out else None

    def _is_counted(self, number: Candidate) -> bool:
        return self.low[max(0, number.start - 1) : number.start] == "#"

    def _is_foreign(self) -> bool:
        """Return whether it seems to be in a language that the tables don't know, and has one number."""
        small = {match[0] for match in cues.common().finditer(self.low)}
        return len(small) <= 1 and not self.proofs and not self.asks and cues.BLANK not in self.blanked


def _ends_sentence(gap: str) -> bool:
    return _SENTENCE_END.search(gap.rstrip("\n")) is not None


def _steps(gap: str) -> int:
    """Return how many words lie between, also where words aren't divided."""
    return max(len(_WORD.findall(gap)), len(gap) // _STEP if _LETTERS.search(gap) else 0)
