"""The words of `words.ini`."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pkgutil import get_data


def words_by_language() -> dict[str, dict[str, list[str]]]:
    """Return the words as in the file: by language, then by heading.

    The file is a simple case of the INI format; `configparser` would take several times as long.
    """
    languages = dict[str, dict[str, list[str]]]()
    block = dict[str, list[str]]()
    text = (get_data(__name__, "words.ini") or b"").decode()  # also from a zip file
    for line in text.replace("\n    ", " ").splitlines():  # an indented line continues the one before
        if line.startswith("["):
            block = languages[line.strip("[]")] = {}
        elif line and not line.startswith("#"):
            heading, _, listed = line.partition(":")
            block[heading] = [word.strip() for word in listed.split(",")]
    return languages


def words(*headings: str) -> list[str]:
    """Return the words of all languages under some headings."""
    by_heading = _words_by_heading()
    return [word for heading in headings for word in by_heading[heading]]


@cache
def _words_by_heading() -> dict[str, set[str]]:
    by_heading = defaultdict[str, set[str]](set)
    for blocks in words_by_language().values():
        for heading, listed in blocks.items():
            by_heading[heading].update(listed)
    return dict(by_heading)
