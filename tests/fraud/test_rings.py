"""Rings: suspicious transactions that share rare entities, joined one by one as they come."""

import card_events
import numpy as np

from masthead.fraud.reasons.rings import RARE, Ring, Rings
from masthead.fraud.store.link_records import Recent

NOW = 1_000_000


def row(seq: int, *ents: int, flagged: bool = False, amount: float | None = 10.0) -> Recent:
    """Return a transaction; `ents` are of card, device, shop (a hub) and country (no counterparty)."""
    return Recent(seq, seq, NOW + seq, amount, flagged, (*ents, *(0,) * (4 - len(ents))))


def said(number: int, seq: int, value: int = 1, at: int = NOW) -> Recent:
    return Recent(number, seq, at, None, False, (), True, value)


def found(*given: Recent) -> list[tuple[int, ...]]:
    made = Rings(card_events.schema())
    made.take(given)
    return [one.members for one in made.found()]


def test_two_confirmed_or_three_flagged_transactions_of_one_entity_are_a_ring() -> None:
    two = [row(1, 11, 21), row(2, 12, 21, amount=None)]
    assert found(*two, said(8, 1)) == []
    assert found(*two, said(8, 1), said(9, 2)) == [(1, 2)]
    assert found(*(row(n, n + 10, 21, flagged=True) for n in (1, 2))) == []
    assert found(*(row(n, n + 10, 21, flagged=True) for n in (1, 2, 3))) == [(1, 2, 3)]
    made = Rings(card_events.schema())
    made.take([*two, row(3, 12, flagged=True), said(8, 1), said(9, 2)])
    assert made.found() == [Ring((1, 2, 3), (12, 21), 2, 1, 20.0, NOW + 1, NOW + 3)]


def test_hubs_busy_entities_and_those_of_mostly_honest_transactions_join_nobody() -> None:
    flagged = {"flagged": True}
    assert found(*(row(n, n + 100, 0, 31, 41, **flagged) for n in range(1, 5))) == []
    assert found(*(row(n, n + 100, 21, **flagged) for n in range(1, RARE + 1))) != []
    assert found(*(row(n, n + 100, 21, **flagged) for n in range(1, RARE + 2))) == []
    most = [row(n, n + 100, 21, flagged=n <= 4) for n in range(1, 7)]
    assert found(*most) == [(1, 2, 3, 4)]
    assert found(*most, row(7, 117, 21)) == []
    assert found(*(row(n, **flagged) for n in range(1, 9))) == []


def test_a_label_counts_once_it_has_arrived_and_the_latest_one_holds() -> None:
    two = [row(1, 11, 21), row(2, 12, 21), said(8, 1)]
    assert found(*two, said(9, 2, at=NOW + 50)) == []
    assert found(*two, said(9, 2, at=NOW + 50), row(60, 19)) == [(1, 2)]
    assert found(*two, said(9, 2), said(10, 2, 0, at=NOW - 1)) == [(1, 2)]
    made = Rings(card_events.schema())
    made.take([*two, said(9, 2)])
    made.take([said(10, 2, 0, at=NOW + 1)])
    assert made.stale  # a union cannot be undone: it is done anew
    assert found(*two, said(9, 2), said(10, 2, 0, at=NOW + 1)) == []


def test_rings_that_grew_one_by_one_hold_all_that_are_found_at_once() -> None:
    rng = np.random.default_rng(3)
    given = [
        row(n, *rng.integers(0, 90, 2).tolist(), flagged=bool(rng.random() < 0.4)) for n in range(1, 150)
    ]
    grown = Rings(card_events.schema())
    for one in given:
        grown.take([one])
    parts = [set(one.members) for one in grown.found()]
    anew = found(*given)
    assert len(anew) > 2
    for members in anew:
        assert any(part >= set(members) for part in parts)
