"""Addresses of objects: what names one, and what must never leave its bucket."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.store.objects import Objects, _translated, check_key, parse_uri

BAD_KEYS = [
    "../x",
    "a/../x",
    "a/..",
    "./a",
    "a/./b",
    "/abs",
    "a//b",
    "a/",
    "",
    "a\x00b",
    "a\nb",
    "a#1",
    "a/b#77",
]
BAD_KEYS += ["x" * 245, "é" * 123, "\ud800", "a/" * 600 + "b"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_could_leave_its_bucket_or_not_be_a_file_is_refused(key: str, tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    with pytest.raises(InvalidInput, match="key"):
        objects.put(f"s3://air/{key}", b"x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "air/x",
        "http://air/x",
        "s3://",
        "s3://A/x",
        "s3://a/x",
        "s3://../x",
        "s3://a..b/x",
        "s3://.a./x",
        "s3:///x",
    ],
)
def test_an_address_without_a_proper_bucket_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        Objects(tmp_path).get(uri)


@given(st.text(max_size=40))
def test_a_random_key_stays_inside_its_bucket_or_is_refused(key: str) -> None:
    try:
        check_key(key)
    except InvalidInput:
        return
    root = Path("/objects/air")
    assert root in Path(*(root / key).parts).parents
    assert ".." not in (root / key).parts


@given(st.text(max_size=30))
def test_a_random_address_is_parsed_or_refused(text: str) -> None:
    try:
        bucket, key = parse_uri("s3://" + text)
    except InvalidInput:
        return
    assert f"s3://{bucket}/{key}" in (f"s3://{text}", f"s3://{text}/")


def test_an_object_is_a_file_below_its_bucket(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    objects.put("s3://air/2022/03/x.json", b"{}")
    assert (tmp_path / "air/2022/03/x.json").read_bytes() == b"{}"
    assert objects.local_path("s3://air/2022/03/x.json") == tmp_path / "air/2022/03/x.json"
    assert objects.local_path("s3://air/2022/") == tmp_path / "air/2022"
    assert objects.local_path("s3://air") == tmp_path / "air"
    assert (tmp_path / "air").stat().st_mode & 0o777 == 0o700


def test_a_name_cannot_be_an_object_and_a_folder(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    objects.put("s3://air/a/b", b"1")
    objects.put("s3://air/c", b"1")
    for uri in ("s3://air/a", "s3://air/c/d"):
        for create_only in (True, False):
            with pytest.raises(Conflict):
                objects.put(uri, b"2", create_only=create_only)


def test_leftovers_of_a_crashed_put_are_neither_listed_nor_kept(tmp_path: Path) -> None:
    objects = Objects(tmp_path)
    objects.put("s3://air/a", b"1")
    leftover = tmp_path / "air" / "b#1"
    leftover.write_bytes(b"half")
    assert [info.uri for info in objects.list("s3://air/")] == ["s3://air/a"]
    now = leftover.stat().st_mtime
    assert objects.sweep(older_than_s=60, now=now) == 0
    assert objects.sweep(older_than_s=60, now=now + 61) == 1
    assert not leftover.exists()
    assert objects.get("s3://air/a") == b"1"


def test_a_full_disk_is_told_as_a_limit() -> None:
    assert isinstance(_translated(OSError(28, "No space left on device"), "s3://air/a"), LimitReached)


@pytest.mark.parametrize("options", ["no_equals", "=x", "no_such_option=1"])
def test_unknown_options_are_refused_when_the_store_is_opened(options: str) -> None:
    with pytest.raises(InvalidInput, match="objects_"):
        Objects("s3://air/below", options)


def test_a_url_of_no_store_is_refused() -> None:
    with pytest.raises(InvalidInput, match="objects_url"):
        Objects("gopher://air")


def test_a_bucket_may_have_a_folder_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "srv" / "air"
    objects = Objects(
        tmp_path / "objects", buckets={"company-air": str(place), "lake": f"file://{tmp_path}/lake"}
    )
    for bucket in ("company-air", "lake", "other"):
        objects.put(f"s3://{bucket}/live/x.json", bucket.encode())
        assert objects.get(f"s3://{bucket}/live/x.json") == bucket.encode()
        assert [found.uri for found in objects.list(f"s3://{bucket}/")] == [f"s3://{bucket}/live/x.json"]
    assert (place / "live" / "x.json").read_bytes() == b"company-air"
    assert (tmp_path / "lake" / "live" / "x.json").exists()
    assert [path.name for path in (tmp_path / "objects").iterdir()] == ["other"]
    assert objects.local_path("s3://company-air/live") == place / "live"
    objects.delete("s3://company-air/live/x.json")
    assert not objects.exists("s3://company-air/live/x.json")


@pytest.mark.parametrize(
    ("buckets", "named"),
    [({"A": "/x"}, "bucket"), ({"air": "x"}, "buckets: air"), ({"air": "nope://x"}, "objects_url")],
)
def test_a_bucket_without_a_place_is_refused(tmp_path: Path, buckets: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Objects(tmp_path, buckets=buckets)
