"""One request, from its bytes to its answer, without sockets: `Core.handle(Request) -> Response`.

Route, authenticate, throttle, read and validate, authorise, translate, serialise, audit; in this order, so that a
stranger costs little and learns nothing about what exists. A change is done only where the audit will have its line.
"""

import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Histogram

from masthead.access.gate import AuditEntry, Caller, Gate, Refusal
from masthead.aws.cors import allowed_headers, preflight, refusal_of
from masthead.aws.errors import (
    BUG,
    DENIED,
    FAILURES,
    QUOTA,
    TABLE,
    THROTTLED,
    UNAVAILABLE,
    UNKNOWN_OPERATION,
    Fault,
    Rejected,
    answer,
)
from masthead.aws.models import Model, OperationModel, load_models
from masthead.aws.operations import Call, Operation
from masthead.aws.protocol import Request, Response, read_input, write_error, write_output
from masthead.aws.services import translators
from masthead.aws.sigv4 import Signature, SigningKeys, Untimely, read_signature, scope_of, verify
from masthead.aws.tokens import PageTokens
from masthead.base.clock import Clock
from masthead.base.errors import LimitReached, MastheadError
from masthead.base.log import get_logger
from masthead.base.telemetry import REGISTRY

if TYPE_CHECKING:
    from masthead.access.keys import Key
    from masthead.app import Masthead

_REQUESTS = Counter(
    "masthead_aws_requests",
    "Requests of AWS clients answered.",
    ["service", "operation", "code"],
    registry=REGISTRY,
)
_SECONDS = Histogram(
    "masthead_aws_seconds",
    "Time from an AWS client's whole request to its answer.",
    ["service", "operation"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60),
    registry=REGISTRY,
)
_UNKNOWN_MEMBERS = Counter(
    "masthead_aws_unknown_members",
    "Members of inputs that no model knows, passed over.",
    ["service"],
    registry=REGISTRY,
)
_REFUSALS = {
    "denied": DENIED,
    "address": DENIED,
    "throttled": THROTTLED,
    "failures": FAILURES,
    "quota": QUOTA,
}
_MOST_TARGET = 200
_ORIGINS_S = 1.0
_LOG = get_logger("aws")


@dataclass(slots=True)
class _Work:
    """What has become known of one request so far; audit and counters tell it whatever happens."""

    request: Request
    id: str
    model: Model | None = None
    operation: OperationModel | None = None
    served: Operation | None = None
    caller: Caller | None = None
    signature: Signature | None = None
    resources: tuple[str, ...] = ()
    refused: bool = False  # by the gate
    silent: bool = False  # no line in the audit
    labels: Mapping[str, bytes] = field(default_factory=dict)


