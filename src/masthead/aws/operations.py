"""What a translator is given and what it gives back: one `Operation` for each AWS operation that is served.

    OPERATIONS = Operations("lookoutmetrics")

    @OPERATIONS.serves("DeleteAnomalyDetector", resources=detector_of_input)
    def delete_anomaly_detector(call: Call) -> dict[str, Any]:
        call.masthead.metrics.delete_detector(name_of(call.input["AnomalyDetectorArn"], call.region))
        return {}

A verb names members as the service model does, whatever they are called on the wire. Its input was read and validated
against the model; its caller was allowed to do this. It raises the four errors, which `errors.py` translates, or a
`Fault` where the model has an error of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from masthead.base.errors import InvalidInput

if TYPE_CHECKING:
    from masthead.access.gate import Caller
    from masthead.app import Masthead
    from masthead.aws.tokens import PageTokens

ANYTHING = ("*",)  # the resource of an operation that has none, in policies
_READS = ("Get", "List", "Describe", "Detect", "Invoke", "Ping")


@dataclass(frozen=True, slots=True)
class Call:
    """One validated, not yet authorised call of an operation.

    Attributes:
        operation: Its name in the model.
        input: Values by member name: times aware, blobs as bytes, absent members absent.
        region: The region of the caller's signature; ARNs are composed with it.
        caller: Who calls.
        masthead: The product.
        request_id: What the answer's `x-amzn-RequestId` will be.
        tokens: Makes and reads the tokens of pages.
    """

    operation: str
    input: dict[str, Any]
    region: str
    caller: "Caller"
    masthead: "Masthead"
    request_id: str
    tokens: "PageTokens"

    def next_token(self, last: Sequence[Any], *filters: Any) -> str:
        """Return the token of the page after the row whose sort key is `last`, for this operation and these filters."""
        return self.tokens.make(self.operation, filters, last)

    def after(self, token: str | None, *filters: Any) -> list[Any] | None:
        """Return the sort key behind which the page begins; None without a token.

        Raises:
            InvalidInput: The token was altered, or belongs to another operation or other filters.
        """
        return None if token is None else self.tokens.read(self.operation, filters, token)


Verb = Callable[[Call], Mapping[str, Any]]
Resources = Callable[[Call], Sequence[str]]


def _anything(_call: Call) -> Sequence[str]:
    return ANYTHING


@dataclass(frozen=True, slots=True)
class Operation:
    """One served operation.

    Attributes:
        verb: Returns the output by member name; absent members and members that are None are left out.
        resources: Returns the ARNs that the caller must be allowed to touch, built from the input alone: it runs before
            the caller is authorised, so it looks nothing up, not even region and account of an ARN.
            InvalidInput is answered as if by the verb.
        action: What policies call it: `lookoutmetrics:CreateAlert`.
    """

    verb: Verb
    resources: Resources
    action: str

    @property
    def mutates(self) -> bool:
        """Return whether it changes something, so that the audit has a line for each call."""
        return not self.action.partition(":")[2].startswith(_READS)


class Operations(dict[str, Operation]):
    """The operations of one service by name; `prefix` is how policies spell the service."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def serves(
        self, name: str, *, resources: Resources = _anything, action: str = ""
    ) -> Callable[[Verb], Verb]:
        """Return a decorator that enters a verb under an operation's name.

        Raises:
            InvalidInput: The name was entered before.
        """

        def enter(verb: Verb) -> Verb:
            if name in self:
                raise InvalidInput(f"operation: expected each one once, got {name} twice")
            self[name] = Operation(verb, resources, f"{self.prefix}:{action or name}")
            return verb

        return enter
