"""Weighs the candidates for a message's code by their form, their place and the words around them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from smspva_async._codes import candidates, patterns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smspva_async._codes.candidates import Candidate

__all__ = ["Message"]

# Common words if in small letters.
_ABBREVIATIONS = re.compile(r"(?<![A-Za-z])[a-z]{0,12}(?:TAN|TAC)(?![A-Za-z])")

_WORD = re.compile(r"[^\W_]+")
# "Name: ", "[Name] ", or no word at all
_NAMED = re.compile(r"(?:[^:\])】]{1,30}[:\])】])?[\W_]*")
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
_ADJOINING, _INTRODUCED = 11, 9
_BEFORE = ((3, 8), (8, 6), (_NEAR, 4))
_AFTER = ((4, 9), (8, 7), (_NEAR, 5))
_INTRODUCED_WITHIN = 12
_ELSEWHERE = 3
# The same for a word for what a code is for, or for what to do with it, in the same sentence; and for both.
_MEANT_ADJOINING, _MEANT, _BOTH = 6, 4, 3
# And its place: by itself, with two words at most, and before any other word.
_ALONE, _ALONE_WITH, _FIRST = 3, 2, 2
_COUNTED = 9  # against "#1234" where no word speaks of a code


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


class Message:
    """A folded message, and the words in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.low = low = text.lower()
        self.blanked = patterns.blank_others(low)
        self.sentence_ends = self._places(patterns.sentence_end())
        self.codes = self._words_for_codes()
        self.proofs = self._places(patterns.proofs())
        self.asks = self._places(patterns.asks())
        # Other than by the word for the code itself, as in "password".
        self.is_proof = any(not self.codes.overlap(span) for span in self.proofs.spans)
        self.is_offer = patterns.offers().search(low) is not None
        # Of the words for the code those that speak of what follows, and of what is before.
        self.taken: set[int] = set()
        self.told: set[int] = set()

    def _places(self, pattern: re.Pattern[str]) -> _Places:
        return _Places(match.span() for match in pattern.finditer(self.low))

    def _words_for_codes(self) -> _Places:
        abbreviations = {match.span() for match in _ABBREVIATIONS.finditer(self.text)}
        return _Places(sorted({*(match.span() for match in patterns.codes().finditer(self.blanked)), *abbreviations}))

    def code(self) -> str | None:
        """Return its code."""
        if self.is_offer and not self.proofs:
            return None
        numbers = list(candidates.numbers(self.blanked))
        mixed = [] if self.is_offer else self._mixed()
        self._share_words([*numbers, *mixed])
        found = self._heaviest([*numbers, *mixed])
        if found is None and not self.codes:
            return self._only(numbers)
        if found is None and not self.is_offer:
            words = candidates.capitals(self.text, self.blanked)
            return self._heaviest(word for word in words if self._is_in_place(word))
        return found

    def _mixed(self) -> list[Candidate]:
        """Return what is of letters and digits: where it looks like a word with a number, only what is introduced."""
        mixed = candidates.mixed(self.text, self.blanked)
        return [word for word in mixed if not candidates.is_name(word.code) or self._is_introduced(word)]

    def _share_words(self, found: list[Candidate]) -> None:
        """Note which words speak of the candidate after them, and which of the one before: none does of both."""
        for candidate in found:
            self.taken.update(self._speaking(candidate, _ADJOINING))
        for candidate in found:
            self.told.update(word for word in self._stating(candidate) if word not in self.taken)
        for candidate in found:
            self.taken.update(word for word in self._speaking(candidate, _INTRODUCED) if word not in self.told)

    def _speaking(self, candidate: Candidate, least: int) -> list[int]:
        """Return the last word before a candidate if it speaks for it so much."""
        last = self.codes.before(candidate.start)[-1:]
        return [word for word in last if self._announced_by(self.codes.ends[word], candidate) >= least]

    def _stating(self, candidate: Candidate) -> list[int]:
        """Return the first word after a candidate if the candidate is said to be it."""
        first = self.codes.after(candidate.end)[:1]
        return [word for word in first if self._is_stated(candidate, self.codes.starts[word])]

    def _is_stated(self, candidate: Candidate, word: int) -> bool:
        """Return whether it is said to be what a word says: "1234 is your code", or by itself "1234 - your code"."""
        gap = self.low[candidate.end : word]
        return patterns.statement().fullmatch(gap) is not None and ("-" not in gap[:3] or self._is_subject(candidate))

    def _heaviest(self, found: Iterable[Candidate]) -> str | None:
        weighed = ((self._weight(candidate), -candidate.start, candidate.code) for candidate in found)
        weight, _, code = max(weighed, default=(0, 0, ""))
        return code if weight >= _ENOUGH else None

    def _weight(self, candidate: Candidate) -> int:
        weight = candidate.form + self._place(candidate)
        if self.codes:
            return weight + self._announced(candidate) + self.is_proof
        return weight + self._meant(candidate) - _COUNTED * self._is_counted(candidate)

    def _sentence(self, place: int) -> int:
        return bisect_left(self.sentence_ends.starts, place)

    def _divided(self, begin: int, end: int) -> bool:
        """Return whether a sentence ends between two places, other than by new lines right before the second."""
        end = begin + len(self.low[begin:end].rstrip("\n"))
        first = bisect_left(self.sentence_ends.starts, begin)
        return first < bisect_left(self.sentence_ends.starts, end)

    def _place(self, candidate: Candidate) -> int:
        """Weigh its place: codes stand by themselves, or with a name, or first; also behind what is said of a code."""
        first = self._is_first(candidate) if self.codes else self._begins_at(candidate.start)
        return _ALONE * self._is_alone(candidate) + _FIRST * first

    def _is_first(self, candidate: Candidate) -> bool:
        return _WORD.search(self._before(candidate)) is None

    def _is_alone(self, candidate: Candidate) -> bool:
        words = len(_WORD.findall(self._before(candidate))) + len(_WORD.findall(self._after(candidate)))
        return words <= _ALONE_WITH

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
        before = [
            self._announced_by(self.codes.ends[word], candidate)
            for word in self.codes.before(candidate.start)
            if word not in self.told
        ]
        after = [
            self._told_by(candidate, self.codes.starts[word])
            for word in self.codes.after(candidate.end)
            if word not in self.taken
        ]
        return max([*before, *after, _ELSEWHERE])

    def _announced_by(self, word: int, candidate: Candidate) -> int:
        """Weigh it by a word before it: "code: 1234"."""
        if self._adjoins(word, candidate):
            return _ADJOINING
        gap = self.low[word : candidate.start]
        steps = _steps(gap)
        sentence = self._sentence(word)
        if sentence != self._sentence(candidate.start) and (
            self._divided(word, candidate.start) or not self._is_introduced(candidate)
        ):
            return _ELSEWHERE
        if steps <= _INTRODUCED_WITHIN and self._is_introduced(candidate):
            return _INTRODUCED
        return next(weight for most, weight in _BEFORE if steps <= most)

    def _adjoins(self, word: int, candidate: Candidate) -> bool:
        """Return whether nothing, or only "is", lies between the end of a word and a candidate."""
        gap = self.low[word : candidate.start]
        said = patterns.copula().match(self.low, word) is not None
        return _steps(gap) <= said and not self._divided(word, candidate.start)

    def _told_by(self, candidate: Candidate, word: int) -> int:
        """Weigh it by a word after it: "1234 is your code"."""
        sentence = self._sentence(word)
        if sentence != self._sentence(candidate.end):
            return _ELSEWHERE
        steps = _steps(self.low[candidate.end : word])
        return next(weight for most, weight in _AFTER if steps <= most)

    def _meant(self, candidate: Candidate) -> int:
        """Weigh it by what it is for and what one shall do with it: "use 1234 to log in"."""
        proved, asked = (self._meant_by(words, candidate) for words in (self.proofs, self.asks))
        if not asked and not candidate.code.isdigit():
            return 0  # "AB12CD verification" is as well a receipt
        return max(proved, asked) + _BOTH * (proved > 0 < asked)

    def _meant_by(self, words: _Places, candidate: Candidate) -> int:
        sentence = self._sentence(candidate.start)
        before = [words.ends[word] for word in words.before(candidate.start)]
        if any(self._sentence(end) == sentence and self._is_meant_here(end, candidate) for end in before):
            return _MEANT_ADJOINING
        near = before + [words.starts[word] for word in words.after(candidate.end)]
        return _MEANT * any(self._sentence(place) == sentence for place in near)

    def _is_meant_here(self, word: int, candidate: Candidate) -> bool:
        gap = self.low[word : candidate.start]
        rest = _LETTERS.match(gap) is not None  # of the word itself
        return _steps(gap) <= rest or self._is_introduced(candidate)

    def _is_introduced(self, candidate: Candidate) -> bool:
        before = self.low[max(0, candidate.start - _INTRODUCTION) : candidate.start]
        return patterns.introduction().search(before) is not None

    def _is_in_place(self, word: Candidate) -> bool:
        """Return whether capitals are where a code is."""
        spoken = self.low[word.start : word.end]
        if patterns.codes().match(spoken) or patterns.proofs().match(spoken) or patterns.no_code().fullmatch(spoken):
            return False
        return self._is_led_to(word) or (self._is_subject(word) and self._stating(word) != [])

    def _is_led_to(self, word: Candidate) -> bool:
        """Return whether capitals follow a word for a code: "code: ABCD", "enter code ABCD to log in"."""
        for cue in self.codes.before(word.start)[-1:]:
            end = self.codes.ends[cue]
            gap = self.low[end : word.start]
            steps = _steps(gap)
            if self._divided(end, word.start) or steps > _INTRODUCED_WITHIN:
                return False
            if self._is_introduced(word):
                return ":" in gap or not self._is_shouted(word)
            return steps == 0 and self._is_used(word) and not self._is_shouted(word)
        return False

    def _is_used(self, word: Candidate) -> bool:
        """Return whether it is said what to do with capitals, and then what for."""
        sentence = self._sentence(word.start)
        purposes = (self.proofs.starts[proof] for proof in self.proofs.after(word.end))
        return self._meant_by(self.asks, word) > 0 and any(self._sentence(place) == sentence for place in purposes)

    def _is_shouted(self, word: Candidate) -> bool:
        """Return whether what is around capitals is in capitals too."""
        around = self.text[max(0, word.start - _LINE_AROUND) : word.start]
        around += self.text[word.end : word.end + _LINE_AROUND]
        return any(map(str.isupper, around)) and not any(map(str.islower, around))

    def _is_subject(self, candidate: Candidate) -> bool:
        """Return whether it begins a sentence, by itself or after a name and a colon."""
        return _NAMED.fullmatch(self._before(candidate)) is not None

    def _only(self, numbers: list[Candidate]) -> str | None:
        """Return the only number of a short message in which nothing says what it is."""
        longer = [number for number in numbers if len(number.code) > candidates.SHORTEST]
        if len({number.code for number in longer}) != 1 or len(self.low) > _BRIEF:
            return None
        only = longer[0]
        if len(only.code) > candidates.LONGEST_LONE:
            return None
        if not _LETTERS.search(self.low):
            return only.code
        return None if self._is_explained(only) or not self._stands_out(only) else only.code

    def _is_explained(self, number: Candidate) -> bool:
        """Return whether a number is an order's, a year, or part of a report."""
        explanations = (patterns.labels(), patterns.numbered(), patterns.done())
        counted = self._is_counted(number) or candidates.is_year(number.code)
        return counted or any(pattern.search(self.low) for pattern in explanations)

    def _stands_out(self, number: Candidate) -> bool:
        """Return whether a number is of a usual length or in a usual place; in a known language both."""
        usual = number.form > 1
        in_place = self._is_introduced(number) or self._is_alone(number) or self._begins_at(number.start)
        if self._is_foreign():
            return usual or in_place or not _WORD.search(self._after(number))
        return usual and in_place

    def _is_counted(self, number: Candidate) -> bool:
        return self.low[max(0, number.start - 1) : number.start] == "#"

    def _is_foreign(self) -> bool:
        """Return whether it seems to be in a language that the tables don't know, and has no number of another kind."""
        small = {match[0] for match in patterns.common().finditer(self.low)}
        return len(small) <= 1 and not self.proofs and not self.asks and patterns.BLANK not in self.blanked


def _steps(gap: str) -> int:
    """Return how many words lie between, also where words aren't divided."""
    return max(len(_WORD.findall(gap)), len(gap) // _STEP if _LETTERS.search(gap) else 0)
