"""The words of commands for the API's calls: people read what they typed, not the names on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smspva_async import ApiError, JournalError, OutcomeUnknown
from smspva_async._api import methods
from smspva_async.cli._words import as_typed, command, describe
from tests.cli.test_usage import COMMANDS

WEEK = {"dtype": "week", "dcount": "1"}


def test_each_call_that_a_command_makes_is_told_by_its_name() -> None:
    calls = [it for it in vars(methods).values() if isinstance(it, methods.Method)]
    unnamed = {call.name for call in calls if command(call.name) not in COMMANDS}
    assert unnamed == {methods.CANADA_PAYPAL_DAYS.name, methods.MINIMUM_PAYPAL_DAYS.name}


@pytest.mark.parametrize(
    ("method", "params", "typed"),
    [
        ("create", {"country": "PL", "service": "opt29", **WEEK}, "rent PL opt29 --weeks 1"),
        (
            "create",
            {"country": "PL", "service": "opt29", "dtype": "month", "dcount": "2", "provider": "A B"},
            "rent PL opt29 --months 2 --provider 'A B'",
        ),
        ("create_multi", {"country": "PL", "services": "opt16,opt29", **WEEK}, "rent PL opt16 opt29 --weeks 1"),
        (
            "add_service_to_order",
            {"id": "40300", "service": "opt29", "rent_days": "7", "pnumber": "48500403000"},
            "add-service 40300 opt29 --days 7",
        ),
        ("prolong", {"id": "40300", **WEEK}, "prolong 40300 --weeks 1"),
        ("prolong_max", {"id": "40300", "dtype": "day", "dcount": "3"}, "prolong 40300 --days 3"),
        ("delete", {"id": "40300"}, "delete 40300"),
        ("restore_user", {"id": "500"}, "restore 500"),
        ("delete", {"id": "\x1b[2J"}, r"delete '\x1b[2J'"),
    ],
)
def test_a_purchase_is_told_as_the_command_that_makes_it(method: str, params: dict[str, str], typed: str) -> None:
    error = OutcomeUnknown("lost", method=method, params=params, started_at=datetime.now(UTC))
    assert as_typed(error) == typed


def test_an_error_begins_with_the_command() -> None:
    assert describe(ApiError("refused: no", method="create", elapsed=0.12)) == "rent: refused: no [after 0.1 s]"
    assert describe(ApiError("refused: no", method="restore_user_precalc")) == "restore: refused: no"
    assert describe(JournalError("the ledger is full")) == "the ledger is full"
