"""The provider's refusals.

Each refusal is a tuple of texts: the dialect `page` uses the first, the dialect `live` chooses at random.
"""

from __future__ import annotations

from typing import Literal, get_args

KEY_MISSING = ("API KEY not received!",)
KEY_UNKNOWN = ("API KEY NOT FOUND!", "Invalid apikey")
BANNED = ("BANNED",)
TOO_MANY = ("TOO MANY REQUESTS",)
METHOD_UNKNOWN = ("Incorrect method",)
NO_NUMBERS = ("No numbers available", "No number available")
NO_MONEY = ("Insufficient balance", "Balance is not enough", "NOBALANCE")
DURATION = ("Incorrect duration count. Min 7 days. Max 90 days.",)
# `prolong_max` counts days; this text is made up, modelled on the one above.
DURATION_IN_DAYS = ("Incorrect duration count. Min 1 days. Max 6 days.",)
ORDER_UNKNOWN = ("Order not found",)
ORDER_ID = ("Incorrect order id",)
NOT_YOURS = ("Order not found", "NOTOWNER", "the user had not this order")
UNKNOWN_OFFER = ("UNKNOWN SERVICE OR COUNTRY",)
SERVICE_UNKNOWN = ("Service not found",)
# The rule and the message are from the rental page's FAQ; the API's text is unknown.
PROLONG_EARLY = ("You can prolong number only if before expiring date left less 7 days",)

RestoreRefusal = Literal[
    "NOAVAILDAYS",
    "NOTOWNER",
    "NOREMOTEDATA",
    "NOORDERCOUNTRY",
    "DATEDIFFINVERT",
    "NOSERVICEDATA",
    "NOBALANCE",
    "the user had not this order",
    "Service not found",
    "Balance is not enough",
    "false",
]
"""A reason for a refusal by `restore_user`: one of the rental page's codes, or `data: false`."""

# The page's texts, including their punctuation.
_DESCRIPTIONS = {
    "NOAVAILDAYS": "Phone number is unavalible for automatically restoring. "
    "There are not enough working days for the phone number;",
    "NOTOWNER": "Looks like the order is not your. Check it and try again;",
    "NOREMOTEDATA": "We could not find information about your order in archive. "
    "Check that your rental order was expired;",
    "NOORDERCOUNTRY": "We could not find all info about order. "
    "Please, write in live-chat on the website for restoring order;",
    "DATEDIFFINVERT": "Looks like your order was not expired. Check that your rental order was expired;",
    "NOSERVICEDATA": "Could not load information about service. "
    "Please, write in live-chat on the website for restoring order;",
    "NOBALANCE": "Your balance is not enough for restoring rental order. Today need",
    "the user had not this order": "Looks like the order is not your. Check it and try again;",
    "Service not found": "Could not load information about service. "
    "Please, write in live-chat on the website for restoring order;",
    "Balance is not enough": "Your balance is not enough for restoring rental order;",
}


class RefusedError(Exception):
    """A refusal by the provider: `status` 0 and a text."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        super().__init__(texts[0])
        self.texts = texts


def restore_texts(code: RestoreRefusal, amount: str = "") -> tuple[str, str]:
    """Return the texts of a refusal by `restore_user`: the code with the page's description, and the code alone."""
    return f"{code}: {_DESCRIPTIONS[code]} {amount}".rstrip(), code


def check_restore_refusal(_instance: object, _attribute: object, value: RestoreRefusal | None) -> None:
    """Validate an attribute: one of the codes or None."""
    if value is not None and value not in get_args(RestoreRefusal):
        raise ValueError(f"expected None or one of {get_args(RestoreRefusal)}, got {value!r}")
