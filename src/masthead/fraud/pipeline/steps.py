"""What each step of the pipeline does, given what the earlier ones left. A step bears being run twice."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import Conflict, InvalidInput, MastheadError, NotFound
from masthead.fraud.pipeline.children import Listener, run_child
from masthead.fraud.pipeline.config import CANDIDATE, STEPS, Config
from masthead.fraud.pipeline.runs import RunFolder
from masthead.learn.packages import pack, unpack

if TYPE_CHECKING:
    from masthead.flows.run import Run
    from masthead.fraud.service import FraudService

__all__ = ["Work"]

_TELL_S = 0.5
_TOLERANCE = 1e-6
_CHUNK = 500
Output = dict[str, Any]


class Work:
    """One run under way: its folder, the flow that runs it, and the live service.

    Args:
        models: The folder of deployed models.
    """

    def __init__(
        self, folder: RunFolder, run: "Run", fraud: "Callable[[], FraudService]", models: Path
    ) -> None:
        self.folder, self.run, self._fraud, self._models = folder, run, fraud, models
        self._step, self._begun, self._told = "", 0.0, 0.0

    @property
    def fraud(self) -> "FraudService":
        """The live service: built only when a step needs it."""
        return self._fraud()

    def do(self, step: str) -> Output:
        """Return what a step found, now or in an earlier attempt."""
        found = self.folder.output(step)
        if found is not None:
            return found
        self._step, self._begun = step, time.monotonic()
        self.tell(0, 1, "", "begins", now=True)
        beside = self.folder.begin(step)
        output = _STEPS[step](self, beside)
        self.check()
        seconds = round(time.monotonic() - self._begun, 3)
        self.folder.finish(step, {**output, "seconds": seconds})
        return {**output, "seconds": seconds}

    def check(self) -> None:
        """Stop here if the flow was cancelled, the step's time is over or the process ends."""
        self.run.check()

    def output(self, step: str) -> Output:
        """Return what an earlier step found."""
        found = self.folder.output(step)
        if found is None:
            raise NotFound(f"run: the step {step} left nothing in {self.folder.path}")
        return found

    @property
    def config(self) -> Config:
        """Return what was asked."""
        return Config.from_json(self.folder.config())

    def tell(self, done: float, total: float, unit: str, message: str, *, now: bool = False) -> None:
        """Tell how far the step is; kept at least each second while somebody calls this."""
        moment = time.monotonic()
        if not now and moment - self._told < _TELL_S:
            return
        self._told = moment
        progress = {
            "done": done,
            "total": total,
            "unit": unit,
            "message": message,
            "seconds": round(moment - self._begun, 1),
        }
        self.folder.put_state(step=self._step, progress=progress)
        share = min(done / total, 1.0) if total else 0.0
        self.run.progress(STEPS.index(self._step) + share, len(STEPS), f"{self._step}: {message}")


# ---------------------------------------------------------------------- the steps, in order


def normalise(work: Work, into: Path) -> Output:
    """Write down every parameter with its value, and the schema as it is now."""
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.pipeline.early_checks import require_sense

    config = work.config
    schema = work.fraud.schema() if config.live else Schema.read(config.schema)
    require_sense(config, schema)
    (into / "schema.toml").write_text(schema.to_toml())
    return {**config.to_json(), "schema": schema.name, "schema_digest": schema.digest()}


def ingest(work: Work, into: Path) -> Output:
    """Tell which files there are, to the byte; or write what is stored into such."""
    if not work.config.live:
        return run_child(work, "ingest", into)
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.store.live_data import write_live
    from masthead.fraud.store.records import LIVE

    schema = Schema.read(work.folder.schema)

    def told(done: int, total: int) -> None:
        work.check()
        work.tell(done, total, "transactions", "read from the store")

    found = write_live(work.fraud.store, LIVE, schema, into, told)
    return {"schema": schema.name, "schema_digest": schema.digest(), **found}


def catalogue(work: Work, into: Path) -> Output:
    """Tell what their columns hold."""
    return run_child(work, "catalogue", into)


