"""Refusals, in the provider's own words.

Each is a tuple of wordings: the first is used by the page's dialect, the live one draws among them.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "BANNED",
    "DURATION",
    "DURATION_IN_DAYS",
    "KEY_MISSING",
    "KEY_UNKNOWN",
    "METHOD_UNKNOWN",
    "NOT_YOURS",
    "NO_MONEY",
    "NO_NUMBERS",
    "ORDER_ID",
    "ORDER_UNKNOWN",
    "PROLONG_EARLY",
    "SERVICE_UNKNOWN",
    "TOO_MANY",
    "UNKNOWN_OFFER",
    "RefusedError",
    "RestoreRefusal",
    "check_restore_refusal",
    "restore_wordings",
]

KEY_MISSING = ("API KEY not received!",)
KEY_UNKNOWN = ("API KEY NOT FOUND!", "Invalid apikey")
BANNED = ("BANNED",)
TOO_MANY = ("TOO MANY REQUESTS",)
METHOD_UNKNOWN = ("Incorrect method",)
NO_NUMBERS = ("No numbers available", "No number available")
NO_MONEY = ("Insufficient balance", "Balance is not enough", "NOBALANCE")
DURATION = ("Incorrect duration count. Min 7 days. Max 90 days.",)
# `prolong_max` counts days; the wording is made up after the one above.
DURATION_IN_DAYS = ("Incorrect duration count. Min 1 days. Max 6 days.",)
ORDER_UNKNOWN = ("Order not found",)
ORDER_ID = ("Incorrect order id",)
NOT_YOURS = ("Order not found", "NOTOWNER", "the user had not this order")
UNKNOWN_OFFER = ("UNKNOWN SERVICE OR COUNTRY",)
SERVICE_UNKNOWN = ("Service not found",)
# The rule is the page's, and so are the words, which stand among its questions; the real message isn't known.
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
"""A reason why `restore_user` refuses: one of the rental page's texts, or just `data: false`."""

# As the page prints them, its punctuation included.
_PROSE = {
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
    """The provider refuses: `status` 0 and a message."""

    def __init__(self, wordings: tuple[str, ...]) -> None:
        super().__init__(wordings[0])
        self.wordings = wordings


def restore_wordings(code: RestoreRefusal, amount: str = "") -> tuple[str, str]:
    """Return a refusal of `restore_user`: with the page's prose (and the amount it asks for), and alone."""
    return f"{code}: {_PROSE[code]} {amount}".rstrip(), code


def check_restore_refusal(_instance: object, _attribute: object, value: RestoreRefusal | None) -> None:
    """Validate an attribute that holds one of the codes or None."""
    if value is not None and value not in get_args(RestoreRefusal):
        raise ValueError(f"{value!r} is no refusal of restore_user; use one of {get_args(RestoreRefusal)} or None")
