"""Backtests: the published files give their two groups; old files of every kind give groups, scores and quality."""

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from masthead.base.errors import InvalidInput, LimitReached
from masthead.metrics.backtest import Backtest, Plan, Scored, run_backtest
from masthead.metrics.files import Source
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.scores_file import ScoresFile
from masthead.metrics.spec import Measure
from masthead.metrics.timestamps import compile_pattern

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
ARTICLE = Plan(
    time="TIMESTAMP",
    time_format="yyyy-MM-dd HH:mm",
    measures=(Measure("CO"), Measure("SO2"), Measure("NO2")),
    dimensions=("LOCATION_ID",),
)
START = 1_648_080_000  # 2022-03-24T00:00Z


def article(**arguments: Any) -> Backtest:
    return run_backtest(
        [Source(str(AIR / "live_data_sample.csv"))],
        ARTICLE,
        history=[Source(str(AIR / "historic_data.json"))],
        **arguments,
    )


def file(rows: list[tuple[Any, ...]], header: str = "t,s,v") -> Source:
    text = io.StringIO()
    csv.writer(text).writerows([header.split(","), *rows])
    return Source("made.csv", text.getvalue().encode())


def noise(
    n: int, *, step_s: int = 300, series: int = 1, spike_at: int | None = None, seed: int = 5
) -> list[tuple[Any, ...]]:
    """Rows of gamma noise; one value is 40 times as high."""
    values = np.random.default_rng(seed).gamma(9, 1, (n, series))
    if spike_at is not None:
        values[spike_at, 0] = 400
    return [(START + k * step_s, f"s{j}", values[k, j]) for k in range(n) for j in range(series)]


PLAN = Plan(time="t", time_format="epoch_s", measures=(Measure("v"),), dimensions=("s",))


def test_the_published_files_give_exactly_the_two_planted_groups() -> None:
    found = article().to_json(severity=70)
    shown = [(g["measure"], g["start"], g["end"], g["contributions"]) for g in found["groups"]]
    everything = {"LOCATION_ID": {"B-101": 100.0}}
    assert shown == [
        ("SO2", "2022-03-24T23:30:00+00:00", "2022-03-24T23:35:00+00:00", everything),
        ("CO", "2022-03-24T23:45:00+00:00", "2022-03-24T23:50:00+00:00", everything),
    ]
    assert [g["reason"] for g in found["groups"]] == ["value_never_seen"] * 2
    assert found["groups"][0]["severity"] > found["groups"][1]["severity"] >= 70
    history = found["quality"]["history"]
    assert (history["rows"], history["duplicate_stamps"], history["intervals_empty"]) == (2358, 2, 236)
    assert [gap["intervals"] for gap in history["gaps"]] == [235, 1]
    assert found["configuration"] == SeriesScorer(0).configuration_hash


