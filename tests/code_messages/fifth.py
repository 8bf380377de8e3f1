# ruff: noqa: RUF001 - messages in many languages
"""Messages by language, for what a blind trial showed to be wrong: each is of such a kind, or close to one."""

from __future__ import annotations

BY_LANGUAGE: dict[str, dict[str, str | None]] = {
    "Chinese": {
        "用户660318，您的验证码为R7W2PD": "R7W2PD",
    },
    "English": {
        "Operator 660318 password: 592741": "592741",
        "Username: 660318\nPassword: 592741": "592741",
        "Dear member 660318, your login code is R7W2PD": "R7W2PD",
        "2450 Harbour Road: your code is R7W2PD": "R7W2PD",
        "Your code is QX5927": "QX5927",
        "Your code: 5927qx": "5927qx",
        "Your temporary password is winter5927": "winter5927",
        "Temporary password for guest5927: Kd8vT3": "Kd8vT3",
        "code5927": "5927",
        "Your code is 5927Do not share it": "5927",
        "245012 Harbour Road: your code is R7W2PD": "R7W2PD",
        "Your Galaxy2031 is ready: the code is QX59K2": "QX59K2",
        "Enter code HARVEST25 in the basket": None,
        "Use code 25AUTUMN before Sunday": None,
    },
    "French": {
        "Bonjour 660318, votre code est R7W2PD": "R7W2PD",
    },
    "German": {
        "Nutzer 660318 Kennwort: 592741": "592741",
        "Ihr Passwort lautet herbst5927": "herbst5927",
    },
    "Greek": {
        "Χρήστης 660318 κωδικός: 592741": "592741",
    },
    "Polish": {
        "Uzytkownik 660318, haslem jest 592741": "592741",
    },
    "Russian": {
        "Логин: 660318\nПароль: 592741": "592741",
        "Лицо 660318, ваш код: R7W2PD": "R7W2PD",
        "Ваш пароль: osen5927": "osen5927",
    },
    "Spanish": {
        "Usuario 660318 contraseña: 592741": "592741",
        "Tu clave es QX5927": "QX5927",
    },
    "Turkish": {
        "Kullanıcı 660318 şifreniz: 592741": "592741",
    },
}
