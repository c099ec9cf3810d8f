"""Transactions in the console: simulated, seen, explained, judged by hand; in a real browser on a real server."""

import re
import shutil
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import small_fraud
import small_graph
from card_records import flat
from playwright.sync_api import Page, expect
from waiting import eventually

from masthead.fraud.desk.simulate import Plan, generated


@pytest.fixture(scope="module")
def simulated(world: Any) -> Iterator[str]:
    """A deployed model and one simulation to its end: the name of its space."""
    masthead = world.masthead
    masthead.fraud.deploy("cards", small_fraud.folder() / "model")
    name = masthead.portal.start_simulation(rate=60, duration_s=5, fraud_share=0.15, seed=5, history=1_500)
    eventually(lambda: _simulation(world, name)["state"] == "finished", within_s=60)
    yield str(name)
    masthead.portal.delete_simulation(name)
    masthead.fraud.undeploy("cards")


def _simulation(world: Any, name: str) -> dict[str, Any]:
    found = next(one for one in world.masthead.portal.simulations() if one["name"] == name)
    assert found["state"] != "failed", found
    return dict(found)


def _flagged(world: Any, space: str) -> dict[str, Any]:
    found = world.masthead.fraud.find(space=space, flagged=True, limit=50).items
    assert found, "the simulation flagged nothing"
    return dict(max(found, key=lambda one: one["decision"]["pred_prob"]))


def test_a_simulation_is_begun_in_the_dialog_and_caught_on_the_screen(visit, world, simulated):
    page = visit.open("/fraud", "Fraud")
    page.get_by_role("button", name="Simulate").click()
    dialog = page.get_by_role("dialog")
    for field, value in (
        ("Duration, seconds", "4"),
        ("Rate, per second", "40"),
        ("Transactions before", "500"),
        ("Fraud share, per cent", "12"),
    ):
        dialog.get_by_label(field).fill(value)
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("space=sim-"))
    expect(page.get_by_text(re.compile(r"finished: 160 of 160"))).to_be_visible(timeout=90_000)
    expect(page.locator(".mh-figure").filter(has_text="Recall")).to_contain_text(
        re.compile(r"\d of \d+ frauds")
    )
    points = page.evaluate(
        "() => getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart"
        ".getOption().series.map(one => one.data.length)"
    )
    assert sum(points) == 160
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url(re.compile("/ui/fraud$"))
    assert [one["name"] for one in world.masthead.portal.simulations()] == [simulated]


def test_from_a_fraud_on_the_screen_over_its_graph_to_the_next_transaction(visit, world, simulated):
    page = visit.open(f"/fraud?space={simulated}", "Fraud")
    page.get_by_role("link", name=re.compile(r"^\d{7}$")).first.click()
    expect(page.get_by_role("heading", name="Why", level=2)).to_be_visible()
    expect(page.locator(".mh-card").filter(has_text="Why")).to_contain_text(re.compile(r"[+-]\d\.\d\d"))
    before = page.url
    page.locator(".nicegui-echart").scroll_into_view_if_needed()  # the mouse reaches what is on the screen
    where = page.evaluate(
        """() => {
          const element = document.querySelector('.nicegui-echart'), chart = getElement(+element.id.slice(1)).chart;
          const data = chart.getModel().getSeriesByIndex(0).getData();
          const place = [...Array(data.count()).keys()].find(i => i > 0 && data.getRawDataItem(i).transaction);
          const [x, y] = chart.convertToPixel({seriesIndex: 0}, data.getItemLayout(place));
          const box = element.getBoundingClientRect();
          return [data.getRawDataItem(place).transaction, box.x + x, box.y + y];
        }"""
    )
    page.mouse.click(where[1], where[2])
    expect(page.get_by_role("heading", name=f"Transaction {where[0]}", level=1)).to_be_visible()
    assert page.url != before


DEVICE = "shared by thieves"
RING = ("8000001", "8000002", "8000003")


def _apart(id: str, dt: float, **entities: Any) -> dict[str, Any]:
    """Return a transaction that shares no entity with another one but those that are given."""
    bare = dict.fromkeys(one.columns[0] for one in small_fraud.model().schema.relations)
    return flat(0, **{**bare, "TransactionID": id, "TransactionDT": dt, **entities})


