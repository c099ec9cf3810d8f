"""What is laid down for a deployment: subjects that cannot loop or meet, and a share of reviews that passes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import card_events
import pytest
import small_fraud
from card_records import flat
from fresh import fresh

from masthead.app import Masthead
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.settings import Settings
from masthead.fraud.live.outcomes import Decided, told_outcomes
from masthead.fraud.live.terms import Terms, is_released
from masthead.fraud.rule_action import score_messages
from masthead.streams.works import Intake

MODEL = small_fraud.folder() / "model"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Masthead]:
    with Masthead.open(Settings(data=fresh(tmp_path / "data"))) as found:
        yield found


@pytest.mark.parametrize(
    "subject", [">", "*", "a b", "a..b", "$JS.x", "_INBOX.x", "masthead.x", "a.>.b", "a.x*", "a\n", "a" * 201]
)
def test_what_is_no_subject_to_take_is_refused(subject: str) -> None:
    with pytest.raises(InvalidInput, match="subject: expected a NATS subject"):
        Terms().changed(subject=subject)


@pytest.mark.parametrize("subject", ["a.*", "a.>", "a b", "$JS.x", ".a", "masthead.clock"])
def test_what_is_no_subject_to_tell_is_refused(subject: str) -> None:
    with pytest.raises(InvalidInput, match="decisions: expected"):
        Terms().changed(decisions=subject)
    assert Terms().changed(decisions="masthead.fraud.cards").decisions == "masthead.fraud.cards"


@pytest.mark.parametrize(
    ("subject", "decisions"),
    [("pay.>", "pay.out"), ("pay.*", "pay.out"), ("pay.out", "pay.out"), ("a.b.refused", "a.b")],
)
def test_decisions_must_not_come_back_as_transactions(house: Masthead, subject: str, decisions: str) -> None:
    with pytest.raises(InvalidInput, match="decisions: expected a subject outside of"):
        house.fraud.deploy("cards", MODEL, subject=subject, decisions=decisions)
    assert house.fraud.deployments() == []


def test_a_model_of_another_schema_is_refused_where_transactions_are_and_both_are_named(
    house: Masthead, tmp_path: Path
) -> None:
    ours, theirs = small_fraud.model(), card_events.save_model(tmp_path / "other")
    house.fraud.deploy("cards", MODEL)
    decided = house.fraud.score(flat(0))
    with pytest.raises(Conflict) as refused:
        house.fraud.deploy("other", tmp_path / "other")
    for digest in (ours.schema.digest(), theirs.schema.digest()):
        assert digest in refused.value.message
    with pytest.raises(Conflict, match=theirs.schema.digest()):
        house.fraud.deploy("cards", tmp_path / "other")  # nor in the place of the one that is there
    assert [one.source["model"] for one in house.fraud.deployments()] == [ours.id]
    assert house.fraud.score(flat(1))["model"] == decided["model"] == ours.id
    assert [one["id"] for one in house.fraud.models()] == [ours.id], "what is refused is not kept"
    house.fraud.deploy("other", tmp_path / "other", space="apart")
    paid = {"id": "1", "time": card_events.BEGIN, "card": "card1"}
    assert house.fraud.score(paid, space="apart")["model"] == theirs.id


def test_two_deployments_do_not_take_the_same_messages(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL, subject="pay.*.in")
    with pytest.raises(Conflict, match="which cards takes"):
        house.fraud.deploy("other", MODEL, subject="pay.shop.>")
    house.fraud.deploy("other", MODEL, subject="pay.shop.out")
    house.fraud.deploy("cards", MODEL, subject="pay.*.in")  # itself is no other


def test_terms_stay_until_others_are_given_and_a_shadow_takes_nothing(house: Masthead) -> None:
    house.fraud.start()
    house.fraud.deploy("cards", MODEL, subject="pay.in", release_share=0.25)
    house.fraud.refresh()
    assert house.intakes() == (
        Intake("cards", "pay.in", "masthead.fraud.cards", "masthead.fraud.cards.refused"),
    )
    about = house.fraud.deploy("cards", MODEL, decisions="pay.out").to_json()["about"]
    assert (about["subject"], about["decisions"], about["release_share"]) == ("pay.in", "pay.out", 0.25)
    assert house.intakes()[0].answers == "pay.out"
    house.fraud.deploy("cards", MODEL, shadow=True)
    assert house.intakes() == ()
    with pytest.raises(InvalidInput, match="subject: expected none with shadow"):
        house.fraud.deploy("dark", MODEL, shadow=True, subject="dark.in")
    house.fraud.deploy("cards", MODEL, subject="")
    assert house.intakes() == ()


def test_a_challenger_that_is_promoted_takes_the_place_and_not_the_terms(house: Masthead) -> None:
    house.fraud.start()
    house.fraud.deploy("cards", MODEL, subject="pay.in", release_share=0.25)
    house.fraud.deploy("better", MODEL, challenges="cards")
    house.fraud.score(flat(0))
    assert house.fraud.promote("cards")["promoted"]
    assert [one.name for one in house.intakes()] == ["cards"]
    terms = {one.name: Terms.of(one.source) for one in house.fraud.deployments()}
    assert terms == {"cards": Terms("pay.in", "", 0.25), "better": Terms()}
    with pytest.raises(InvalidInput, match="subject: expected none with shadow"):
        house.fraud.deploy("third", MODEL, challenges="cards", subject="dark.in")


def test_messages_wait_while_nothing_is_deployed_that_could_score_them(house: Masthead) -> None:
    intake = Intake("cards", "pay.in", "pay.out", "pay.out.refused")
    with pytest.raises(LimitReached, match="cards"):
        score_messages(house.fraud, intake, [b"{}"])
    house.fraud.deploy("cards", MODEL)
    (found,) = score_messages(house.fraud, intake, [b"{}"])
    assert found.reason.startswith("TransactionID")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(house: Masthead, share: float) -> None:
    with pytest.raises(InvalidInput, match="release_share: expected 0 to 1"):
        house.fraud.deploy("cards", MODEL, release_share=share)


def test_of_would_be_reviews_a_share_passes_drawn_by_the_id(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL, release_share=0.5)
    house.portal.set_thresholds("cards", review=0.0, block=0.9)
    decisions = [house.fraud.score(flat(place)) for place in range(80)]
    for one in decisions:
        assert one["flag"]
        if one["action"] != "block":
            drawn = is_released(one["id"], 0.5)
            assert one["action"] == ("pass" if drawn else "review")
            assert one.get("released", False) == drawn
    assert 20 < sum(one["action"] == "pass" for one in decisions) < 60
    assert house.fraud.score(flat(0))["action"] == decisions[0]["action"]  # as it is stored


def test_without_a_share_every_review_is_one(house: Masthead) -> None:
    house.fraud.deploy("cards", MODEL)
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    assert {house.fraud.score(flat(place))["action"] for place in range(20)} == {"review"}


def decided(id: str, *, flagged: bool, value: int = -1, ts: int = 0, released: bool = False) -> Decided:
    return Decided(id, ts, "cards", flagged, released, value)


def test_the_fair_sample_is_what_was_released_and_what_passed_of_the_same_draw() -> None:
    drawn = [str(n) for n in range(1_000) if is_released(str(n), 0.2)]
    others = [str(n) for n in range(1_000) if not is_released(str(n), 0.2)]
    rows = [
        decided(drawn[0], flagged=True, released=True, value=1),
        decided(drawn[1], flagged=True, released=True),  # nobody called it fraud: presumed legitimate
        decided(drawn[2], flagged=False, value=1),  # missed
        decided(drawn[3], flagged=False),
        decided(drawn[4], flagged=False, value=1, ts=50),  # too young to count
        decided(others[0], flagged=True, value=1),  # reviewed
        decided(others[1], flagged=False, value=1),
        decided(others[2], flagged=False, ts=50),  # nobody knows yet
    ]
    found = told_outcomes(rows, mature_before=10, shares={"cards": 0.2})
    assert found["released"] == {
        "decided": 4,
        "known": 4,
        "flagged": 2,
        "caught": 1,
        "frauds": 2,
        "precision": 0.5,
        "recall": 0.5,
    }
    assert found["all"] == {
        "decided": 8,
        "known": 7,
        "flagged": 3,
        "caught": 2,
        "frauds": 5,
        "precision": 2 / 3,
        "recall": 0.4,
    }
    nothing = told_outcomes([], mature_before=10, shares={})
    assert (nothing["all"]["precision"], nothing["released"]["recall"]) == (None, None)


def test_outcomes_are_those_of_the_stored_decisions(house: Masthead) -> None:
    with pytest.raises(NotFound, match="space"):
        house.fraud.outcomes()
    house.fraud.deploy("cards", MODEL, release_share=1.0)
    house.portal.set_thresholds("cards", review=0.0, block=1.0)
    events = [replace(small_fraud.events().event(0), id=f"t{n}") for n in range(3)]
    house.fraud.score_events(events)
    house.fraud.label("t0", "legit", "import", arrived_at=events[0].ts + 1)
    house.fraud.label("t0", "fraud", "chargeback", arrived_at=events[0].ts + 2)
    young = house.fraud.outcomes()
    assert (young["all"]["known"], young["released"]["known"]) == (0, 0)  # no label has arrived yet
    later: dict[str, Any] = {"id": "later", "ts": events[0].ts + 90 * 86_400_000_000}
    house.fraud.score_events([replace(events[0], **later)])
    found = house.fraud.outcomes(end=events[0].ts + 1)
    counts = {"decided": 3, "known": 3, "flagged": 3, "caught": 1, "frauds": 1}
    assert found["released"] == {**counts, "precision": 1 / 3, "recall": 1.0}
    assert found["all"] == found["released"]
    assert house.fraud.outcomes()["all"]["decided"] == 4
