"""Files of every kind become rows; what is none becomes a problem with file, line, field, value and reason."""

import bz2
import gzip
import io
import json
import lzma
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput, MastheadError, NotFound
from masthead.metrics.files import Source, find_files
from masthead.metrics.problems import Problems
from masthead.metrics.raw import Format
from masthead.metrics.readers import Rows, Selection, read_rows, rows_of_records
from masthead.metrics.timestamps import compile_pattern

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
FORM = "yyyy-MM-dd HH:mm"
SELECTION = Selection("t", FORM, numbers=("v",), labels=("s",))
SOME = b"t,s,v\n2022-03-24 23:30,a,1\n2022-03-24 23:35,b,2\n"


def read(data: bytes, selection: Selection = SELECTION, **format: Any) -> tuple[Rows, Problems]:
    problems = Problems()
    return read_rows([Source("x", data)], selection, Format(**format), problems=problems), problems


def values(rows: Rows) -> list[float | None]:
    return [None if math.isnan(value) else value for value in rows.numbers["v"].tolist()]


def told(problems: Problems) -> list[tuple[int, str, str, str]]:
    return [(p.line, p.field, p.value, p.reason) for p in problems.kept]


# --- the article's files ------------------------------------------------------------------------------


def test_the_published_history_is_read_whole_despite_its_byte_order_mark() -> None:
    selection = Selection("TIMESTAMP", FORM, numbers=("CO", "SO2", "NO2"), labels=("LOCATION_ID",))
    problems = Problems()
    rows = read_rows([Source(str(AIR / "historic_data.json"))], selection, problems=problems)
    assert (len(rows), len(problems), len(np.unique(rows.times))) == (2358, 0, 2356)
    assert rows.labels["LOCATION_ID"].values == ("B-101",)
    assert (np.diff(rows.times) < 0).sum() > 0


def test_a_file_without_header_takes_the_names_of_the_history() -> None:
    selection = Selection("TIMESTAMP", FORM, numbers=("CO", "SO2", "NO2"), labels=("LOCATION_ID",))
    names = ("TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2")
    rows = read_rows([Source(str(AIR / "live_data_sample.csv"))], selection, inherited=names)
    assert len(rows) == 576
    assert [column[0] for column in rows.numbers.values()] == [2.6, 75, 61]
    with pytest.raises(InvalidInput, match="columns: expected names for the 5 cells"):
        read_rows([Source(str(AIR / "live_data_sample.csv"))], selection)


# --- the same two rows, written in many ways ----------------------------------------------------------

RECORDS = [{"t": "2022-03-24 23:30", "s": "a", "v": 1}, {"t": "2022-03-24 23:35", "s": "b", "v": 2}]
LINES = [json.dumps(record).encode() for record in RECORDS]


def parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        SOME,
        b"\xef\xbb\xbf" + SOME,
        SOME.decode().encode("utf-16"),
        SOME.replace(b"\n", b"\r\n"),
        SOME.replace(b"\n", b"\r\n\r\n"),
        b"\n\n" + SOME + b"\n\n",
        SOME.rstrip(),
        SOME.replace(b",", b";"),
        SOME.replace(b",", b"\t"),
        SOME.replace(b"a,1", b'"a",1').replace(b"b,2", b' b ,"2"'),
        gzip.compress(SOME, mtime=0),
        gzip.compress(SOME[:20], mtime=0) + gzip.compress(SOME[20:], mtime=0),
        b"\n".join(LINES),
        b"\xef\xbb\xbf" + b"\r\n".join(LINES) + b"\r\n",
        b"".join(LINES),
        b" , ".join(LINES),
        b"[" + b",\n".join(LINES) + b"]",
        json.dumps(RECORDS, indent=2).encode(),
        gzip.compress(b"\n\n".join(LINES), mtime=0),
        parquet_bytes(pa.Table.from_pylist(RECORDS)),
        gzip.compress(parquet_bytes(pa.Table.from_pylist(RECORDS)), mtime=0),
    ],
)
def test_one_content_reads_alike_in_every_dress(data: bytes) -> None:
    rows, problems = read(data)
    assert told(problems) == []
    assert [compile_pattern(FORM).format(time) for time in rows.times] == [
        "2022-03-24 23:30",
        "2022-03-24 23:35",
    ]
    assert rows.labels["s"].texts() == ["a", "b"]
    assert values(rows) == [1, 2]


