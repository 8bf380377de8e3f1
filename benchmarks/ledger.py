"""Time to open a ledger with many purchases."""

from __future__ import annotations

import gc
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measuring import in_real_time
from benchmarks.results import Row, at_most
from smspva_async import SmspvaClient
from smspva_async._http.redaction import ApiKey
from smspva_async._purchases.store import Record, SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Form

__all__ = ["rows"]

_KEY = "key-of-the-benchmarks"


def rows(form: Form) -> Iterator[Row]:
    """Measure the CPU time of reading a ledger, compared with a ledger of one purchase."""
    purchases, repetitions = form.pick(full=10_000, short=100), form.pick(full=25, short=3)
    many, one = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("many", purchases), ("one", 1)):
            in_real_time(_write(Path(folder) / name, count))
        for _ in range(repetitions):
            many.append(_opening(Path(folder) / "many"))
            one.append(_opening(Path(folder) / "one"))
        size = (Path(folder) / "many").stat().st_size
    yield Row(
        group="SQLite ledger",
        name=f"opening a ledger of {purchases:,} purchases",
        unit="ms",
        measured=(median(many) - median(one)) * 1e3,
        goal=at_most(100, of="measured"),
        note=(
            f"CPU time in addition to that of a ledger with one purchase, {median(one) * 1e3:.0f} ms, mostly for the "
            f"account's fingerprint, which is slow on purpose; a purchase takes {size / purchases:.0f} bytes"
        ),
    )


async def _write(path: Path, count: int) -> None:
    ledger = SqliteLedger(path, ApiKey(_KEY).fingerprint)
    now = datetime.now(UTC)
    params = {"country": "PL", "service": "opt29", "dtype": "week", "dcount": "1"}
    records = [
        Record(
            f"{number:032x}",
            "create",
            params,
            now + timedelta(seconds=number),
            listed=True,
            seen_at=now,
            outcome="done",
            ended_at=now,
            order_ids=(40_000 + number,),
        )
        for number in range(count)
    ]
    await ledger.save(lambda: records)
    await ledger.aclose()


def _opening(path: Path) -> float:
    client = SmspvaClient(_KEY, ledger=path)
    gc.collect()
    began = time.process_time()
    client.purchases()
    return time.process_time() - began