def process(work: Work, into: Path) -> Output:
    """Write the files of the graph: features, tags, held-out ids, an edge list for each relation."""
    if work.config.live:
        return {"skipped": "only files have a graph in files"}
    return run_child(work, "process", into)


def hyperparameters(work: Work, into: Path) -> Output:
    """Choose the learner's parameters."""
    if work.config.script is not None:
        return {"chosen": dict(work.config.script.hyperparameters), "trials": []}
    if not work.config.trials:
        return {"chosen": dict(work.config.hyperparameters), "trials": []}
    return run_child(work, "hyperparameters", into)


def train(work: Work, into: Path) -> Output:
    """Teach the model: ours, or by the user's own script."""
    if work.config.script is None:
        return run_child(work, "train", into)
    return _train_by_script(work, into)


def _train_by_script(work: Work, into: Path) -> Output:
    from masthead.fraud.pipeline.early_checks import script_of
    from masthead.learn.scripts import run_script

    config = work.config
    asked = config.script
    assert asked is not None
    raw = into / "data"
    raw.mkdir()
    for place, one in enumerate(config.data):
        (raw / f"{place}-{Path(one).name}").symlink_to(one)
    channels = {
        "train": work.folder.path / "process" / "graph",
        "data": raw,
        "schema": work.folder.schema,
        **({"labels": Path(config.labels)} if config.labels else {}),
    }
    script = replace(
        script_of(asked),
        channels=channels,
        hyperparameters=work.output("hyperparameters")["chosen"],
        model_dir=into / "model",
        limit_s=math.inf,
    )
    listener = Listener(work, into / "log.txt")

    with contextlib.closing(listener):
        found = run_script(script, base=into / "script", told=listener.note, check=listener.check)
    shutil.rmtree(into / "script" / "code", ignore_errors=True)
    return {"script": Path(asked.entry_point).name, **found.to_json()}


def load_graph(work: Work, into: Path) -> Output:
    """Load the transactions into the live graph; those that are there already stay as they are."""
    from masthead.fraud.data.schema import Schema

    config = work.config
    if not config.load:
        return {"skipped": "they are stored already" if config.live else "load = false"}

    def told(done: int, total: int) -> None:
        work.check()
        work.tell(done, total, "transactions", "stored")

    found = work.fraud.load(
        [Path(one) for one in config.data],
        schema=Schema.read(work.folder.schema),
        labels=Path(config.labels) if config.labels else None,
        told=told,
    )
    problems = found.pop("problems", [])
    (into / "problems.json").write_bytes(orjson.dumps(problems))
    return found


def package(work: Work, into: Path) -> Output:
    """Pack the model as `model.tar.gz`, with the checksum of each file."""
    model = work.folder.path / "train" / "model"

    def told(done: int, total: int) -> None:
        work.check()
        work.tell(done, total, "files", "packed")

    return {"archive": "model.tar.gz", **pack(model, into / "model.tar.gz", told=told)}


def create_model(work: Work, into: Path) -> Output:
    """Enter what the archive holds into the list of models, if it is one of ours."""
    from masthead.fraud.scoring.model import FraudModel

    archive = work.folder.path / "package" / "model.tar.gz"
    unpack(archive, into / "model", sha256=work.output("package")["sha256"])
    if not (into / "model" / "card.json").exists():
        if work.config.endpoint:
            raise InvalidInput(
                "endpoint.name: expected a model folder of `masthead fraud train` from the script, got none with card.json; "
                "leave the name out to keep the archive alone"
            )
        return {"model": "", "skipped": "no model that can be deployed here; the archive is kept"}
    model = FraudModel.load(into / "model")
    target = self_named(work._models, model.id)
    if not target.exists():
        shutil.copytree(into / "model", beside := target.with_name(f".{model.id}.{work.folder.id}"))
        beside.rename(target)
    return {"model": model.id, "schema": model.schema.digest()}


def self_named(models: Path, id: str) -> Path:
    """Return a model's folder among those that can be deployed."""
    from masthead.base.ids import check_name

    models.mkdir(parents=True, exist_ok=True, mode=0o700)
    return models / check_name(id, "model")


