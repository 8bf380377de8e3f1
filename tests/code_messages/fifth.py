# ruff: noqa: RUF001 - messages in many languages
"""Messages by language, for what a blind trial showed to be wrong: each is of such a kind, or close to one."""

from __future__ import annotations

BY_LANGUAGE: dict[str, dict[str, str | None]] = {
    "English": {
        "Operator 660318 password: 592741": "592741",
        "Username: 660318\nPassword: 592741": "592741",
    },
    "German": {
        "Nutzer 660318 Kennwort: 592741": "592741",
    },
    "Greek": {
        "Χρήστης 660318 κωδικός: 592741": "592741",
    },
    "Polish": {
        "Uzytkownik 660318, haslem jest 592741": "592741",
    },
    "Russian": {
        "Логин: 660318\nПароль: 592741": "592741",
    },
    "Spanish": {
        "Usuario 660318 contraseña: 592741": "592741",
    },
    "Turkish": {
        "Kullanıcı 660318 şifreniz: 592741": "592741",
    },
}
