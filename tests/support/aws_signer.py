"""A signer of AWS requests, written from the documentation and none of our code.

Source: AWS, "Create a signed AWS API request" (IAM User Guide), steps 1 to 5.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

HOST = "127.0.0.1:8401"


def sign(
    method: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    key_id: str,
    secret: str,
    region: str = "us-east-1",
    service: str,
    when: datetime,
    leave_out: tuple[str, ...] = (),
) -> dict[str, str]:
    """Return the headers of a signed request, by lower-case name.

    Args:
        method: Of the request.
        path: As it is sent.
        query: As it is sent.
        headers: That are sent and signed beside `host` and `x-amz-date`.
        body: Of the request.
        key_id: Of the key.
        secret: Of the key.
        region: Of the scope.
        service: Of the scope.
        when: The time of the signature.
        leave_out: Headers that are sent but not signed.
    """
    stamp = when.strftime("%Y%m%dT%H%M%SZ")
    sent = {"host": HOST, "x-amz-date": stamp}
    sent |= {name.lower(): value for name, value in (headers or {}).items()}
    names = sorted(name for name in sent if name not in leave_out)
    canonical_headers = "".join(f"{name}:{' '.join(sent[name].split())}\n" for name in names)
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            segments = segments[:-1]
        elif segment not in ("", "."):
            segments.append(segment)
    normal = "/" + "/".join(segments) + ("/" if path.endswith("/") and segments else "")
    pairs = sorted([*part.split("=", 1), ""][:2] for part in query.split("&")) if query else []
    request = "\n".join(
        [
            method,
            quote(normal, safe="/~"),
            "&".join(f"{key}={value}" for key, value in pairs),
            canonical_headers,
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = ("AWS4" + secret).encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"
    )
    return sent
