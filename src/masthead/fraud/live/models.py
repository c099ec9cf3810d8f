"""The models that were deployed once: each a folder under its id, copied whole, loaded once.

They stay when they are no longer deployed, so that every decision can be made again from what was kept.
"""

import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import MastheadError
from masthead.base.ids import check_name, new_id
from masthead.learn.cards import read_folder

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["Models", "card_id", "is_graph"]

_OURS = ("fraud-", "graph-")  # how ids of models begin: other rooms' models lie in the same folder

Json = dict[str, Any]


class Models:
    """Folders of models by id, and those of them that are in memory. May be used from any thread.

    Args:
        root: The folder of the folders.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._loaded: dict[str, FraudModel] = {}
        self._cards: dict[str, Json] = {}  # of graph networks

    @property
    def loaded(self) -> frozenset[str]:
        """Return the ids of the models that are in memory."""
        return frozenset(self._loaded)

    def keep(self, id: str, model: Path) -> None:
        """Copy a model's folder under its id, whole or not at all; a copy that is damaged is replaced."""
        target = self._root / id
        if _is_intact(target):
            return
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._root / new_id("part")
        shutil.copytree(model, beside)
        if target.exists():
            shutil.rmtree(target)
        beside.rename(target)

    def load(self, id: str) -> "FraudModel":
        """Return a model, loaded once.

        Raises:
            NotFound: It is gone. InvalidInput: Its folder is damaged.
        """
        from masthead.fraud.scoring.model import FraudModel

        with self._lock:
            if id not in self._loaded:
                self._loaded[id] = FraudModel.load(self._root / check_name(id, "model"))
            return self._loaded[id]

    def card(self, id: str) -> Json:
        """Return all that is told of a model, also of a graph network.

        Raises:
            NotFound: It is gone. InvalidInput: Its folder is damaged.
        """
        folder = self._root / check_name(id, "model")
        if not is_graph(folder):
            return dict(self.load(id).card)
        from masthead.fraud.networks.graph_model import read_card

        with self._lock:
            if id not in self._cards:
                self._cards[id] = read_card(folder)
            return dict(self._cards[id])

    def told(self, used: Mapping[str, Sequence[str]]) -> list[Json]:
        """Return what lists tell of each: id, where it is deployed, and its card's figures.

        One without a readable card has a `problem` instead of figures.

        Args:
            used: Id -> the deployments that it is deployed as.
        """
        found = []
        for id in sorted({path.name for path in self._root.glob("*")} | used.keys()):
            deployed = list(used.get(id, ()))
            card = _read_card(self._root / id)
            if card is None:
                if deployed or id.startswith(_OURS):
                    problem = "model: expected a readable card.json, its folder is damaged"
                    found.append({"id": id, "deployed": deployed, "problem": problem})
            elif "schema.toml" in card.get("files", {}) or "directions" in card:
                figures: Json = {
                    name: card[name] for name in ("created", "metrics", "windows") if name in card
                }
                found.append({"id": id, "deployed": deployed, **figures})
        return found

    def remove(self, id: str) -> None:
        """Remove a model's folder, and it from memory."""
        shutil.rmtree(self._root / id)
        self.forget_removed()

    def forget_removed(self) -> None:
        """Let go of models whose folders are gone: another process may have removed them."""
        with self._lock:
            for known in (self._loaded, self._cards):
                for id in [one for one in known if not (self._root / one).exists()]:
                    known.pop(id)


def card_id(model: Path) -> str:
    """Return the id that the card in a model's folder bears."""
    found: Json = orjson.loads((model / "card.json").read_bytes())
    return str(found["id"])


def is_graph(folder: Path) -> bool:
    """Return whether a model's folder holds a graph network, which answers to the article's payload and keeps nothing."""
    return (_read_card(folder) or {}).get("kind") == "fraud-graph"


def _is_intact(folder: Path) -> bool:
    try:
        if is_graph(folder):
            from masthead.fraud.networks.graph_model import read_card

            read_card(folder)
        else:
            read_folder(folder)
    except MastheadError:
        return False
    return True


def _read_card(folder: Path) -> Json | None:
    """Return the card of a model's folder; None when there is none that can be read."""
    try:
        card = orjson.loads((folder / "card.json").read_bytes())
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) else None
