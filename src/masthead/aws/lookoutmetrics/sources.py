"""Where a metric set's rows come from: S3 paths and file formats to our sources, and back. Pure."""

from collections.abc import Mapping
from typing import Any

from masthead.base.errors import InvalidInput, shown
from masthead.metrics.raw import Format
from masthead.metrics.spec import DetectorSpec, Source
from masthead.store.objects import check_key, parse_uri

__all__ = ["described_source", "format_of", "one_source", "source_part"]

LEARNING_SHARE = (
    0.7  # of a back-test: documented, with at least 200 intervals that teach and at most 900 tested
)


def source_part(source: Mapping[str, Any], member: str = "MetricSource") -> dict[str, Any]:
    """Return the fields of a data set that say where its rows come from: a template goes on, a history alone is tested.

    Raises:
        InvalidInput: It is no S3 source, has no path, or a path that cannot be.
    """
    if "S3SourceConfig" not in source:
        kind = next(iter(source), "none")
        raise InvalidInput(
            f"{member}: source not supported: use S3SourceConfig (s3://bucket/... maps to a folder), got {kind}",
            field=member,
        )
    given = source["S3SourceConfig"]
    template, past = _paths(given, f"{member}.S3SourceConfig")
    form = format_of(given.get("FileFormatDescriptor", {}))
    if template is None:
        assert past is not None
        files = {"kind": "files", "paths": [past], "format": form}
        return {"mode": "backtest", "source": files, "history": None, "learning_share": LEARNING_SHARE}
    path = {"kind": "path", "template": template, "format": form}
    history = None if past is None else {"paths": [past], "format": form}
    return {"mode": "continuous", "source": path, "history": history, "learning_share": None}


def one_source(given: Mapping[str, Any], member: str) -> Source:
    """Return the source of which rows are to be looked at: the history if there is one.

    Raises: As `source_part`.
    """
    template, past = _paths(given, member)
    form = format_of(given.get("FileFormatDescriptor", {}))
    where = {"kind": "files", "paths": [past]} if past else {"kind": "path", "template": template}
    return Source.from_json({**where, "format": form})


def _paths(given: Mapping[str, Any], member: str) -> tuple[str | None, str | None]:
    """Return template and history, at least one of which must be there."""
    template = next(iter(given.get("TemplatedPathList", ())), None)
    past = next(iter(given.get("HistoricalDataPathList", ())), None)
    if template is None and past is None:
        raise InvalidInput(
            f"{member}: expected a TemplatedPathList (live), a HistoricalDataPathList (past) or both, got none",
            field=member,
        )
    for path, name in ((template, "TemplatedPathList"), (past, "HistoricalDataPathList")):
        if path is not None:
            _check_path(path, f"{member}.{name}[0]")
    return template, past


def _check_path(path: str, member: str) -> None:
    """Refuse what leaves its bucket or cannot be an object's address, before any store sees it."""
    try:
        _, key = parse_uri(path)
        if key.strip("/"):
            check_key(key.removesuffix("/"))
    except InvalidInput as error:
        raise InvalidInput(f"{member}: {error.message}", field=member) from error
    if "\\" in path:
        raise InvalidInput(f"{member}: expected a path without backslashes, got {shown(path)}", field=member)


def format_of(descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """Return how files are written; JSON and CSV are told apart by their content, so that one folder may hold both."""
    csv = descriptor.get("CsvFormatDescriptor", {})
    json = descriptor.get("JsonFormatDescriptor", {})
    names = {
        "Delimiter": "delimiter",
        "QuoteSymbol": "quote",
        "ContainsHeader": "header",
        "HeaderList": "columns",
    }
    found = {ours: csv[name] for name, ours in names.items() if name in csv}
    charset = csv.get("Charset", json.get("Charset"))
    return found if charset is None else {**found, "charset": charset}


def described_source(spec: DetectorSpec, note: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as it was described; of one that is no S3 path nothing can be told."""
    source = spec.source
    assert source is not None
    past = spec.history.paths if spec.history is not None else ()
    if source.kind == "files":
        past = source.paths
    known = [path for path in past if path.startswith("s3://")][:1]
    template = [source.template] if source.kind == "path" else []
    if not known and not template:
        return {}
    return {
        "S3SourceConfig": {
            "RoleArn": note.get("RoleArn"),
            "TemplatedPathList": template or None,
            "HistoricalDataPathList": known or None,
            "FileFormatDescriptor": note.get("FileFormatDescriptor") or _descriptor(source.format),
        }
    }


def _descriptor(form: Format) -> dict[str, Any] | None:
    if form.kind == "json":
        return {"JsonFormatDescriptor": {"Charset": form.charset.upper()}}
    if form.kind != "csv":
        return None
    return {
        "CsvFormatDescriptor": {
            "Charset": form.charset.upper(),
            "ContainsHeader": form.header,
            "Delimiter": form.delimiter or None,
            "HeaderList": list(form.columns) or None,
            "QuoteSymbol": form.quote,
        }
    }
