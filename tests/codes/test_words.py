"""The form of `words.ini`, the list of words by language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from smspva_async._codes import words as loader
from smspva_async._codes.normalize import normalize
from tests.codes.messages import SAMPLES

TEXT = Path(loader.__file__).with_name("words.ini").read_text("utf-8")
WORDS = loader.words_by_language()
STARRED = {
    *("code", "purpose", "instruction", "is", "generic code", "other code before", "other code after"),
    *("other code whole", "other number", "number", "phone", "send", "offer", "unit"),
}
PLAIN = {
    *("code endings", "purpose done", "for", "of", "send to", "filler", "currency", "common", "not a code"),
}
# A number after a word in `CODE` is a code. A number before or after a word in `NO_CODE` is not.
CODE = ("code", "purpose", "instruction")
NO_CODE = ("purpose done", "other number", "phone", "offer", "other code whole", "send", "unit", "currency")
# Lists in which a word must not make another unnecessary.
MINIMAL = STARRED - {"send", "is", "unit", "generic code"}
ALPHABETS = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC"}

languages = pytest.mark.parametrize("language", WORDS)


def covers(word: str, other: str) -> bool:
    """Return True if a word matches wherever another word does."""
    if word[0] == "*":
        return word.strip("*") in other
    return word[-1] == "*" and other[0] != "*" and other.startswith(word[:-1])


def test_the_file_is_read_like_any_ini_file() -> None:
    parser = ConfigParser(delimiters=(":",), interpolation=None)  # refuses a block or heading that occurs twice
    parser.read_string(TEXT)
    assert {
        language: {heading: re.split(r",\s+", listed.replace("\n", " ")) for heading, listed in parser.items(language)}
        for language in parser.sections()
    } == WORDS


def test_languages_are_sorted() -> None:
    *names, last = WORDS
    assert names == sorted(names)
    assert last == "Several languages"


def test_each_language_has_a_sample_message() -> None:
    assert {*SAMPLES, "Several languages"} == {*WORDS}
    assert all(SAMPLES.values())


def test_the_header_explains_each_heading() -> None:
    explained = dict(re.findall(r"^#   (\S+(?: \S+)*)  +(.+)$", TEXT, re.MULTILINE))
    assert explained.keys() == STARRED | PLAIN
    assert {heading for heading, meaning in explained.items() if '(no "*")' in meaning} == PLAIN


@languages
def test_headings_are_known(language: str) -> None:
    assert WORDS[language].keys() <= STARRED | PLAIN


@languages
def test_words_have_the_right_form(language: str) -> None:
    for heading, listed in WORDS[language].items():
        for word in listed:
            form = r"\*?[^*|_,]+\*|[^*|_,]+" if heading in STARRED else "[^*|_,]+"
            assert re.fullmatch(form, word), (heading, word)
            assert word == unicodedata.normalize("NFC", word.lower()), (heading, word)
            assert normalize(word).strip("* "), (heading, word)


@languages
def test_words_are_unique(language: str) -> None:
    for heading, listed in WORDS[language].items():
        keys = [normalize(word).strip("*") for word in listed]
        assert len(set(keys)) == len(keys), heading


@languages
def test_no_word_makes_another_unnecessary(language: str) -> None:
    for heading in MINIMAL & WORDS[language].keys():
        listed = [normalize(word) for word in WORDS[language][heading]]
        assert [(a, b) for a in listed for b in listed if a != b and covers(a, b)] == [], heading


@languages
def test_each_word_uses_one_alphabet(language: str) -> None:
    for heading, listed in WORDS[language].items():
        for word in listed:
            used = {unicodedata.name(letter).split()[0] for letter in word if letter.isalpha()}
            assert len(used & ALPHABETS) <= 1, (heading, word)


@pytest.mark.parametrize("heading", CODE)
@pytest.mark.parametrize("other", NO_CODE)
def test_no_word_means_a_code_and_another_number(heading: str, other: str) -> None:
    codes, others = ({normalize(word).strip("*") for word in loader.words(name)} for name in (heading, other))
    assert codes & others == set()


def test_the_words_are_read_from_a_zip_file(tmp_path: Path) -> None:
    package = Path(loader.__file__).parents[1]
    with ZipFile(tmp_path / "app.zip", "w") as archive:
        for path in (path for path in package.rglob("*") if path.suffix in (".py", ".ini")):
            archive.write(path, path.relative_to(package.parent))
    program = "from smspva_async import extract_code; print(extract_code('Your code: 12345'))"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "app.zip")}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("12345\n", "")