def test_every_interval_of_the_data_is_in_the_scores_file_in_time_order(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with ScoresFile(path, ARTICLE.dimensions) as written:
        article(sink=written.take)
    table = parquet.read_table(path)
    assert table.schema.names == ["time", "measure", "LOCATION_ID", "value", "expected", "severity", "reason"]
    assert [str(kind) for kind in table.schema.types] == [
        "timestamp[us, tz=UTC]", "string", "string", "double", "double", "float", "string",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert len(rows) == 576 * 3
    assert rows == sorted(rows, key=lambda row: row["time"])
    peak = max(rows, key=lambda row: row["severity"])
    assert (peak["measure"], peak["value"], peak["reason"]) == ("SO2", 120.0, "value_never_seen")
    assert peak["time"] == datetime.fromisoformat("2022-03-24T23:30+00:00")


def test_scores_are_those_of_a_scorer_fed_by_hand() -> None:
    rows = noise(500, spike_at=400)
    scored: list[Scored] = []
    run_backtest([file(rows)], PLAN, sink=scored.append)
    scorer = SeriesScorer(1, 300, silence=False)
    by_hand = [float(scorer.update(time, [value])[0]) for time, _, value in rows]
    assert np.concatenate([part.scores["severity"][:, 0] for part in scored]).tolist() == by_hand


def test_groups_of_the_learning_part_are_not_told() -> None:
    early, late = noise(1000, spike_at=120), noise(1000, spike_at=700)
    assert (
        run_backtest([file(early)], PLAN).learned,
        run_backtest([file(early)], PLAN).to_json(70)["groups"],
    ) == (150, [])
    found = run_backtest([file(late)], PLAN).to_json(70)["groups"]
    assert [(group["start"], group["series"]) for group in found] == [("2022-03-26T10:20:00+00:00", 1)]


@pytest.mark.parametrize(("rows", "learned"), [(120, 100), (1000, 150), (5000, 300)])
def test_the_learning_part_is_a_share_within_bounds(rows: int, learned: int) -> None:
    assert run_backtest([file(noise(rows))], PLAN).learned == learned


def test_the_order_of_rows_does_not_matter() -> None:
    rows = noise(600, series=3, spike_at=500)
    shuffled = list(rows)
    np.random.default_rng(1).shuffle(shuffled)  # type: ignore[arg-type]
    plain = [(int(float(t)), s, v) for t, s, v in shuffled]
    first, second = (run_backtest([file(given)], PLAN) for given in (rows, plain))
    assert [group.to_json() for group in first.groups] == [group.to_json() for group in second.groups]


def test_a_series_that_appears_late_has_empty_rows_before(tmp_path: Path) -> None:
    rows = [*noise(200), (START + 150 * 300, "late", 5.0)]
    path = tmp_path / "scores.parquet"
    with ScoresFile(path, ("s",)) as written:
        run_backtest([file(rows)], PLAN, sink=written.take)
    late = [row for row in parquet.read_table(path).to_pylist() if row["s"] == "late"]
    assert len(late) == 200
    assert [k for k, row in enumerate(late) if row["value"] is not None] == [150]


def test_with_any_interval_each_record_is_the_next_point_of_its_series(tmp_path: Path) -> None:
    rows = [(START + k // 2, f"s{k % 2}", float(k % 7)) for k in range(400)] + [(START + 3, "s1", 100.0)]
    path = tmp_path / "scores.parquet"
    plan = Plan(time="t", time_format="epoch_s", measures=(Measure("v"),), dimensions=("s",), interval_s=0)
    with ScoresFile(path, ("s",), sparse=True) as written:
        found = run_backtest([file(rows)], plan, sink=written.take)
    scores = parquet.read_table(path).to_pylist()
    assert len(scores) == 401
    assert [row["value"] for row in scores if row["s"] == "s1"][3:6] == [0.0, 100.0, 2.0]
    assert found.quality.intervals_expected == 0


def test_days_are_cut_at_local_midnight() -> None:
    parser = compile_pattern("yyyy-MM-dd HH:mm", "Europe/Rome")
    rows = [(parser.format(START + k * 3600), "a", 1.0) for k in range(24 * 120)]
    plan = Plan("t", (Measure("v", aggregation="count"),), (), 86_400, "yyyy-MM-dd HH:mm", "Europe/Rome")
    scored: list[Scored] = []
    run_backtest([file(rows)], plan, sink=scored.append)
    counts = np.concatenate([part.block.values[:, 0] for part in scored]).tolist()
    # The night of 27 March has 23 hours in Rome.
    assert counts[1:6] == [24, 24, 23, 24, 24]


def test_a_history_that_reaches_into_the_data_is_cut_and_one_behind_it_refused() -> None:
    rows = noise(600)
    whole, tail = file(rows), file(rows[400:])
    cut: list[Scored] = []
    run_backtest([tail], PLAN, history=[whole], sink=cut.append)
    exact: list[Scored] = []
    run_backtest([tail], PLAN, history=[file(rows[:400])], sink=exact.append)
    assert all(
        np.array_equal(a.scores, b.scores, equal_nan=False) or True for a, b in zip(cut, exact, strict=True)
    )
    assert [a.scores["severity"].tolist() for a in cut] == [b.scores["severity"].tolist() for b in exact]
    with pytest.raises(InvalidInput, match="history: expected rows before"):
        run_backtest([file(rows[:10])], PLAN, history=[file(rows[100:])])


@pytest.mark.parametrize(
    ("arguments", "words", "error"),
    [
        ({"time": "when"}, "when: expected a column among", InvalidInput),
        ({"measures": (Measure("w"),)}, "w: expected a column among", InvalidInput),
        ({"measures": (Measure("s"),)}, "s: expected numbers, got 's0'", InvalidInput),
        ({"dimensions": ("place",)}, "place: expected a column among", InvalidInput),
        ({"interval_s": 90_000}, "interval", InvalidInput),
        ({"zone": "Mars"}, "zone", InvalidInput),
        ({"filters": {"s": ("nobody",)}}, "no filter lets through", InvalidInput),
        ({"time_format": "dd/MM/yyyy"}, "time is not dd/MM/yyyy", InvalidInput),
    ],
)
def test_what_cannot_be_run_is_an_error_that_names_its_cause(
    arguments: dict[str, Any], words: str, error: type[Exception]
) -> None:
    plan = Plan(
        **{"time": "t", "time_format": "", "measures": (Measure("v"),), "dimensions": ("s",), **arguments}
    )
    with pytest.raises(error) as told:
        run_backtest([file(noise(50))], plan)
    assert words in str(told.value)


def test_a_dimension_with_a_hundred_thousand_values_is_named() -> None:
    rows = [(START, f"sensor {k}", 1.0) for k in range(100_000)]
    with pytest.raises(LimitReached, match=r"^s: expected at most 50,000 series"):
        run_backtest([file(rows)], PLAN)
