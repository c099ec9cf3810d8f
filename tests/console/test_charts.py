"""Chart options, without a browser."""

import json
import math

from masthead.console.charts import band_chart, band_series, contribution_bars
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
    return band_series(*given.values(), interval_s=300)


def test_the_band_stands_on_its_floor_also_below_zero():
    floor, height, *_ = points()
    assert floor[0] == [0.0, -1.0]
    assert height[0] == [0.0, 4.0]
    series = band_chart(points(), measure="CO", dark=False)["series"]
    assert [one.get("stackStrategy") for one in series[:2]] == ["all", "all"]


def test_only_severities_from_fifty_on_are_marked_in_their_colour():
    marks = points()[4]
    assert [mark["value"] for mark in marks] == [[600_000.0, 9.0, 93]]
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
    assert band_chart(found, measure="CO", dark=True)["dataZoom"][0]["start"] == 50.17


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
