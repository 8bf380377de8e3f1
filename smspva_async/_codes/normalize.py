# ruff: noqa: RUF001 - letters of many scripts
"""Normalization of a message's text: one spelling for each digit, letter, space, dash and quote."""

from __future__ import annotations

import unicodedata

# Characters that Unicode doesn't decompose, and variants that a keyboard layout uses for the same letter.
_SAME = {
    **dict(zip("łŁđĐðÐøØıəƏ", "lLdDdDoOieE", strict=True)),
    **dict(zip("یىېکھہەټړډڈ", "يييكهههتردد", strict=True)),
    **dict.fromkeys("•●∙·∗■█", "*"),
    **dict.fromkeys("\r\v\f\x85\u2028\u2029", "\n"),
    "\t": " ",
    "…": "...",
    "\u2212": "-",
    "№": "#",
    **dict.fromkeys("°º", "."),  # "n°" is an abbreviation like "no."
    "״": '"',
    "、": ",",
}
_BY_CATEGORY = {"Zs": " ", "Pd": "-", "Pi": '"', "Pf": '"', "Cf": "", "Mn": "", "Me": ""}


class _Translation(dict[int, str]):
    """The replacement of each character, computed when the character is first seen."""

    def __missing__(self, point: int) -> str:
        self[point] = replacement = _replacement(chr(point))
        return replacement


def _replacement(character: str) -> str:
    if character in _SAME:
        return _SAME[character]
    decimal = unicodedata.decimal(character, None)
    if decimal is not None:
        return str(decimal)
    category = unicodedata.category(character)
    if category in _BY_CATEGORY:
        return _BY_CATEGORY[category]
    first, *parts = unicodedata.decomposition(character).split() or [""]
    if first in {"<wide>", "<narrow>", "<font>", "<square>"} and len(parts) == 1:
        return _replacement(chr(int(parts[0], 16)))
    if first and first[0] != "<" and all(unicodedata.category(chr(int(part, 16))) == "Mn" for part in parts):
        return _replacement(chr(int(first, 16)))  # the letter without its accent
    return character


_TRANSLATION = _Translation()


def normalize(text: str) -> str:
    """Return the text with ASCII digits and without accents, vowel points and invisible marks.

    Full-width and styled letters become plain letters. Spaces, dashes, quotes and the dots that mask a card's number
    become one character each. The time is linear in the length, unlike Unicode's normal forms, which are slow for a
    text of accents only.
    """
    return text.translate(_TRANSLATION)