@pytest.fixture(scope="module")
def judged(world: Any) -> Iterator[str]:
    """A space with a deployment of its own name that reviews everything: a ring of three payments in 20 days, and others."""
    fraud, portal = world.masthead.fraud, world.masthead.portal
    fraud.deploy("judged", small_fraud.folder() / "model", space="judged")
    portal.set_thresholds("judged", review=0.0, block=0.99)
    day = 86_400
    for place, (id, days) in enumerate(zip(RING, (0, 15, 20), strict=True)):
        fraud.score(
            _apart(
                id, 15_000_000 + days * day, card1=f"ring-{place}", id_20=DEVICE, TransactionAmt=10.0 + place
            ),
            space="judged",
        )
    for id in RING:
        fraud.label(id, "fraud", "chargeback", space="judged")
    yield "judged"
    portal.set_thresholds("judged")
    fraud.undeploy("judged")
    fraud.delete_space("judged")


def test_one_key_is_a_verdict_that_changes_what_is_scored_later(visit, world, judged):
    fraud = world.masthead.fraud

    def scored(id: str) -> tuple[float, float]:
        """Return the scores of two transactions that are alike but for whom they share an address with."""
        start = 15_000_000 + 20 * 86_400
        found = [
            fraud.score(_apart(f"{one}-{id}", start, id_19=one), space=judged)["pred_prob"]
            for one in ("ours", "theirs")
        ]
        return found[0], found[1]

    scored("first")
    page = visit.open(f"/fraud/transactions/ours-first?space={judged}", "Transaction ours-first")
    page.keyboard.press("u")
    expect(page.get_by_text("nothing is known of it yet, an analyst's last word: unsure")).to_be_visible()
    ours, theirs = scored("unsure")
    assert ours == theirs
    page.keyboard.press("f")
    expect(page.get_by_text("known as fraud, an analyst's last word: fraud")).to_be_visible()
    called_fraud, theirs = scored("fraud")
    assert called_fraud != theirs
    page.keyboard.press("l")
    expect(page.get_by_text("known as legit, an analyst's last word: legit")).to_be_visible()
    called_legit, theirs = scored("legit")
    assert called_legit not in (called_fraud, theirs)
    page.get_by_role("button", name="Unsure (u)").click()
    expect(page.get_by_text("known as legit, an analyst's last word: unsure")).to_be_visible()
    labels = fraud.get("ours-first", space=judged)["labels"]
    assert [(one["value"], one["source"]) for one in labels] == [("fraud", "analyst"), ("legit", "analyst")]
    for one in ("ours", "theirs"):
        fraud.erase("id_19", one, space=judged)


def test_a_ring_is_shown_with_what_ties_it_and_its_members_are_a_click_away(visit, world, judged):
    page = visit.open(f"/fraud/rings?space={judged}", "Rings")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=RING[0], exact=True))
    cells = row.get_by_role("cell")
    expect(cells).to_have_count(9)
    assert [one.strip() for one in cells.all_inner_texts()[:5]] == [RING[0], "3", "33.00", "3", "0"]
    expect(cells.nth(7)).to_have_text(f"device {DEVICE}")
    page.get_by_role("button", name=f"Members {RING[0]}").click()
    dialog = page.get_by_role("dialog")
    for id in RING:
        expect(dialog.get_by_role("link", name=id, exact=True)).to_be_visible()
    expect(dialog.get_by_role("link", name=f"device {DEVICE}")).to_be_visible()
    dialog.get_by_role("link", name=RING[2], exact=True).click()
    expect(page.get_by_role("heading", name=f"Transaction {RING[2]}", level=1)).to_be_visible()


def test_counts_and_amounts_are_those_of_the_window_that_is_chosen(visit, world, judged):
    page = visit.open(f"/fraud?space={judged}", "Fraud")

    def figure(name: str) -> Any:
        return page.locator(".mh-figure").filter(has=page.get_by_text(name, exact=True))

    for window, count, amount in (("7 days", 2, 23), ("hour", 1, 12), ("30 days", 3, 33)):
        if window != "7 days":  # which is chosen already
            page.get_by_label("Window").click()
            page.get_by_role("option", name=window, exact=True).click()
        for name in ("Transactions", "Flagged"):
            expect(figure(name)).to_contain_text(re.compile(rf"^{name}\s*{count}\s*(until|100\.00 %)"))
        for name in ("Amount", "Flagged amount"):
            expect(figure(name)).to_contain_text(f"{amount}.00")
        assert sum(page.evaluate(_COUNTED)) == count


