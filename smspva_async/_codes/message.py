"""Choice of a message's code among its candidates, by a score for form, position and surrounding words."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

from smspva_async._codes import candidates, patterns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smspva_async._codes.candidates import Candidate

# In lower case these are common words.
_ABBREVIATIONS = re.compile(r"(?<![A-Za-z])[a-z]{0,12}(?:TAN|TAC)(?![A-Za-z])")

_WORD = re.compile(r"[^\W_]+")
# "Name: ", "[Name] ", or no word at all
_SENDER = re.compile(r"(?:[^:\])】]{1,30}[:\])】])?[\W_]*")
_LETTERS = re.compile(r"[^\W\d_]+")

# Lengths, in characters.
_NEAR = 120  # the largest distance from a word to the code that it refers to
_INTRODUCTION = 24  # the text before a code that is searched for an introduction
_BEGINNING = 40  # punctuation allowed before a code at the beginning of a message
_WORD_LENGTH = 12  # counts as one word in scripts without spaces
_LINE = 40  # the text on each side of capitals that is checked for other capitals
_SHORT_MESSAGE = 160  # the longest message whose only number can be its code without a word for it

_NEAREST = 3  # words of a kind to consider on each side of a candidate
_ENOUGH = 6  # the lowest score of a code

# Scores for a word for a code, by its position and the number of words between.
_ADJACENT, _INTRODUCED = 11, 9
_BEFORE = ((3, 8), (8, 6), (_NEAR, 4))
_AFTER = ((4, 9), (8, 7), (_NEAR, 5))
_MAX_WORDS_TO_INTRODUCTION = 12
_ELSEWHERE = 3
# Scores for a purpose or an instruction in the same sentence, and in addition for both.
_PURPOSE_ADJACENT, _PURPOSE, _BOTH = 6, 4, 3
# Scores for a candidate alone in its sentence, or with at most two words, and for one before any other word.
_ALONE, _ALONE_WITH, _FIRST = 3, 2, 2
_HASH = 9  # subtracted for "#1234" without a word for a code


class _Spans:
    """The positions of all words of one kind, in order."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self.spans = list(spans)
        self.starts = [start for start, _ in self.spans]
        self.ends = [end for _, end in self.spans]

    def __bool__(self) -> bool:
        return bool(self.spans)

    def before(self, position: int) -> range:
        """Return the indices of the nearest words that end before a position."""
        last = bisect_right(self.ends, position)
        return range(max(bisect_left(self.ends, position - _NEAR), last - _NEAREST), last)

    def after(self, position: int) -> range:
        """Return the indices of the nearest words that begin after a position."""
        first = bisect_left(self.starts, position)
        return range(first, min(bisect_right(self.starts, position + _NEAR), first + _NEAREST))

    def overlap(self, span: tuple[int, int]) -> bool:
        """Return True if one of the words shares a character with a span."""
        index = bisect_left(self.starts, span[1]) - 1
        return index >= 0 and self.ends[index] > span[0]


