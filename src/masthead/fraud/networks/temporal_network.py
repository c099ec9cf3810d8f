"""The inductive temporal graph network as arrays: no learned ids, so an entity that nobody has seen is no special case.

An entity is what is known of it as of the transaction's time, its block of columns. With `e_r` the block of relation
r and `s` the transaction's own columns, `h_r = relu(W_r e_r + b_r)`,
`z = relu(M [relu(sum_r U_r h_r), relu(S s)])`, and the logit is linear in z. `temporal` trains it in torch; nothing here
needs torch.

Source: the two layers of Schlichtkrull et al., arXiv 1703.06103, with entities' states kept instead of looked up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.networks.graph import Floats
from masthead.fraud.networks.temporal_kernel import MOST, Wires, embed_row, embed_rows

__all__ = ["Blocks", "TemporalNetwork", "spread_codes", "standardised"]

_STEPS = 32  # of the way along which gradients are summed


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which columns of a vector belong to what.

    Attributes:
        own: Places of the transaction's own numbers. categoricals: Places of its codes.
        relations: Places of each relation's columns; all of them NaN = the transaction has no such entity.
    """

    own: tuple[int, ...]
    categoricals: tuple[int, ...]
    relations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TemporalNetwork:
    """A trained network.

    Attributes:
        codes: How many codes each categorical has.
        centre, scale: Of the columns, after `sign(v) log(1 + |v|)`, over training rows.
        weights: By name, float32.
    """

    blocks: Blocks
    codes: tuple[int, ...]
    centre: Floats
    scale: Floats
    weights: dict[str, Floats]

    @property
    def hidden(self) -> int:
        """Return how many numbers a state has."""
        return len(self.weights["mix.b"])

    def raw(self, x: Floats) -> NDArray[np.float64]:
        """Return (n,) logits, less the class weight. `x`: (n, columns)."""
        return self.read(self.embed(x))

    def read(self, states: Floats) -> NDArray[np.float64]:
        """Return the logits of states (n, hidden), the same alone as among others."""
        products = states.astype(np.float64) * self.weights["out.w"][:, 0]
        return np.asarray(np.cumsum(products, axis=1)[:, -1] + self.weights["out.b"][0], np.float64)

    def embed(self, x: Floats) -> Floats:
        """Return (n, hidden), the state that the logit is read from."""
        out = np.empty((len(x), self.hidden), np.float32)
        embed_rows(self.wires, np.ascontiguousarray(x, np.float32), out)
        return out

    def embed_one(self, x: Floats) -> Floats:
        """Return (hidden,), equal to the bit to `embed`'s. `x`: (columns,)."""
        out = np.empty(self.hidden, np.float32)
        embed_row(self.wires, x, out)
        return out

    @cached_property
    def wires(self) -> Wires:
        """The network as the compiled loop reads it."""
        w, relations, hidden = self.weights, range(len(self.blocks.relations)), self.hidden

        def beside(name: str, *shape: int) -> Floats:
            parts = [np.asarray(w[f"{r}.{name}"], np.float32).reshape(shape) for r in relations]
            return np.ascontiguousarray(np.concatenate(parts or [np.empty((0, *shape[1:]), np.float32)]))

        return Wires(
            centre=np.asarray(self.centre, np.float32),
            scale=np.asarray(self.scale, np.float32),
            own=np.array(self.blocks.own, np.int64),
            categoricals=np.array(self.blocks.categoricals, np.int64),
            codes=np.array(self.codes, np.int64),
            places=np.array([place for block in self.blocks.relations for place in block], np.int64),
            starts=np.cumsum([0, *map(len, self.blocks.relations)], dtype=np.int64),
            own_w=np.ascontiguousarray(w["own.w"], np.float32),
            own_b=np.ascontiguousarray(w["own.b"], np.float32),
            block_w=beside("w", -1, hidden),
            block_b=beside("b", 1, hidden),
            between=beside("u", 1, hidden, hidden),
            mix_w=np.ascontiguousarray(w["mix.w"], np.float32),
            mix_b=np.ascontiguousarray(w["mix.b"], np.float32),
        )

    def contributions(self, x: Floats) -> NDArray[np.float64]:
        """Return (n, columns + 1): what each column adds to the logit, and last the logit of a mean transaction.

        Integrated gradients from the mean of each column: the gradient, averaged on the straight way there, times the
        distance. What the sum in 32 steps misses is added to the last.

        Source: Sundararajan, Taly and Yan, arXiv 1703.01365, equation 1.
        """
        found = np.zeros((len(x), len(self.centre) + 1))
        for row, one in enumerate(np.asarray(x, np.float32)):
            found[row, :-1] = self._attributed(one)
            found[row, -1] = self.raw(one[None])[0] - found[row, :-1].sum()
        return found

    def _attributed(self, x: Floats) -> NDArray[np.float64]:
        w, at = self.weights, ((np.arange(_STEPS) + 0.5) / _STEPS)[:, None]
        filled = standardised(x[None], self.centre, self.scale)[0].astype(np.float64)
        codes = spread_codes(x[None], self.blocks, self.codes)[0]
        own = np.concatenate([filled[list(self.blocks.own)], codes])
        said = at * own @ w["own.w"] + w["own.b"]
        heard, states = np.zeros_like(said), {}
        for r, block in enumerate(self.blocks.relations):
            if not np.isnan(x[list(block)]).all():
                states[r] = at * filled[list(block)] @ w[f"{r}.w"] + w[f"{r}.b"]
                heard += np.maximum(states[r], 0) @ w[f"{r}.u"]
        mixed = np.concatenate([np.maximum(heard, 0), np.maximum(said, 0)], 1) @ w["mix.w"] + w["mix.b"]
        slope = ((mixed > 0) * w["out.w"][:, 0]) @ w["mix.w"].T
        found = np.zeros(len(self.centre))
        to_own = own * ((slope[:, self.hidden :] * (said > 0)) @ w["own.w"].T).mean(0)
        found[list(self.blocks.own)] = to_own[: len(self.blocks.own)]
        ends = np.cumsum([len(self.blocks.own), *self.codes])
        for place, first, end in zip(self.blocks.categoricals, ends[:-1], ends[1:], strict=True):
            found[place] = to_own[first:end].sum()
        for r, state in states.items():
            back = ((slope[:, : self.hidden] * (heard > 0)) @ w[f"{r}.u"].T * (state > 0)) @ w[f"{r}.w"].T
            places = list(self.blocks.relations[r])
            found[places] = filled[places] * back.mean(0)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it as arrays for `np.savez`; `of_arrays` takes them back."""
        found: dict[str, NDArray[Any]] = {f"w.{name}": value for name, value in self.weights.items()}
        found |= {"centre": self.centre, "scale": self.scale, "codes": np.array(self.codes, np.int64)}
        found |= {"own": np.array(self.blocks.own, np.int64)}
        found |= {"categoricals": np.array(self.blocks.categoricals, np.int64)}
        found |= {f"r.{at}": np.array(one, np.int64) for at, one in enumerate(self.blocks.relations)}
        return found

    @staticmethod
    def of_arrays(arrays: Mapping[str, NDArray[Any]]) -> "TemporalNetwork":
        """Return the network that `arrays` told."""
        count = sum(name.startswith("r.") for name in arrays)
        blocks = Blocks(
            tuple(arrays["own"].tolist()),
            tuple(arrays["categoricals"].tolist()),
            tuple(tuple(arrays[f"r.{place}"].tolist()) for place in range(count)),
        )
        weights = {name[2:]: arrays[name] for name in arrays if name.startswith("w.")}
        codes = tuple(arrays["codes"].tolist())
        return TemporalNetwork(blocks, codes, arrays["centre"], arrays["scale"], weights)


def standardised(x: Floats, centre: Floats, scale: Floats) -> Floats:
    """Return columns in deviations from their mean over training rows; a missing one is the mean, 10 is the most."""
    values = (np.sign(x) * np.log1p(np.abs(x)) - centre) / scale
    return np.asarray(np.clip(np.nan_to_num(values), -MOST, MOST), np.float32)


def spread_codes(x: Floats, blocks: Blocks, codes: Sequence[int]) -> Floats:
    """Return (n, all codes): a column for each code of each categorical."""
    found = [np.empty((len(x), 0), np.float32)]
    for place, count in zip(blocks.categoricals, codes, strict=True):
        code = np.nan_to_num(x[:, place], nan=-1).astype(np.int64)
        found.append((code[:, None] == np.arange(count)).astype(np.float32))
    return np.concatenate(found, axis=1)