_COUNTED = """() => [...document.querySelectorAll('.nicegui-echart')]
    .map(one => getElement(+one.id.slice(1)).chart.getOption().series)
    .find(series => series[0].type === 'bar' && series[0].name === 'passed')
    .flatMap(one => one.data.map(point => point[1]))"""


def test_how_long_decisions_took_is_drawn_as_it_was_told(visit, world, judged):
    fraud, portal = world.masthead.fraud, world.masthead.portal
    page = visit.open(f"/fraud?space={judged}", "Fraud")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Latency", level=2))
    part.get_by_text("The same as a table").click()
    driver = fraud.store._opened()
    driver.set_trace_callback(lambda statement: time.sleep(0.3) if statement == "COMMIT" else None)
    before = dict(portal.latencies())
    told = fraud.score(_apart("8200001", 15_000_000, card1="slow"), space=judged)["latency_ms"]
    driver.set_trace_callback(None)
    most = next(bound for bound, _ in portal.latencies() if told <= bound * 1e3)
    assert told >= 300
    assert dict(portal.latencies())[most] == before[most] + 1
    name = "more" if most == float("inf") else f"{most * 1e3:g} ms"
    row = part.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))
    expect(row.get_by_role("cell").nth(1)).to_have_text(f"{before[most] + 1:,}")
    fraud.erase("card1", "slow", space=judged)


def test_the_precision_of_a_simulation_is_that_of_its_decisions_against_the_truth(
    visit, world, simulated, tmp_path
):
    truth = generated(Plan(rate=60, duration_s=5, fraud_share=0.15, seed=5, history=1_500), tmp_path)
    known = dict(zip(truth.events.ids, truth.truth.tolist(), strict=True))
    stored = world.masthead.fraud.find(space=simulated, flagged=True, limit=1_000, explain=False).items
    flagged = [known[one["id"]] for one in stored if known.get(one["id"], -1) >= 0]
    assert 0 < sum(flagged) < len(flagged)
    page = visit.open(f"/fraud?space={simulated}", "Fraud")
    card = page.locator(".mh-figure").filter(has=page.get_by_text("Precision", exact=True))
    expect(card).to_contain_text(f"{sum(flagged):,} of {len(flagged):,} flagged are fraud")
    expect(card).to_contain_text(f"{sum(flagged) / len(flagged):.3f}")


def test_who_is_allowed_on_the_page_passes_whatever_the_model_says(visit, world, judged):
    fraud, portal = world.masthead.fraud, world.masthead.portal
    portal.set_thresholds("judged", review=0.0, block=0.0)
    assert fraud.score(_apart("8300001", 15_000_000, card1="known"), space=judged)["action"] == "block"
    page = visit.open(f"/fraud/entity?relation=card1&value=known&space={judged}", "card known")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("on the allow list")).to_be_visible()
    allowed = fraud.score(_apart("8300002", 15_000_000, card1="known"), space=judged)
    assert (allowed["action"], allowed["flag"], allowed["listed"]["list"]) == ("pass", False, "allow")
    portal.put_listed("block", "id_20", "bad", space=judged)
    both = fraud.score(_apart("8300003", 15_000_000, card1="known", id_20="bad"), space=judged)
    assert (both["action"], both["listed"]["list"]) == ("block", "block")
    visit.open(f"/fraud/lists?space={judged}", "Lists")
    for name, kind in (("card known", "allow"), ("device bad", "block")):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name))
        expect(row.get_by_role("cell").nth(1)).to_have_text(kind)
    portal.remove_listed("id_20", "bad", space=judged)
    fraud.erase("card1", "known", space=judged)
    portal.set_thresholds("judged", review=0.0, block=0.99)


def test_a_retraining_is_begun_on_the_page_and_its_run_is_shown(visit, world, simulated):
    page = visit.open("/fraud/models", "Models")
    page.get_by_role("button", name="Retrain cards").click()
    page.get_by_role("dialog").get_by_role("button", name="Retrain").click()
    page.wait_for_url(re.compile(r"/ui/fraud/pipelines\?run="))
    (listed,) = world.masthead.pipelines.list()
    run = world.masthead.pipelines.get(listed["id"])
    assert run["config"]["challenges"] == "cards"
    expect(page.get_by_role("link", name=run["id"])).to_be_visible()
    ended = eventually(lambda: _ended(world, run["id"]), within_s=60)
    assert (ended["state"], ended["step"]) == ("failed", "ingest"), (
        "there are no real transactions to learn from"
    )
    world.masthead.pipelines.delete(run["id"])


