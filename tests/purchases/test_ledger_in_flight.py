"""Calls of another program that start or finish while the ledger is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import evolve

from smspva_async._purchases.store import Record, SqliteLedger, _Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

STARTED = Record("c1", "create", {"country": "PL", "service": "opt29"}, datetime.now(UTC))
DONE = evolve(STARTED, outcome="done", order_ids=(40300,))


def ledger(path: Path) -> SqliteLedger:
    return SqliteLedger(path, lambda: "account")


def act_during_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Run a function when a reader checks which programs are alive."""
    look = _Owner.alive

    def alive(owner: _Owner) -> set[str]:
        monkeypatch.setattr(_Owner, "alive", look)
        act()
        return look(owner)

    monkeypatch.setattr(_Owner, "alive", alive)


def test_a_call_that_finishes_during_a_read_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, reader = ledger(tmp_path / "ledger"), ledger(tmp_path / "ledger")
    other._save([STARTED])

    def end() -> None:
        other._save([DONE])
        other._owner.release()

    act_during_read(monkeypatch, end)
    assert reader.load_now() == [DONE]


def test_a_call_that_starts_during_a_read_is_in_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, reader = ledger(tmp_path / "ledger"), ledger(tmp_path / "ledger")
    other._save([evolve(DONE, call="c0")])
    act_during_read(monkeypatch, lambda: other._save([STARTED]))
    found = reader.load_now()
    assert found is not None
    assert [(record.call, record.in_flight) for record in found] == [("c0", False), ("c1", True)]
    other._owner.release()
    found = reader.load_now()
    assert found is not None
    assert [record.in_flight for record in found] == [False, False]