def test_a_typed_parquet_column_of_times_needs_no_format() -> None:
    stamps = pa.array([1648164600_000_000, None, 1648164900_500_000], pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {"t": stamps, "s": pa.array(["a", "b", "a"]).dictionary_encode(), "v": pa.array([1, 2, 3], pa.int8())}
    )
    rows, _ = read(parquet_bytes(table), Selection("t", numbers=("v",), labels=("s",)))
    assert rows.times.tolist() == [1648164600, 1648164900.5]
    assert values(rows) == [1, 3]


def test_a_local_parquet_time_belongs_to_the_zone() -> None:
    table = pa.table({"t": pa.array([1648164600], pa.timestamp("s")), "s": ["a"], "v": [1.0]})
    rows, _ = read(parquet_bytes(table), Selection("t", zone="Europe/Rome", numbers=("v",), labels=("s",)))
    assert rows.times.tolist() == [1648164600 - 3600]


# --- broken rows ---------------------------------------------------------------------------------------


def test_a_value_that_is_no_number_costs_that_value_and_not_the_row() -> None:
    data = (
        SOME
        + b"2022-03-24 23:40,a,abc\n2022-03-24 23:45,a,inf\n2022-03-24 23:50,a,2e15\n2022-03-24 23:55,a, 3 \n"
    )
    rows, problems = read(data)
    assert values(rows) == [1, 2, None, None, None, 3]
    assert told(problems) == [
        (4, "v", "abc", "not a number"),
        (5, "v", "inf", "infinite or beyond 1e15"),
        (6, "v", "2e15", "infinite or beyond 1e15"),
    ]


@pytest.mark.parametrize("missing", [b"", b"null", b"NaN", b"NA", b'""', b" "])
def test_a_missing_value_is_no_problem(missing: bytes) -> None:
    rows, problems = read(SOME + b"2022-03-24 23:40,a," + missing + b"\n")
    assert (values(rows), len(problems)) == ([1, 2, None], 0)


def test_a_number_can_stand_for_missing() -> None:
    rows, _ = read(SOME.replace(b",2\n", b",-200.0\n"), missing_values=("-200",))
    assert values(rows) == [1, None]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", None),
        ("null", None),
        ('"7"', 7.0),
        ("Infinity", "infinite or beyond 1e15"),
        ("1" + "0" * 400, "infinite or beyond 1e15"),
        ("true", "not a number"),
        ("[1]", "not a number"),
        ('{"a":1}', "not a number"),
        ('"x"', "not a number"),
    ],
)
def test_json_values_of_every_kind_are_numbers_or_problems(value: str, reason: object) -> None:
    line = '{"t":"2022-03-24 23:40","s":"a","v":' + value + "}"
    rows, problems = read(b"\n".join([*LINES, line.encode()]))
    assert values(rows)[2] == (reason if isinstance(reason, float) else None)
    assert [p.reason for p in problems.kept] == ([reason] if isinstance(reason, str) else [])


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        (b'{"t":"24/03/2022","s":"a","v":1}', "t", "time is not yyyy-MM-dd HH:mm"),
        (b'{"s":"a","v":1}', "t", "time missing"),
        (b'{"t":{"x":1},"s":"a","v":1}', "t", "time is not yyyy-MM-dd HH:mm"),
        (b'{"t":"2922-03-24 23:30","s":"a","v":1}', "t", "time outside 1970 to 2099"),
        (b'{"t":"1922-03-24 23:30","s":"a","v":1}', "t", "time outside 1970 to 2099"),
        (b'{"t":"2022-03-24 23', "", "not JSON"),
        (b"nonsense", "", "not JSON"),
        (b"[" * 100_000, "", "not JSON"),
        (b"12", "", "not a JSON object"),
        (b'"text"', "", "not a JSON object"),
    ],
)
def test_a_broken_json_line_is_told_with_its_place(line: bytes, field: str, reason: str) -> None:
    rows, problems = read(b"\n".join([LINES[0], b"", line, LINES[1]]))
    assert values(rows) == [1, 2]
    assert [(p.line, p.field, p.reason) for p in problems.kept] == [(3, field, reason)]


def test_a_csv_row_of_another_width_is_told_with_its_line_even_behind_quoted_line_breaks() -> None:
    data = b't,s,v\n\n2022-03-24 23:30,"a\nb",1\r\n2022-03-24 23:35,b\n2022-03-24 23:35,c,2,3\n2022-03-24 23:40,"d""",x\n2022-03'
    rows, problems = read(data)
    assert rows.labels["s"].texts() == ["a\nb", 'd"']
    assert rows.lines.tolist() == [3, 7]
    assert sorted((p.line, p.reason) for p in problems.kept) == [
        (5, "expected 3 cells, got 2"),
        (6, "expected 3 cells, got 4"),
        (7, "not a number"),
        (8, "expected 3 cells, got 1"),
    ]


