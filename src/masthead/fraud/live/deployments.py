"""What is deployed, and what serves it: endpoints of the kind `fraud`, models in memory, states that are warm.

A deployment is a name, a model, the space whose transactions it scores. The newest one that is not in shadow decides;
those in shadow score along. States are built when a deployment is first seen, also one that another process made, and
serve from then on without a pause.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, MastheadError, NotFound, shown
from masthead.base.folder import DataFolder
from masthead.base.ids import check_name
from masthead.base.log import Journal
from masthead.fraud.live.desk import Desk
from masthead.fraud.live.models import Models, card_id, is_graph
from masthead.fraud.live.spaces import Spaces
from masthead.fraud.live.terms import Terms
from masthead.fraud.store import results
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import Space
from masthead.learn.endpoints import Endpoints, check_endpoint_name
from masthead.learn.records import Endpoint
from masthead.store.engine import Database
from masthead.streams.works import Intake

if TYPE_CHECKING:
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.live.book import Book, Lane
    from masthead.fraud.live.ledger import Ledger
    from masthead.fraud.live.writer import Writer
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["KIND", "Deployments"]

KIND = "fraud"

Json = dict[str, Any]


class Deployments:
    """Deployments and what serves them; `FraudService` adds the verbs of transactions.

    Attributes:
        intakes: The subjects whose messages are scored now.
        damaged: Deployment -> why its model cannot be loaded. It decides nothing until it is deployed again.
    """

    intakes: tuple[Intake, ...] = ()
    damaged: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        database: Database,
        folder: DataFolder,
        clock: Clock,
        journal: Journal,
        endpoints: Endpoints,
        store: TransactionLog,
    ) -> None:
        self._database, self._clock, self._journal = database, clock, journal
        self._endpoints, self.store = endpoints, store
        self._models, self._spaces = Models(folder.models), Spaces(database, store, clock)
        self._snapshots = folder.cache / "fraud"
        self.desk = Desk(database, clock, journal)
        self._lock = threading.RLock()
        self._seen: tuple[Any, ...] = ()
        self._version: int | None = None
        self._followed = False
        self._ledger: Ledger | None = None
        self._writer: Writer | None = None

    # ------------------------------------------------------------------ deployments

    def deploy(
        self,
        name: str,
        model: Path,
        *,
        space: str = LIVE,
        shadow: bool = False,
        challenges: str = "",
        subject: str | None = None,
        decisions: str | None = None,
        release_share: float | None = None,
    ) -> Endpoint:
        """Let a model score the transactions of a space under a name, from now on; return the endpoint.

        The model is copied, so that every decision can be made again from what was kept.

        Args:
            shadow: Score along and decide nothing.
            challenges: A deployment of the same space whose place it takes once it has proved better; until then it is
                in shadow.
            subject, decisions, release_share: As in `Terms`; None: as the deployment of that name has it.

        Raises:
            InvalidInput: A name or a term cannot be used, or the folder is damaged.
            NotFound: The folder holds no model.
            Conflict: The space's transactions have another schema than the model, or the endpoint serves another kind.
        """
        from masthead.fraud.scoring.model import FraudModel

        check_endpoint_name(name, "name")
        check_name(space, "space")
        if is_graph(model):
            if subject or decisions or release_share:
                raise InvalidInput(
                    "subject: expected none with a graph network, which scores no stored transactions"
                )
            return self._deploy_graph(name, model)
        terms = self._terms(name, subject, decisions, release_share)
        if (shadow or challenges) and subject:
            raise InvalidInput("subject: expected none with shadow, which decides nothing", field="subject")
        if challenges:
            self._check_challenge(name, challenges, space)
        loaded = FraudModel.load(model)
        id = check_name(loaded.id, "model")
        self._spaces.check(space, loaded.schema)
        self._models.keep(id, model)
        self._spaces.make(space, "live", loaded.schema)
        source = {"name": name, "model": id, "space": space, "shadow": shadow or bool(challenges)}
        if challenges:
            source["challenges"] = challenges
        if network := self._network_of(name):
            source["network"] = network
        found = self._endpoints.create(name, KIND, {**source, **terms.to_json()})
        if self._ledger is not None:
            self.refresh()
        return found

    def _terms(
        self, name: str, subject: str | None, decisions: str | None, release_share: float | None
    ) -> Terms:
        known = {one.name: Terms.of(one.source) for one in self.deployments()}
        found = known.get(name, Terms()).changed(subject, decisions, release_share)
        found.check(name, known.items())
        return found

    def _check_challenge(self, name: str, challenged: str, space: str) -> None:
        if name == challenged or self.space_of(challenged) != space:
            raise InvalidInput(
                f"challenges: expected another deployment that scores the transactions of the space {space}, got "
                f"{shown(challenged)}",
                field="challenges",
            )

    def _deploy_graph(self, name: str, model: Path) -> Endpoint:
        """Deploy a graph network: it answers to the article's payload and scores no stored transaction.

        Beside a model of transactions of that name: the endpoint then takes both.
        """
        from masthead.fraud.networks.graph_model import GraphModel

        GraphModel.load(model)  # an intact one, or an error that says what is wrong
        id = check_name(card_id(model), "model")
        self._models.keep(id, model)
        before = next((one.source for one in self.deployments() if one.name == name), {"graph": True})
        if before.get("graph"):
            source = {"name": name, "model": id, "space": "", "shadow": False, "graph": True}
        else:
            source = {**before, "network": id}
        found = self._endpoints.create(name, KIND, source)
        if self._ledger is not None:
            self.refresh()
        return found

    def _network_of(self, name: str) -> str:
        """Return the graph network that answers under a name, "" = none."""
        before = next((one.source for one in self.deployments() if one.name == name), {})
        return str(before.get("model" if before.get("graph") else "network", ""))

    def deployments(self) -> list[Endpoint]:
        """Return every deployment by name, with what was counted of its calls."""
        return [one for one in self._endpoints.list() if one.kind == KIND]

    def space_of(self, name: str) -> str:
        """Return the space whose transactions a deployment scores.

        Raises:
            NotFound: Nothing is deployed under that name. Conflict: It is a graph network, which scores no stored ones.
        """
        found = self._endpoints.get(name)
        if found.kind != KIND:
            raise NotFound(f"deployment: there is none named {shown(name)}")
        if found.source.get("graph"):
            raise Conflict(f"deployment: {name} is a graph network, which scores no transactions of a stream")
        return str(found.source["space"])

    def undeploy(self, name: str) -> None:
        """Take a deployment away; its model and what it decided stay.

        Raises:
            NotFound: There is no deployment of that name.
        """
        if self._endpoints.get(name).kind != KIND:
            raise NotFound(f"deployment: there is none named {shown(name)}")
        self._endpoints.delete(name)
        if self._ledger is not None:
            self.refresh()

    # ------------------------------------------------------------------ models

    def models(self) -> list[Json]:
        """Return the models that were deployed once: id, where they are deployed, and their cards' figures.

        One without a readable card has a `problem` instead of figures.
        """
        used: dict[str, list[str]] = {}
        for one in self.deployments():
            for id in filter(None, (one.source["model"], one.source.get("network"))):
                used.setdefault(str(id), []).append(one.name)
        return self._models.told(used)

    def model(self, id: str) -> "FraudModel":
        """Return a model that was deployed once.

        Raises:
            NotFound: It is gone. InvalidInput: Its folder is damaged.
        """
        return self._models.load(id)

    def card(self, id: str) -> Json:
        """Return all that is told of a model, also of a graph network.

        Raises:
            NotFound: It is gone. InvalidInput: Its folder is damaged.
        """
        return self._models.card(id)

    def delete_model(self, id: str, *, force: bool = False) -> None:
        """Remove a model that is not deployed; what it decided stays, but cannot be made again, nor given reasons.

        Args:
            force: Also where it has made decisions.

        Raises:
            NotFound: There is no such model. Conflict: It is deployed, or has made decisions.
        """
        known = {one["id"]: one for one in self.models()}
        if id not in known:
            raise NotFound(f"model: there is none with the id {shown(id)}")
        if known[id]["deployed"]:
            raise Conflict(
                f"model: {id} is deployed as {', '.join(known[id]['deployed'])}; undeploy it first"
            )
        with self._database.read() as connection:
            count = results.decided_by(connection, id)
        if count and not force:
            raise Conflict(
                f"model: {id} has made {count:,} decision{'' if count == 1 else 's'}, whose reasons nobody could tell without "
                "it; expected force (?force=true, --force) to delete it all the same",
                field="force",
            )
        self._models.remove(id)
        self._database.touch()
        self._journal.write("fraud", id, "model deleted", decisions=count)

    # ------------------------------------------------------------------ spaces

    def spaces(self, *, counted: bool = False) -> list[Space]:
        """Return the spaces by name: the live ones and those of simulations."""
        return self._spaces.all(counted=counted)

    def schema(self, space: str = LIVE) -> "Schema":
        """Return the schema of a space.

        Raises:
            NotFound: There is no such space.
        """
        return self._spaces.schema(space)

    # ------------------------------------------------------------------ what is served

    def start(self) -> None:
        """Serve what is deployed; from now on `refresh` is called when something changes."""
        self._followed = True
        self.refresh()

    def refresh(self) -> None:
        """Serve what is deployed now, whoever deployed it; returns when the states are warm."""
        with self._lock:
            self._version = self._database.version()
            self.desk.refresh()
            self._models.forget_removed()
            found = list(self.deployments())
            spaces = self.spaces()
            seen = (
                *((one.name, one.revision) for one in found),
                *((one.name, one.created) for one in spaces),
            )
            if seen == self._seen:
                return
            if found or self._ledger is not None:
                self._serve(found, spaces)
            self.intakes = tuple(
                intake
                for one in found
                if not one.source.get("shadow") and (intake := Terms.of(one.source).intake(one.name))
            )
            self._seen = seen

    def _serve(self, found: Sequence[Endpoint], spaces: Iterable[Space]) -> None:
        from masthead.fraud.live.ledger import Swap

        ledger, writer = self._writing()
        books: dict[str, Book] = {}
        self.damaged = self._damaged(found)
        for space in spaces:
            served = LIVE if space.kind == "simulation" else space.name
            lanes = self._lanes(one for one in found if one.source.get("space") == served)
            if lanes:
                known = ledger.books.get(space.name)
                same = known is not None and known.lanes == lanes
                books[space.name] = known if known is not None and same else self._book(space.name, lanes)
        writer.submit(Swap(books))

    def _damaged(self, found: Iterable[Endpoint]) -> dict[str, str]:
        """Return deployment -> why its model cannot be loaded: everything else is served all the same."""
        why: dict[str, str] = {}
        for one in found:
            if not one.source.get("graph"):
                try:
                    self.model(str(one.source["model"]))
                except MastheadError as error:
                    why[one.name] = error.message
                    if self.damaged.get(one.name) != error.message:  # or it was told before
                        self._journal.write("fraud", one.name, "model damaged", why=error.message)
        return why

    def _lanes(self, found: Iterable[Endpoint]) -> "tuple[Lane, ...]":
        """Return the lanes of a space, the newest first; none where the model that would decide is damaged."""
        from masthead.fraud.live.book import Lane

        newest = sorted(found, key=lambda one: one.updated, reverse=True)
        decides = next((one.name for one in newest if not one.source["shadow"]), "")
        if decides in self.damaged:  # an older one must not decide in its place without a word
            return ()
        newest = [one for one in newest if one.name not in self.damaged]
        return tuple(
            Lane(
                one.name,
                self.model(one.source["model"]),
                bool(one.source["shadow"]),
                Terms.of(one.source).release_share,
            )
            for one in newest
        )

    def _book(self, space: str, lanes: "tuple[Lane, ...]") -> "Book":
        from masthead.fraud.live.book import Book

        began = time.monotonic()
        book = Book(space, lanes[0].model.schema, lanes, snapshots=self._snapshots, clock=self._clock)
        book.rehearse()
        for lane in lanes:  # brings LightGBM, which only reasons need
            lane.model.contributions(np.zeros((1, lane.model.layout.width), np.float32))
        book.rebuild(self.store, self.store.head())
        self._journal.write("fraud", space, "state built", seconds=round(time.monotonic() - began, 3))
        return book

    def _writing(self) -> "tuple[Ledger, Writer]":
        """Return the ledger and its writer, made with their first use: they bring the compiled parts."""
        with self._lock:
            if self._ledger is None or self._writer is None:
                from masthead.fraud.live.ledger import Ledger
                from masthead.fraud.live.writer import Writer

                self._ledger = Ledger(self.store, self._clock, self.desk)
                self._writer = Writer(self._ledger.work)
            return self._ledger, self._writer

    def _current(self, space: str, alias: str = "") -> "Book":
        """Return the book of a space as it is deployed now.

        Raises:
            Conflict: No model is deployed there, or the one that is to decide is damaged.
        """
        if self._ledger is None or (not self._followed and self._database.version() != self._version):
            self.refresh()
        book = None if self._ledger is None else self._ledger.books.get(space)
        if book is None or alias in self.damaged:
            self._refuse_damaged(space, alias)
        if book is None:
            raise Conflict(
                f"model: none is deployed in the space {space}; masthead fraud deploy NAME --model DIR does it"
            )
        return book

    def notes(self) -> list[str]:
        """Return what the owner should know of deployments: those whose model is damaged."""
        return [
            f"fraud: {name} does not answer, its model is damaged: {why}"
            for name, why in self.damaged.items()
        ]

    def _refuse_damaged(self, space: str, alias: str) -> None:
        found = self._spaces.find(space)
        served = LIVE if found is not None and found.kind == "simulation" else space
        for one in self.deployments():
            decides = one.source["space"] == served and not one.source["shadow"]
            if one.name in self.damaged and (one.name == alias or (not alias and decides)):
                raise Conflict(
                    f"model: {one.name} cannot decide, its model is damaged ({self.damaged[one.name]}); deploy it again "
                    f"from an intact folder (masthead fraud deploy {one.name} --model DIR), or "
                    f"masthead fraud undeploy {one.name}"
                )

    def close(self) -> None:
        """Write what waits and let go of the connection."""
        with self._lock:
            writer, self._writer = self._writer, None
            ledger, self._ledger = self._ledger, None
        if writer is not None:
            writer.close()
        if (
            ledger is not None and self._followed
        ):  # a command that scores one transaction leaves that to the server
            ledger.keep()
        self.store.close()
