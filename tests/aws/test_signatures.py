"""Who is believed: 70 and more honest requests are, and each forged, late or altered one is refused by its code."""

import dataclasses
import random
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest
from aws_bench import Bench, code_of, message_of

from masthead.aws.protocol import Request
from masthead.aws.sigv4 import MISMATCH, STRANGER

ARN = "arn:aws:lookoutmetrics:us-east-1:000000000000:Alert:a"
NETWORK = "arn:aws:private-networks:us-east-1:000000000000:network/n1"
JSON = {"content-type": "application/json"}
PUT = {"x-amz-target": "Firehose_20150804.ListDeliveryStreams", "content-type": "application/x-amz-json-1.1"}
ENDPOINT = "/endpoints/fraud-1/invocations"


def plain(bench: Bench, **how: object) -> Request:
    """Return an honest request whose every part can be altered."""
    return bench.request("lookoutmetrics", "POST", "/ListAlerts", "", JSON, b'{"MaxResults": 5}', **how)


def with_headers(request: Request, **headers: str | None) -> Request:
    """Return a request with headers changed, added or (None) removed."""
    changed = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return dataclasses.replace(request, headers={k: v for k, v in changed.items() if v is not None})


def with_authorization(request: Request, old: str, new: str) -> Request:
    """Return a request with a part of its Authorization replaced."""
    text = request.headers["authorization"]
    assert old in text
    return with_headers(request, authorization=text.replace(old, new))


# ---------------------------------------------------------------------- the honest


def _valid() -> list[tuple[str, tuple[object, ...], dict[str, object]]]:
    """Return name, arguments and options of honest requests."""
    found: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
    lookout = ("lookoutmetrics", "POST", "/ListAlerts", "", JSON, b"{}")
    for region in ("us-east-1", "eu-north-1", "cn-north-1", "us-gov-west-1", "local", "a", "x" * 32):
        found.append((f"region {region}", lookout, {"region": region}))
    for seconds in (-300, -299, -60, -1, 0, 1, 60, 299, 300):
        found.append((f"{seconds} s", lookout, {"shift_s": seconds}))
    for name, value in (
        ("amz-sdk-invocation-id", "1"),
        ("amz-sdk-request", "attempt=1"),
        ("user-agent", "Boto3/1.38"),
        ("x-amzn-trace-id", "Root=1"),
        ("accept", "*/*"),
        ("accept-encoding", "identity"),
        ("connection", "keep-alive"),
        ("content-length", "2"),
        ("x-forwarded-for", "1.2.3.4"),
    ):
        found.append(
            (f"unsigned {name}", (*lookout[:4], {**JSON, name: value}, b"{}"), {"leave_out": (name,)})
        )
        found.append((f"signed {name}", (*lookout[:4], {**JSON, name: value}, b"{}"), {}))
    for value in ("a", "  a   b  ", "a\tb", "a,b", 'x="1;2"', "~!@#$%^&*()"):
        headers = {**JSON, "x-amzn-sagemaker-custom-attributes": value}
        found.append((f"attributes {value!r}", ("sagemaker", "POST", ENDPOINT, "", headers, b"\x00\xff"), {}))
    for query in (
        "a",
        "a=",
        "b=2&a=1",
        "a=2&a=1",
        "a=%20&A=%2B",
        "a=b=c",
        "&",
        "a&&b",
        "%F0%9F%98%80=1",
        "~=-._~",
    ):
        found.append((f"query {query}", ("lookoutmetrics", "POST", "/ListAlerts", query, JSON, b"{}"), {}))
    for arn in (NETWORK, NETWORK + "%20x", NETWORK + "+", NETWORK + "/s 1", NETWORK + "\u00e9"):
        path = "/v1/networks/" + quote(arn, safe="")
        found.append((f"path {arn}", ("private-networks", "GET", path), {}))
    for arn in (ARN, ARN + "+b", ARN + "~", ARN + "\u4e2d"):
        for safe in ("", ":"):
            path = f"/tags/{quote(arn, safe=safe)}"
            found.append((f"tags {path}", ("lookoutmetrics", "GET", path), {}))
    for keys in ("tagKeys=k", "tagKeys=b&tagKeys=a", "tagKeys=%C3%A9%20x"):
        path = f"/tags/{quote(ARN, safe='')}"
        found.append((f"untag {keys}", ("lookoutmetrics", "DELETE", path, keys), {}))
    for body in (b"", b"{}", b'{"Limit": 1}', '{"x": "\u00e9"}'.encode(), b"{" + b" " * 100_000 + b"}"):
        found.append((f"body of {len(body)}", ("firehose", "POST", "/", "", PUT, body), {}))
    for body in (b"", b"\x00", bytes(range(256)), b"x" * 1_000_000):
        found.append((f"payload of {len(body)}", ("sagemaker", "POST", ENDPOINT, "", JSON, body), {}))
    return found


