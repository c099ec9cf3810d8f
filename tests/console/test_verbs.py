"""Create, list, show, test and delete of every noun, and what a person says of an anomaly, by mouse and keyboard."""

import json
import re

from playwright.sync_api import Page, expect
from waiting import eventually

from masthead.alerts.events import AlertEvent


def row(page: Page, name: str):
    """Return the table row of an object."""
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))


def press(page: Page, verb: str, name: str) -> None:
    """Press a verb at the end of a row."""
    row(page, name).get_by_role("button", name=re.compile(f"^{verb} ")).click()


def delete(page: Page, name: str) -> None:
    """Delete a row's object, and see it gone."""
    press(page, "Delete", name)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, name)).to_have_count(0)


def pick(page: Page, label: str, option: str) -> None:
    """Choose an option of a drop-down."""
    page.get_by_label(label, exact=True).last.click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_thing_is_made_tested_renewed_revoked_and_deleted(visit, world):
    page = visit.open("/things", "Things")
    page.get_by_role("button", name="New thing").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("pump-1")
    dialog.get_by_label("Attributes").fill("site=south")
    dialog.get_by_role("button", name="Make").click()
    expect(dialog.get_by_text("pump-1 is ready")).to_be_visible()
    expect(dialog.get_by_text("private.key")).to_be_visible()
    assert "PRIVATE KEY" not in page.content()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="pump-1").click()
    expect(page.get_by_text("site = south")).to_be_visible()
    page.get_by_role("button", name="Test").click()
    expect(
        page.get_by_text(re.compile("^(Allowed|Denied): iot:Publish on sensors/pump-1/air"))
    ).to_be_visible()
    serial = world.masthead.access.get_thing("pump-1").serial
    page.get_by_role("button", name="Renew").click()
    page.get_by_role("dialog").get_by_role("button", name="Renew").click()
    expect(page.get_by_text("pump-1 has a new certificate")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    assert world.masthead.access.get_thing("pump-1").serial != serial
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("revoked", exact=True)).to_be_visible()
    page = visit.open("/things", "Things")
    delete(page, "pump-1")
    assert "pump-1" not in {thing.name for thing in world.masthead.access.list_things()}


def test_a_refused_name_is_told_in_its_own_words_and_the_dialog_stays(visit):
    page = visit.open("/things", "Things")
    page.get_by_role("button", name="New thing").click()
    page.get_by_role("dialog").get_by_label("Name").fill("a/b")
    page.get_by_role("dialog").get_by_role("button", name="Make").click()
    expect(page.get_by_role("alert").filter(has_text="name: expected")).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_policy_is_made_shown_tested_and_deleted(visit):
    page = visit.open("/policies", "Policies")
    page.get_by_role("button", name="New policy").click()
    page.get_by_role("dialog").get_by_label("Name").fill("own-topics")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row(page, "own-topics")).to_be_visible()
    press(page, "Show", "own-topics")
    expect(page.get_by_role("dialog").get_by_text("iot:Publish")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    pick(page, "Policy", "own-topics")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Allowed: iot:Publish on sensors/B-101/air")).to_be_visible()
    page.get_by_label("As the thing").fill("B-102")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Denied: iot:Publish on sensors/B-101/air")).to_be_visible()
    delete(page, "own-topics")


def test_a_policy_in_use_stays_and_says_why(visit):
    page = visit.open("/policies", "Policies")
    press(page, "Delete", "sensor")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("the policy sensor is built in")).to_be_visible()
    expect(row(page, "sensor")).to_be_visible()


