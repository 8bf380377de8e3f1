"""The one-time code in a message."""

from __future__ import annotations

import pytest

from smspva_async import extract_code

CODES: dict[str, str | None] = {
    "Code Instagram: 671 094.": "671094",
    "Your code: 123456 10 min valid": "123456",
    "code 1234 5 minutes": "1234",
    "WhatsApp code 417-205": "417205",
    "G-123456 is your Google verification code.": "123456",
    "Ваш код 4821. Никому его не сообщайте": "4821",  # noqa: RUF001 - Russian
    "Order 20231 of 5500 roubles. Code: 7788": "7788",  # the nearest to the word
    "7788 is the code for order 20231": "7788",
    "Call +79096037108, your PIN is 0042": "0042",
    "55512": "55512",  # the only number there is
    "Pay 5500 before 2026": None,  # two, and nothing tells which
    "Your parcel has arrived": None,
    "Your code has expired": None,
    "code 123456789012": None,
    "": None,
}


@pytest.mark.parametrize(("text", "code"), CODES.items(), ids=repr)
def test_the_code_is_found(text: str, code: str | None) -> None:
    assert extract_code(text) == code
