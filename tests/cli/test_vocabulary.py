"""Messages name commands, not the provider's methods."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smspva_async import ApiError, JournalError, OutcomeUnknown
from smspva_async._api import methods
from smspva_async.cli._vocabulary import as_command, command_name, describe_error
from tests.cli.test_usage import COMMANDS

WEEK = {"dtype": "week", "dcount": "1"}


def test_every_call_of_a_command_has_its_name() -> None:
    calls = [value for value in vars(methods).values() if isinstance(value, methods.Method)]
    unnamed = {call.name for call in calls if command_name(call.name) not in COMMANDS}
    assert unnamed == {methods.CANADA_PAYPAL_DAYS.name, methods.MINIMUM_PAYPAL_DAYS.name}


@pytest.mark.parametrize(
    ("method", "params", "line"),
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
def test_a_purchase_is_shown_as_a_command_line(method: str, params: dict[str, str], line: str) -> None:
    error = OutcomeUnknown("lost", method=method, params=params, started_at=datetime.now(UTC))
    assert as_command(error) == line


def test_an_error_begins_with_the_command() -> None:
    assert describe_error(ApiError("refused: no", method="create", elapsed=0.12)) == "rent: refused: no [after 0.1 s]"
    assert describe_error(ApiError("refused: no", method="restore_user_precalc")) == "restore: refused: no"
    assert describe_error(JournalError("the ledger is full")) == "the ledger is full"