def _ended(world: Any, id: str) -> dict[str, Any] | None:
    found = dict(world.masthead.pipelines.get(id))
    return found if found["state"] in ("done", "failed") else None


def test_a_challenger_is_promoted_on_the_page(visit, world, judged):
    fraud = world.masthead.fraud
    page = visit.open("/fraud/models", "Models")
    promote = page.get_by_role("button", name="Promote its challenger judged", exact=True)
    promote.click()
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    expect(page.get_by_text("nobody challenges 'judged'")).to_be_visible()
    fraud.deploy("judged-new", small_fraud.folder() / "model", space=judged, challenges="judged")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="judged-new", exact=True))
    expect(row).to_contain_text("scores along, challenges judged")
    promote.click()
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    expect(page.get_by_text(f"judged: {small_fraud.model().id} decides")).to_be_visible()
    assert world.masthead.journal.read("fraud", "judged")[-1]["event"] == "challenger promoted"
    fraud.undeploy("judged-new")


def test_a_listed_entity_is_blocked_whatever_the_model_says(visit, world, simulated):
    masthead = world.masthead
    found = next(
        one
        for one in masthead.fraud.find(space=simulated, flagged=False, limit=100).items
        if one["decision"] and one["decision"]["action"] == "pass"
    )
    page = visit.open(
        f"/fraud/entity?relation=card1&value={found['card1']}&space={simulated}", f"card {found['card1']}"
    )
    page.get_by_role("button", name="Block").click()
    expect(page.get_by_text("on the block list")).to_be_visible()
    visit.open(f"/fraud/lists?space={simulated}", "Lists")
    expect(page.get_by_role("link", name=f"card {found['card1']}")).to_be_visible()
    page.go_back()
    again = {
        "TransactionID": "9000001",
        "TransactionDT": 15_000_000,
        "TransactionAmt": 12.5,
        "card1": found["card1"],
    }
    decision = masthead.fraud.score(again, space=simulated)
    assert (decision["action"], decision["flag"], decision["listed"]["list"]) == ("block", True, "block")
    page.get_by_role("button", name="Take off the list").click()
    expect(page.get_by_text("on no list")).to_be_visible()
    visit.open(f"/fraud/entity?relation=nope&value=1&space={simulated}", "nope 1")
    expect(page.get_by_text("relation: there is none named 'nope'; there are card1")).to_be_visible()
    expect(page.get_by_role("button", name="Block")).to_have_count(0)
    decision = masthead.fraud.score({**again, "TransactionID": "9000002"}, space=simulated)
    assert "listed" not in decision


def test_a_transaction_whose_id_holds_a_slash_has_a_page(visit, world, simulated):
    id = "till 1/2024#7"
    one = {"TransactionID": id, "TransactionDT": 15_000_002, "TransactionAmt": 12.5, "card1": "slashed"}
    world.masthead.fraud.score(one, space=simulated)
    page = visit.open(f"/fraud/transactions/{quote(id, safe='')}?space={simulated}", f"Transaction {id}")
    page.get_by_role("button", name="Legitimate (l)").click()
    expect(page.get_by_text("an analyst's last word: legit")).to_be_visible()
    world.masthead.fraud.erase("card1", "slashed", space=simulated)


def test_thresholds_that_are_set_count_from_the_next_decision_on(visit, world, simulated):
    page = visit.open("/fraud/models", "Models")
    page.get_by_role("button", name="Thresholds cards").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Block from").fill("0.999")
    dialog.get_by_label("Review from").fill("0.998")
    dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="cards", exact=True)).first
    expect(row).to_contain_text("set by hand")
    one = {"TransactionID": "9000003", "TransactionDT": 15_000_001, "TransactionAmt": 12.5}
    assert world.masthead.fraud.score(one, space=simulated)["threshold"] == 0.998
    world.masthead.portal.set_thresholds("cards")
    own = world.masthead.portal.thresholds("cards")
    assert own["by_hand"] is False


