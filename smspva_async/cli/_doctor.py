"""The command `doctor`: compares the server's answers with what is known of them, and writes a report."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field

from smspva_async import (
    ApiError,
    ConnectionFailed,
    InvalidKey,
    Order,
    OrderState,
    PastOrder,
    Purchase,
    RequestTimeout,
    Sms,
    SmspvaClient,
    UnexpectedResponse,
)
from smspva_async.cli import _answer_shapes as shapes, _doctor_report as report
from smspva_async.cli._account import Account, with_ledger
from smspva_async.cli._doctor_report import Call, Flags, Listing, Messages
from smspva_async.cli._output import OutputError, Printer, with_printer
from smspva_async.cli._parameters import examples
from smspva_async.cli._progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from smspva_async._http.recording import RecordingTransport
    from smspva_async.models import Rows
