"""The words of `words.ini`."""

from __future__ import annotations

from collections import defaultdict
from configparser import ConfigParser
from functools import cache
from importlib.resources import files

__all__ = ["words", "words_by_language"]


def words_by_language() -> dict[str, dict[str, list[str]]]:
    """Return the words as in the file: by language, then by heading."""
    parser = ConfigParser(delimiters=(":",), interpolation=None)
    parser.read_string((files("smspva_async._codes") / "words.ini").read_text("utf-8"))
    return {
        language: {
            heading: [" ".join(word.split()) for word in listed.split(",")]
            for heading, listed in parser.items(language)
        }
        for language in parser.sections()
    }


def words(*headings: str) -> list[str]:
    """Return the words of all languages under some headings."""
    by_heading = _words_by_heading()
    return [word for heading in headings for word in by_heading[heading]]


@cache
def _words_by_heading() -> dict[str, list[str]]:
    by_heading = defaultdict[str, list[str]](list)
    for blocks in words_by_language().values():
        for heading, listed in blocks.items():
            by_heading[heading] += listed
    return dict(by_heading)