def test_a_rule_is_tried_on_the_bench_made_switched_off_and_deleted(visit, world):
    page = visit.open("/rules", "Topic rules")
    page.get_by_label("SQL", exact=True).fill("SELECT CO * 2 AS double FROM 'sensors/+/air' WHERE CO > 1")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Matched: this goes on")).to_be_visible()
    expect(page.get_by_text('"double": 5.2')).to_be_visible()
    page.get_by_label("Message").fill('{"CO": 0.5}')
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Not matched")).to_be_visible()
    page.get_by_role("button", name="New rule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("high-co")
    dialog.get_by_label("SQL").fill("SELECT FROM nothing")
    dialog.get_by_label("To a webhook").fill(world.hook)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_contain_text("sql")
    dialog.get_by_label("SQL").fill("SELECT * FROM 'sensors/+/air' WHERE CO > 100")
    dialog.get_by_role("button", name="Save").click()
    expect(row(page, "high-co")).to_contain_text("webhook")
    press(page, "Switch on or off", "high-co")
    expect(row(page, "high-co")).to_contain_text("off")
    press(page, "Show", "high-co")
    expect(page.get_by_role("dialog").get_by_text('"enabled": false')).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    delete(page, "high-co")


def test_a_delivery_stream_is_made_shown_tested_and_deleted(visit):
    page = visit.open("/streams", "Streams")
    page.get_by_role("button", name="New delivery stream").click()
    page.get_by_role("dialog").get_by_label("Name").fill("second")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row(page, "second")).to_contain_text("s3://readings/air/")
    press(page, "Test", "second")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Test").click()
    expect(dialog.get_by_text("Goes to s3://readings/air/20260131/1200/")).to_be_visible()
    dialog.get_by_label("Record").fill('{"TIMESTAMP": "yesterday"}')
    dialog.get_by_role("button", name="Test").click()
    expect(dialog.get_by_text("Error place:")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    press(page, "Show", "second")
    expect(page.get_by_role("dialog").get_by_text('"buffer_s": 60')).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    delete(page, "second")


def test_an_alert_rule_is_made_tested_and_deleted_and_the_test_arrives(visit, world):
    page = visit.open("/alerts", "Alerts")
    page.get_by_role("button", name="New alert rule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("day-shift")
    dialog.get_by_label("Only dimensions").fill("LOCATION_ID=B-101")
    dialog.get_by_label("Address that takes a POST").fill(world.hook)
    dialog.get_by_role("button", name="Save").click()
    expect(row(page, "day-shift")).to_contain_text("LOCATION_ID in B-101")
    before = len(world.received)
    press(page, "Test", "day-shift")
    expect(page.get_by_text("The test arrived.")).to_be_visible()
    assert len(world.received) == before + 1
    json.loads(world.received[-1])
    expect(row(page, "day-shift").filter(has_text="test")).to_contain_text("delivered")
    rule = row(page, "day-shift").filter(has_text="LOCATION_ID")  # its delivery has a row as well
    rule.get_by_role("button", name=re.compile("^Delete ")).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(rule).to_have_count(0)


def test_an_alert_that_cannot_arrive_says_so(visit, world):
    world.masthead.alerts.create_rule(
        {"name": "nobody-there", "channel": {"kind": "webhook", "url": "http://127.0.0.1:9/"}}
    )
    page = visit.open("/alerts", "Alerts")
    press(page, "Test", "nobody-there")
    expect(page.get_by_text("The test did not arrive")).to_be_visible()
    world.masthead.alerts.delete_rule("nobody-there")


def test_what_nobody_hears_waits_in_the_inbox_until_its_channel_is_made(visit, world):
    alerts, now = world.masthead.alerts, world.masthead.clock.now()
    alerts.create_rule(
        {"name": "to-topic", "detector": "elsewhere", "channel": {"kind": "named", "name": "siren"}}
    )
    told = AlertEvent("elsewhere", "group-elsewhere-1", "open", "CO", 90.0, now, now)
    with world.masthead.database.write() as connection:
        assert alerts.notify(connection, told) == 1
    page = visit.open("/alerts", "Alerts")
    inbox = page.get_by_text("Nobody hears this yet", exact=True)
    expect(inbox).to_be_visible()
    before = len(world.received)
    page.get_by_role("button", name="New channel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("siren")
    dialog.get_by_label("Address that takes a POST").fill(world.hook)
    dialog.get_by_role("button", name="Save").click()
    expect(inbox).to_be_hidden()
    eventually(lambda: len(world.received) == before + 1)
    alerts.delete_rule("to-topic")  # its row names the channel, too
    expect(row(page, "siren")).to_have_count(1)
    delete(page, "siren")


def test_a_person_judges_acknowledges_and_mutes_an_anomaly(visit, world):
    page = visit.open("/groups", "Anomalies")
    row(page, "SO2").get_by_role("link").click()
    expect(page.get_by_text("SO2: a value never seen before")).to_be_visible()
    expect(page.get_by_text("Who contributed")).to_be_visible()
    expect(page.locator(".nicegui-echart canvas").first).to_be_visible()
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("cell", name="100.0 %")).to_be_visible()
    page.get_by_role("button", name="No", exact=True).click()
    expect(page.get_by_text("the like of it will alarm less")).to_be_visible()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("acknowledged", exact=True)).to_be_visible()
    page.get_by_role("button", name="Mute for 24 h").click()
    expect(page.get_by_text("muted until")).to_be_visible()
    group = world.masthead.metrics.get_group(page.url.rpartition("/")[2])
    assert group.acknowledged
    assert group.muted_until is not None
    assert [one.is_anomaly for one in world.masthead.metrics.feedback(group.id)] == [False]


def test_related_measures_are_told_with_words_of_time(visit):
    page = visit.open("/groups", "Anomalies")
    row(page, "CO").get_by_role("link").click()
    expect(page.get_by_text("SO2 started 15 min earlier")).to_be_visible()


def test_the_groups_of_a_detector_are_exported_as_csv(visit):
    page = visit.open("/detectors/air", "air")
    with page.expect_download() as found:
        page.get_by_role("button", name="Export as CSV").click()
    text = found.value.path().read_text()
    assert found.value.suggested_filename == "air-anomalies.csv"
    assert text.count("\n") >= 3
    assert "SO2" in text


def test_a_log_is_chosen_by_kind_and_name(visit):
    page = visit.open("/logs?kind=thing&name=B-102", "Logs")
    expect(page.get_by_role("log")).to_contain_text("forbidden publish")
    pick(page, "Kind", "stream")
    expect(page.get_by_role("log")).to_contain_text("object put")


def edit(page: Page, name: str):
    """Open an object's text, and return the dialog."""
    press(page, "Edit", name)
    return page.get_by_role("dialog")


def test_an_alert_rule_is_changed_as_text_and_a_refusal_is_told_in_the_dialog(visit, world):
    page = visit.open("/alerts", "Alerts")
    page.get_by_role("button", name="Edit tell-the-night").click()
    dialog = page.get_by_role("dialog")
    text = dialog.get_by_label("Text")
    fields = json.loads(text.input_value())
    text.fill(json.dumps(fields | {"threshold": 700}))
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("InvalidInput: threshold: expected 0 to 100, got 700")
    text.fill(json.dumps(fields | {"threshold": 75, "description": "told by day"}))
    dialog.get_by_text("TOML").click()
    expect(text).to_have_value(re.compile('description = "told by day"'))
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    rule = world.masthead.alerts.get_rule("tell-the-night")
    assert (rule.threshold, rule.description, rule.detector) == (75, "told by day", "air")
    world.masthead.alerts.update_rule("tell-the-night", {"threshold": 70, "description": ""})


def test_rules_streams_and_policies_are_changed_as_text(visit, world):
    masthead = world.masthead
    changes = (
        ("/rules", "Topic rules", "keep-air", {"sql": "SELECT CO FROM 'sensors/+/air'"}),
        ("/streams", "Streams", "air-to-objects", {"buffer_s": 120}),
        ("/policies", "Policies", "north-only", {"Id": "north"}),
    )
    kept = (masthead.streams.get_rule("keep-air"), masthead.streams.get_stream("air-to-objects"))
    for path, heading, name, change in changes:
        page = visit.open(path, heading)
        dialog = edit(page, name)
        text = dialog.get_by_label("Text")
        text.fill(json.dumps(json.loads(text.input_value()) | change))
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)
    assert masthead.streams.get_rule("keep-air").sql.startswith("SELECT CO")
    assert masthead.streams.get_stream("air-to-objects").buffer_s == 120
    assert masthead.access.get_policy("north-only").document["Id"] == "north"
    masthead.streams.update_rule(kept[0])
    masthead.streams.update_stream(kept[1])


