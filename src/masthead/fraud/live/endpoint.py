"""A deployment behind InvokeEndpoint: a transaction is scored, durably; the article's graph payload by a graph model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError
from masthead.fraud.live.terms import Terms
from masthead.learn.models import Answer, ModelFailure
from masthead.learn.payloads import JSON, chosen_type, read_rows, write_rows

if TYPE_CHECKING:
    from masthead.fraud.service import FraudService

__all__ = ["FraudEndpoint", "GraphEndpoint"]

_COLUMNS = ("id", "flag", "pred_prob", "threshold", "action", "model", "latency_ms")
_GRAPH = frozenset({"graph", "n_feats", "target_id"})


class FraudEndpoint:
    """One deployment as a served model.

    Args:
        source: `name, model, space, shadow` of the deployment, whom it `challenges`, and its terms.
    """

    def __init__(self, service: "FraudService", source: Mapping[str, Any]) -> None:
        self._service, self._source = service, source
        self._model = service.model(str(source["model"]))

    def describe(self) -> dict[str, Any]:
        """Return which model it is, of which schema, and whether it decides."""
        model = self._model
        return {
            "model": f"fraud {model.schema.name}",
            "version": model.id,
            "space": self._source["space"],
            "shadow": self._source["shadow"],
            "challenges": self._source.get("challenges", ""),
            **Terms.of(self._source).to_json(),
            "schema": model.schema.digest(),
            "columns": model.layout.width,
            "review": model.thresholds.review,
            "block": model.thresholds.block,
        }

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        """Return the decision on a transaction, or one for each of several rows. All of them are stored.

        Raises:
            ModelFailure: 400 for a payload that cannot be used, 415 for a type.
            LimitReached: Too many wait; come again.
        """
        kind = chosen_type(accept)
        rows = read_rows(body, content_type)
        if len(rows) == 1 and rows[0].keys() & _GRAPH:
            raise ModelFailure(400, "graph: expected a transaction; this endpoint serves no graph model")
        try:
            found = self._service.score_many(
                rows, space=self._source["space"], alias=self._source["name"], explain=explain
            )
        except (Conflict, InvalidInput) as error:
            raise ModelFailure(400, error.message) from error
        for one in found:
            if isinstance(one, LimitReached):
                raise one
            if isinstance(
                one, MastheadError
            ):  # a conflict's message shows what is stored: not to who may only invoke
                told = one.message if isinstance(one, InvalidInput) else "id: is stored with other content"
                raise ModelFailure(400, told) from one
        decisions = [one for one in found if not isinstance(one, MastheadError)]
        if kind == JSON and len(decisions) == 1:
            return Answer(orjson.dumps(decisions[0]), JSON)
        return write_rows(decisions, _COLUMNS, accept)

    def close(self) -> None:
        """Do nothing: the model is the service's."""


class GraphEndpoint:
    """A graph network as a served model: `{"graph", "n_feats", "target_id"}` in, one number out. Nothing is stored."""

    def __init__(self, folder: Path) -> None:
        from masthead.fraud.networks.graph_model import GraphModel

        self._model = GraphModel.load(folder)
        self._id = folder.name

    def describe(self) -> dict[str, Any]:
        """Return which model it is, and of which nodes."""
        model = self._model
        return {
            "model": "fraud graph",
            "version": self._id,
            "target": model.target,
            "columns": len(model.columns),
            "space": "",
            "shadow": False,
        }

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        """Return the probability of the payload's target as one JSON number.

        Raises:
            ModelFailure: 400 for a payload that cannot be used, 415 for a type.
        """
        from masthead.fraud.networks.graph_payload import score_payload

        if content_type.partition(";")[0].strip().lower() not in ("", JSON):
            raise ModelFailure(415, f"content-type: expected {JSON}")
        if chosen_type(accept) != JSON:
            raise ModelFailure(415, f"accept: expected {JSON}")
        try:
            return Answer(orjson.dumps(score_payload(self._model, body)), JSON)
        except InvalidInput as error:
            raise ModelFailure(400, error.message) from error

    def close(self) -> None:
        """Do nothing: all of it is memory."""
