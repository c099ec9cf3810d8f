"""The parameters of the graph network while it is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from masthead.fraud.networks.graph import Floats
from masthead.fraud.networks.rgcn_scoring import Signature
from masthead.fraud.networks.rgcn_task import Options, Task

__all__ = ["Network"]

_REPLACED = (
    0.1  # share of entities whose vector is their type's mean in a step, so that an unseen one is no surprise
)
_BASES, _MANY = 8, 20  # beyond so many relations their weights are mixtures of a few


class Network:
    """The parameters, and the weights that the formula reads."""

    def __init__(self, torch: Any, task: Task, signatures: Sequence[Signature], options: Options) -> None:
        self._torch, self._task = torch, task
        self._mixed = len({one.name[1:] for one in signatures}) > _MANY
        self._layers = options.n_layers
        hidden, vector = options.n_hidden, options.embedding_size
        own: dict[str, Any] = {}
        for place in range(len(task.types)):
            width = task.x.shape[1] if place == 0 else vector
            own[f"in.{place}.w"] = _drawn(torch, (width, hidden), max(width, 1))
            own[f"in.{place}.b"] = torch.zeros(hidden)
        for layer in range(options.n_layers):
            own |= self._layer(layer, signatures, hidden)
        own["out.w"] = _drawn(torch, ((options.n_layers + 1) * hidden, 1), (options.n_layers + 1) * hidden)
        own["out.b"] = torch.zeros(1)
        self._own = {name: torch.nn.Parameter(value) for name, value in own.items()}
        self._vectors = {
            kind: torch.nn.Parameter(torch.empty(count, vector).uniform_(-0.5, 0.5) / vector**0.5)
            for kind, count in zip(task.types[1:], task.counts[1:], strict=True)
        }

    def _layer(self, layer: int, signatures: Sequence[Signature], hidden: int) -> dict[str, Any]:
        torch, count = self._torch, len(signatures)
        found: dict[str, Any] = {f"{layer}.label": _drawn(torch, (1, hidden), 1)}
        for role in ("target", "entity"):
            found[f"{layer}.self.{role}.w"] = _drawn(torch, (hidden, hidden), hidden)
            found[f"{layer}.self.{role}.b"] = torch.zeros(hidden)
            found[f"{layer}.norm.{role}.w"] = torch.ones(hidden)
            found[f"{layer}.norm.{role}.b"] = torch.zeros(hidden)
        if self._mixed:
            found[f"{layer}.bases"] = _drawn(torch, (_BASES, hidden, hidden), hidden)
            found[f"{layer}.mixture"] = _drawn(torch, (count, _BASES), _BASES)
        else:
            found[f"{layer}.rel"] = _drawn(torch, (count, hidden, hidden), hidden)
        for place, one in enumerate(signatures):
            if one.names:
                found[f"{layer}.att.{place}"] = _drawn(torch, (len(one.names), hidden), len(one.names))
        return found

    @property
    def parameters(self) -> list[Any]:
        return [*self._own.values(), *self._vectors.values()]

    def weights(self) -> Mapping[str, Any]:
        """Return the weights by name, mixtures of bases worked out."""
        if not self._mixed:
            return self._own
        found = dict(self._own)
        for layer in range(self._layers):
            mixture, bases = found.pop(f"{layer}.mixture"), found.pop(f"{layer}.bases")
            found[f"{layer}.rel"] = self._torch.einsum("rb,bij->rij", mixture, bases)
        return found

    def inputs(self, x: Any, *, replaced: bool) -> dict[str, Any]:
        """Return what each type begins with; `replaced` puts the type's mean for some entities."""
        found = {self._task.types[0]: x}
        for kind, vectors in self._vectors.items():
            found[kind] = vectors
            if replaced:
                chosen = self._torch.rand(len(vectors), 1) < _REPLACED
                found[kind] = self._torch.where(chosen, vectors.mean(0, keepdim=True), vectors)
        return found

    def copy(self) -> tuple[dict[str, Floats], dict[str, Floats]]:
        with self._torch.no_grad():
            weights = {name: one.detach().numpy().copy() for name, one in self.weights().items()}
        return weights, {kind: one.detach().numpy().copy() for kind, one in self._vectors.items()}


def _drawn(torch: Any, shape: tuple[int, ...], width: int) -> Any:
    return torch.randn(shape) / width**0.5