VALID = _valid()


def test_seventy_honest_requests_and_more() -> None:
    assert len({name for name, _, _ in VALID}) >= 70


@pytest.mark.parametrize(("arguments", "how"), [pytest.param(a, h, id=n) for n, a, h in VALID])
def test_an_honest_request_is_believed(
    bench: Bench, arguments: tuple[object, ...], how: dict[str, object]
) -> None:
    options = dict(how)
    options["when"] = bench.clock.now() + timedelta(seconds=options.pop("shift_s", 0))  # type: ignore[arg-type]
    response = bench.ask(*arguments, **options)
    assert code_of(response) == ""
    assert response.status in (200, 204)
    assert len(bench.calls) == 1


def test_the_digest_of_the_body_may_be_sent_and_need_not_be_signed(bench: Bench) -> None:
    import hashlib

    digest = {**JSON, "x-amz-content-sha256": hashlib.sha256(b"{}").hexdigest()}
    for leave_out in ((), ("x-amz-content-sha256",)):
        answer = bench.ask("lookoutmetrics", "POST", "/ListAlerts", "", digest, b"{}", leave_out=leave_out)
        assert answer.status == 200


def test_a_pinned_region_is_the_only_one(bench: Bench) -> None:
    from masthead.aws.core import Core

    bench.core = Core(bench.masthead, clock=bench.clock, region="eu-north-1", served={})
    assert code_of(bench.core.handle(plain(bench, region="eu-north-1"))) == "UnknownOperationException"
    refused = bench.core.handle(plain(bench, region="us-east-1"))
    assert (refused.status, code_of(refused)) == (403, "InvalidSignatureException")
    assert message_of(refused) == "Credential should be scoped to a valid region: 'eu-north-1'."


# ---------------------------------------------------------------------- the others

INCOMPLETE, INVALID = (400, "IncompleteSignatureException"), (403, "InvalidSignatureException")
UNKNOWN, ABSENT = (403, "UnrecognizedClientException"), (403, "MissingAuthenticationTokenException")
Spoil = Callable[[Bench], Request]


def _auth(old: str, new: str) -> Spoil:
    return lambda bench: with_authorization(plain(bench), old, new)


def _head(**headers: str | None) -> Spoil:
    return lambda bench: with_headers(plain(bench), **headers)


def _part(**parts: object) -> Spoil:
    return lambda bench: dataclasses.replace(plain(bench), **parts)  # type: ignore[arg-type]


def _unsigned(*names: str, **headers: str) -> Spoil:
    def spoil(bench: Bench) -> Request:
        sent = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return bench.request("lookoutmetrics", "POST", "/ListAlerts", "", sent, b"{}", leave_out=names)

    return spoil


def _signed(**headers: str) -> Spoil:
    return _unsigned(**headers)


def _late(**shift: float) -> Spoil:
    return lambda bench: plain(bench, when=bench.clock.now() + timedelta(**shift))


def _replayed(bench: Bench) -> Request:
    request = plain(bench)
    assert bench.core.handle(request).status == 200
    bench.clock.advance(301)
    return request


def _revoked(bench: Bench) -> Request:
    assert bench.core.handle(plain(bench)).status == 200
    bench.masthead.keys.revoke_key(bench.key.key.id)
    return plain(bench)


def _expired(bench: Bench) -> Request:
    key = bench.masthead.keys.create_key("short", ["admin"], expires_s=60)
    assert bench.core.handle(plain(bench, key=key)).status == 200
    bench.clock.advance(61)
    return plain(bench, key=key)


