"""`/detectors`: what is watched, its life, its data and its charts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, only, page_by_name, page_json, read_time, text
from masthead.metrics.spec import DetectorSpec, dimension_values

router = APIRouter(tags=["detectors"])
_DATASET: Json = {
    "source": {"kind": "stream", "topic": "air/#"},
    "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
    "measures": [{"name": "CO", "column": "CO", "aggregation": "avg"}],
    "dimensions": ["LOCATION_ID"],
}
_FILES: Json = {"kind": "files", "paths": ["s3://air/past/"]}
_EXAMPLE: Json = {"name": "air", "mode": "continuous", "interval": "5m", "zone": "UTC", **_DATASET}


@router.post("/detectors", status_code=201)
def create_detector(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Create a detector; its data set may follow."""
    return masthead.metrics.create_detector(given).to_json()


@router.get("/detectors")
def list_detectors(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List detectors by name."""
    return page_by_name("detectors", masthead.metrics.list_detectors(), limit, token)


@router.post("/detectors/validate")
def validate_settings(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Read samples of every source of settings that are not stored, and return what was found."""
    return _json(masthead.metrics.validate(DetectorSpec.from_json(given)))


@router.post("/detectors/sample")
def sample_rows(masthead: Product, given: Annotated[Json, body(_FILES)]) -> Json:
    """Return the first rows of a source of files, as they stand."""
    return masthead.metrics.sample_rows(given).to_json()


@router.post("/detectors/detect")
def detect(masthead: Product, given: Annotated[Json, body(_FILES)]) -> Json:
    """Guess how the files of a source are written and their interval, each with its confidence."""
    return {name: guess.to_json() for name, guess in masthead.metrics.detect(given).items()}


@router.get("/detectors/{name}")
def get_detector(masthead: Product, name: str) -> Json:
    """Return one detector with its state and learning progress."""
    return masthead.metrics.get_detector(name).to_json()


@router.patch("/detectors/{name}")
def update_detector(masthead: Product, name: str, given: Annotated[Json, body({"delay_s": 60})]) -> Json:
    """Change settings of a detector that does not run."""
    return masthead.metrics.update_detector(name, given).to_json()


@router.put("/detectors/{name}/dataset")
def set_dataset(masthead: Product, name: str, given: Annotated[Json, body(_DATASET)]) -> Json:
    """Set source, time, measures, dimensions, filters or history of a detector that does not run."""
    return masthead.metrics.set_dataset(name, given).to_json()


@router.get("/detectors/{name}/settings.toml", response_class=Response)
def settings_toml(masthead: Product, name: str) -> Response:
    """Return a detector's settings as TOML."""
    return Response(masthead.metrics.get_detector(name).spec.to_toml(), media_type="application/toml")


@router.delete("/detectors/{name}", status_code=204)
def delete_detector(
    masthead: Product,
    name: str,
    stop: Annotated[bool, Query(description="Also one that runs: it is stopped first.")] = False,
) -> None:
    """Delete a detector with its anomalies and alert rules; the objects it read stay."""
    masthead.metrics.delete_detector(name, stop=stop)


@router.post("/detectors/{name}/validate")
def validate(masthead: Product, name: str) -> Json:
    """Read samples of every source and return what was found; changes nothing."""
    return _json(masthead.metrics.validate(name))


@router.post("/detectors/{name}/test")
def try_detector(
    masthead: Product, name: str, given: Annotated[Json | None, body({"message": '{"CO": 2.4}'})] = None
) -> Json:
    """Return what the detector would make of a `message`; without one do the same as `validate`."""
    if not given:
        return _json(masthead.metrics.validate(name))
    return masthead.metrics.try_message(name, text(only(given, "message"), "message"))


@router.post("/detectors/{name}/activate", status_code=202)
def activate(masthead: Product, name: str) -> Json:
    """Validate, learn from the history if there is one, and watch."""
    return masthead.metrics.activate(name).to_json()


@router.post("/detectors/{name}/deactivate", status_code=202)
def deactivate(masthead: Product, name: str) -> Json:
    """Stop watching, or end an activation or a back-test; what was found before stays."""
    return masthead.metrics.deactivate(name).to_json()


@router.post("/detectors/{name}/backtest", status_code=202)
def backtest(masthead: Product, name: str) -> Json:
    """Score the past data of a detector in backtest mode."""
    return masthead.metrics.backtest(name).to_json()


@router.post("/detectors/{name}/deploy", status_code=201)
def deploy(
    masthead: Product,
    name: str,
    endpoint: Annotated[str, Query(description="Its name; absent: the detector's.")] = "",
) -> Json:
    """Let a copy of what a detector has learned answer under an endpoint's name."""
    return masthead.metrics.deploy(name, endpoint).to_json()


@router.get("/detectors/{name}/quality")
def data_quality(masthead: Product, name: str) -> Json:
    """Return what was counted about a detector's data."""
    return _json(masthead.metrics.data_quality(name))


@router.get("/detectors/{name}/executions")
def executions(
    masthead: Product,
    name: str,
    intervals: Annotated[bool, Query(description="Also the scored intervals.")] = False,
    limit: Limit = 100,
    token: Token = None,
) -> Json:
    """List a detector's activations and backtests, the latest first."""
    return page_json(masthead.metrics.executions(name, limit=limit, token=token, intervals=intervals))


@router.get("/detectors/{name}/series")
def series(masthead: Product, name: str) -> Json:
    """List every series of a detector: measure and dimension values."""
    return {"items": list(masthead.metrics.series(name)), "next_token": None}


@router.get("/detectors/{name}/chart")
def chart(
    masthead: Product,
    name: str,
    measure: str,
    dimension: Annotated[list[str] | None, Query(description="NAME=VALUE, repeatable.")] = None,
    start: str | None = None,
    end: str | None = None,
    limit: Annotated[int, Query(description="At most so many intervals.")] = 5_000,
) -> Json:
    """Return one series over time: value, expected, low, high and severity per interval."""
    dimensions = dimension_values(dimension or [])
    span = read_time(start, "start"), read_time(end, "end")
    return _json(masthead.metrics.chart(name, measure, dimensions, *span, limit=limit))


@router.get("/detectors/{name}/groups.csv", response_class=Response)
def export_groups(masthead: Product, name: str) -> Response:
    """Return every anomaly group of a detector as CSV."""
    text = masthead.metrics.export_groups(name)
    disposition = {"content-disposition": f'attachment; filename="{name}-groups.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=disposition)


def _json(value: Any) -> Json:
    found: Json = value.to_json() if hasattr(value, "to_json") else value
    return found