def endpoint_configuration(work: Work, into: Path) -> Output:
    """Say what will answer under which name, and what answers there now."""
    config = work.config
    if not config.endpoint:
        return {"skipped": "no endpoint is asked for"}
    before = {one.name: dict(one.source) for one in work.fraud.deployments()}.get(config.endpoint)
    return {
        "endpoint": config.endpoint,
        "candidate": config.endpoint + CANDIDATE,
        "model": work.output("create-model")["model"],
        "shadow": config.shadow,
        "challenges": config.challenges,
        "action": "create" if before is None else "update",
        "before": before,
    }


def deploy(work: Work, into: Path) -> Output:
    """Let the model score along under the candidate's name; the endpoint's own name keeps its old target."""
    plan = work.output("endpoint-configuration")
    if "skipped" in plan:
        return {"skipped": plan["skipped"]}
    work.fraud.deploy(plan["candidate"], work._models / plan["model"], shadow=True)
    return {"endpoint": plan["endpoint"], "candidate": plan["candidate"], "action": plan["action"]}


def check(work: Work, into: Path) -> Output:
    """Compare the candidate's answers with those of the replay; then the endpoint's name is the model's."""
    plan = work.output("endpoint-configuration")
    if "skipped" in plan:
        return {"skipped": plan["skipped"]}
    run_child(work, "sample", into)
    sample = orjson.loads((into / "sample.json").read_bytes())
    fraud, candidate = work.fraud, plan["candidate"]
    if candidate not in {one.name for one in fraud.deployments()}:  # a crash came after it was promoted
        fraud.deploy(candidate, work._models / plan["model"], shadow=True)
    try:
        largest = _compare(work, candidate, sample)
        if not largest <= _TOLERANCE:
            raise Conflict(
                f"check: expected the endpoint's answers to be those of the replay to {_TOLERANCE:g}, they differ by "
                f"{largest:.3g}; {plan['endpoint']} keeps its old target"
            )
        fraud.deploy(
            plan["endpoint"],
            work._models / plan["model"],
            shadow=plan["shadow"],
            challenges=work.config.challenges,
        )
    finally:
        fraud.undeploy(candidate)
    return {"rows": len(sample["events"]), "largest_difference": largest, "endpoint": plan["endpoint"]}


def _compare(work: Work, candidate: str, sample: dict[str, Any]) -> float:
    """Return the largest difference over a sample, scored through the serving path in a space of its own."""
    from masthead.fraud.live.ledger import Mark

    fraud = work.fraud
    space = fraud.create_simulation().name
    try:
        fraud.label_many([Mark(id, value, "import", at) for id, value, at in sample["labels"]], space=space)
        events = [_event(one) for one in sample["events"]]
        largest = 0.0
        for start in range(0, len(events), _CHUNK):
            work.check()
            work.tell(start, len(events), "transactions", "through the endpoint")
            expected = sample["probabilities"][start : start + _CHUNK]
            largest = max(
                largest, _largest(fraud, candidate, space, events[start : start + _CHUNK], expected)
            )
    finally:
        fraud.delete_simulation(space)
    return largest


def _largest(
    fraud: "FraudService", candidate: str, space: str, events: Sequence[Any], expected: Sequence[float]
) -> float:
    largest = 0.0
    for answer, value in zip(fraud.score_events(events, space=space, alias=candidate), expected, strict=True):
        if isinstance(answer, MastheadError):
            raise answer
        largest = max(largest, abs(float(answer["pred_prob"]) - value))
    return largest


def _event(told: Sequence[Any]) -> Any:
    import numpy as np

    from masthead.fraud.data.events import Event

    id, ts, amount, keys, numerics, categories = told
    numbers = np.array([math.nan if one is None else one for one in numerics], np.float64)
    return Event(id, ts, math.nan if amount is None else amount, tuple(keys), numbers, tuple(categories))


_STEPS: dict[str, Callable[[Work, Path], Output]] = dict(
    zip(
        STEPS,
        (
            *(normalise, ingest, catalogue, process, hyperparameters, train),
            *(load_graph, package, create_model, endpoint_configuration, deploy, check),
        ),
        strict=True,
    )
)
