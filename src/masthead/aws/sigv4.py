"""Signature Version 4: who sent a request, proved by a signature over everything that matters in it.

Source: AWS, "Create a signed AWS API request" (IAM User Guide). Every service here but none of S3's exceptions: the
path is encoded twice, the body always counts, presigned and chunked forms are refused.

There is no memory of signatures already seen: `amz-sdk-invocation-id` is not signed, so two honest equal calls within
a second have equal signatures. TLS keeps a listener from repeating a call within the five minutes.
"""

import hashlib
import hmac
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from masthead.aws.errors import Fault
from masthead.aws.protocol import Request
from masthead.base.errors import shown

SKEW = timedelta(seconds=300)  # what AWS tolerates either way outside S3
ALGORITHM = "AWS4-HMAC-SHA256"
INCOMPLETE, INVALID, UNKNOWN, ABSENT = (
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "UnrecognizedClientException",
    "MissingAuthenticationTokenException",
)
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)
STRANGER = "The security token included in the request is invalid."

_CREDENTIAL = re.compile(
    r"([\w+=,.@-]{1,128})/(\d{8})/([a-z0-9-]{1,32})/([a-z0-9-]{1,64})/aws4_request", re.ASCII
)
_SCOPE = re.compile(rf"Credential={_CREDENTIAL.pattern}", re.ASCII)
_SIGNED = re.compile(r"[a-z0-9._-]+(;[a-z0-9._-]+)*", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_PLACES = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))
_DUMMY = "0" * 40  # an unknown key costs the same work as a known one
_MOST_KEYS = 1000


class Untimely(Fault):
    """A good signature of another time: a clock is wrong, or a request was kept. No sign of guessing."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What the Authorization header says, not yet believed."""

    key_id: str
    day: str
    region: str
    service: str
    names: tuple[str, ...]
    signature: str


class SigningKeys:
    """The derived keys of the last thousand (key id, day, region, service); deriving one costs four HMACs."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str, str], tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, secret: str, signature: Signature) -> bytes:
        """Return the signing key; a key whose secret has changed is derived anew."""
        place = (signature.key_id, signature.day, signature.region, signature.service)
        with self._lock:
            found = self._known.get(place)
            if found is not None and hmac.compare_digest(found[0].encode(), secret.encode()):
                self._known.move_to_end(place)
                return found[1]
        key = derive(secret, signature.day, signature.region, signature.service)
        with self._lock:
            self._known[place] = (secret, key)
            while len(self._known) > _MOST_KEYS:
                self._known.popitem(last=False)
        return key

    def forget(self, key_id: str) -> None:
        """Drop what was derived of a key that was revoked."""
        with self._lock:
            for place in [place for place in self._known if place[0] == key_id]:
                del self._known[place]


def derive(secret: str, day: str, region: str, service: str) -> bytes:
    """Return the signing key of a secret for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def scope_of(request: Request) -> str:
    """Return the service that the Authorization header speaks of, not yet believed; "" when it speaks of none."""
    found = _SCOPE.search(request.headers.get("authorization", ""))
    return found[4] if found else ""


def read_signature(request: Request) -> Signature:
    """Return what the Authorization header says.

    Raises:
        Fault: There is none, a part is missing or malformed, or it is a form that is not accepted.
    """
    text = request.headers.get("authorization")
    if text is None:
        if "X-Amz-Signature=" in request.query:
            raise Fault(INCOMPLETE, "Presigned URLs are not accepted; sign the Authorization header.", 400)
        raise Fault(ABSENT, "Missing Authentication Token", 403)
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise Fault(
            INCOMPLETE, f"Authorization: expected {ALGORITHM}, got {shown(algorithm.split('.')[0], 40)}", 400
        )
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise Fault(INCOMPLETE, f"Authorization header requires '{name}' parameter.", 400)
    credential = _CREDENTIAL.fullmatch(parts["Credential"])
    if credential is None:
        message = "Credential: expected KEY_ID/YYYYMMDD/REGION/SERVICE/aws4_request"
        raise Fault(INCOMPLETE, f"{message}, got {shown(parts['Credential'], 100)}", 400)
    if not _SIGNED.fullmatch(parts["SignedHeaders"]):
        raise Fault(INCOMPLETE, "SignedHeaders: expected names in lower case, separated by ';'", 400)
    if not _SIGNATURE.fullmatch(parts["Signature"]):
        raise Fault(INCOMPLETE, "Signature: expected 64 hexadecimal digits", 400)
    key_id, day, region, service = credential.groups()
    names = tuple(parts["SignedHeaders"].split(";"))
    return Signature(key_id, day, region, service, names, parts["Signature"])