def test_a_thing_and_a_resting_detector_are_changed(visit, world):
    page = visit.open("/things/B-101", "B-101")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("dialog").get_by_label("Attributes").fill("site=north, floor=2")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("site = north, floor = 2")).to_be_visible()
    world.masthead.metrics.create_detector({"name": "resting", "interval": "1h"})
    page = visit.open("/detectors", "Detectors")
    dialog = edit(page, "resting")
    dialog.get_by_text("TOML").click()
    text = dialog.get_by_label("Text")
    expect(text).to_have_value(re.compile('interval = "1h"'))
    text.fill('interval = "10m"\nmeasures = ["CO"]')
    dialog.get_by_role("button", name="Save").click()
    expect(row(page, "resting")).to_contain_text("10m")
    delete(page, "resting")
    dialog = edit(page, "air")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Conflict: state: air is active")


def test_a_detector_is_deployed_called_described_and_its_endpoint_deleted(visit, world):
    page = visit.open("/detectors/air", "air")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Endpoint air serves detector air")).to_be_visible()
    reading = {"TIMESTAMP": "2022-03-26 00:00", "LOCATION_ID": "B-101", "CO": 4.0}
    endpoints = world.masthead.endpoints
    assert endpoints.invoke("air", json.dumps(reading).encode(), key="MHAK1").body
    page = visit.open("/endpoints", "Endpoints")
    expect(row(page, "air").get_by_role("cell", name="detector air")).to_be_visible()
    expect(row(page, "air").get_by_role("cell", name="1", exact=True)).to_be_visible()
    press(page, "Describe", "air")
    expect(page.get_by_role("dialog").get_by_text("MHAK1")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    delete(page, "air")
    assert endpoints.list() == []
