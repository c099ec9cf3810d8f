"""What its owner lays down for a deployment beside the model: where transactions come from, where decisions go, and
which share of would-be reviews passes unreviewed, so that what is known of them later is no chosen sample.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from masthead.access.subjects import intersection
from masthead.base.errors import Conflict, InvalidInput, shown
from masthead.base.topics import check_subject
from masthead.streams.works import DECISIONS, REFUSED, Intake

__all__ = ["Terms", "is_released"]

_MOST_SUBJECT = 200
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one deployment.

    Attributes:
        subject: The NATS subject whose messages it scores, "" = none. decisions: Where it tells them, "" = the default.
        release_share: Of decisions that would be a review, how many pass; 0 to 1.
    """

    subject: str = ""
    decisions: str = ""
    release_share: float = 0.0

    @staticmethod
    def of(source: Mapping[str, Any]) -> "Terms":
        """Return the terms that the source of an endpoint holds."""
        return Terms(
            str(source.get("subject", "")),
            str(source.get("decisions", "")),
            float(source.get("release_share", 0.0)),
        )

    def changed(
        self, subject: str | None = None, decisions: str | None = None, release_share: float | None = None
    ) -> "Terms":
        """Return terms with what is given in place of what was.

        Raises:
            InvalidInput: A subject is none, the decisions would come back as transactions, or the share is none.
        """
        found = Terms(
            self.subject if subject is None else _pattern(subject),
            self.decisions if decisions is None else _plain(decisions),
            self.release_share if release_share is None else float(release_share),
        )
        if not 0 <= found.release_share <= 1:
            raise InvalidInput(
                f"release_share: expected 0 to 1, got {shown(release_share)}", field="release_share"
            )
        return found

    def intake(self, name: str) -> Intake | None:
        """Return what a deployment of this name takes from a subject; None when nothing."""
        if not self.subject:
            return None
        told = self.decisions or DECISIONS + name
        return Intake(name, self.subject, told, told + REFUSED)

    def check(self, name: str, others: Iterable[tuple[str, "Terms"]]) -> None:
        """Return when a deployment may have these terms beside the others.

        Raises:
            InvalidInput: Its decisions would come back as transactions. Conflict: Another one takes the same messages.
        """
        mine = self.intake(name)
        if mine is None:
            return
        for place in (mine.answers, mine.refused):
            if intersection(mine.subject, place) is not None:
                raise InvalidInput(
                    f"decisions: expected a subject outside of {mine.subject}, whose messages are scored, got {place}",
                    field="decisions",
                )
        for other, terms in others:
            if other != name and terms.subject and intersection(mine.subject, terms.subject) is not None:
                raise Conflict(f"subject: {mine.subject} meets {terms.subject}, which {other} takes")

    def to_json(self) -> Json:
        """Return the terms as JSON values."""
        return asdict(self)


def is_released(transaction: str, share: float) -> bool:
    """Return whether a transaction is one of a share: by its id alone, so asked again the answer is the same.

    >>> sum(is_released(str(n), 0.25) for n in range(1_000))
    227
    """
    if share <= 0:
        return False
    digest = hashlib.blake2b(transaction.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def _pattern(text: str) -> str:
    """Return a subject that may hold wildcards, or ""."""
    if not text:
        return text
    tokens = text.split(".")
    wild = [token for token in tokens[:-1] if ">" in token] or [
        token for token in tokens if token not in ("*", ">") and ("*" in token or ">" in token)
    ]
    if wild or not _is_subject(text) or tokens[0] in (">", "*", "masthead") or tokens[0][0] in "$_":
        raise InvalidInput(
            "subject: expected a NATS subject such as payments.in or shops.*.payments, whose first word is no "
            f"wildcard, not masthead and not the broker's own, got {shown(text)}",
            field="subject",
        )
    return text


def _plain(text: str) -> str:
    """Return a subject without wildcards, or ""."""
    return check_subject(text, "decisions", own=DECISIONS) if text else text


def _is_subject(text: str) -> bool:
    return (
        len(text) <= _MOST_SUBJECT
        and all(text.split("."))
        and all(character.isprintable() and not character.isspace() for character in text)
    )
