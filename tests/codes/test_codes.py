# ruff: noqa: RUF001 - letters and digits of many scripts
"""Extraction of the one-time code from a message."""

from __future__ import annotations

import re
import string
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, strategies as st

from smspva_async import Sms, _codes, extract_code
from smspva_async._codes.normalize import normalize
from tests.codes.messages import BY_LANGUAGE, KNOWN_LIMITS, MESSAGES
from tests.support.selection import slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from _typeshed import TraceFunction

LONG = 100_000
CODE = re.compile("[0-9A-Za-z]{3,10}")

digits = st.text(string.digits, min_size=4, max_size=8).filter(lambda code: not code.startswith(("19", "20")))
brands = st.sampled_from(["Parkly", "Нимбус", "Tamarind Bank", "云杉", "Marlow 24"])
amounts = st.sampled_from(["1,250.00 USD", "$99.90", "12 500 ₽", "EUR 45", "Rs.5000", "R$ 89,90", "129元"])
times = st.sampled_from(["18:30", "12.05.2026", "2026-05-12 09:15", "12 May 2026", "14/05/26", "10 minutes"])
announcements = st.sampled_from(
    [
        "{brand} code: {code}",
        "Your {brand} code is {code}.",
        "{code} is your {brand} verification code",
        "{brand}: use the PIN {code} to pay {amount}",
        "OTP for {amount} at {brand} on card *4417 is {code}. Valid till {time}",
        "[{brand}] {code} is your login code, sent {time}",
        "Call +79096037108 for help. {brand} password: {code}",
        "Ваш код для {brand}: {code}. Сумма {amount}, {time}",
        "Tu código de {brand} es {code}, {time}, {amount}",
        "{brand}: {amount}, {time}. Dein Code lautet {code}",
        "【{brand}】验证码 {code}",
        "{code} — {brand} kodunuz",
    ]
)


@pytest.mark.parametrize(("text", "code"), MESSAGES)
def test_finds_the_code_or_none(text: str, code: str | None) -> None:
    assert extract_code(text) == code


@pytest.mark.parametrize(("text", "given", "right"), [(text, *answers) for text, answers in KNOWN_LIMITS.items()])
def test_each_known_limit_is_as_documented(text: str, given: str | None, right: str | None) -> None:
    assert extract_code(text) == given != right


def test_there_are_enough_messages_with_and_without_a_code() -> None:
    assert len({text for text, _ in MESSAGES}) == len(MESSAGES) > 1000
    assert sum(code is None for _, code in MESSAGES) > 400


def test_many_languages_have_messages() -> None:
    assert len(BY_LANGUAGE) >= 12
    assert sum(map(len, BY_LANGUAGE.values())) >= 60


def test_sms_code_is_the_code_of_its_text() -> None:
    assert Sms("WhatsApp code 417-205").code == "417205"


@given(code=digits, brand=brands, amount=amounts, when=times, announcement=announcements)
def test_a_code_is_found_among_other_numbers(code: str, brand: str, amount: str, when: str, announcement: str) -> None:
    assert extract_code(announcement.format(code=code, brand=brand, amount=amount, time=when)) == code


@given(code=digits, announcement=announcements)
def test_digits_of_any_script_become_ascii(code: str, announcement: str) -> None:
    for zero in "٠۰०০０𝟎":
        written = code.translate({ord(digit): chr(ord(zero) + int(digit)) for digit in string.digits})
        assert extract_code(announcement.format(code=written, brand="Parkly", amount="$9.90", time="18:30")) == code


@given(
    halves=st.tuples(*[st.text(string.digits, min_size=3, max_size=3)] * 2),
    separator=st.sampled_from(" -–\u00a0\u2009‑"),
)
def test_groups_are_joined(halves: tuple[str, str], separator: str) -> None:
    assert extract_code(f"Your code is {separator.join(halves)}. Don't share it.") == "".join(halves)


@given(
    code=st.text(string.digits, min_size=6, max_size=6),
    marks=st.text("\u200b\u200e\u202a\u2066\ufeff\u00ad", max_size=4),
)
def test_invisible_marks_change_nothing(code: str, marks: str) -> None:
    assert extract_code(f"Your code: {marks}{marks.join(code)}{marks}") == code


@given(
    code=st.text(string.ascii_letters + string.digits, min_size=3, max_size=10),
    text=st.sampled_from(["Your code is 99881", "Hi"]),
)
def test_a_code_bound_to_a_site_has_priority(code: str, text: str) -> None:
    assert extract_code(f"{text}\n\n@login.example.com #{code}") == code


