"""The guide's nginx before a whole installation: what passes, as whom, and what does not."""

import contextlib
import json
import re
import shutil
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from aws_clients import PINNED, client_python
from aws_signer import sign
from boto_agent import ClientFailed, boto
from playwright.sync_api import sync_playwright
from proxy import GUIDE, NGINX, guides_nginx
from served_air import READING, served_air

from masthead.access.keys import NewKey
from masthead.server import Server

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is missing: apt-get install nginx-light")

PATH = "/endpoints/air/invocations"
POLICY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": "sagemaker:InvokeEndpoint",
        "Resource": "arn:aws:sagemaker:*:*:endpoint/air",
    },
}
BODY = json.dumps(READING).encode()
CLOSED = (
    *("/", "/ui", "/metrics", "/readyz", "/docs", "/ping", "/keys", "/detectors", "/native/detectors"),
    *("/endpoints", "/endpoints/air", "/endpoints/air/async-invocations", "/ListAnomalyDetectors"),
    *(f"/ui/..{PATH}/x", "/endpoints/a%2Fb/invocations", "/native/endpoints/..%2Fx/invocations"),
    "/tags/arn%3Aaws",
)


@dataclass(frozen=True, slots=True)
class Door:
    """The proxy's side of an installation."""

    server: Server
    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def key(self, **limits: Any) -> NewKey:
        """Return a customer's new key, which may call the one endpoint."""
        return self.server.masthead.keys.create_key("customer", [("one-endpoint", POLICY)], **limits)

    def client(self, address: str = "127.0.0.1") -> httpx.Client:
        """Return a client that calls from an address of loopback."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(
            base_url=self.url, transport=httpx.HTTPTransport(verify=trust, local_address=address), timeout=60
        )

    def signed(
        self, new: NewKey, path: str = PATH, body: bytes = BODY, service: str = "sagemaker", **headers: str
    ) -> dict[str, Any]:
        """Return what `client.request` sends of a signed call."""
        given = {
            "host": f"localhost:{self.port}",
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        found = sign(
            "POST",
            path,
            headers=given,
            body=body,
            key_id=new.key.id,
            secret=new.secret,
            service=service,
            when=datetime.now(UTC),
            leave_out=("origin", "x-forwarded-for"),
        )
        return {"method": "POST", "url": path, "content": body, "headers": found}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("exposed")
    with served_air(folder, trusted_proxies="127.0.0.1") as server:
        here = server.addresses
        with guides_nginx(folder, api_port=here.port, aws_port=here.aws_port) as (port, certificate):
            yield Door(server, port, certificate)


def test_a_customers_boto3_reaches_its_endpoint_over_tls_and_no_other(door: Door) -> None:
    new = door.key()
    with boto(
        client_python(*PINNED),
        "sagemaker-runtime",
        endpoint_url=door.url,
        verify=str(door.certificate),
        region_name="eu-west-1",
        aws_access_key_id=new.key.id,
        aws_secret_access_key=new.secret,
    ) as runtime:
        given = {"Body": BODY.decode(), "ContentType": "application/json"}
        found = runtime.invoke_endpoint(EndpointName="air", CustomAttributes="a  b,explain=1", **given)
        assert found["CustomAttributes"] == "a  b,explain=1"
        with pytest.raises(ClientFailed) as other:
            runtime.invoke_endpoint(EndpointName="other", **given)
    assert other.value.code == "AccessDeniedException"


@pytest.mark.parametrize("path", CLOSED)
def test_nothing_else_passes(door: Door, path: str) -> None:
    with door.client() as client:
        for method in ("GET", "POST"):
            answer = client.request(method, path, headers={"x-amz-target": "Firehose_20150804.PutRecord"})
            assert (answer.status_code, answer.headers["server"][:5]) == (404, "nginx"), method


def test_an_endpoint_is_only_called_not_described_or_deleted(door: Door) -> None:
    with door.client() as client:
        for method in ("GET", "DELETE", "PUT", "PATCH"):
            for path in (PATH, f"/native{PATH}"):
                assert client.request(method, path).status_code == 403, (method, path)


def test_what_a_caller_says_of_its_address_is_not_believed_and_the_proxys_word_is(door: Door) -> None:
    new = door.key(allow=["127.0.0.2/32"])
    calls = (door.signed(new, x_forwarded_for="127.0.0.2"), keyed(new, **{"x-forwarded-for": "127.0.0.2"}))
    for call in calls:
        with door.client("127.0.0.2") as friend, door.client("127.0.0.3") as stranger:
            assert friend.request(**call).status_code == 200
            assert stranger.request(**call).status_code == 403


def test_a_forged_call_is_refused_and_counts_against_its_own_address_alone(door: Door) -> None:
    new = door.key()
    forged = {**door.signed(new), "content": BODY + b" "}
    with door.client("127.0.0.9") as forger, door.client("127.0.0.10") as customer:
        codes = [forger.request(**forged).headers["x-amzn-errortype"] for _ in range(11)]
        assert codes == ["InvalidSignatureException"] * 10 + ["ThrottlingException"]
        assert customer.request(**door.signed(new)).status_code == 200


def test_a_customer_has_its_rate_and_its_quota_on_both_paths_together(door: Door) -> None:
    new = door.key(rate=0.01, burst=3)
    with door.client() as client:
        told = [client.request(**call).status_code for call in (door.signed(new), keyed(new)) * 2]
        assert told == [200, 200, 200, 429]
        slow = client.request(**door.signed(new))
        assert (slow.headers["x-amzn-errortype"], int(slow.headers["retry-after"]) > 0) == (
            "ThrottlingException",
            True,
        )
        spent = door.key(quota=1, window="month", rate=100)
        assert client.request(**keyed(spent)).status_code == 200
        assert client.request(**door.signed(spent)).headers["x-amzn-errortype"] == "LimitExceededException"


def test_the_percent_encoded_name_of_a_path_that_a_partner_was_given_arrives_as_it_was_signed(
    door: Door, tmp_path: Path
) -> None:
    here = door.server.addresses
    partner = door.server.masthead.keys.create_key("partner", ["metrics"])
    arn = "arn%3Aaws%3Alookoutmetrics%3Aus-east-1%3A000000000000%3AMetricSet%2Fair%2Fair"
    with guides_nginx(tmp_path, api_port=here.port, aws_port=here.aws_port, opened="^/tags/") as (
        port,
        trust,
    ):
        wider = Door(door.server, port, trust)
        call = wider.signed(partner, f"/tags/{arn}", b'{"tags": {"a": "b"}}', service="lookoutmetrics")
        with wider.client() as client:
            assert client.request(**call).status_code == 204


def test_the_largest_body_arrives_as_it_was_sent_and_a_larger_one_does_not(door: Door) -> None:
    new = door.key()
    most = BODY + b" " * (6_291_456 - len(BODY))
    with door.client() as client:
        assert client.request(**door.signed(new, body=most)).status_code == 200
        assert client.request(**keyed(new, body=most)).status_code == 200
        assert client.request(**door.signed(new, body=most + b" ")).status_code == 413


def test_a_page_of_the_keys_origin_may_call_on_both_paths_and_no_other_page(door: Door) -> None:
    new = door.key(origins=["https://shop.example.com"])
    with door.client() as client:
        for origin, status in (("https://shop.example.com", 200), ("https://evil.example.com", 403)):
            for call in (door.signed(new, origin=origin), keyed(new, origin=origin)):
                asked = client.options(
                    call["url"],
                    headers={
                        "origin": origin,
                        "access-control-request-method": "POST",
                        "access-control-request-headers": "content-type,x-api-key",
                    },
                )
                allowed = origin if status == 200 else None
                assert asked.headers.get("access-control-allow-origin") == allowed
                answer = client.request(**call)
                assert answer.status_code == status
                assert answer.headers.get("access-control-allow-origin") == allowed


def test_the_guides_page_calls_from_a_real_browser(door: Door) -> None:
    script = re.search(r"^```js\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
    assert script is not None
    with page_server() as page_url:
        new = door.key(origins=[page_url])
        told = script[1].replace("https://models.example.com", door.url).replace("air-b101", "air")
        told = told.replace("ID.SECRET", f"{new.key.id}.{new.secret}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_context(ignore_https_errors=True).new_page()
            page.goto(page_url)
            found = page.evaluate(f"async () => {{ {told}; return answer.json() }}")
            browser.close()
    assert found["predictions"][0]["value"] == 120.0


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def page_server() -> Iterator[str]:
    """Serve an empty page; give its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def chromium() -> str:
    """Return where Chromium lies."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.fail("Chromium is missing: apt-get install chromium")
    return found


def keyed(new: NewKey, body: bytes = BODY, **headers: str) -> dict[str, Any]:
    """Return what `client.request` sends of a call that is not signed."""
    shown = {"x-api-key": f"{new.key.id}.{new.secret}", "content-type": "application/json", **headers}
    return {"method": "POST", "url": f"/native{PATH}", "content": body, "headers": shown}