def test_a_graph_network_and_a_damaged_model_stand_beside_the_others(visit, world, simulated):
    masthead = world.masthead
    masthead.fraud.deploy("network", small_graph.folder() / "model")
    broken = masthead.folder.models / "fraud-0123456789ab"
    shutil.copytree(small_fraud.folder() / "model", broken)
    (broken / "schema.toml").write_text("")
    page = visit.open("/fraud/models", "Models")

    def row(name: str) -> Any:
        return page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))

    expect(row("network").first).to_contain_text("graph network: answers requests, decides nothing")
    id = next(one.source["model"] for one in masthead.fraud.deployments() if one.name == "network")
    expect(row(id).last).to_contain_text("180 nodes of type TransactionID")
    expect(row(id).last).to_contain_text(re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d"))
    expect(row(broken.name)).to_contain_text("Damaged: model: expected schema.toml")
    expect(row(broken.name)).to_contain_text("Deploy it again from an intact folder, or delete it")
    page.get_by_role("button", name=f"Card {id}").click()
    expect(page.get_by_role("dialog")).to_contain_text("A relational graph network")
    expect(page.get_by_role("row").filter(has_text="nodes of type card1")).to_contain_text("40")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Thresholds network").click()
    expect(page.get_by_text("which has no thresholds")).to_be_visible()
    masthead.fraud.undeploy("network")
    masthead.fraud.delete_model(id)
    masthead.fraud.delete_model(broken.name)


def test_how_decisions_turned_out_is_told_beside_what_was_released(visit, world, simulated):
    fraud = world.masthead.fraud
    fraud.deploy("sampled", small_fraud.folder() / "model", release_share=0.25, subject="cards.in")
    said = {9_200_001: "fraud", 9_200_002: "legit", 9_200_003: None}
    for place, value in said.items():
        one = {"TransactionID": str(place), "TransactionDT": 15_000_000, "TransactionAmt": 5, "card1": "told"}
        fraud.score(one, alias="sampled")
        if value:
            fraud.label(str(place), value, "chargeback")
    page = visit.open("/fraud/models", "Models")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="sampled", exact=True))
    expect(row).to_contain_text("25 %")
    expect(row).to_contain_text("cards.in")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Outcomes", level=2))
    every = part.get_by_role("row").filter(has=page.get_by_role("cell", name="All", exact=True))
    expect(every).to_be_visible()
    found = fraud.outcomes()["all"]
    assert (found["decided"], found["known"], found["frauds"]) == (3, 2, 1)
    expect(every.get_by_role("cell")).to_have_text(
        ["All", "3", "2", str(found["flagged"]), str(found["caught"]), "1", *_shares(found)]
    )
    fraud.undeploy("sampled")
    fraud.erase("card1", "told")


def test_a_review_that_was_let_pass_says_so_beside_both_cuts(visit, world, simulated):
    fraud, portal = world.masthead.fraud, world.masthead.portal
    fraud.deploy("free", small_fraud.folder() / "model", release_share=1.0, space="free")
    portal.set_thresholds("free", review=0.0, block=0.99)
    one = {"TransactionID": "9300001", "TransactionDT": 15_000_000, "TransactionAmt": 5, "card1": "let"}
    assert fraud.score(one, space="free")["released"]
    page = visit.open("/fraud/transactions/9300001?space=free", "Transaction 9300001")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Decision", level=2))
    expect(part).to_contain_text("pass (released, not reviewed)")
    expect(part).to_contain_text(re.compile(r"Review from\s*0\.000\s*Block from\s*0\.990"))
    page = visit.open("/fraud?space=free", "Fraud")
    lines = page.evaluate(
        "() => getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart"
        ".getOption().series[0].markLine.data.map(one => one.name)"
    )
    assert lines == ["review from 0.000", "block from 0.990"]
    portal.set_thresholds("free")
    fraud.undeploy("free")
    fraud.erase("card1", "let", space="free")


def _shares(told: dict[str, Any]) -> list[str]:
    return ["-" if told[name] is None else f"{told[name]:.3f}" for name in ("precision", "recall")]


def test_what_is_stored_of_a_customer_is_erased_on_the_page(visit, world, simulated):
    masthead = world.masthead
    found = next(
        one for one in masthead.fraud.find(space=simulated, flagged=False, limit=50).items if "id_20" in one
    )
    page = visit.open(f"/fraud/lists?space={simulated}", "Lists")
    erase = page.locator(".mh-card").filter(has_text="Erase a customer")
    erase.get_by_label("Relation").click()
    page.get_by_role("option", name="card1", exact=True).click()
    erase.get_by_label("Value").fill(found["card1"])
    erase.get_by_role("button", name="Erase").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.get_by_text(re.compile(r"Erased \d+ transactions"))).to_be_visible()
    assert masthead.portal.entity("card1", found["card1"], space=simulated) == []