def verify(
    request: Request,
    signature: Signature,
    *,
    service: str,
    region: str,
    carried: frozenset[str],
    secret_of: Callable[[str], str | None],
    keys: SigningKeys,
    now: datetime,
) -> None:
    """Return when the signature is that of a known key over this request, made now.

    Args:
        request: What was received.
        signature: What its header says.
        service: The signing name of the service that was asked.
        region: The only region that is accepted; "": any.
        carried: Headers, in lower case, that carry an input and so must be signed.
        secret_of: Returns a key's secret; None for one that is unknown, revoked or expired.
        keys: Derived keys.
        now: The present.

    Raises:
        Fault: It is not. `Untimely`: it is, but of another time.
    """
    headers = request.headers
    if "x-amz-security-token" in headers:
        raise Fault(UNKNOWN, f"{STRANGER} A key has no session token; unset AWS_SESSION_TOKEN.", 403)
    stamp = headers.get("x-amz-date", "")
    if not _STAMP.fullmatch(stamp):
        raise Fault(INCOMPLETE, "Authorization header requires existence of a 'X-Amz-Date' header.", 400)
    _check_scope(signature, stamp, service, region)
    _check_signed(signature, headers, carried)
    digest = _digest(request)
    secret = secret_of(signature.key_id)
    if secret is None:
        keys.forget(signature.key_id)
    text = _string_to_sign(request, signature, stamp, digest)
    key = (
        derive(_DUMMY, signature.day, signature.region, signature.service)
        if secret is None
        else keys.of(secret, signature)
    )
    wanted = hmac.digest(key, text.encode(), "sha256").hex()
    same = hmac.compare_digest(wanted, signature.signature)
    if secret is None:
        raise Fault(UNKNOWN, STRANGER, 403)
    if not same:
        raise Fault(INVALID, MISMATCH, 403)
    _check_clock(stamp, now)  # last: only the holder of a key learns about our clock


def _check_scope(signature: Signature, stamp: str, service: str, region: str) -> None:
    if stamp[:8] != signature.day:
        message = (
            f"Date in Credential scope does not match the X-Amz-Date header: {signature.day} != {stamp[:8]}"
        )
        raise Fault(INVALID, message, 403)
    if signature.service != service:
        raise Fault(INVALID, f"Credential should be scoped to correct service: '{service}'.", 403)
    if region and signature.region != region:
        raise Fault(INVALID, f"Credential should be scoped to a valid region: '{region}'.", 403)


def _check_signed(signature: Signature, headers: Mapping[str, str], carried: frozenset[str]) -> None:
    signed = set(signature.names)
    if list(signature.names) != sorted(signed):
        raise Fault(INVALID, "SignedHeaders: expected each name once, in order", 403)
    if absent := signed - headers.keys():
        raise Fault(INVALID, f"SignedHeaders: '{min(absent)[:100]}' was signed but not sent", 403)
    for name in ("host", *headers):
        # x-amz-content-sha256 is compared with the body itself.
        must = name in ("host", "content-type") or name in carried or name.startswith("x-amz-")
        if must and name not in signed and name != "x-amz-content-sha256":
            raise Fault(INVALID, f"'{name[:100]}' must be a 'SignedHeader' in the AWS Authorization.", 403)


def _digest(request: Request) -> str:
    """Return the body's SHA-256. A header that says otherwise is not trusted: it would carry another body in."""
    found = hashlib.sha256(request.body).hexdigest()
    stated = request.headers.get("x-amz-content-sha256", found)
    if stated.startswith(("UNSIGNED-PAYLOAD", "STREAMING-")):
        raise Fault(INVALID, f"x-amz-content-sha256: {stated[:60]} is not accepted; sign the body.", 403)
    if stated != found:
        raise Fault(INVALID, "x-amz-content-sha256: expected the SHA-256 of the body that was received", 403)
    return found


def _string_to_sign(request: Request, signature: Signature, stamp: str, digest: str) -> str:
    lines = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signature.names)
    canonical = "\n".join(
        (
            request.method,
            canonical_path(request.path),
            canonical_query(request.query),
            lines,
            ";".join(signature.names),
            digest,
        )
    )
    scope = f"{signature.day}/{signature.region}/{signature.service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{stamp}\n{scope}\n{hashed}"


def canonical_path(raw_path: str) -> str:
    """Return the path as it is signed: without empty and dot segments, the encoded path encoded once more.

    >>> canonical_path("/tags/arn%3Aaws/../x//")
    '/tags/x/'
    >>> canonical_path("/tags/arn%3Aaws")
    '/tags/arn%253Aaws'
    """
    kept: list[str] = []
    for part in raw_path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    ending = "/" if raw_path.endswith("/") and kept else ""
    return quote(f"/{'/'.join(kept)}{ending}", safe="/~")


def canonical_query(query: str) -> str:
    """Return the query as it is signed: pairs as received, sorted by key and value; a bare key gains its `=`.

    >>> canonical_query("b=2&a&b=1")
    'a=&b=1&b=2'
    """
    if not query:
        return ""
    pairs = sorted(part.partition("=")[::2] for part in query.split("&"))
    return "&".join(f"{key}={value}" for key, value in pairs)


def _check_clock(stamp: str, now: datetime) -> None:
    try:
        # Five times as fast as strptime; the form was checked.
        year, month, day, hour, minute, second = (int(stamp[i:j]) for i, j in _PLACES)
        sent = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise Fault(INCOMPLETE, "X-Amz-Date: expected YYYYMMDDTHHMMSSZ", 400) from error
    low, high = now - SKEW, now + SKEW
    if sent < low:
        message = f"Signature expired: {stamp} is now earlier than {_stamp(low)} ({_stamp(now)} - 5 min.)"
    elif sent > high:
        message = (
            f"Signature not yet current: {stamp} is still later than {_stamp(high)} ({_stamp(now)} + 5 min.)"
        )
    else:
        return
    raise Untimely(INVALID, message, 403)


def _stamp(when: datetime) -> str:
    return when.strftime("%Y%m%dT%H%M%SZ")
