"""Candidates for a code by their form: numbers in one piece or in groups, letters and digits mixed, capitals."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST_LONE", "SHORTEST", "Candidate", "capitals", "is_name", "is_year", "mixed", "numbers", "possible"]

SHORTEST, LONGEST_LONE = 3, 8
"""Digits of the shortest code, and of the longest that no word announces."""
_LONGEST = 10
_GROUP = 4  # digits in a group of a longer code, at most
_PAIR = 2
_UNUSUAL = -3
_USUAL = {3: _UNUSUAL, 6: 2, 9: _UNUSUAL, 10: _UNUSUAL}  # by length; any other is 1

# Without one of these there is no code.
_POSSIBLE = re.compile(r"(?<![0-9])[0-9]{1,10}(?![0-9])|[A-Z]{3}")
# These give nothing back, so that each character is read once.
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
    form: int
    """How much its form alone speaks for it."""


def possible(text: str) -> bool:
    """Return whether a folded text can hold a code at all."""
    return _POSSIBLE.search(text) is not None


def is_year(code: str) -> bool:
    """Return whether a code may be a year."""
    return _YEAR.fullmatch(code) is not None


def is_name(code: str) -> bool:
    """Return whether a code may be a name with a number, or a number with its unit."""
    return _NAME.fullmatch(code) is not None


def numbers(text: str) -> Iterator[Candidate]:
    """Yield the numbers in a text of small letters that have the form of a code, their groups put together."""
    for match in _NUMBERS.finditer(text):
        run, start, end = match[0], match.start(), match.end()
        if text[end : end + 1].isascii() and text[end : end + 1].isalpha():
            run = run[: max(0, *map(run.rfind, " -._"))]  # its last group goes on with letters
        if len(run) == SHORTEST and _beside_letters(text, start, start + len(run)):
            continue  # half of "ABC-123"
        divider = next((mark for mark in " -._" if mark in run), "")
        if not divider:
            yield from _number(start, start + len(run), run)
        elif divider == " ":
            yield from _spaced(start, run.split(" "))
        else:
            yield from _joined(start, run, divider)


def _beside_letters(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (before[1:] == "-" and before[0].isalpha()) or (after[:1] == "-" and after[1:].isalpha())


def _number(start: int, end: int, code: str, form: int = 0) -> Iterator[Candidate]:
    if SHORTEST <= len(code) <= _LONGEST:
        yield Candidate(start, end, code, _USUAL.get(len(code), 1) + form - 5 * is_year(code))


def _spaced(start: int, groups: list[str]) -> Iterator[Candidate]:
    """Put together neighbouring groups of equal length: in "671 094 5 minutes" two, in "1234 5 minutes" none."""
    digits = sum(map(len, groups))
    if len(groups) > _PAIR and len(groups[0]) <= _GROUP and digits >= _LONGEST and len(set(map(len, groups))) > 1:
        return  # a phone
    if len(groups) == _PAIR and digits <= LONGEST_LONE and len(groups[0]) == _PAIR < len(groups[1]):
        yield from _number(start, start + digits + 1, "".join(groups), _UNUSUAL)
        return
    for length, equal in groupby(groups, len):
        together = list(equal)
        code = "".join(together)
        end = start + len(code) + len(together) - 1
        if length > _GROUP:
            for number, group in enumerate(together):
                place = start + number * (length + 1)
                yield from _number(place, place + length, group)
        else:
            yield from _number(start, end, code)
        start = end + 1


def _joined(start: int, run: str, divider: str) -> Iterator[Candidate]:
    """Put together groups with hyphens, dots or underscores, if they are not too many and not those of a phone."""
    groups = run.split(divider)
    even = len(set(map(len, groups))) == 1 and len(groups[0]) <= _GROUP
    if even or (len(groups) == _PAIR and len(run) <= LONGEST_LONE + 1):
        usual = even and divider == "-" and not _DATE.fullmatch(run)
        yield from _number(start, start + len(run), "".join(groups), 0 if usual else _UNUSUAL)


def mixed(text: str, blanked: str) -> Iterator[Candidate]:
    """Yield what is of letters and digits, from a text and the same in small letters without other numbers."""
    for start, end, code in _pieces(text, blanked):
        if not code.isdigit() and not code.isalpha():
            yield Candidate(start, end, code, _UNUSUAL)


def capitals(text: str, blanked: str) -> Iterator[Candidate]:
    """Yield what is of capitals alone, likewise."""
    for start, end, code in _pieces(text, blanked):
        if code.isalpha() and code.isupper():
            yield Candidate(start, end, code, _UNUSUAL)


def _pieces(text: str, blanked: str) -> Iterator[tuple[int, int, str]]:
    """Yield pieces without the hyphens between equal groups, if they are neither too short nor too long."""
    for match in _PIECES.finditer(blanked):
        groups = text[match.start() : match.end()].split("-", _GROUP)
        code = "".join(groups)
        even = len(set(map(len, groups))) == 1 and len(groups) <= max(1, len(groups[0]) + 1)
        if even and _GROUP <= len(code) <= _LONGEST:
            yield match.start(), match.end(), code