def test_a_stray_quote_is_survived() -> None:
    rows, _ = read(SOME + b'2022-03-24 23:40,5" pipe,3\n')
    assert rows.labels["s"].texts()[-1] == '5" pipe'


def test_a_cell_of_twenty_megabytes_does_not_stop_the_reading() -> None:
    rows, problems = read(SOME + b'2022-03-24 23:40,"' + b"x" * 20_000_000 + b'",3\n2022-03-24 23:45,a,4\n')
    assert values(rows)[-1] == 4
    assert len(rows) + len(problems) == 4


def test_gzip_that_ends_early_gives_what_came_before() -> None:
    body = b"t,s,v\n" + b"".join(b"2022-03-24 23:%02d,a,%d\n" % (n % 60, n * 7919) for n in range(2000))
    rows, problems = read(gzip.compress(body)[:-2000])
    assert 100 < len(rows) < 2000
    assert "gzip ends early" in problems.by_reason


def test_bytes_that_are_no_text_are_told() -> None:
    rows, problems = read(SOME + b"2022-03-24 23:40,\xff\xfe,3\n")
    assert len(rows) == 3
    assert [(p.line, p.reason) for p in problems.kept] == [(4, "not utf-8 text")]
    assert (len(problems), dict(problems.notes)) == (0, {"not utf-8 text": 1})  # no row was refused


def test_a_charset_that_is_named_is_used() -> None:
    rows, _ = read(SOME + "2022-03-24 23:40,Città,3\n".encode("latin-1"), charset="latin-1")
    assert rows.labels["s"].texts()[-1] == "Città"


def test_one_clock_reset_to_1970_does_not_make_fifty_years() -> None:
    rows, problems = read(SOME * 2 + b"1970-01-01 00:00,a,9\n2098-01-01 00:00,a,9\n")
    assert len(rows) == 4
    assert problems.by_reason["time far from all others"] == 2


def test_a_reading_from_a_clock_that_runs_ahead_is_refused_when_told_what_is_too_late() -> None:
    problems = Problems()
    rows = read_rows([Source("x", SOME)], SELECTION, problems=problems, latest_s=1648164600)
    assert len(rows) == 1
    assert told(problems) == [(3, "t", "2022-03-24 23:35", "in the future")]


def test_only_the_first_thousand_problems_are_kept_and_all_are_counted() -> None:
    rows, problems = read(SOME + b"2022-03-24 23:40,a,x\n" * 3000)
    assert (len(rows), len(problems), len(problems.kept)) == (3002, 3000, 1000)