class Message:
    """A normalized message with the positions of the words that matter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lower = lower = text.lower()
        self._blanked = patterns.blank_other_numbers(lower)
        self._sentence_ends = self._find(patterns.sentence_ends())
        self._code_words = self._find_code_words()
        self._purposes = self._find(patterns.purposes())
        # Some words for a code are also purposes ("password"); these don't count here.
        self._has_purpose = any(not self._code_words.overlap(span) for span in self._purposes.spans)
        self._is_offer = patterns.offers().search(lower) is not None
        # Indices of the words for a code that refer to the candidate after them, and before them.
        self._refer_forward: set[int] = set()
        self._refer_back: set[int] = set()

    @cached_property
    def _instructions(self) -> _Spans:
        return self._find(patterns.instructions())

    def _find(self, pattern: re.Pattern[str]) -> _Spans:
        return _Spans(match.span() for match in pattern.finditer(self._lower))

    def _find_code_words(self) -> _Spans:
        abbreviations = {match.span() for match in _ABBREVIATIONS.finditer(self._text)}
        found = {match.span() for match in patterns.code_words().finditer(self._blanked)}
        return _Spans(sorted(found | abbreviations))

    def code(self) -> str | None:
        """Return the code, or None."""
        if self._is_offer and not self._purposes:
            return None
        numbers = list(candidates.numbers(self._blanked))
        mixed = [] if self._is_offer else self._mixed()
        self._assign_code_words([*numbers, *mixed])
        code = self._best([*numbers, *mixed])
        if code is None and not self._code_words:
            return self._only_number(numbers)
        if code is None and not self._is_offer:
            words = candidates.capitals(self._text, self._blanked)
            return self._best(word for word in words if self._are_capitals_code(word))
        return code

    def _mixed(self) -> list[Candidate]:
        """Return the candidates with letters and digits; those that look like a name only after an introduction."""
        mixed = candidates.mixed(self._text, self._blanked)
        return [word for word in mixed if not candidates.is_name(word.code) or self._is_introduced(word)]

    # -- words for a code ------------------------------------------------------------------------------------------

    def _assign_code_words(self, found: list[Candidate]) -> None:
        """Decide for each word for a code if it refers to the candidate after it or before it, never to both."""
        for candidate in found:
            self._refer_forward.update(self._words_leading_to(candidate, _ADJACENT))
        for candidate in found:
            self._refer_back.update(
                word for word in self._words_referring_back_to(candidate) if word not in self._refer_forward
            )
        for candidate in found:
            self._refer_forward.update(
                word for word in self._words_leading_to(candidate, _INTRODUCED) if word not in self._refer_back
            )

    def _words_leading_to(self, candidate: Candidate, min_score: int) -> list[int]:
        """Return the last word for a code before a candidate, if its score is high enough."""
        last = self._code_words.before(candidate.start)[-1:]
        return [
            word for word in last if self._score_by_word_before(self._code_words.ends[word], candidate) >= min_score
        ]

    def _words_referring_back_to(self, candidate: Candidate) -> list[int]:
        """Return the first word for a code after a candidate, if a statement like "1234 is your code" links them."""
        first = self._code_words.after(candidate.end)[:1]
        return [word for word in first if self._is_stated(candidate, self._code_words.starts[word])]

    def _is_stated(self, candidate: Candidate, word_start: int) -> bool:
        """Return True for "1234 is your code", or for "1234 - your code" at the beginning of a sentence."""
        gap = self._lower[candidate.end : word_start]
        return patterns.statement().fullmatch(gap) is not None and (
            "-" not in gap[:3] or self._begins_sentence(candidate)
        )

    # -- scores ----------------------------------------------------------------------------------------------------

    def _best(self, found: Iterable[Candidate]) -> str | None:
        scored = ((self._score(candidate), -candidate.start, candidate.code) for candidate in found)
        score, _, code = max(scored, default=(0, 0, ""))
        return code if score >= _ENOUGH else None

    def _score(self, candidate: Candidate) -> int:
        score = candidate.form_score + self._position_score(candidate)
        if self._code_words:
            return score + self._code_word_score(candidate) + self._has_purpose
        return score + self._purpose_score(candidate) - _HASH * self._has_hash(candidate)

    def _position_score(self, candidate: Candidate) -> int:
        is_first = self._is_first_in_sentence(candidate) if self._code_words else self._begins_message(candidate)
        return _ALONE * self._is_alone(candidate) + _FIRST * is_first

    def _code_word_score(self, candidate: Candidate) -> int:
        """Return the score for the word for a code in the best position."""
        before = [
            self._score_by_word_before(self._code_words.ends[word], candidate)
            for word in self._code_words.before(candidate.start)
            if word not in self._refer_back
        ]
        after = [
            self._score_by_word_after(self._code_words.starts[word], candidate)
            for word in self._code_words.after(candidate.end)
            if word not in self._refer_forward
        ]
        return max([*before, *after, _ELSEWHERE])

    def _score_by_word_before(self, word_end: int, candidate: Candidate) -> int:
        """Return the score for a word for a code before a candidate: "code: 1234"."""
        if self._is_adjacent(word_end, candidate):
            return _ADJACENT
        if self._sentence(word_end) != self._sentence(candidate.start) and (
            self._ends_sentence(word_end, candidate.start) or not self._is_introduced(candidate)
        ):
            return _ELSEWHERE
        between = _count_words(self._lower[word_end : candidate.start])
        if between <= _MAX_WORDS_TO_INTRODUCTION and self._is_introduced(candidate):
            return _INTRODUCED
        return next(score for most, score in _BEFORE if between <= most)

    def _score_by_word_after(self, word_start: int, candidate: Candidate) -> int:
        """Return the score for a word for a code after a candidate: "1234 is your code"."""
        if self._sentence(word_start) != self._sentence(candidate.end):
            return _ELSEWHERE
        between = _count_words(self._lower[candidate.end : word_start])
        return next(score for most, score in _AFTER if between <= most)

    def _is_adjacent(self, word_end: int, candidate: Candidate) -> bool:
        """Return True if nothing, or only "is", separates a word from a candidate after it."""
        gap = self._lower[word_end : candidate.start]
        has_is = patterns.is_word().match(self._lower, word_end) is not None
        return _count_words(gap) <= has_is and not self._ends_sentence(word_end, candidate.start)

    def _purpose_score(self, candidate: Candidate) -> int:
        """Return the score for a purpose and an instruction: "use 1234 to log in"."""
        purpose, instruction = (
            self._score_by_words(words, candidate) for words in (self._purposes, self._instructions)
        )
        if not instruction and not candidate.code.isdigit():
            return 0  # "AB12CD verification" may be a receipt's number
        return max(purpose, instruction) + _BOTH * (purpose > 0 and instruction > 0)

    def _score_by_words(self, words: _Spans, candidate: Candidate) -> int:
        sentence = self._sentence(candidate.start)
        before = [words.ends[word] for word in words.before(candidate.start)]
        if any(self._sentence(end) == sentence and self._leads_to(end, candidate) for end in before):
            return _PURPOSE_ADJACENT
        near = before + [words.starts[word] for word in words.after(candidate.end)]
        return _PURPOSE * any(self._sentence(position) == sentence for position in near)

    def _leads_to(self, word_end: int, candidate: Candidate) -> bool:
        gap = self._lower[word_end : candidate.start]
        has_ending = _LETTERS.match(gap) is not None
        return _count_words(gap) <= has_ending or self._is_introduced(candidate)

    # -- positions -------------------------------------------------------------------------------------------------

    def _sentence(self, position: int) -> int:
        """Return the index of the sentence at a position."""
        return bisect_left(self._sentence_ends.starts, position)

    def _ends_sentence(self, begin: int, end: int) -> bool:
        """Return True if a sentence ends between two positions; new lines right before the second don't count."""
        end = begin + len(self._lower[begin:end].rstrip("\n"))
        return self._sentence(begin) < self._sentence(end)

    def _before(self, candidate: Candidate) -> str:
        """Return the near text before a candidate in its sentence."""
        sentence = self._sentence(candidate.start)
        begin = self._sentence_ends.ends[sentence - 1] if sentence else 0
        return self._lower[max(begin, candidate.start - _NEAR) : candidate.start]

    def _after(self, candidate: Candidate) -> str:
        """Return the near text after a candidate in its sentence."""
        sentence = self._sentence(candidate.end)
        ends = self._sentence_ends.starts
        end = ends[sentence] if sentence < len(ends) else len(self._lower)
        return self._lower[candidate.end : min(end, candidate.end + _NEAR)]

    def _is_first_in_sentence(self, candidate: Candidate) -> bool:
        return _WORD.search(self._before(candidate)) is None

    def _is_alone(self, candidate: Candidate) -> bool:
        words = len(_WORD.findall(self._before(candidate))) + len(_WORD.findall(self._after(candidate)))
        return words <= _ALONE_WITH

    def _begins_message(self, candidate: Candidate) -> bool:
        return candidate.start < _BEGINNING and not _WORD.search(self._lower, 0, candidate.start)

    def _begins_sentence(self, candidate: Candidate) -> bool:
        """Return True if a candidate begins a sentence, or follows only a sender's name."""
        return _SENDER.fullmatch(self._before(candidate)) is not None

    def _is_introduced(self, candidate: Candidate) -> bool:
        before = self._lower[max(0, candidate.start - _INTRODUCTION) : candidate.start]
        return patterns.introduction().search(before) is not None

    def _has_hash(self, candidate: Candidate) -> bool:
        return self._lower[max(0, candidate.start - 1) : candidate.start] == "#"

    # -- capitals --------------------------------------------------------------------------------------------------

    def _are_capitals_code(self, capitals: Candidate) -> bool:
        """Return True if capitals aren't a known word and have the position of a code."""
        word = self._lower[capitals.start : capitals.end]
        if patterns.code_words().match(word) or patterns.purposes().match(word) or patterns.not_codes().fullmatch(word):
            return False
        return self._follow_code_word(capitals) or (
            self._begins_sentence(capitals) and self._words_referring_back_to(capitals) != []
        )

    def _follow_code_word(self, capitals: Candidate) -> bool:
        """Return True for "code: ABCD" or "enter code ABCD to log in"."""
        for word in self._code_words.before(capitals.start)[-1:]:
            word_end = self._code_words.ends[word]
            gap = self._lower[word_end : capitals.start]
            between = _count_words(gap)
            if self._ends_sentence(word_end, capitals.start) or between > _MAX_WORDS_TO_INTRODUCTION:
                return False
            if self._is_introduced(capitals):
                return ":" in gap or not self._are_among_capitals(capitals)
            return between == 0 and self._have_known_use(capitals) and not self._are_among_capitals(capitals)
        return False

    def _have_known_use(self, capitals: Candidate) -> bool:
        """Return True if an instruction refers to capitals and a purpose follows them."""
        sentence = self._sentence(capitals.start)
        following = (self._purposes.starts[word] for word in self._purposes.after(capitals.end))
        return self._score_by_words(self._instructions, capitals) > 0 and any(
            self._sentence(position) == sentence for position in following
        )

    def _are_among_capitals(self, capitals: Candidate) -> bool:
        """Return True if the text around capitals is also in capitals."""
        around = self._text[max(0, capitals.start - _LINE) : capitals.start]
        around += self._text[capitals.end : capitals.end + _LINE]
        return any(map(str.isupper, around)) and not any(map(str.islower, around))

    # -- messages without a word for a code ------------------------------------------------------------------------

    def _only_number(self, numbers: list[Candidate]) -> str | None:
        """Return the only number of a short message, unless something else explains it."""
        longer = [number for number in numbers if len(number.code) > candidates.MIN_LENGTH]
        if len({number.code for number in longer}) != 1 or len(self._lower) > _SHORT_MESSAGE:
            return None
        only = longer[0]
        if len(only.code) > candidates.MAX_UNANNOUNCED:
            return None
        if not _LETTERS.search(self._lower):
            return only.code
        return None if self._is_explained(only) or not self._is_prominent(only) else only.code

    def _is_explained(self, number: Candidate) -> bool:
        """Return True if a number may be a year, belong to something such as an order, or be part of a report."""
        explanations = (patterns.other_number_words(), patterns.number_words(), patterns.purposes_done())
        return (
            self._has_hash(number)
            or candidates.is_year(number.code)
            or any(pattern.search(self._lower) for pattern in explanations)
        )

    def _is_prominent(self, number: Candidate) -> bool:
        """Return True if a number's length and position are usual; in an unknown language one of them is enough."""
        is_usual = number.form_score > 1
        is_in_place = self._is_introduced(number) or self._is_alone(number) or self._begins_message(number)
        if self._is_in_unknown_language():
            return is_usual or is_in_place or not _WORD.search(self._after(number))
        return is_usual and is_in_place

    def _is_in_unknown_language(self) -> bool:
        """Return True if hardly any known word is found, and no number of another kind."""
        common = {match[0] for match in patterns.common_words().finditer(self._lower)}
        return (
            len(common) <= 1 and not self._purposes and not self._instructions and patterns.BLANK not in self._blanked
        )


def _count_words(text: str) -> int:
    """Return the number of words in a text, estimated by length where a script has no spaces."""
    return max(len(_WORD.findall(text)), len(text) // _WORD_LENGTH if _LETTERS.search(text) else 0)
