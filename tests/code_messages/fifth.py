# ruff: noqa: RUF001 - messages in many languages
"""Messages by language, for what a blind trial showed to be wrong: each is of such a kind, or close to one."""

from __future__ import annotations

BY_LANGUAGE: dict[str, dict[str, str | None]] = {
    "Arabic": {
        "رمز التحقق الخاص بك هو RVKDTX": "RVKDTX",
    },
    "Chinese": {
        "用户660318，您的验证码为R7W2PD": "R7W2PD",
        "云杉：592741為你的一次性密碼，HKD750.00轉賬至***4417": "592741",
        "您的验证码是RVKD": "RVKD",
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
        "Your code was sent to 0655512345": None,
        "We e-mailed your code on 12 May. Sent to 70655512345": None,
        "Your passcode, sent to 0655512345, is 592741": "592741",
        "Parkly: use 592741 as your code, EUR75 to pay": "592741",
        "Van 660318: your code for the depot is 5927": "5927",
        "Counter 660318, the code for today is 5927": "5927",
        "5927 is your code for a transfer of: 15000": "5927",
        "Locker 660318 is where your code 5927 works": "5927",
        "Step 2 5927 is your code": "5927",
        "Your code is 592_741": "592741",
        "Use 59 2741 as your code": "592741",
        "Your previous code 4417 no longer works. Your new code is 5927.": "5927",
        "The old PIN 4417 is void, use 5927 to log in": "5927",
        "Parkly: RVKDTX is your login code. Keep it safe": "RVKDTX",
        "[Parkly] RVKDTX is your sign-in code": "RVKDTX",
        "Welcome back! RVKDTX is your security code": "RVKDTX",
        "Enter code RVKDTX to verify your phone": "RVKDTX",
        "BARCLAY is your bank: we never ask for your code": None,
        "Parkly: NIMBUS is our partner, no code is needed": None,
        "Enter code SENT to confirm it": None,
        "ENTER YOUR CODE NOW TO LOG IN": None,
        "Use code AUTUMN at the till": None,
    },
    "French": {
        "Bonjour 660318, votre code est R7W2PD": "R7W2PD",
        "Commande n°660318 : code de retrait 5927": "5927",
        "Votre code a été envoyé au 0655512345": None,
        "Code pour le paiement avec la carte se terminant par 4417 : 59274106": "59274106",
    },
    "German": {
        "Nutzer 660318 Kennwort: 592741": "592741",
        "Ihr Passwort lautet herbst5927": "herbst5927",
        "Ihr Code wurde gesendet an 0655512345": None,
        "Ihr alter Code 4417 ist abgelaufen. Der neue Code ist 5927.": "5927",
        "Bitte geben Sie den Code RVKDTX zum Anmelden ein": "RVKDTX",
    },
    "Greek": {
        "Χρήστης 660318 κωδικός: 592741": "592741",
    },
    "Hebrew": {
        "קוד האימות שלך הוא RVKDTX": "RVKDTX",
    },
    "Italian": {
        "Ordine n° 660318, codice di ritiro 5927": "5927",
        "Il codice è stato inviato al 3655512345": None,
    },
    "Japanese": {
        "認証コードは RVKDTX です": "RVKDTX",
    },
    "Polish": {
        "Uzytkownik 660318, haslem jest 592741": "592741",
        "Uzytkownik 660318, haslem tymczasowym jest 592741": "592741",
        "Kod wysłano na numer 655512345": None,
        "Hasło nr 4 592741": "592741",
    },
    "Portuguese": {
        "Encomenda nº660318 enviada": None,
        "Token para a compra no cartão que termina em 4417: 592741": "592741",
    },
    "Russian": {
        "Логин: 660318\nПароль: 592741": "592741",
        "Лицо 660318, ваш код: R7W2PD": "R7W2PD",
        "Ваш пароль: osen5927": "osen5927",
        "Код отправлен на 89655512345": None,
        "Касса 660318: ваш код для оплаты: 5927": "5927",
        "5927 - код для перевода на сумму: 1500": "5927",
        "Пароль №7 5927 для входа": "5927",
        "Старый код 4417 больше не действует. Новый код: 5927": "5927",
        "Введите код RVKDTX для входа в Паркли": "RVKDTX",
    },
    "Spanish": {
        "Usuario 660318 contraseña: 592741": "592741",
        "Tu clave es QX5927": "QX5927",
        "Pedido nº 660318: su clave de recogida es 5927": "5927",
        "Tu código fue enviado al 655512345": None,
        "Clave para la compra con la tarjeta que termina en 4417: 592741": "592741",
        "Usa el código RVKDTX para iniciar sesión en Parkly": "RVKDTX",
    },
    "Turkish": {
        "Kullanıcı 660318 şifreniz: 592741": "592741",
    },
    "Ukrainian": {
        "Ваш код це 5927": "5927",
    },
}
