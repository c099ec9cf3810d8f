"""How well what is deployed still fits: drift by hand and from the tables, an alert, a challenger that goes live."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_fraud
from card_records import flat
from waiting import eventually

from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.base.settings import Settings
from masthead.cli.main import run
from masthead.fraud.data.events import Labels, read_labels
from masthead.fraud.live.ledger import Mark
from masthead.fraud.scoring.drift import (
    contest,
    feature_stability,
    late_share,
    limits,
    matured_outcome,
    ranking,
    unseen_shares,
)
from masthead.fraud.scoring.engines import Trees
from masthead.fraud.scoring.model import FraudModel
from masthead.fraud.scoring.reference import histogram, histograms, stability
from masthead.fraud.store.live_data import describe_live, read_live, write_live
from masthead.learn.calibration import Calibration

DAY = 86_400_000_000
MODEL = small_fraud.folder


@cache
def labels() -> Labels:
    found = small_fraud.folder() / "data" / "labels.csv"
    return read_labels(small_fraud.model().schema, small_fraud.events(), found)


def reversed_model(folder: Path) -> Path:
    """Write a model that ranks the other way round, so that it is as bad as can be, and return its folder."""
    text = (small_fraud.folder() / "model" / "model.txt").read_text()
    turned = re.sub(
        r"(?m)^leaf_value=(.*)$",
        lambda match: "leaf_value=" + " ".join(repr(-float(one)) for one in match[1].split()),
        text,
    )
    turned = re.sub(r"(?m)^tree_sizes=.*\n", "", turned)  # LightGBM counts the bytes of each tree by it
    good = small_fraud.model()
    FraudModel(
        schema=good.schema,
        layout=good.layout,
        engine=Trees(turned),
        calibration=Calibration(
            tuple(good.card["calibration"]["scores"]), tuple(good.card["calibration"]["odds"])
        ),
        card={**good.card, "id": "fraud-0000000000ba"},
        labels_known_at=good.labels_known_at,
    ).save(folder)
    return folder


def stream(house: Masthead) -> None:
    """Score all generated transactions, and hear all labels."""
    events = small_fraud.events()
    house.fraud.score_events([events.event(place) for place in range(len(events))])
    told = labels()
    house.fraud.label_many(
        [
            Mark(id, int(value), "import", int(at))
            for id, value, at in zip(told.ids, told.value, told.arrived_at, strict=True)
        ]
    )


# ---------------------------------------------------------------------- the science


def test_the_index_is_the_one_that_is_worked_out_by_hand() -> None:
    reference = {"edges": [1.0], "shares": [0.5, 0.5], "missing": 0.2}
    values = np.array([0.0, 0.0, 0.0, 2.0, np.nan])
    now, then = np.array([0.6, 0.2, 0.2]), np.array([0.4, 0.4, 0.2])
    expected = float(np.sum((now - then) * np.log(now / then)))
    assert stability(reference, values) == pytest.approx(expected)
    assert stability(reference, np.empty(0)) is None
    nothing_then = histogram(np.array([np.nan, np.nan]))
    assert stability(nothing_then, np.array([np.nan])) == 0.0
    assert (stability(nothing_then, np.array([1.0])) or 0) > 5


def test_a_column_that_stays_has_no_index_and_one_that_moves_comes_first() -> None:
    rng = np.random.default_rng(3)
    then, now = rng.normal(size=(5_000, 2)), rng.normal(size=(5_000, 2))
    now[:, 1] += 1.0
    reference = {name: histogram(then[:, j]) for j, name in enumerate(("stays", "moves"))}
    found = feature_stability(
        ["stays", "moves", "unknown"], np.c_[now, now[:, :1]].astype(np.float32), reference
    )
    assert list(found) == ["moves", "stays"]
    assert found["stays"] < 0.02
    assert found["moves"] > 0.5


def test_shares_and_outcomes_are_counted() -> None:
    x = np.array([[0.0, np.nan], [0.7, np.nan], [np.nan, np.nan], [0.0, np.nan]], np.float32)
    assert unseen_shares(x, {"card": 0, "device": 1}) == {"card": pytest.approx(2 / 3), "device": None}
    assert late_share(np.array([1, 5, 3, 5, 4])) == pytest.approx(0.4)
    assert late_share(np.empty(0, np.int64)) is None
    seq = np.array([2, 4, 9])
    found = matured_outcome(seq, np.array([9, 4, 9, 3]), np.array([1, 1, 0, 1], np.int8))
    assert found.tolist() == [0, 1, 0]
    assert matured_outcome(np.empty(0, np.int64), np.array([9]), np.array([1], np.int8)).tolist() == []


def test_ranking_is_by_day_and_needs_both_outcomes() -> None:
    ts, y = np.array([1, 2, DAY, DAY + 1]), np.array([1, 0, 0, 1], np.int8)
    found = ranking(ts, y, np.array([0.9, 0.1, 0.8, 0.7]), k=1)
    assert (found["transactions"], found["positives"], found["precision_at_1_per_day"]) == (4, 2, 0.5)
    alone = ranking(ts, np.zeros(4, np.int8), np.ones(4))
    assert (alone["average_precision"], alone["precision_at_100_per_day"]) == (None, None)


def test_a_contest_is_won_by_more_than_chance_alone() -> None:
    rng = np.random.default_rng(5)
    n = 4_000
    ts, y = np.sort(rng.integers(0, 30 * DAY, n)), (rng.random(n) < 0.1).astype(np.int8)
    poor, good = y + rng.normal(0, 1.0, n), y + rng.normal(0, 0.5, n)
    found = contest(ts, y, poor, good)
    assert found.won
    assert found.days == 30
    assert not contest(ts, y, good, poor).won
    assert not contest(ts, y, good, good).won
    assert not contest(ts[:1], y[:1], good[:1], poor[:1]).won
    assert not contest(np.zeros(n, np.int64), y, poor, good).won, "one day tells nothing of chance"


def test_what_moves_every_week_has_moved_only_where_it_moves_more_than_that():
    days = 120
    ts = np.repeat(np.arange(days) * DAY, 100)
    chance = np.random.default_rng(3)
    grown, still = ts / DAY + chance.random(len(ts)), chance.normal(size=len(ts))
    x = np.column_stack([grown, still]).astype(np.float32)
    taught = ts < 100 * DAY
    reference = histograms(["grown", "still"], x[taught], ts[taught])
    assert reference["grown"]["usual"] > 2 > 0.1 > reference["still"]["usual"]
    later = x[ts >= 110 * DAY]

    def moved(rows: np.ndarray) -> list[str]:
        found = feature_stability(["grown", "still"], rows, reference)
        return [name for name, index in found.items() if index >= limits(reference)[name]]

    assert moved(later) == []
    assert moved(later + np.float32(1.0)) == ["still"]


# ---------------------------------------------------------------------- the tables


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=tmp_path / "data"), clock=ManualClock()) as found:
        yield found


def test_drift_is_what_a_replay_of_the_same_transactions_gives(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL() / "model")
    nothing = house.fraud.drift("cards")
    assert (nothing["window"]["transactions"], nothing["score"], nothing["features"]) == (0, None, {})
    assert nothing["matured"]["average_precision"] is None
    stream_in_order(house)
    found = house.fraud.drift("cards", days=30)
    model, events = small_fraud.model(), small_fraud.events()
    names, x = model.features(events, labels())
    last = events.ts > events.ts[-1] - 30 * DAY
    assert found["window"]["transactions"] == last.sum()
    expected = feature_stability(names, x[last], model.card["reference"])
    assert found["features"] == pytest.approx(expected)
    limit = limits(model.card["reference"])
    assert {name: limit[name] for name in expected if limit[name] > 0.2} == found["limits"]
    assert list(found["features"]) == sorted(expected, key=lambda name: -expected[name] / limit[name])
    assert found["moved"] == [
        name for name in ["score", *expected] if {**expected, "score": found["score"]}[name] >= limit[name]
    ]
    p = np.array([model.scorer.score(row)[1] for row in x])
    assert found["score"] == pytest.approx(stability(model.card["reference"]["score"], p[last]))
    place = names.index("card1.count")
    known = x[last, place][np.isfinite(x[last, place])]
    assert found["unseen_share"]["card1"] == pytest.approx(float(np.mean(known == 0)))
    assert found["late_share"] == 0.0
    until = events.ts[-1] - model.schema.maturity_us
    old = (events.ts < until) & (events.ts >= until - 30 * DAY)
    y = np.zeros(len(events), np.int8)
    told = labels()
    heard = told.arrived_at <= events.ts[-1]
    y[told.rows[heard]] = told.value[heard]
    assert found["matured"]["transactions"] == old.sum()
    assert (
        found["matured"]["average_precision"] == ranking(events.ts[old], y[old], p[old])["average_precision"]
    )
    assert found["matured"]["positives"] == y[old].sum() > 0


def stream_in_order(house: Masthead) -> None:
    """Score all generated transactions while labels come in when they arrived, as in training."""
    stream_labels_first = labels()
    house.fraud.label_many(
        [
            Mark(id, int(value), "import", int(at))
            for id, value, at in zip(
                stream_labels_first.ids,
                stream_labels_first.value,
                stream_labels_first.arrived_at,
                strict=True,
            )
        ]
    )
    events = small_fraud.events()
    house.fraud.score_events([events.event(place) for place in range(len(events))])


def test_what_cannot_be_asked_is_named(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL() / "model")
    with pytest.raises(NotFound):
        house.fraud.drift("others")
    with pytest.raises(InvalidInput) as caught:
        house.fraud.drift("cards", days=0)
    assert caught.value.field == "days"
    with pytest.raises(NotFound, match="nobody challenges"):
        house.fraud.promote("cards")
    with pytest.raises(InvalidInput) as caught:
        house.fraud.deploy("cards", MODEL() / "model", challenges="cards")
    assert caught.value.field == "challenges"
    house.fraud.deploy("second", MODEL() / "model")
    with pytest.raises(Conflict, match="second decides already"):
        house.fraud.promote("cards", challenger="second")


# ---------------------------------------------------------------------- who decides


def deployed(house: Masthead) -> dict[str, str]:
    return {one.name: one.source["model"] for one in house.fraud.deployments()}


def test_a_challenger_that_is_better_goes_live_and_the_former_scores_along(
    house: Masthead, tmp_path: Path
) -> None:
    good, bad = small_fraud.model().id, "fraud-0000000000ba"
    house.fraud.deploy("cards", reversed_model(tmp_path / "bad"))
    house.fraud.deploy("cards-new", MODEL() / "model", challenges="cards")
    early = house.fraud.promote("cards", if_better=True)
    assert (early["promoted"], early["transactions"], early["standard_error"]) == (False, 0, None)
    stream(house)
    assert house.fraud.look_after().keys() == {"cards"}
    assert deployed(house) == {"cards": good, "cards-new": bad}
    (line,) = [one for one in house.journal.read("fraud", "cards") if one["event"] == "challenger promoted"]
    assert line["models"] == {"champion": bad, "challenger": good}
    assert (
        line["average_precision"]["challenger"]
        > line["average_precision"]["champion"] + line["standard_error"]
    )
    decision = house.fraud.score(flat(0, TransactionID="9000001", TransactionDT=16_000_000))
    assert decision["model"] == good
    again = house.fraud.promote("cards", if_better=True)
    assert (again["promoted"], again["better"]) == (False, False)
    assert house.journal.read("fraud", "cards")[-1]["event"] == "challenger stays in shadow"
    back = house.fraud.promote("cards")
    assert (back["promoted"], deployed(house)["cards"]) == (True, bad)


def test_a_shadow_that_challenges_nobody_never_goes_live_by_itself(house: Masthead, tmp_path: Path) -> None:
    house.fraud.deploy("cards", reversed_model(tmp_path / "bad"))
    house.fraud.deploy("watched", MODEL() / "model", shadow=True)
    stream(house)
    house.fraud.look_after()
    assert deployed(house)["cards"] == "fraud-0000000000ba"
    assert house.fraud.promote("cards", challenger="watched", if_better=True)["promoted"]


# ---------------------------------------------------------------------- day by day


def test_drift_is_told_once_a_day_by_the_clock_through_the_alerts_and_never_of_a_few_hundred_transactions(
    house: Masthead,
) -> None:
    house.build()
    house.fraud.deploy("cards", MODEL() / "model")
    house.alerts.create_rule(
        {
            "name": "ourselves",
            "detector": "masthead",
            "channel": {"kind": "webhook", "url": "http://127.0.0.1:9/nobody"},
        }
    )
    now = house.clock.time()
    house.tick(now)  # nothing has happened yet
    records = [
        flat(
            place % 200,
            TransactionID=str(9_000_000 + place),
            TransactionDT=16_000_000 + place,
            TransactionAmt=9e6,
        )
        for place in range(600)
    ]

    def told() -> list[Any]:
        return [one for one in house.alerts.deliveries().items if "fraud-drift" in json.dumps(one.to_json())]

    def beat(at: float) -> None:
        """Let the clock strike, what is looked at once a day be looked at, and what is watched every 5 s be watched."""
        house.tick(at)
        assert house._fraud_looking is not None
        house._fraud_looking.join(30)
        house._watched = 0.0
        house.tick(at)

    few, many = records[:300], records[300:]
    assert all("pred_prob" in one for one in house.fraud.score_many(few))  # type: ignore[operator]
    beat(now + 86_401)
    assert house.fraud.drift("cards")["moved"], "of so few some column moves by chance"
    assert not told()
    assert all("pred_prob" in one for one in house.fraud.score_many(many))  # type: ignore[operator]
    beat(now + 86_401 + 3_600)
    assert not told()
    beat(now + 2 * 86_402)
    (alert,) = told()
    assert "600 transactions" in alert.event.reason
    drift = house.fraud.drift("cards")
    assert "amount" in drift["moved"]
    assert drift["window"]["transactions"] == 600


def test_the_commands_show_drift_and_promote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTHEAD_DATA", str(tmp_path / "data"))
    model = str(MODEL() / "model")
    assert run(["fraud", "deploy", "cards", "--model", model]) == 0
    assert run(["fraud", "deploy", "cards-new", "--model", model, "--challenge", "cards"]) == 0
    assert "as cards-new in shadow" in capsys.readouterr().out
    with Masthead.open(Settings(data=tmp_path / "data")) as house:
        events = small_fraud.events()
        house.fraud.score_events([events.event(place) for place in range(1_000)])
    assert run(["fraud", "drift", "cards", "--days", "20"]) == 0
    shown = capsys.readouterr().out
    assert "PSI" in shown
    assert "Never seen before" in shown
    assert run(["fraud", "drift", "cards", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deployment"] == "cards"
    assert run(["fraud", "promote", "cards", "--if-better"]) == 0
    assert "has not proved better" in capsys.readouterr().out
    assert run(["fraud", "promote", "cards", "--challenger", "cards-new", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["promoted"] is True
    assert run(["fraud", "promote", "others"]) == 1


# ---------------------------------------------------------------------- learning anew


def test_what_is_stored_is_read_back_as_the_transactions_that_it_was(house: Masthead, tmp_path: Path) -> None:
    home, model = small_fraud.folder(), small_fraud.model()
    with pytest.raises(Conflict, match="none to learn from"):
        write_live(house.fraud.store, "live", model.schema, tmp_path, lambda done, total: None)
    house.fraud.load(small_fraud.paths(home), schema=model.schema, labels=home / "data" / "labels.csv")
    steps: list[tuple[int, int]] = []
    found = write_live(house.fraud.store, "live", model.schema, tmp_path, lambda *told: steps.append(told))
    events = small_fraud.events()
    assert (found["rows"], found["labels"], steps[-1]) == (
        len(events),
        len(labels()),
        (len(events), len(events)),
    )
    again, said = read_live(model.schema, tmp_path)
    for place in range(0, len(events), 97):
        one, other = events.event(place), again.event(place)
        assert (one.id, one.ts, one.keys, one.categories) == (
            other.id,
            other.ts,
            other.keys,
            other.categories,
        )
    _, was = model.features(events, labels())
    _, now = model.features(again, said)
    np.testing.assert_array_equal(was, now)
    *_, (described, share, _) = describe_live(tmp_path)
    assert share == 1.0
    assert described is not None
    by_name = {one["column"]: one for one in described["columns"]}
    assert by_name["id"]["distinct"] == len(events)
    device = [relation.name for relation in model.schema.relations].index("id_20")
    assert by_name["relation.id_20"]["null_share"] == pytest.approx(
        float(np.mean(events.codes[:, device] < 0)), abs=1e-6
    )


def test_only_a_deployment_of_real_transactions_is_retrained(house: Masthead) -> None:
    with pytest.raises(NotFound):
        house.pipelines.retrain("cards")
    house.fraud.deploy("cards", MODEL() / "model")
    house.fraud.deploy("others", MODEL() / "model", space="others")
    with pytest.raises(Conflict, match="others scores others"):
        house.pipelines.retrain("others")
    with pytest.raises(InvalidInput) as caught:
        house.pipelines.retrain("cards", trials=101)
    assert caught.value.field == "trials"
    run = house.pipelines.retrain("cards")
    config = run["config"]
    assert (run["state"], config["endpoint"], config["challenges"]) == (
        "waiting",
        "cards-challenger",
        "cards",
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_retraining_ends_as_a_challenger_and_goes_on_behind_its_last_step(house: Masthead) -> None:
    home = small_fraud.folder()
    house.build()
    house.fraud.load(
        small_fraud.paths(home), schema=small_fraud.model().schema, labels=home / "data" / "labels.csv"
    )
    house.fraud.deploy("cards", MODEL() / "model")
    run = house.pipelines.retrain("cards")
    house.fraud.undeploy("cards")

    def ended() -> dict[str, Any] | None:
        found = house.pipelines.get(run["id"])
        return found if found["state"] in ("done", "failed") else None

    house.pipelines.run_here(run["id"])
    found = eventually(ended, within_s=300)
    assert (found["state"], found["step"]) == ("failed", "check"), found["error"]
    trained = house.folder.runs / run["id"] / "train" / "output.json"
    made = trained.stat().st_mtime_ns
    copies = list((house.folder.runs / run["id"]).glob("ingest/*.parquet"))
    assert copies
    card = house.fraud.find(limit=1).items[0]["card1"]
    gone = house.fraud.erase("card1", card)["transactions"]
    assert gone
    assert not any(path.exists() for path in copies), "who is erased does not live on in a run"
    house.fraud.deploy("cards", MODEL() / "model")
    house.pipelines.resume(run["id"])
    house.pipelines.run_here(run["id"])
    found = eventually(ended, within_s=120)
    assert (found["state"], found["attempt"]) == ("done", 2), found["error"]
    assert trained.stat().st_mtime_ns == made
    outputs = {step["name"]: step["output"] for step in found["steps"]}
    assert outputs["ingest"]["rows"] == len(small_fraud.events()) - gone
    assert not list((house.folder.runs / run["id"]).glob("ingest/*.parquet")), (
        "nobody needs the copy any more"
    )
    assert "skipped" in outputs["process"]
    assert "skipped" in outputs["load-graph"]
    assert outputs["train"]["excluded_immature"] > 0, "what is not mature now teaches nothing"
    assert outputs["check"]["largest_difference"] <= 1e-6
    assert deployed(house) == {"cards": small_fraud.model().id, "cards-challenger": outputs["train"]["model"]}
    challenger = next(one for one in house.fraud.deployments() if one.name == "cards-challenger")
    assert (challenger.source["shadow"], challenger.source["challenges"]) == (True, "cards")
    assert house.fraud.stats()["totalCount"] == len(small_fraud.events()) - gone
