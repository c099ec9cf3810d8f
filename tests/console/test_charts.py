"""Chart options, without a browser."""

import json
import math

from masthead.console.charts import band_chart, band_series, contribution_bars, seen_before, thinned
from masthead.console.fraud_charts import ego_graph, height_of, live_chart
from masthead.console.parts import plain, severity_band

NAN = float("nan")


def points(**changes):
    given = {
        "times": [0.0, 300.0, 600.0],
        "values": [1.0, 2.0, 9.0],
        "expected": [1.5, 1.5, 1.5],
        "low": [-1.0, -1.0, -1.0],
        "high": [3.0, 3.0, 3.0],
        "severity": [0.0, 49.9, 93.0],
    } | changes
    reasons = given.pop("reasons", ())
    return band_series(*given.values(), reasons=reasons, seen=seen_before(given["values"]), interval_s=300)


def test_the_band_stands_on_its_floor_also_below_zero():
    floor, height, *_ = points()
    assert floor[0] == [0.0, -1.0]
    assert height[0] == [0.0, 4.0]
    series = band_chart(points(), measure="CO", dark=False)["series"]
    assert [one.get("stackStrategy") for one in series[:2]] == ["all", "all"]


def test_only_severities_from_fifty_on_are_marked_in_their_colour():
    marks = points(reasons=["", "", "jump"])[4]
    assert [mark["value"] for mark in marks] == [[600_000.0, 9.0, 93, "critical", "a sudden jump"]]
    assert marks[0]["itemStyle"]["color"] == severity_band(93)[0]


def test_missing_numbers_are_gaps_and_never_reach_the_page_as_numbers():
    found = points(values=[None, NAN, 9.0], expected=[NAN] * 3, low=[None] * 3, high=[math.inf] * 3)
    json.dumps(found, allow_nan=False)
    assert [value for _, value in found[3]] == [None, None, 9.0]
    assert [value for _, value in found[1]] == [None, None, None]


def test_lines_break_where_intervals_are_missing():
    floor, *_ = points(times=[0.0, 300.0, 86_400.0])
    assert floor[2] == [600_000.0, None]
    assert len(floor) == 4


def test_a_long_series_opens_on_its_last_day():
    times = [300.0 * i for i in range(577)]
    flat = [1.0] * 577
    found = band_series(times, flat, flat, flat, flat, [0.0] * 577, interval_s=300)
    assert band_chart(found, measure="CO", dark=True, view_s=86_400)["dataZoom"][0]["start"] == 50.0
    assert band_chart(found, measure="CO", dark=True)["dataZoom"][0]["start"] == 0.0


def test_bars_show_the_fifteen_largest_contributors():
    found = contribution_bars({f"s{i}": float(i) for i in range(40)}, dimension="station", dark=False)
    assert found["yAxis"]["data"] == [f"s{i}" for i in range(25, 40)]


def test_numbers_are_written_short_and_nothing_is_written_for_nothing():
    assert [plain(one) for one in (2.226812, 1_234_567.0, 0.000012345, None, NAN)] == [
        "2.2268",
        "1.2346e+06",
        "1.2345e-05",
        "",
        "",
    ]


def test_a_value_inside_the_usual_course_shows_that_it_was_never_seen_before():
    found = points(values=[1.0, 2.0, 2.9])
    assert [one[-1][1] for one in (found[5], found[3], found[6])] == [1.0, 2.9, 2.0]
    assert found[0][-1][1] + found[1][-1][1] == 3.0
    assert seen_before([None, NAN, 3.0, 1.0, 2.0]) == [None, None, None, (3.0, 3.0), (1.0, 3.0)]


def test_a_silence_is_marked_at_the_last_value_before_it():
    marks = points(values=[1.0, 2.0, None], reasons=["", "", "silence"])[4]
    assert marks[0]["value"] == [600_000.0, 2.0, 93, "critical", "no values arrive"]


def test_a_thinned_line_keeps_its_extremes_and_every_anomaly():
    values = [float(i % 7) for i in range(10_000)]
    values[1234], values[4321] = 99.0, -99.0
    severity = [0.0] * 10_000
    severity[777] = 51.0
    kept = thinned(values, severity, 2_000)
    assert {1234, 4321, 777, 9_999} <= set(kept)
    assert len(kept) <= 2_100
    assert thinned(values[:50], severity[:50], 2_000) == list(range(50))


def test_the_live_chart_has_a_line_at_each_cut_when_there_is_a_model_that_decides():
    assert "markLine" not in live_chart(dark=False)["series"][0]
    lines = live_chart(dark=False, cuts=(0.42, 0.93))["series"][0]["markLine"]["data"]
    assert [(one["yAxis"], one["name"]) for one in lines] == [
        (height_of(0.42), "review from 0.420"),
        (height_of(0.93), "block from 0.930"),
    ]


def test_every_node_of_the_graph_has_a_place_of_its_own_and_always_the_same():
    nodes = [
        {
            "id": "t1",
            "kind": "transaction",
            "transaction": "1",
            "time": "",
            "amount": None,
            "label": "unknown",
        }
    ]
    nodes[0]["centre"] = True
    nodes += [{**nodes[0], "id": f"t{i}", "transaction": str(i), "centre": False} for i in range(2, 8)]
    nodes += [
        {"id": f"e{i}", "kind": "entity", "text": "", "relation": "r", "value": "v", "degree": 4}
        for i in (1, 2)
    ]
    edges = [{"transaction": f"t{i}", "entity": f"e{1 + i % 2}"} for i in range(1, 8)]
    found = ego_graph({"nodes": nodes, "edges": edges}, dark=False)
    places = [(one["x"], one["y"]) for one in found["series"][0]["data"]]
    assert len(set(places)) == len(nodes)
    assert found == ego_graph({"nodes": nodes, "edges": edges}, dark=False)
    phone = found["media"][0]["option"]["series"][0]["data"]
    high, wide = (
        [max(abs(one[axis]) for one in drawn) for axis in "xy"]
        for drawn in (phone, found["series"][0]["data"])
    )
    assert high[1] > high[0]
    assert wide[0] > wide[1]
