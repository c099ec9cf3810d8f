"""The live chart that grows by itself, and the wizard from a name to an active detector."""

import re
from importlib.resources import files

from playwright.sync_api import Page, expect

LINES = """() => {
  const element = document.querySelector('.nicegui-echart');
  const chart = getElement(parseInt(element.id.slice(1))).chart;
  return chart.getOption().series.map(one => one.data.filter(point => (point.value || point)[1] !== null).length);
}"""


def counts(page: Page) -> list[int]:
    """Return how many points each line of the chart holds in the browser."""
    page.wait_for_function(f"() => ({LINES})()[3] > 0")
    return list(page.evaluate(LINES))


def test_the_chart_holds_value_band_and_marks_and_its_table_twin_says_the_same(visit):
    page = visit.open("/detectors/air", "air")
    floor, height, expected, value, anomalies, *_ = counts(page)
    assert value > 500
    assert min(floor, height, expected) > 400
    assert anomalies >= 1
    page.get_by_text("The same as a table").click()
    table = page.get_by_role("table").first
    expect(table.get_by_role("columnheader", name="Seen before")).to_be_visible()
    assert re.match(r"[\d.]+", table.locator("tbody tr").first.locator("td").nth(1).inner_text())


def test_a_new_interval_reaches_the_open_chart_as_an_increment(visit, world):
    page = visit.open("/detectors/air", "air")
    before = counts(page)[3]
    page.evaluate(
        "() => { window.mhCalls = []; const real = mhAppend; window.mhAppend = (...all) => { mhCalls.push(all); real(...all); } }"
    )
    last = page.evaluate(
        "() => getElement(parseInt(document.querySelector('.nicegui-echart').id.slice(1))).chart.getOption().series[3].data.at(-1)[0]"
    )
    world.feed(3)
    page.wait_for_function("() => mhCalls.length > 0")
    page.wait_for_timeout(300)
    newest = page.evaluate(
        "() => getElement(parseInt(document.querySelector('.nicegui-echart').id.slice(1))).chart.getOption().series[3].data.at(-1)[0]"
    )
    assert newest > last
    pushed = page.evaluate("() => mhCalls.map(call => call[1][3].length)")
    assert sum(pushed) <= 3
    assert counts(page)[3] <= before + 3


def test_another_series_is_drawn_when_it_is_chosen(visit):
    page = visit.open("/detectors/air", "air")
    counts(page)
    page.get_by_label("Series").click()
    page.get_by_role("option", name="SO2, LOCATION_ID B-101").click()
    name = "() => getElement(parseInt(document.querySelector('.nicegui-echart').id.slice(1))).chart.getOption().yAxis[0].name"
    page.wait_for_function(f"() => ({name})() === 'SO2'")


def step(page: Page, name: str) -> None:
    """Go on from a step of the wizard."""
    page.get_by_role("button", name=f"Next: after {name}").click()


def begin(page: Page, name: str) -> None:
    """Open the wizard and give the detector its name."""
    page.get_by_role("button", name="New detector").click()
    page.get_by_label("Name", exact=True).fill(name)
    step(page, "Detector")


def test_the_wizard_leads_from_a_name_to_an_active_detector(visit, world):
    page = visit.open("/detectors", "Detectors")
    begin(page, "from-wizard")
    page.get_by_label("Topic filter").fill("sensors/+/air")
    page.get_by_label("Historical files").fill(str(world.history))
    step(page, "Data set")
    page.get_by_role("button", name="Validate", exact=True).click()
    expect(page.get_by_text("Validation successful")).to_be_visible()
    expect(page.get_by_text("TIMESTAMP looks like the event time")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="LOCATION_ID")).to_contain_text("category")
    step(page, "Validation")
    expect(page.get_by_label("Column 1", exact=True)).to_have_value("CO")
    expect(page.get_by_label("Column 3", exact=True)).to_have_value("NO2")
    page.get_by_role("button", name="Leave out column 3").click()
    expect(page.get_by_label("Column 3", exact=True)).to_have_count(0)
    step(page, "Measures")
    expect(page.get_by_label("Columns of categories")).to_have_value("LOCATION_ID")
    step(page, "Dimensions")
    expect(page.get_by_label("Column with the time")).to_have_value("TIMESTAMP")
    expect(page.get_by_label("Its form")).to_have_value("iso")
    step(page, "Time")
    expect(page.get_by_text('topic = "sensors/+/air"')).to_be_visible()
    page.get_by_role("button", name="Save and activate").click()
    expect(page.get_by_role("heading", name="from-wizard", level=1)).to_be_visible()
    expect(page.get_by_text("active", exact=True)).to_be_visible()
    spec = world.masthead.metrics.get_detector("from-wizard").spec
    assert [measure.name for measure in spec.measures] == ["CO", "SO2"]
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("dialog").get_by_text('name = "from-wizard"')).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("dialog").get_by_text("Validation successful")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_text("stopped", exact=True)).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Detectors", level=1)).to_be_visible()


