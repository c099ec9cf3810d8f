"""One transaction whose clock is years ahead: it is stored and scored, and says nothing of the others."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import small_fraud
from card_records import flat

from masthead.app import Masthead
from masthead.base.settings import Settings

YEAR_2334 = 10_000_000_000


@pytest.mark.parametrize("restarted", [False, True])
def test_labels_rings_and_windows_stay_with_the_others(tmp_path: Path, restarted: bool) -> None:
    last = 50
    with Masthead.open(Settings(data=tmp_path)) as house:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        house.fraud.score_many([flat(place) for place in range(last)])
        newest = house.portal.newest()
        ahead = house.fraud.score(flat(last, TransactionDT=YEAR_2334))
        assert house.fraud.get(ahead["id"])["time"].startswith("2334")
        if not restarted:
            check(house, newest, last)
    if restarted:
        with Masthead.open(Settings(data=tmp_path)) as house:
            check(house, newest, last)


def check(house: Masthead, newest: int, last: int) -> None:
    one = flat(0)["TransactionID"]
    house.fraud.label(one, "fraud", "analyst")
    (told,) = house.fraud.get(one)["labels"]
    assert told["arrived_at"] == datetime.fromtimestamp(newest / 1e6, UTC).isoformat()
    assert house.portal.newest() == newest
    assert house.fraud.drift("cards", days=366)["window"]["transactions"] == last