def _captured_body(bench: Bench) -> Request:
    """Return a captured request that carries another body behind a digest that was signed."""
    import hashlib

    digest = {**JSON, "x-amz-content-sha256": hashlib.sha256(b"{}").hexdigest()}
    request = bench.request("lookoutmetrics", "POST", "/ListAlerts", "", digest, b"{}")
    return dataclasses.replace(request, body=b'{"MaxResults": 9}')


def _of(service: str, *what: object, spoil: Callable[[Request], Request]) -> Spoil:
    return lambda bench: spoil(bench.request(service, *what))


DAY = "20261123"
FORGED: list[tuple[str, Spoil, tuple[int, str], str]] = [
    ("unsigned", _head(authorization=None), ABSENT, "Missing Authentication Token"),
    (
        "presigned",
        lambda b: dataclasses.replace(with_headers(plain(b), authorization=None), query="X-Amz-Signature=0"),
        INCOMPLETE,
        "Presigned",
    ),
    ("empty header", _head(authorization=""), INCOMPLETE, "AWS4-HMAC-SHA256"),
    ("basic", _head(authorization="Basic YTpi"), INCOMPLETE, "AWS4-HMAC-SHA256"),
    ("bearer", _head(authorization="Bearer x.y"), INCOMPLETE, "AWS4-HMAC-SHA256"),
    ("version 4a", _auth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), INCOMPLETE, "AWS4-HMAC-SHA256"),
    ("no credential", _auth("Credential=", "Credentials="), INCOMPLETE, "'Credential'"),
    ("no signed headers", _auth("SignedHeaders=", "Headers="), INCOMPLETE, "'SignedHeaders'"),
    ("no signature", _auth("Signature=", "Sig="), INCOMPLETE, "'Signature'"),
    ("short scope", _auth("/aws4_request", ""), INCOMPLETE, "Credential"),
    ("other ending", _auth("aws4_request", "aws5_request"), INCOMPLETE, "Credential"),
    ("odd region", _auth("/us-east-1/", "/US EAST/"), INCOMPLETE, "Credential"),
    (
        "upper case names",
        _auth("SignedHeaders=content-type", "SignedHeaders=Content-Type"),
        INCOMPLETE,
        "SignedHeaders",
    ),
    (
        "short signature",
        lambda b: with_headers(plain(b), authorization=plain(b).headers["authorization"][:-1]),
        INCOMPLETE,
        "64 hexadecimal",
    ),
    ("no date", _head(x_amz_date=None), INCOMPLETE, "X-Amz-Date"),
    ("odd date", _head(x_amz_date="Mon, 23 Nov 2026 18:00:00 GMT"), INCOMPLETE, "X-Amz-Date"),
    ("unreal date", _head(x_amz_date=DAY + "T256199Z"), INVALID, MISMATCH),
    ("unknown key", _auth("Credential=MHAK", "Credential=MHAX"), UNKNOWN, STRANGER),
    ("key of nobody", _auth("Credential=MHAK", "Credential=AKIA"), UNKNOWN, STRANGER),
    ("revoked key", _revoked, UNKNOWN, STRANGER),
    ("expired key", _expired, UNKNOWN, STRANGER),
    ("session token", _signed(x_amz_security_token="t"), UNKNOWN, "unset AWS_SESSION_TOKEN"),
    ("unsigned session token", _head(x_amz_security_token="t"), UNKNOWN, "unset AWS_SESSION_TOKEN"),
    ("wrong secret", lambda b: plain(b, secret="wrong"), INVALID, MISMATCH),
    ("empty secret", lambda b: plain(b, secret=""), INVALID, MISMATCH),
    (
        "zero signature",
        lambda b: with_headers(plain(b), authorization=plain(b).headers["authorization"][:-64] + "0" * 64),
        INVALID,
        MISMATCH,
    ),
    (
        "old",
        _late(seconds=-301),
        INVALID,
        "Signature expired: 20261123T175459Z is now earlier than 20261123T175500Z (20261123T180000Z - 5 min.)",
    ),
    ("a day old", _late(days=-1), INVALID, "Signature expired"),
    (
        "early",
        _late(seconds=301),
        INVALID,
        "Signature not yet current: 20261123T180501Z is still later than 20261123T180500Z (20261123T180000Z + 5 min.)",
    ),
    ("replayed late", _replayed, INVALID, "Signature expired"),
    ("other region", _auth("/us-east-1/", "/eu-north-1/"), INVALID, MISMATCH),
    ("other day", _auth(f"/{DAY}/", "/20261122/"), INVALID, "Date in Credential scope"),
    (
        "scope of another service",
        _auth("/lookoutmetrics/", "/private-networks/"),
        INVALID,
        "correct service: 'lookoutmetrics'",
    ),
    (
        "scope of a foreign service",
        _auth("/lookoutmetrics/", "/s3/"),
        INVALID,
        "correct service: 'lookoutmetrics'",
    ),
    (
        "signed for another service",
        lambda b: b.request("s3", "POST", "/ListAlerts", "", JSON, b"{}"),
        INVALID,
        "correct service: 'lookoutmetrics'",
    ),
    (
        "target of another service",
        lambda b: b.request("sagemaker", "POST", "/", "", PUT, b"{}"),
        INVALID,
        "correct service: 'firehose'",
    ),
    (
        "other method",
        lambda b: dataclasses.replace(
            b.request("lookoutmetrics", "GET", f"/tags/{quote(ARN, safe='')}"), method="DELETE"
        ),
        INVALID,
        MISMATCH,
    ),
    ("other path", _part(path="/CreateAlert"), INVALID, MISMATCH),
    (
        "path decoded",
        lambda b: dataclasses.replace(
            b.request("lookoutmetrics", "GET", f"/tags/{quote(ARN, safe='')}"), path=f"/tags/{ARN}"
        ),
        INVALID,
        MISMATCH,
    ),
    ("query added", _part(query="a=1"), INVALID, MISMATCH),
    (
        "query value",
        lambda b: dataclasses.replace(
            b.request("lookoutmetrics", "POST", "/ListAlerts", "a=1", JSON, b"{}"), query="a=2"
        ),
        INVALID,
        MISMATCH,
    ),
    (
        "query decoded",
        lambda b: dataclasses.replace(
            b.request("lookoutmetrics", "POST", "/ListAlerts", "a=%20", JSON, b"{}"), query="a=+"
        ),
        INVALID,
        MISMATCH,
    ),
    (
        "query emptied",
        lambda b: dataclasses.replace(
            b.request("lookoutmetrics", "POST", "/ListAlerts", "a=1", JSON, b"{}"), query=""
        ),
        INVALID,
        MISMATCH,
    ),
    ("other host", _head(host="evil.example"), INVALID, MISMATCH),
    ("other type", _head(content_type="text/plain"), INVALID, MISMATCH),
    ("other date", _head(x_amz_date=DAY + "T180001Z"), INVALID, MISMATCH),
    ("host removed", _head(host=None), INVALID, "'host' was signed but not sent"),
    ("type removed", _head(content_type=None), INVALID, "'content-type' was signed but not sent"),
    ("body changed", _part(body=b'{"MaxResults": 9}'), INVALID, MISMATCH),
    ("body removed", _part(body=b""), INVALID, MISMATCH),
    ("body grown", _part(body=b'{"MaxResults": 5} '), INVALID, MISMATCH),
    ("body behind a signed digest", _captured_body, INVALID, "x-amz-content-sha256"),
    ("digest of another body", _head(x_amz_content_sha256="0" * 64), INVALID, "x-amz-content-sha256"),
    (
        "unsigned payload",
        _signed(x_amz_content_sha256="UNSIGNED-PAYLOAD"),
        INVALID,
        "UNSIGNED-PAYLOAD is not accepted",
    ),
    (
        "chunked payload",
        _signed(x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        INVALID,
        "is not accepted",
    ),
    ("host not signed", _unsigned("host"), INVALID, "'host' must be a 'SignedHeader'"),
    ("date not signed", _unsigned("x-amz-date"), INVALID, "'x-amz-date' must be"),
    ("type not signed", _unsigned("content-type"), INVALID, "'content-type' must be"),
    ("amz header not signed", _unsigned("x-amz-meta", x_amz_meta="1"), INVALID, "'x-amz-meta' must be"),
    ("amz header added", _head(x_amz_user_agent="x"), INVALID, "'x-amz-user-agent' must be"),
    (
        "target added",
        lambda b: with_headers(
            b.request("firehose", "POST", "/", "", JSON, b"{}"), **{"x-amz-target": PUT["x-amz-target"]}
        ),
        INVALID,
        "'x-amz-target' must be",
    ),
    (
        "target changed",
        _of(
            "firehose",
            "POST",
            "/",
            "",
            PUT,
            b"{}",
            spoil=lambda r: with_headers(r, x_amz_target="Firehose_20150804.PutRecord"),
        ),
        INVALID,
        MISMATCH,
    ),
    (
        "input header added",
        _of(
            "sagemaker",
            "POST",
            ENDPOINT,
            "",
            JSON,
            b"1",
            spoil=lambda r: with_headers(r, x_amzn_sagemaker_target_variant="b"),
        ),
        INVALID,
        "'x-amzn-sagemaker-target-variant' must be",
    ),
    (
        "input header changed",
        _of(
            "sagemaker",
            "POST",
            ENDPOINT,
            "",
            {"x-amzn-sagemaker-target-variant": "a"},
            b"1",
            spoil=lambda r: with_headers(r, x_amzn_sagemaker_target_variant="b"),
        ),
        INVALID,
        MISMATCH,
    ),
    (
        "endpoint changed",
        _of(
            "sagemaker",
            "POST",
            ENDPOINT,
            "",
            JSON,
            b"1",
            spoil=lambda r: dataclasses.replace(r, path="/endpoints/other/invocations"),
        ),
        INVALID,
        MISMATCH,
    ),
    (
        "payload changed",
        _of("sagemaker", "POST", ENDPOINT, "", JSON, b"1", spoil=lambda r: dataclasses.replace(r, body=b"2")),
        INVALID,
        MISMATCH,
    ),
    (
        "names out of order",
        _auth("SignedHeaders=content-type;host", "SignedHeaders=host;content-type"),
        INVALID,
        "in order",
    ),
    (
        "a name twice",
        _auth("SignedHeaders=content-type;host", "SignedHeaders=content-type;host;host"),
        INVALID,
        "in order",
    ),
]