# --- nothing to read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"\n \r\n", "empty file"),
        (b"\xef\xbb\xbf", "empty file"),
        (gzip.compress(b"", mtime=0), "empty file"),
        (b"t,s,v\n", "at least one usable row"),
        (b"time,s,v\n2022-03-24 23:30,a,1\n", "t: expected a column among"),
        (b"t,s,w\n2022-03-24 23:30,a,1\n", "v: expected a column among"),
        (b"t,s,v\n2022-03-24 23:30,a,high\n", "v: expected numbers, got 'high'"),
        (b"t,s,v\n24/03/2022,a,1\n", "time is not yyyy-MM-dd HH:mm"),
        (b"2022-03-24 23:30,a,1\n", "columns: expected names for the 3 cells"),
        (b"PAR1 nothing of the kind", "not a readable Parquet file"),
        (b"{}\n{}", "no such column"),
        (b"\x00\x01\x02", "t"),
    ],
)
def test_a_file_without_anything_usable_is_an_error_that_says_why(data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read(data)
    assert words in refusal.value.message


def test_files_are_found_by_path_folder_and_pattern_each_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", ".hidden", "_SUCCESS"):
        (tmp_path / name).write_bytes(SOME)
    found = find_files([str(tmp_path), str(tmp_path / "a.csv"), str(tmp_path / "*.csv")])
    assert [Path(source.name).name for source in found] == ["a.csv", "b.csv"]
    for nothing in ("*.json", "c.csv"):
        with pytest.raises(InvalidInput, match="DATA: expected a file"):
            find_files([str(tmp_path / nothing)])
    with pytest.raises(NotFound):
        read_rows([Source(str(tmp_path / "gone"))], SELECTION)


def test_folders_inside_a_folder_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    for name in ("z.csv", "2022/03/b.csv", "2022/a.csv", ".git/c.csv", "_temporary/d.csv", "2022/.e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SOME)
    (tmp_path / "2022/loop").symlink_to(tmp_path)
    found = [
        str(Path(source.name).relative_to(tmp_path)) for source in find_files([str(tmp_path)], deep=True)
    ]
    assert found == ["2022/03/b.csv", "2022/a.csv", "z.csv"]
    assert [Path(source.name).name for source in find_files([str(tmp_path)])] == ["z.csv"]


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (bz2.compress(SOME), "bzip2"),
        (bz2.compress(b""), "bzip2"),
        (lzma.compress(SOME), "xz"),
        (b"PK\x03\x04\x14\x00" + SOME, "zip"),
        (b"\x28\xb5\x2f\xfd" + SOME, "zstd"),
    ],
)
def test_another_packing_is_named_with_its_file_and_what_to_do(packed: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_rows([Source("a/b.csv.packed", packed)], SELECTION)
    message = refusal.value.message
    assert "a/b.csv.packed" in message
    assert f"packed with {words}" in message
    assert "pack it with gzip" in message
    problems = Problems()
    rows = read_rows([Source("x", packed), Source("y", SOME)], SELECTION, problems=problems)
    assert (len(rows), [(problem.file, problem.line) for problem in problems.kept]) == (2, [("x", 0)])


def test_a_text_that_begins_like_a_packing_is_text() -> None:
    rows, _ = read(b"BZh9,t,s,v\n1,2022-03-24 23:30,a,1\n")
    assert values(rows) == [1]


def test_a_file_without_header_is_named_with_what_to_do() -> None:
    data = b"2022-03-24 23:30,a,1\n2022-03-24 23:35,b,2\n"
    with pytest.raises(InvalidInput, match=r"3 cells of folder/live.csv.*--columns A,B,C"):
        read_rows([Source("folder/live.csv", data)], SELECTION)
    with pytest.raises(InvalidInput, match=r"t: expected a column among .* of folder/live.csv"):
        read_rows([Source("folder/live.csv", b"time,s,v\n2022-03-24 23:30,a,1\n")], SELECTION)


def test_several_files_are_one_and_a_broken_one_is_told() -> None:
    problems = Problems()
    sources = [
        Source("a", SOME),
        Source("b", b""),
        Source("c", b"\n".join(LINES)),
        Source("d", b"x,y\n1,2\n"),
    ]
    rows = read_rows(sources, SELECTION, problems=problems)
    assert values(rows) == [1, 2, 1, 2]
    assert rows.labels["s"].texts() == ["a", "b", "a", "b"]
    assert rows.file.tolist() == [0, 0, 2, 2]
    assert {(p.file, p.reason) for p in problems.kept} == {("b", "empty file"), ("d", "no such column")}


def test_filters_keep_the_rows_of_the_named_labels() -> None:
    rows, _ = read(SOME, Selection("t", FORM, numbers=("v",), labels=("s",), filters={"s": ("b", "z")}))
    assert (values(rows), rows.filtered) == ([2], 1)
    with pytest.raises(InvalidInput, match="2 rows that no filter lets through"):
        read(SOME, Selection("t", FORM, numbers=("v",), filters={"s": ("z",)}))


def test_labels_are_trimmed_and_an_empty_one_has_a_name() -> None:
    rows, _ = read(
        b't,s,v\n2022-03-24 23:30, a ,1\n2022-03-24 23:30,A,1\n2022-03-24 23:30,,1\n2022-03-24 23:30,"",1\n'
    )
    assert rows.labels["s"].texts() == ["a", "A", "(none)", "(none)"]


def test_messages_are_read_like_lines_and_take_their_arrival_where_no_time_is_named() -> None:
    records = [{"v": 1, "s": 5}, {"v": "x"}, {"v": 2.5, "s": True}]
    problems = Problems()
    rows = rows_of_records(
        records,
        Selection("", numbers=("v",), labels=("s",)),
        arrived=[10.0, 20.0, 30.0],
        origins=["a", None, "b"],
        name="things",
        problems=problems,
    )
    assert rows.times.tolist() == [10, 20, 30]
    assert values(rows) == [1, None, 2.5]
    assert rows.labels["s"].texts() == ["5", "(none)", "true"]
    assert rows.key is not None
    assert rows.key.texts() == ["a", "(none)", "b"]
    assert told(problems) == [(2, "v", "x", "not a number")]


@pytest.mark.parametrize("rows", [2, 4, 9])
def test_one_broken_stamp_in_few_rows_is_told_and_costs_its_row_alone(rows: int) -> None:
    good = "".join(f"2022-03-24 23:{10 + k},a,{k}\n" for k in range(rows - 1))
    data = f"t,s,v\nnever,a,7\n{good}".encode()
    found, problems = read(data, Selection("t", numbers=("v",), labels=("s",)))
    assert values(found) == list(range(rows - 1))
    assert told(problems) == [(2, "t", "never", "time is not iso")]


def test_messages_with_a_broken_time_are_told_and_the_others_kept() -> None:
    records = [{"t": "soon", "v": 1}, {"t": "2022-10-30 02:30", "v": 2}]
    problems = Problems()
    selection = Selection("t", FORM, zone="Europe/Rome", numbers=("v",))
    rows = rows_of_records(records, selection, arrived=[0.0, 1667093400.0], problems=problems)
    assert (rows.times.tolist(), rows.lines.tolist()) == ([1667093400.0], [2])
    assert told(problems) == [(1, "t", "soon", "time is not yyyy-MM-dd HH:mm")]


# --- any bytes at all ----------------------------------------------------------------------------------

PIECES = st.sampled_from([b"t,s,v", b"\n", b"\r\n", b",", b'"', b"2022-03-24 23:30", b"1.5", b"{", b"}", b'{"t":', b"PAR1",
                          b"\x1f\x8b\x08", b"\xef\xbb\xbf", b"\xff", b"\x00", b"NaN", b"[", b"]", b";", *LINES])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join)), auto=st.booleans()
)
def test_any_bytes_give_rows_or_an_error_of_ours(data: bytes, auto: bool) -> None:
    selection = Selection("t", "" if auto else FORM, "Europe/Rome", numbers=("v",), labels=("s",))
    for kind in ("auto", "csv", "json", "parquet"):
        try:
            rows, _ = read(data, selection, kind=kind)
        except MastheadError:
            continue
        assert len(rows) == len(rows.lines) == len(rows.numbers["v"])
        assert not np.isnan(rows.times).any()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), whole=st.sampled_from([gzip.compress(SOME * 20, mtime=0), parquet_bytes(pa.Table.from_pylist(RECORDS * 5))]))  # fmt: skip
