"""Forbidden publishes, out of the broker's log."""

from hypothesis import given
from hypothesis import strategies as st

from masthead.devices.violations import Violations, parse_line, thing_of, things_by_connection

LINE = '127.0.0.1:48999 - mid:27 - "c" - Publish Violation - Subject "air.b//1./"'


def test_a_violation_names_connection_and_topic() -> None:
    assert parse_line(LINE) == (27, "air/b.1/")


def test_a_client_id_cannot_pose_as_another_connection() -> None:
    forged = r'127.0.0.1:1 - mid:27 - "\" - mid:9 - \"v" - Publish Violation - Subject "a"'
    assert parse_line(forged) == (27, "a")


@given(st.text())
def test_any_other_line_is_none(text: str) -> None:
    assert parse_line(text) is None


def test_the_thing_is_read_from_the_certificates_subject() -> None:
    assert thing_of(f"OU={'0' * 40},CN=b-101") == "b-101"
    assert thing_of("CN=b-101") is None
    found = [{"cid": 3, "authorized_user": f"OU={'a' * 40},CN=x"}, {"cid": 4, "authorized_user": "masthead"}]
    assert things_by_connection(found) == {3: "x"}


def test_a_flood_is_one_count_per_thing_and_topic() -> None:
    told: list[tuple[str, str, int]] = []
    violations = Violations(lambda thing, topic, count: told.append((thing, topic, count)))
    for _ in range(1000):
        assert violations.note(LINE)
    assert violations.note(LINE.replace("mid:27", "mid:28"))
    assert not violations.note("Server is ready")
    violations.tell(violations.take(), {27: "c", 28: "c"})
    assert told == [("c", "air/b.1/", 1001)]
    assert not violations.take()