def test_the_wizard_names_every_obstacle_and_what_to_do(visit, world):
    (world.folder / "bad.csv").write_text("when,place,amount\nyesterday,a,many\ntoday,b,few\n" * 20)
    page = visit.open("/detectors", "Detectors")
    begin(page, "not/a/name")
    expect(page.get_by_role("alert").first).to_contain_text("name: expected")
    page.get_by_label("Name", exact=True).fill("refused")
    step(page, "Detector")
    page.get_by_label("Where the rows come from").click()
    page.get_by_role("option", name="Files, scored once (a backtest)").click()
    page.get_by_label("Files, folders or patterns").fill(str(world.folder / "bad.csv"))
    step(page, "Data set")
    page.get_by_role("button", name="Validate", exact=True).click()
    expect(page.get_by_text("Validation failed")).to_be_visible()
    expect(page.get_by_text("time: expected a column of times")).to_be_visible()
    assert "refused" not in {detector.name for detector in world.masthead.metrics.list_detectors()}


def test_a_detector_that_runs_is_not_deleted_and_says_why(visit):
    page = visit.open("/detectors/air", "air")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("can be deleted only when")).to_be_visible()


def test_a_backtest_is_named_so_and_shown_to_its_whole_length_with_its_anomalies(visit, world):
    air = files("masthead.samples") / "air"
    columns = ["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"]
    source = {
        "kind": "files",
        "paths": [str(air / "live_data_sample.csv")],
        "format": {"columns": columns},
    }
    world.masthead.metrics.create_detector(
        {
            "name": "tested",
            "mode": "backtest",
            "interval": "5m",
            "dimensions": ["LOCATION_ID"],
            "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
            "measures": ["CO"],
            "source": source,
            "history": {"paths": [str(air / "historic_data.json")]},
        }
    )
    page = visit.open("/detectors/tested", "tested")
    expect(page.get_by_text("Nothing was tested yet")).to_be_visible()
    page.get_by_role("button", name="Run the backtest").click()
    expect(page.get_by_text("2022-03-24 00:00 to 2022-03-25 23:55 UTC")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Live", exact=True)).to_have_count(0)
    found = counts(page)
    assert found[3] == 576
    assert found[4] == 1
    zoom = "() => getElement(parseInt(document.querySelector('.nicegui-echart').id.slice(1))).chart.getOption().dataZoom[1]"
    assert page.evaluate(zoom)["start"] == 0
    page.get_by_text("The same as a table").click()
    first = page.get_by_role("table").first.locator("tbody tr").first
    expect(first).to_contain_text("a value never seen before")
    expect(first).to_contain_text("1 to 3.9")
    world.masthead.metrics.delete_detector("tested")


def test_a_point_says_why_it_is_an_anomaly(visit):
    page = visit.open("/detectors/air", "air")
    counts(page)
    told = page.evaluate(
        """() => {
          const element = document.querySelector('.nicegui-echart');
          const series = getElement(parseInt(element.id.slice(1))).chart.getOption().series;
          const mark = series[4].data.find(one => one.value[2] >= 70).value;
          return mhTooltip(series.map((one, seriesIndex) => ({seriesIndex, value: one.data.map(
            point => point.value || point).find(point => point[0] === mark[0])}))).innerText;
        }"""
    )
    assert "high: a value never seen before" in told
    assert "Seen before 1 to 3.9" in told
    assert "Usual course -0.4" in told