def test_a_file_cut_or_changed_anywhere_gives_rows_or_an_error_of_ours(
    cut: int, flip: int, whole: bytes
) -> None:
    data = bytearray(whole[: len(whole) - cut % len(whole)])
    data[flip % len(data)] ^= 0x55
    with suppress(MastheadError):
        read(bytes(data))


cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85"), max_size=8)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(cells, st.floats(-1e14, 1e14)), min_size=1, max_size=20))
def test_what_a_csv_writer_writes_is_read_back(rows: list[tuple[str, float]]) -> None:
    import csv

    text = io.StringIO()
    csv.writer(text).writerows(
        [("t", "s", "v"), *(("2022-03-24 23:30", label, value) for label, value in rows)]
    )
    found, problems = read(text.getvalue().encode(), delimiter=",")
    assert len(problems) == 0
    assert values(found) == [value for _, value in rows]
    assert found.labels["s"].texts() == [label.strip() or "(none)" for label, _ in rows]


@pytest.mark.parametrize(
    "format",
    [
        {"kind": "xml"},
        {"delimiter": ",,"},
        {"delimiter": "\n"},
        {"quote": ",", "delimiter": ","},
        {"charset": "klingon"},
        {"columns": "a,b"},
        {"header": "yes"},
        {"separator": ","},
        {"missing_values": 5},
    ],
)
def test_a_format_that_makes_no_sense_is_refused(format: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Format.from_json(format)


def test_a_format_comes_from_a_table_of_settings() -> None:
    assert Format.from_json(
        {"delimiter": ";", "header": False, "columns": ["a"], "missing_values": [-200]}
    ) == Format(delimiter=";", header=False, columns=("a",), missing_values=("-200",))


def test_a_measure_that_turns_up_late_is_still_read() -> None:
    lines = [json.dumps({"t": "2022-03-24 23:30", "s": "a"})] * 1500 + [json.dumps(RECORDS[0])]
    rows, _ = read("\n".join(lines).encode())
    assert values(rows)[-2:] == [None, 1]
