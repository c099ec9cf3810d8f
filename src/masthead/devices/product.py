"""What the devices' side needs of the application."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from masthead.access.service import AccessService
from masthead.alerts.channels import Sender
from masthead.base.clock import Clock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.base.settings import Settings
from masthead.streams.readings import Batch, Ingest, Reading
from masthead.streams.works import Intake, Outcome


class Alerts(Protocol):
    """Where the host offers its channel."""

    def register_channel(self, kind: str, sender: Sender) -> None:
        """Let the host send for `kind`."""


class Actions(Protocol):
    """Where the host offers to send what rules say."""

    def register_action(self, kind: str, sender: Callable[[Mapping[str, Any], bytes, Reading], None]) -> None:
        """Let the host act for `kind`."""


class Product(Protocol):
    """What the host needs of the application."""

    settings: Settings
    clock: Clock
    folder: DataFolder
    secrets: SecretBox
    journal: Journal
    access: AccessService
    alerts: Alerts
    streams: Actions

    def can_take(self) -> bool:
        """Return whether every sink has room; while not, readings stay in the log."""

    def take(self, batch: Batch) -> None:
        """Give a batch to every sink; one caller at a time."""

    def intakes(self) -> Sequence[Intake]:
        """Return the subjects whose messages a room answers by itself."""

    def answer(self, intake: Intake, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        """Return what became of messages of such a subject, once all of it is durable."""

    def position(self) -> int | None:
        """Return the sequence that the sinks want next; None: they want what comes from now on."""

    def register_ingest(self, ingest: Ingest | None, behind_s: Callable[[], float | None] = ...) -> None:
        """Name who stores readings of other doors, and who knows how old the oldest waiting reading is."""
