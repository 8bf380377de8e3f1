"""Parts of a message that have the form of a code: numbers, digits mixed with letters, words in capitals."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_LENGTH, MAX_UNANNOUNCED = 3, 8
"""Digits of the shortest code, and of the longest code that is found without a word for a code."""
_MAX_LENGTH = 10
_MAX_GROUP = 4  # digits in one group of a longer code
_PAIR = 2
_UNUSUAL = -3
_SCORES = {3: _UNUSUAL, 6: 2, 9: _UNUSUAL, 10: _UNUSUAL}  # by length; 1 for any other length

# A text without one of these has no code.
_POSSIBLE = re.compile(r"(?<![0-9])[0-9]{1,10}(?![0-9])|[A-Z]{3}")
# Possessive, so that each character is read once.
_NUMBERS = re.compile(
    r"(?<![0-9a-z])(?:[0-9]++(?:-[0-9]++)++|[0-9]++(?:\.[0-9]++)++|[0-9]++(?:_[0-9]++)++|[0-9]++(?: [0-9]++)*+)"
)
_PIECES = re.compile(r"[0-9a-z]++(?:-[0-9a-z]++)*+")
# "Windows11", "100mbps", "WELCOME50", "50WELCOME"
_NAME = re.compile(r"[A-Za-z][a-z]+[0-9]+|[0-9]+[a-z]+|[A-Z]{5,}[0-9]{1,3}|[0-9]{1,3}[A-Z]{5,}")
_YEAR = re.compile("(?:19|20)[0-9]{2}")
_DATE = re.compile("(?:0[1-9]|[12][0-9]|3[01])-(?:0[1-9]|1[0-2])-[0-9]{2}")


class Candidate(NamedTuple):
    """A part of a message that may be its code."""

    start: int
    end: int
    code: str
    form_score: int
    """The score for its form alone."""


def may_contain_code(text: str) -> bool:
    """Return False if no part of a normalized text has the form of a code."""
    return _POSSIBLE.search(text) is not None


def is_year(code: str) -> bool:
    """Return True if a code looks like a year."""
    return _YEAR.fullmatch(code) is not None


def is_name(code: str) -> bool:
    """Return True if a code looks like a name with a number, or a number with its unit."""
    return _NAME.fullmatch(code) is not None


def numbers(text: str) -> Iterator[Candidate]:
    """Yield the numbers in a lower-case text that have the form of a code, with their groups joined."""
    for match in _NUMBERS.finditer(text):
        run, start, end = match[0], match.start(), match.end()
        if text[end : end + 1].isascii() and text[end : end + 1].isalpha():
            run = run[: max(0, *map(run.rfind, " -._"))]  # letters follow its last group
        if len(run) == MIN_LENGTH and _is_joined_to_letters(text, start, start + len(run)):
            continue  # half of "ABC-123"
        separator = next((mark for mark in " -._" if mark in run), "")
        if not separator:
            yield from _number(start, start + len(run), run)
        elif separator == " ":
            yield from _spaced(start, run.split(" "))
        else:
            yield from _joined(start, run, separator)


def _is_joined_to_letters(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (before[1:] == "-" and before[0].isalpha()) or (after[:1] == "-" and after[1:].isalpha())


def _number(start: int, end: int, code: str, form_score: int = 0) -> Iterator[Candidate]:
    if MIN_LENGTH <= len(code) <= _MAX_LENGTH:
        yield Candidate(start, end, code, _SCORES.get(len(code), 1) + form_score - 5 * is_year(code))


def _spaced(start: int, groups: list[str]) -> Iterator[Candidate]:
    """Join adjacent groups of equal length: two in "671 094 5 minutes", none in "1234 5 minutes"."""
    digits = sum(map(len, groups))
    if (
        len(groups) > _PAIR
        and len(groups[0]) <= _MAX_GROUP
        and digits >= _MAX_LENGTH
        and len(set(map(len, groups))) > 1
    ):
        return  # a phone number
    if len(groups) == _PAIR and digits <= MAX_UNANNOUNCED and len(groups[0]) == _PAIR < len(groups[1]):
        yield from _number(start, start + digits + 1, "".join(groups), _UNUSUAL)
        return
    for length, equal in groupby(groups, len):
        adjacent = list(equal)
        code = "".join(adjacent)
        end = start + len(code) + len(adjacent) - 1
        if length > _MAX_GROUP:
            for number, group in enumerate(adjacent):
                group_start = start + number * (length + 1)
                yield from _number(group_start, group_start + length, group)
        else:
            yield from _number(start, end, code)
        start = end + 1


def _joined(start: int, run: str, separator: str) -> Iterator[Candidate]:
    """Join groups with hyphens, dots or underscores, unless they look like a phone number."""
    groups = run.split(separator)
    has_equal_groups = len(set(map(len, groups))) == 1 and len(groups[0]) <= _MAX_GROUP
    if has_equal_groups or (len(groups) == _PAIR and len(run) <= MAX_UNANNOUNCED + 1):
        usual = has_equal_groups and separator == "-" and not _DATE.fullmatch(run)
        yield from _number(start, start + len(run), "".join(groups), 0 if usual else _UNUSUAL)


def mixed(text: str, blanked: str) -> Iterator[Candidate]:
    """Yield the pieces with both letters and digits.

    Args:
        text: The normalized text.
        blanked: The same text in lower case, with other numbers blanked out.

    """
    for start, end, code in _pieces(text, blanked):
        if not code.isdigit() and not code.isalpha():
            yield Candidate(start, end, code, _UNUSUAL)


def capitals(text: str, blanked: str) -> Iterator[Candidate]:
    """Yield the pieces of capitals only, from the same two texts as `mixed`."""
    for start, end, code in _pieces(text, blanked):
        if code.isalpha() and code.isupper():
            yield Candidate(start, end, code, _UNUSUAL)


def _pieces(text: str, blanked: str) -> Iterator[tuple[int, int, str]]:
    """Yield the pieces of a code's length, without hyphens between groups of equal length."""
    for match in _PIECES.finditer(blanked):
        groups = text[match.start() : match.end()].split("-", _MAX_GROUP)
        code = "".join(groups)
        has_equal_groups = len(set(map(len, groups))) == 1 and len(groups) <= max(1, len(groups[0]) + 1)
        if has_equal_groups and _MAX_GROUP <= len(code) <= _MAX_LENGTH:
            yield match.start(), match.end(), code