class Core:
    """Answers requests over the verbs of one installation."""

    def __init__(
        self,
        masthead: "Masthead",
        *,
        clock: Clock,
        region: str = "",
        served: Mapping[str, Mapping[str, Operation]] | None = None,
        models: Mapping[str, Model] | None = None,
    ) -> None:
        """Prepare a core.

        Args:
            masthead: The product.
            clock: What signatures are judged by: real time, whatever a demonstration's clock shows.
            region: The only region that is accepted; "": any.
            served: Operations by service; default: every translator of this room.
            models: By service; default: read here.
        """
        self._masthead, self._clock, self._region = masthead, clock, region
        self._gate: Gate = masthead.gate
        self.models = load_models() if models is None else models
        self._served = translators() if served is None else served
        self._by_target = {model.target: model for model in self.models.values() if model.target}
        self._by_signing = {model.signing_name: model for model in self.models.values()}
        self._keys = SigningKeys()
        self._counted: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._origins: frozenset[str] = frozenset()
        self._origins_until = 0.0
        self._tokens = PageTokens(masthead.secrets.derive("tokens of AWS pages"))

    def service_of(self, headers: Mapping[str, str], path: str) -> str:
        """Return which service a request is for, judged before its body is read; "" when none is apparent."""
        target = headers.get("x-amz-target", "")
        if (model := self._by_target.get(target.rpartition(".")[0])) is not None:
            return model.name
        return "sagemaker-runtime" if path.startswith("/endpoints/") else ""

    def handle(self, request: Request) -> Response:
        """Return the answer to a request; never raises."""
        began, work = time.perf_counter(), _Work(request, str(uuid.uuid4()))
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return preflight(request, self._page_origins(), work.id)
        try:
            response, code = self._answer(work), ""
        except Exception as error:
            response, code = self._refused(work, error)
        spent = time.perf_counter() - began
        try:
            self._note(work, response.status, code, spent)
        except LimitReached as error:
            _LOG.error("the audit cannot be written", error=error.message)
            if work.served is not None and work.served.mutates and response.status < 500:
                response, code = self._refused(work, Rejected(UNAVAILABLE, error.message))
        self._count(work, code, spent)
        if "origin" in request.headers:
            key = work.caller.key if work.caller else None
            return allowed_headers(request, response, key)
        return response

    def refuse(self, request: Request, outcome: str, message: str) -> Response:
        """Return the answer to a request that was not even read: too large, too many at once, too slow."""
        work = _Work(request, str(uuid.uuid4()))
        self._route(work)
        rejected = Rejected(outcome, message, retry_after_s=1.0 if outcome == UNAVAILABLE else 0.0)
        return write_error(work.model, answer(work.model, "", rejected), work.id, close=True)

    def _page_origins(self) -> frozenset[str]:
        """Return the origins of every key that works, looked up at most once a second: anybody may ask."""
        now = time.monotonic()
        if now >= self._origins_until:
            live = (key for key in self._masthead.keys.list_keys() if key.state == "active")
            self._origins = frozenset(origin for key in live for origin in key.origins)
            self._origins_until = now + _ORIGINS_S
        return self._origins

    # ------------------------------------------------------------------ the steps

    def _answer(self, work: _Work) -> Response:
        request = work.request
        self._route(work)
        if (refusal := self._gate.blocked(request.address)) is not None:
            work.silent = True  # a flood must not fill the disk; the failures before it have their lines
            raise _rejected(refusal)
        self._authenticate(work)
        assert work.model is not None
        assert work.operation is not None
        assert work.caller is not None
        _pass(work, refusal_of(request, work.caller.key) or self._gate.admit(work.caller))
        if work.served is None:
            raise Rejected(UNKNOWN_OPERATION, f"{work.operation.name}: this operation is not served")
        found = read_input(work.operation, work.labels, request)
        if found.unknown:
            _UNKNOWN_MEMBERS.labels(work.model.name).inc(found.unknown)
        call = Call(
            operation=work.operation.name,
            input=found.input,
            region=work.caller.region,
            caller=work.caller,
            masthead=self._masthead,
            request_id=work.id,
            tokens=self._tokens,
        )
        work.resources = tuple(work.served.resources(call))
        asked = _tag_context(found.input)
        _pass(work, self._gate.authorise(work.caller, work.served.action, work.resources, asked))
        if work.served.mutates:
            self._check_audit()
        return write_output(work.model, work.operation, work.served.verb(call), work.id)

    def _authenticate(self, work: _Work) -> None:
        """Find who calls an operation; what cannot be proved counts against the address."""
        request = work.request
        try:
            signature = work.signature = read_signature(request)
            if work.model is None or work.operation is None:
                target = request.headers.get("x-amz-target", "").rpartition(".")[2]
                asked = target or f"{request.method} {request.path}"
                raise Rejected(UNKNOWN_OPERATION, f"{asked[:_MOST_TARGET]}: there is no such operation")
            key = self._verified(request, signature, work.model, work.operation)
        except Untimely:
            raise
        except Fault:
            self._gate.failed(request.address)
            raise
        work.caller = Caller(
            key=key,
            address=request.address,
            secure=request.secure,
            user_agent=request.headers.get("user-agent", ""),
            region=signature.region,
        )

    def _route(self, work: _Work) -> None:
        """Find service and operation: by target, else by scope, method and raw path.

        A path that only another service has is that service's: its signature is then of the wrong scope. Who does not
        sign at all is answered in the form of the service that has the path.
        """
        request = work.request
        target, _, name = request.headers.get("x-amz-target", "").rpartition(".")
        if target in self._by_target:
            work.model = self._by_target[target]
            if request.method == "POST" and request.path == "/":
                self._found(work, name, {})
            return
        own = self._by_signing.get(scope_of(request))
        others = [model for model in self.models.values() if model is not own]
        for model in [own, *others] if own else others:
            if (found := model.match(request.method, request.path)) is not None:
                work.model = model
                self._found(work, *found)
                return
        work.model = own or self.models.get(self.service_of(request.headers, request.path))

    def _found(self, work: _Work, name: str, labels: Mapping[str, bytes]) -> None:
        assert work.model is not None
        work.operation, work.labels = work.model.operations.get(name), labels
        work.served = self._served.get(work.model.name, {}).get(name)

    def _verified(
        self, request: Request, signature: Signature, model: Model, operation: OperationModel
    ) -> "Key":
        known = self._masthead.keys.secret_of(signature.key_id)
        verify(
            request,
            signature,
            service=model.signing_name,
            region=self._region,
            carried=operation.signed,
            secret_of=lambda _id: known[1] if known else None,
            keys=self._keys,
            now=self._clock.now(),
        )
        assert known is not None
        return known[0]

    def _check_audit(self) -> None:
        """Return when a line can be written, as far as that can be known before a change is done."""
        try:
            self._gate.audit.check()
        except LimitReached as error:
            raise Rejected(UNAVAILABLE, error.message) from error

    # ------------------------------------------------------------------ how it ends

    def _refused(self, work: _Work, error: Exception) -> tuple[Response, str]:
        name = work.operation.name if work.operation else ""
        told = answer(work.model, name, error, work.resources)
        if told.code == TABLE[work.model.name if work.model else ""][BUG][0] and told.status == 500:
            _LOG.error("a call failed", request_id=work.id, operation=name, error=repr(error), exc_info=error)
        elif not isinstance(error, MastheadError | Fault | Rejected):
            _LOG.error("a call could not be served", request_id=work.id, operation=name, error=repr(error))
        return write_error(work.model, told, work.id), told.code

    def _note(self, work: _Work, status: int, code: str, spent_s: float) -> None:
        """Write the audit's line of a mutation or a refusal; one about a mere read only if the gate wants it."""
        if work.silent:
            return
        mutates = work.served is not None and work.served.mutates
        refused = work.caller is None or work.refused
        if not (mutates or refused or self._masthead.settings.audit_reads):
            return
        request, signature, key = work.request, work.signature, work.caller.key if work.caller else None
        entry = AuditEntry(
            request_id=work.id,
            key_id=key.id if key else signature.key_id if signature else "",
            key_name=key.name if key else "",
            address=request.address,
            face="aws",
            service=work.model.name if work.model else "",
            operation=work.operation.name if work.operation else "",
            action=work.served.action if work.served else "",
            resources=work.resources,
            region=signature.region if signature else "",
            code=code,
            status=status,
            latency_ms=spent_s * 1000,
            user_agent=request.headers.get("user-agent", ""),
            body_sha256=hashlib.sha256(request.body).hexdigest() if mutates or refused else "",
        )
        self._gate.note(entry, read=not (mutates or refused))

    def _count(self, work: _Work, code: str, spent_s: float) -> None:
        service = work.model.name if work.model else ""
        operation = work.operation.name if work.operation else ""
        place = (service, operation, code or "ok")
        counted = self._counted.get(place)
        if (
            counted is None
        ):  # finding a counter by its labels costs as much as verifying a third of a signature
            counted = self._counted[place] = (_REQUESTS.labels(*place), _SECONDS.labels(*place[:2]))
        counted[0].inc()
        counted[1].observe(spent_s)


def _pass(work: _Work, refusal: Refusal | None) -> None:
    if refusal is not None:
        work.refused = True
        raise _rejected(refusal)


def _rejected(refusal: Refusal) -> Rejected:
    return Rejected(_REFUSALS[refusal.kind], refusal.message, retry_after_s=refusal.retry_after_s)


def _tag_context(given: Mapping[str, Any]) -> dict[str, str | Sequence[str]]:
    """Return the condition keys of the tags that a request sets or removes."""
    tags = given.get("Tags", given.get("tags"))
    pairs: Mapping[str, str] = {}
    if isinstance(tags, dict):
        pairs = tags
    elif isinstance(tags, list):
        pairs = {tag["Key"]: tag.get("Value", "") for tag in tags if isinstance(tag, dict) and "Key" in tag}
    names = [*pairs, *(given.get("TagKeys") or given.get("tagKeys") or ())]
    found: dict[str, str | Sequence[str]] = {f"aws:RequestTag/{key}": value for key, value in pairs.items()}
    return {**found, "aws:TagKeys": names} if names else found
