# ruff: noqa: RUF001 - messages in many languages
"""Messages by language, for what a blind trial showed to be wrong: each is of such a kind, or close to one."""

from __future__ import annotations

BY_LANGUAGE: dict[str, dict[str, str | None]] = {
    "Chinese": {
        "用户660318，您的验证码为R7W2PD": "R7W2PD",
        "云杉：592741為你的一次性密碼，HKD750.00轉賬至***4417": "592741",
    },
    "Dutch": {
        "Balie 660318: uw code voor de lift is 5927": "5927",
    },
    "English": {
        "Operator 660318 password: 592741": "592741",
        "Username: 660318\nPassword: 592741": "592741",
        "Dear member 660318, your login code is R7W2PD": "R7W2PD",
        "2450 Harbour Road: your code is R7W2PD": "R7W2PD",
        "Hello! R7W2PD is your sign-in code for station 660318": "R7W2PD",
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
        "Parkly: use 592741 as your code, EUR75 to pay": "592741",
        "Van 660318: your code for the depot is 5927": "5927",
        "Counter 660318, the code for today is 5927": "5927",
        "5927 is your code for a transfer of: 15000": "5927",
        "Locker 660318 is where your code 5927 works": "5927",
    },
    "French": {
        "Bonjour 660318, votre code est R7W2PD": "R7W2PD",
        "Commande n°660318 : code de retrait 5927": "5927",
    },
    "German": {
        "Nutzer 660318 Kennwort: 592741": "592741",
        "Ihr Passwort lautet herbst5927": "herbst5927",
    },
    "Greek": {
        "Χρήστης 660318 κωδικός: 592741": "592741",
    },
    "Italian": {
        "Ordine n° 660318, codice di ritiro 5927": "5927",
    },
    "Polish": {
        "Uzytkownik 660318, haslem jest 592741": "592741",
        "Uzytkownik 660318, haslem tymczasowym jest 592741": "592741",
    },
    "Portuguese": {
        "Encomenda nº660318 enviada": None,
    },
    "Russian": {
        "Логин: 660318\nПароль: 592741": "592741",
        "Лицо 660318, ваш код: R7W2PD": "R7W2PD",
        "Ваш пароль: osen5927": "osen5927",
        "Касса 660318: ваш код для оплаты: 5927": "5927",
        "5927 - код для перевода на сумму: 1500": "5927",
    },
    "Spanish": {
        "Usuario 660318 contraseña: 592741": "592741",
        "Tu clave es QX5927": "QX5927",
        "Pedido nº 660318: su clave de recogida es 5927": "5927",
    },
    "Turkish": {
        "Kullanıcı 660318 şifreniz: 592741": "592741",
    },
}
