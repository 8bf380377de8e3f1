"""The benchmarks detect missed goals and write the figures of `docs/benchmarks.md`. CI runs their short form."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from attrs import evolve

from benchmarks import fleet, runner
from benchmarks.latency import DELAY, GAP, Arrival, arrivals, in_turn
from benchmarks.measuring import compare, percentile
from benchmarks.results import Form, Goal, Machine, Results, Row, at_least, at_most
from benchmarks.server import Flags, Server
from benchmarks.tables import in_page, markdown, text
from smspva_async.simulator import Simulator, VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
ADDRESS = "https://smspva.com/api/rent.php"


def row(name: str = "a row", measured: float = 1.0, **changes: Any) -> Row:
    sample = Row(group="A group", name=name, unit="s", measured=measured, goal=at_most(2))
    return evolve(sample, **changes)


def results(*rows: Row) -> Results:
    return Results(datetime(2026, 1, 2, tzinfo=UTC), Form.FULL, Machine("a CPU", 2, "Linux", "CPython 3.11.7"), rows)


@pytest.mark.parametrize(("deterministic", "fails"), [(True, True), (False, False)])
def test_a_short_run_fails_if_a_deterministic_row_misses_its_goal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    *,
    deterministic: bool,
    fails: bool,
) -> None:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results.json")
    missed = row("a late row", 3.0, goal=at_most(2, of="measured"), deterministic=deterministic)
    monkeypatch.setattr(runner, "GROUPS", [SimpleNamespace(rows=lambda _: iter([missed, row(against=1.0)]))])
    if fails:
        with pytest.raises(SystemExit, match="a late row"):
            runner.main(["--short"])
    else:
        runner.main(["--short"])
    assert "a late row" in capsys.readouterr().out
    assert not runner.RESULTS.exists()


def test_a_full_run_is_saved_and_shown_in_the_docs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(runner, "PAGE", tmp_path / "benchmarks.md")

    def rows(form: Form) -> Iterator[Row]:
        assert form is Form.FULL
        yield row(against=4.0)

    monkeypatch.setattr(runner, "GROUPS", [SimpleNamespace(rows=rows)])
    runner.PAGE.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    runner.main([])
    plain = json.loads((tmp_path / "results.json").read_text())
    assert (plain["rows"][0]["ratio"], plain["rows"][0]["reached"]) == (0.25, True)
    assert sys.version.split()[0] in plain["machine"]["python"]
    runner.main(["--docs"])
    runner.main(["--docs"])
    assert runner.PAGE.read_text(encoding="utf-8").count("| a row | 1 s | 4 s | 0.25x | <= 2x | yes |") == 1
    assert "0.25x" in capsys.readouterr().out


def test_the_docs_show_the_saved_results() -> None:
    saved = Results.from_json(json.loads(runner.RESULTS.read_text(encoding="utf-8")))
    page = PAGE.read_text(encoding="utf-8")
    assert in_page(page, saved) == page
    assert saved.form is Form.FULL


def test_the_rows_of_the_fleet_are_left_out_without_redis(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert list(fleet.rows(Form.SHORT)) == []
    assert "left out" in capsys.readouterr().err


def test_results_survive_json() -> None:
    run = results(row(spread=(0.5, 1.5), against=2.0), row(goal=at_least(1, of="measured"), note="a note"))
    assert Results.from_json(json.loads(json.dumps(run.to_json()))) == run


@pytest.mark.parametrize(
    ("measured", "against", "goal", "reached"),
    [
        (2.0, 1.0, at_most(2), True),
        (2.1, 1.0, at_most(2), False),
        (1.0, 2.0, at_least(0.5), True),
        (0.9, 2.0, at_least(0.5), False),
        (2.0, 0.001, at_most(2, of="measured"), True),
        (2.1, 100.0, at_most(2, of="measured"), False),
    ],
)
def test_a_goal_is_reached_or_missed(measured: float, against: float, goal: Goal, *, reached: bool) -> None:
    assert row(measured=measured, against=against, goal=goal).reached is reached


def test_tables_show_each_row_and_each_remark_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "benchmarks.tables.REASONS", {"slow": "because", "a row": "not shown, because its goal is reached"}
    )
    slow = row("slow", 12_345.6, against=0.001234, baseline="something", spread=(0.5, 1.25))
    run = results(row(against=1.0, baseline="something"), slow, row("other", 0.0, group="B", goal=at_most(0.15)))
    for shown in (text(run), markdown(run)):
        assert "Measured on 2026-01-02 with CPython 3.11.7 on 2 cores of a CPU, Linux." in shown
        assert "12,346 s" in shown
        assert "0.00123 s" in shown
        assert "(0.5 to 1.25)" in shown
        assert "<= 0.15x" in shown
        assert shown.count("Baseline: something.") == 1
        assert "slow, not reached: because." in shown
        assert "not shown" not in shown


def test_a_page_without_the_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="no marker"):
        in_page("# Something else\n", results())


def test_compare_and_percentile_compute_the_expected_figures() -> None:
    compared = compare([2.0, 4.0, 6.0], [1.0, 2.0, 2.0])
    assert (compared.ours, compared.theirs, compared.spread) == (4.0, 2.0, (2.0, 3.0))
    assert percentile(list(range(1, 1001)), 0.99) == 990
    assert percentile([5.0], 0.99) == 5.0


def test_messages_arrive_once_a_minute_for_random_orders() -> None:
    schedule = arrivals(100, 10_000)
    assert schedule == arrivals(100, 10_000)
    assert schedule[-1].at / len(schedule) == pytest.approx(60, rel=0.05)
    assert mean(arrival.index for arrival in schedule) == pytest.approx(49.5, rel=0.05)


def test_a_plain_loop_finds_a_message_when_it_reads_that_order() -> None:
    schedule = [Arrival("a", 0.0, 0), Arrival("b", 0.0, 2), Arrival("c", 1.0, 0), Arrival("d", 100 * 3 * GAP + 1.6, 1)]
    assert in_turn(3, schedule, delay=(0, 0)) == pytest.approx([0.0, 2 * GAP, 3 * GAP - 1, 3 * GAP - 0.1])
    assert in_turn(3, schedule, delay=(0.2, 0.2)) == pytest.approx([0.2, 2 * GAP + 0.2, 3 * GAP - 0.8, 3 * GAP + 0.1])
    least, most = DELAY
    assert all(least <= latency <= most for latency in in_turn(1, [Arrival("a", 3 * GAP, 0)] * 100))


def test_the_server_answers_like_the_simulator() -> None:
    simulator = Simulator(seed=1, dialect="page")
    theirs = simulator.add_order(country="RU", service="opt16").id
    server = Server(3)
    ours = server.ids[1]

    async def answers(transport: httpx.AsyncBaseTransport, order_id: int) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(transport=transport) as http:
            queries: list[dict[str, Any]] = [{"method": "orders"}, {"method": "sms", "id": order_id}]
            queries += queries[:1]
            answered = [await http.get(ADDRESS, params={"apikey": "key", **query}) for query in queries]
        assert {"date", "content-type"} <= answered[0].headers.keys()
        return [answer.json() for answer in answered]

    async def both() -> None:
        simulator.deliver(theirs, "Your code: 671 094", sender="INFO")
        server.deliver(ours, "Your code: 671 094")
        expected = await answers(simulator.transport(), theirs)
        given = await answers(server, ours)
        assert [*map(shape, given)] == [*map(shape, expected)]
        listed = [{row["id"]: row["hasnewsms"] for row in answer["data"]} for answer in (given[0], given[2])]
        assert [[orders[order_id] for order_id in server.ids] for orders in listed] == [
            [False, True, False],
            [False, False, False],
        ]
        assert given[1] == expected[1]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
        loop.run(both())
    assert server.requests == {"orders": 2, "sms": 1}


def shape(value: Any) -> Any:
    """Return the types of a JSON value. A list is represented by its first element."""
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    return [shape(member) for member in value[:1]] if isinstance(value, list) else type(value)


@pytest.mark.parametrize(
    ("flags", "seen"),
    [(Flags.WORK, [True, False]), (Flags.NEVER_UP, [False, False]), (Flags.STAY_UP, [True, True])],
)
def test_each_kind_of_flag_changes_as_described(flags: Flags, seen: list[bool]) -> None:
    server = Server(1, flags=flags)

    async def deliver() -> list[bool]:
        flag = [json.loads(server.body)["data"][0]["hasnewsms"]]
        server.deliver(server.ids[0], "one")
        flag.append(json.loads(server.body)["data"][0]["hasnewsms"])
        async with httpx.AsyncClient(transport=server) as http:
            await http.get(ADDRESS, params={"method": "sms", "id": server.ids[0]})
        flag.append(json.loads(server.body)["data"][0]["hasnewsms"])
        return flag

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
        assert loop.run(deliver()) == [False, *seen]


def test_a_delayed_answer_contains_the_data_at_the_request() -> None:
    server = Server(1, delay=(0.3, 0.3))

    async def deliver_before_the_answer() -> tuple[float, Any]:
        async with httpx.AsyncClient(transport=server) as http, asyncio.TaskGroup() as tasks:
            query: dict[str, str | int] = {"method": "sms", "id": server.ids[0]}
            answer = tasks.create_task(http.get(ADDRESS, params=query))
            await asyncio.sleep(0.1)
            server.deliver(server.ids[0], "one")
            data = (await answer).json()["data"]
            return asyncio.get_running_loop().time(), data

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
        took, data = loop.run(deliver_before_the_answer())
    assert took == pytest.approx(0.3)
    assert data == []


def test_the_delays_are_the_same_in_every_run() -> None:
    async def times() -> list[float]:
        server, loop = Server(1, delay=DELAY), asyncio.get_running_loop()
        async with httpx.AsyncClient(transport=server) as http:
            found = [loop.time()]
            for _ in range(20):
                await http.get(ADDRESS, params={"method": "orders"})
                found.append(loop.time())
        return found

    runs = []
    for _ in range(2):
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
            runs.append(loop.run(times()))
    assert runs[0] == runs[1]
    took = [after - before for before, after in pairwise(runs[0])]
    least, most = DELAY
    assert all(least <= seconds <= most for seconds in took)
    assert len(set(took)) == len(took)
