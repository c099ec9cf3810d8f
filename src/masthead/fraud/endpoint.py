"""A deployment behind InvokeEndpoint: a transaction is scored, durably; the article's graph payload by a graph model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError
from masthead.fraud.live.terms import Terms
from masthead.learn.models import Answer, ModelFailure
from masthead.learn.payloads import CSV, JSON, chosen_type, read_rows, write_rows

if TYPE_CHECKING:
    from masthead.fraud.service import FraudService

__all__ = ["FraudEndpoint", "GraphEndpoint"]

_COLUMNS = ("id", "flag", "pred_prob", "threshold", "action", "model", "latency_ms")
_GRAPH = frozenset({"graph", "n_feats", "target_id"})
# What a model of transactions reads, the network without ids too, is what an entity did before and when, and what was
# confirmed of it by then. The article's payload says none of it, so no score could be made of one.
_NO_GRAPH = (
    "graph: expected a transaction, flat or as transaction_data and identity_data: this endpoint's model reads what its "
    "entities did before and when, which graph, n_feats and target_id do not say; for these deploy a model of "
    "masthead fraud graph train under the same name: the endpoint then takes both"
)
_NO_TRANSACTION = (
    "graph: expected graph, n_feats and target_id: this endpoint's model is a graph network, which knows no stored "
    "transactions; for a transaction deploy a model of masthead fraud train under the same name: the endpoint then takes both"
)


class FraudEndpoint:
    """One deployment as a served model.

    Args:
        source: `name, model, space, shadow` of the deployment, whom it `challenges`, and its terms.
        network: Answers the article's payload under the same name; None: nothing does.
    """

    def __init__(
        self, service: "FraudService", source: Mapping[str, Any], network: "GraphEndpoint | None" = None
    ) -> None:
        self._service, self._source, self._network = service, source, network
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
            "network": self._source.get("network", ""),
            **Terms.of(self._source).to_json(),
            "schema": model.schema.digest(),
            "columns": model.layout.width,
            "review": model.thresholds.review,
            "block": model.thresholds.block,
        }

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        """Return the decision on a transaction, or one for each of several rows; each that is decided is stored.

        What is wrong with one of several rows stands in its place as `error`; in CSV, which has no place for it, all are
        refused, and the same sent again gets the decisions that were made.

        Raises:
            ModelFailure: 400 for a payload that cannot be used, 415 for a type.
            LimitReached: Too many wait; come again.
        """
        kind = chosen_type(accept)
        rows = read_rows(body, content_type)
        if len(rows) == 1 and len(rows[0].keys() & _GRAPH) > 1:
            if self._network is None:
                raise ModelFailure(400, _NO_GRAPH)
            return self._network.invoke(body, content_type=content_type, accept=accept, explain=explain)
        try:
            found = self._service.score_many(
                rows, space=self._source["space"], alias=self._source["name"], explain=explain
            )
        except (Conflict, InvalidInput) as error:
            raise ModelFailure(400, error.message) from error
        for place, one in enumerate(found):
            if isinstance(one, LimitReached):
                raise one
            if isinstance(one, MastheadError) and (len(found) == 1 or kind == CSV):
                where = f"row {place}: " if len(found) > 1 else ""
                raise ModelFailure(400, where + _told(one)) from one
        if kind == JSON and len(found) == 1:
            return Answer(orjson.dumps(found[0]), JSON)
        rows = [
            {"error": {"code": one.code, "message": _told(one)}} if isinstance(one, MastheadError) else one
            for one in found
        ]
        return write_rows(rows, _COLUMNS, accept)

    def close(self) -> None:
        """Do nothing: the model is the service's."""


def _told(error: MastheadError) -> str:
    """Return what is wrong with a row; a conflict's message shows what is stored: not to who may only invoke."""
    return error.message if isinstance(error, InvalidInput) else "id: is stored with other content"


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
            raise ModelFailure(400, error.message if _is_graph(body) else _NO_TRANSACTION) from error

    def close(self) -> None:
        """Do nothing: all of it is memory."""


def _is_graph(body: bytes) -> bool:
    """Return whether a body that was refused is meant as the article's payload, or as nothing that can be told."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return True
    rows = found if isinstance(found, list) else [found]
    return not all(isinstance(row, dict) and row and not row.keys() & _GRAPH for row in rows)