@pytest.fixture
def drifting(world: Any) -> Iterator[str]:
    """A deployment whose transactions have amounts that its model never saw: its name."""
    fraud = world.masthead.fraud
    fraud.deploy("drifting", small_fraud.folder() / "model", space="drifts")
    fraud.score_many(
        [
            flat(
                place,
                TransactionID=str(9_100_000 + place),
                TransactionDT=16_000_000 + place,
                TransactionAmt=9e6,
            )
            for place in range(300)
        ],
        space="drifts",
    )
    yield "drifting"
    fraud.undeploy("drifting")


def test_what_has_moved_is_marked_in_the_chart_and_in_its_table(visit, world, simulated, drifting):
    page = visit.open("/fraud/models", "Models")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Drift", level=2)).first
    expect(part.get_by_role("status")).to_contain_text("nothing was scored")  # of the first one, cards
    part.get_by_label("Deployment").click()
    page.get_by_role("option", name=drifting, exact=True).click()
    expect(part.get_by_role("status")).to_contain_text("300 transactions from")
    found = world.masthead.fraud.drift(drifting)
    assert "amount" in found["moved"]
    part.get_by_text("The same as a table").click()
    row = part.get_by_role("row").filter(has=page.get_by_role("cell", name="amount", exact=True))
    expect(row).to_contain_text(f"{found['features']['amount']:.3f}")
    expect(row).to_contain_text("moved")
    drawn = page.evaluate(
        "() => { const one = getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart.getOption(); "
        "return [one.yAxis[0].data, one.series[0].data.map(bar => bar.value), one.series[0].markLine.data[0].xAxis]; }"
    )
    names, values, limit = drawn
    assert limit == 0.2
    assert dict(zip(names, values, strict=True))["amount"] == round(found["features"]["amount"], 3)


def test_a_run_of_the_pipeline_is_seen_step_by_step_and_says_where_it_failed(visit, world):
    page = visit.open("/fraud/pipelines", "Pipelines")
    expect(page.get_by_text("No run yet")).to_be_visible()
    run = world.masthead.pipelines.start({"schema": "ieee-cis", "data": ["/nowhere/train.csv"]})
    steps = page.get_by_role("list", name="Steps in their order").get_by_role("listitem")
    expect(steps).to_have_count(12)  # without a reload
    expect(steps.nth(0)).to_contain_text("1. normalise-parameters")
    expect(steps.nth(0)).to_contain_text("done")
    expect(steps.nth(1)).to_contain_text("failed", timeout=60_000)
    expect(steps.nth(1)).to_contain_text("/nowhere/train.csv")
    expect(steps.nth(2)).to_contain_text("waiting")
    expect(page.get_by_role("link", name=run["id"])).to_be_visible()
    page.get_by_role("button", name="Log of normalise-parameters").click()
    expect(page.get_by_role("dialog")).to_contain_text("nothing")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile("attempt 2"))).to_be_visible()
    eventually(lambda: world.masthead.pipelines.get(run["id"])["state"] == "failed", within_s=60)
    world.masthead.pipelines.delete(run["id"])


WIDE = "() => document.documentElement.scrollWidth"


def test_the_pages_of_transactions_fit_a_phone_and_the_dark(browser, world, simulated):
    found = _flagged(world, simulated)
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, color_scheme="dark")
    context.set_default_timeout(15_000)
    world.let_in(context)
    page: Page = context.new_page()
    for path, heading in (
        (f"/fraud?space={simulated}", "Fraud"),
        (f"/fraud/transactions/{found['id']}?space={simulated}", f"Transaction {found['id']}"),
        (f"/fraud/rings?space={simulated}", "Rings"),
        ("/fraud/models", "Models"),
        ("/fraud/pipelines", "Pipelines"),
        (f"/fraud/lists?space={simulated}", "Lists"),
    ):
        page.goto(world.url + path)
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        expect(page.locator("body.body--dark")).to_be_visible()
        assert page.evaluate(WIDE) <= 390, path
        assert not re.findall(r"\b(NaN|None|undefined|null|nan|Traceback)\b", page.inner_text("body")), path
    page.goto(f"{world.url}/fraud/transactions/{found['id']}?space={simulated}")
    shape = """() => {
        const chart = getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart;
        const box = chart.getModel().getSeriesByIndex(0).coordinateSystem.getBoundingRect();
        return [box.width, box.height]; }"""
    phone = page.evaluate(shape)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.wait_for_function(f"before => String(({shape})()) !== String(before)", arg=phone)
    wide = page.evaluate(shape)
    assert phone[0] / phone[1] < wide[0] / wide[1]
    context.close()
