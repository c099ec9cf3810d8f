"""Masthead watching itself: once per condition, no ringing at the edge."""

from datetime import UTC, datetime, timedelta

from masthead.alerts.records import OpenCondition
from masthead.alerts.watch import Drifted, Facts, changes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GIB = 1024.0**3


def step(facts: Facts, opened: dict[str, OpenCondition], now: datetime = NOW) -> list[tuple[str, str, float]]:
    """Return (name, stage, severity) of what is told, and remember it in `opened`."""
    told = []
    for event, condition in changes(facts, opened, now):
        name = next(
            (key for key, one in opened.items() if one.group == event.group),
            condition.name if condition else "",
        )
        told.append((name, event.stage, event.severity))
        assert event.detector == "masthead"
        if condition:
            opened[name] = condition
        else:
            del opened[name]
    return told


def test_a_disk_that_fills_is_told_once_and_again_when_it_is_well() -> None:
    opened: dict[str, OpenCondition] = {}
    free = [3.0, 1.9, 1.9, 2.1, 2.4, 2.6, 2.1, 1.9]
    told = [step(Facts(disk_free_bytes=one * GIB, disk_warn_bytes=2 * GIB), opened) for one in free]
    expected = [
        [],
        [("disk-nearly-full", "open", 80.0)],
        [],
        [],  # above the warning, still inside the hysteresis
        [],
        [("disk-nearly-full", "closed", 80.0)],
        [],
        [("disk-nearly-full", "open", 80.0)],
    ]
    assert told == expected


def test_a_condition_that_grows_worse_is_told_again() -> None:
    opened: dict[str, OpenCondition] = {}
    step(Facts(disk_free_bytes=1.0 * GIB, disk_warn_bytes=2 * GIB), opened)
    assert step(Facts(disk_free_bytes=0.4 * GIB, disk_warn_bytes=2 * GIB), opened) == [
        ("disk-nearly-full", "raised", 95.0)
    ]
    assert step(Facts(disk_free_bytes=0.4 * GIB, disk_warn_bytes=2 * GIB), opened) == []


def test_ingest_that_falls_behind_is_told_until_it_has_caught_up() -> None:
    opened: dict[str, OpenCondition] = {}
    told = [step(Facts(ingest_behind_s=one), opened) for one in (0.5, 59, 61, 30, 9, 30)]
    assert [[stage for _, stage, _ in one] for one in told] == [[], [], ["open"], [], ["closed"], []]


def test_what_is_unknown_stays_as_it_is() -> None:
    opened: dict[str, OpenCondition] = {}
    step(Facts(ingest_behind_s=100, disk_free_bytes=1, disk_warn_bytes=GIB, certificates={"a": NOW}), opened)
    assert len(opened) == 3
    assert step(Facts(), opened) == []


def test_a_certificate_is_told_30_days_before_7_days_before_and_when_renewed() -> None:
    opened: dict[str, OpenCondition] = {}
    end = NOW + timedelta(days=31)
    stages = [
        [
            stage
            for _, stage, _ in step(Facts(certificates={"sensor": end}), opened, NOW + timedelta(days=day))
        ]
        for day in (0, 2, 20, 25, 32)
    ]
    assert stages == [[], ["open"], [], ["raised"], ["raised"]]
    renewed = NOW + timedelta(days=400)
    assert step(Facts(certificates={"sensor": renewed}), opened) == [
        ("certificate-expiring:sensor", "closed", 96.0)
    ]


def test_a_rule_whose_channel_fails_is_told_and_told_again_when_given_up() -> None:
    opened: dict[str, OpenCondition] = {}
    told = [
        step(Facts(troubled=one), opened)
        for one in (
            {"r": (1, False, "refused")},
            {"r": (2, False, "refused")},
            {"r": (2, True, "refused")},
            {},
        )
    ]
    assert [[stage for _, stage, _ in one] for one in told] == [["open"], [], ["raised"], ["closed"]]


def test_a_model_that_drifts_is_told_again_when_its_score_does_and_ends_well_inside_the_limit() -> None:
    opened: dict[str, OpenCondition] = {}

    def drifted(score: float | None, index: float) -> Drifted:
        return Drifted(score, "amount", index, 1, 900, 0.2)

    told = [
        step(Facts(drifts=one), opened)
        for one in (
            {"cards": drifted(0.01, 0.19)},
            {"cards": drifted(None, 0.2)},
            {"cards": None},  # too few transactions to tell
            None,
            {"cards": drifted(0.3, 0.25)},
            {"cards": drifted(0.17, 0.1)},  # below the limit, still inside the hysteresis
            {"cards": drifted(0.1, 0.15)},
        )
    ]
    assert told == [
        [],
        [("fraud-drift:cards", "open", 75.0)],
        [],
        [],
        [("fraud-drift:cards", "raised", 90.0)],
        [],
        [("fraud-drift:cards", "closed", 90.0)],
    ]
    step(Facts(drifts={"cards": drifted(0.01, 1.5)}), opened)
    (event, _) = changes(Facts(drifts={}), opened, NOW)[0]
    assert (event.stage, opened["fraud-drift:cards"].reason[:34]) == (
        "closed",
        "cards: of 900 transactions 1 colum",
    )
