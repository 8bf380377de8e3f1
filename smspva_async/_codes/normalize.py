# ruff: noqa: RUF001 - letters of many scripts
"""A message as the search for its code reads it: one spelling of each digit, letter, space, dash and quote."""

from __future__ import annotations

import unicodedata

__all__ = ["fold"]

# What Unicode doesn't take apart by itself, or what a keyboard's language writes with a letter of its own.
_SAME = {
    **dict(zip("łŁđĐðÐøØıəƏ", "lLdDdDoOieE", strict=True)),
    **dict(zip("یىېکھہەټړډڈ", "يييكهههتردد", strict=True)),
    **dict.fromkeys("•●∙·∗■█", "*"),
    **dict.fromkeys("\r\v\f\x85\u2028\u2029", "\n"),
    "\t": " ",
    "…": "...",
    "\u2212": "-",
    "№": "#",
    **dict.fromkeys("°º", "."),  # "n°" is short, as "no." is
    "״": '"',
    "、": ",",
}
_KINDS = {"Zs": " ", "Pd": "-", "Pi": '"', "Pf": '"', "Cf": "", "Mn": "", "Me": ""}


class _Folding(dict[int, str]):
    """What to write for each character, found out when it is first met."""

    def __missing__(self, point: int) -> str:
        self[point] = folded = _fold(chr(point))
        return folded


def _fold(character: str) -> str:
    if character in _SAME:
        return _SAME[character]
    decimal = unicodedata.decimal(character, None)
    if decimal is not None:
        return str(decimal)
    kind = unicodedata.category(character)
    if kind in _KINDS:
        return _KINDS[kind]
    how, *parts = unicodedata.decomposition(character).split() or [""]
    if how in {"<wide>", "<narrow>", "<font>", "<square>"} and len(parts) == 1:
        return _fold(chr(int(parts[0], 16)))
    if how and how[0] != "<" and all(unicodedata.category(chr(int(part, 16))) == "Mn" for part in parts):
        return _fold(chr(int(how, 16)))  # without its accent
    return character


_FOLDING = _Folding()


def fold(text: str) -> str:
    """Return the text with ASCII digits and without accents, vowel points, and marks that nobody sees.

    Full-width and styled letters become plain, and so do spaces, dashes, quotes and the dots that hide a card's number.
    It takes time linear in the length, which Unicode's own normal forms don't for a text of nothing but accents.
    """
    return text.translate(_FOLDING)