def test_forty_forged_requests_and_more() -> None:
    assert len({name for name, _, _, _ in FORGED}) >= 40


@pytest.mark.parametrize(
    ("spoil", "status_and_code", "text"), [pytest.param(*rest, id=name) for name, *rest in FORGED]
)
def test_a_forged_request_is_refused(
    bench: Bench, spoil: Spoil, status_and_code: tuple[int, str], text: str
) -> None:
    request = spoil(bench)
    before = len(bench.calls)
    response = bench.core.handle(request)
    assert (response.status, code_of(response)) == status_and_code
    assert text in message_of(response)
    assert bench.key.secret not in str(response)
    assert len(bench.calls) == before


def test_no_changed_bit_of_a_request_passes(bench: Bench) -> None:
    """Each single bit of body, query and signature counts."""
    rng = random.Random(8401)
    for number in range(300):
        request = bench.request(
            "lookoutmetrics",
            "POST",
            "/ListAlerts",
            "a=1",
            JSON,
            b'{"MaxResults": 5}',
            address=f"10.0.{number // 250}.{number % 250}",
        )
        body = bytearray(request.body)
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        changed = rng.choice(
            [
                dataclasses.replace(request, body=bytes(body)),
                dataclasses.replace(request, query="a=" + rng.choice("023456789")),
                with_headers(
                    request, authorization=request.headers["authorization"][:-1] + rng.choice("ghij")
                ),
            ]
        )
        assert bench.core.handle(changed).status in (400, 403)
    assert bench.calls == []


def test_a_key_whose_secret_was_changed_is_derived_anew() -> None:
    from masthead.aws.sigv4 import Signature, SigningKeys, derive

    keys = SigningKeys()
    signature = Signature("MHAK", "20261123", "us-east-1", "firehose", ("host",), "0" * 64)
    assert keys.of("one", signature) == derive("one", "20261123", "us-east-1", "firehose")
    assert keys.of("two", signature) == derive("two", "20261123", "us-east-1", "firehose")
    # AWS's published example of a signing key.
    known = derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert known.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