@given(st.text() | st.text("code is 0123456789 -.:*#@/+$%ABC\n").map(lambda text: text * 3))
@example("\0")
@example("İ" * 20 + " code 1234")
@example("\ud800 code 1234")
def test_any_text_gives_a_valid_code_or_none(text: str) -> None:
    code = extract_code(text)
    if code is not None:
        assert CODE.fullmatch(code)
        rest = iter(normalize(text))
        assert all(letter in rest for letter in code), "the message contains its characters in this order"


@given(st.text(string.digits + " -", max_size=40))
def test_a_promotion_has_no_code(number: str) -> None:
    assert extract_code(f"20% discount with promo code {number}") is None
    assert extract_code(f"Скидка 20% по промокоду {number}") is None


ENDLESS = [
    *("1", "1234 ", "1234, ", "1 ", "1-", "1.", "1_", "1/", "1:2 ", "12,345 ", "123 456 ", "1" * 500 + "a"),
    *("a", "é", "ABCD", "q" * 500 + " ", "a1", "1a", "q1", "ab-", "\u0301", "\u200b", " ", "\n"),
    *("-", "([", "* ", "*", "#", "x", ".", ",", "_", "+1 ", "$1,234"),
    *("@a.", "a@", "@a.com #1", "@a.com #1234\n", "http://", "a.b/"),
    *("code", "code ", "code: 1234. ", "code ABCD ", "code A1B2 ", "promo code ", "old code "),
    *("验证码", "验证码123456", "код1"),
    *("call ", "send to ", "sms a a a ", "order no no no ", "order 12 ", "order 12 is a ", "card 1234 "),
    *("your the ", "jan 1 ", "ABCD is your ", "1234 is a b c ", "use 1234 to log in ", "never share "),
]


def repeated(unit: str, length: int) -> str:
    return unit * (length // len(unit))


@pytest.mark.parametrize("unit", ENDLESS)
def test_a_text_of_a_hundred_kilobytes_is_fast(unit: str) -> None:
    extract_code(unit)
    text = repeated(unit, LONG)
    assert seconds(lambda: extract_code(text)) < 0.5


@pytest.mark.parametrize("unit", ENDLESS)
@pytest.mark.parametrize("end", ["a", slow("\ncode 1234")])
def test_no_pattern_is_quadratic(unit: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_codes, "_MAX_LENGTH", LONG)
    # Takes a tenth of a second, or many seconds if a pattern is quadratic.
    assert seconds(lambda: extract_code(repeated(unit, LONG // 4) + end)) < 2


@pytest.mark.parametrize("unit", ["1234 ", "code: 1234. ", "use 1234 to log in, ", "ABCD is code A1B2C3 "])
def test_steps_are_linear_in_the_length(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_codes, "_MAX_LENGTH", LONG)
    once, twice = (steps(unit * count) for count in (200, 400))
    assert twice < 2.2 * once


@pytest.mark.parametrize("unit", ["1234 ", "code: 1234. ", "use 1234 to log in, ", "ABCD is code A1B2C3 "])
def test_steps_have_an_upper_bound(unit: str) -> None:
    assert steps(repeated(unit, LONG)) < 1.1 * steps(repeated(unit, _codes._MAX_LENGTH))


@pytest.mark.parametrize("filler", ["a ", "word. ", "\n", "- ", "\u200b"])
def test_finds_the_code_at_both_ends_of_a_long_text(filler: str) -> None:
    assert extract_code("Your code: 482913. " + repeated(filler, LONG)) == "482913"
    assert extract_code(repeated(filler, LONG) + "Your code: 482913") == "482913"
    assert extract_code(repeated(filler, LONG) + "\n@login.example.com #482913") == "482913"


@pytest.mark.parametrize("number", ["12345678901234567890", "1234 5678 9012 3456 7890", "١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨٩٠"])
def test_cutting_a_long_text_makes_no_false_number(number: str) -> None:
    half = _codes._MAX_LENGTH // 2
    for left in range(1, len(number)):
        assert extract_code("Your code:\n" + "-" * (half - 11 - left) + number + " " + repeated("a ", LONG)) is None
        assert extract_code(repeated("a ", LONG) + number + "\n" * (half - left)) is None


def seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call in this thread, independent of the load of the machine."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def steps(text: str) -> int:
    """Return the number of executed lines of Python."""
    extract_code(text)
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        extract_code(text)
    finally:
        sys.settrace(before)
    return count
