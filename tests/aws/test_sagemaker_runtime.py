"""SageMaker Runtime through the core: every header, and every way in which a call can fail."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aws_signer import sign
from waiting import eventually

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.protocol import Request, Response
from masthead.base.clock import SystemClock
from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.base.settings import Settings
from masthead.learn.models import Answer, ModelFailure


@dataclass
class Model:
    """A model that answers with what it was asked, or fails as told."""

    fail: Callable[[], Any] | None = None
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    def describe(self) -> Mapping[str, Any]:
        return {"model": "trial"}

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        self.asked.append((content_type, accept, explain))
        if self.fail is not None:
            self.fail()
        return Answer(body[::-1], "text/plain")

    def close(self) -> None: ...


@dataclass
class Bench:
    masthead: Masthead
    core: Core
    key: NewKey
    model: Model

    def ask(
        self,
        body: bytes = b"12",
        *,
        name: str = "trial",
        path: str = "invocations",
        key: NewKey | None = None,
        **headers: str,
    ) -> Response:
        used = key or self.key
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        path = f"/endpoints/{name}/{path}"
        signed = sign(
            "POST", path, "", sent, body, service="sagemaker", region="eu-west-1",
            key_id=used.key.id, secret=used.secret, when=SystemClock().now(),
        )  # fmt: skip
        return self.core.handle(Request("POST", path, "", signed, body, "127.0.0.1"))

    def counted(self) -> list[tuple[str, int, int]]:
        return [(one.key, one.calls, one.errors) for one in self.masthead.endpoints.get("trial").usage]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("runtime") / "data"
    with Masthead.open(Settings(data=folder, endpoint_timeout_s=0.5)) as masthead:
        model = Model()
        masthead.endpoints.register("trial", lambda source: model)
        masthead.endpoints.create("trial", "trial", {})
        key = masthead.keys.create_key("anna", ["admin"])
        yield Bench(masthead, Core(masthead, clock=SystemClock()), key, model)


@pytest.fixture(autouse=True)
def _well(bench: Bench) -> None:
    bench.model.fail = None
    bench.model.asked.clear()


def headers(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def refusal(response: Response) -> tuple[int, str, str]:
    return response.status, headers(response)["x-amzn-errortype"], json.loads(response.body)["Message"]


def test_an_answer_carries_the_models_type_the_variant_and_the_callers_attributes(bench: Bench) -> None:
    found = bench.ask(
        b"\x00\xff",
        content_type="text/csv",
        accept="text/plain",
        x_amzn_sagemaker_custom_attributes="trace=7",
        x_amzn_sagemaker_inference_id="id-1",
        x_amzn_sagemaker_target_variant="AllTraffic",
    )
    told = headers(found)
    assert (found.status, found.body, told["content-type"]) == (200, b"\xff\x00", "text/plain")
    assert told["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert told["x-amzn-sagemaker-custom-attributes"] == "trace=7"
    assert bench.model.asked == [("text/csv", "text/plain", False)]


def test_without_any_header_the_model_decides(bench: Bench) -> None:
    found = bench.ask()
    assert (found.status, bench.model.asked) == (200, [("", "", False)])
    assert "x-amzn-sagemaker-custom-attributes" not in headers(found)


@pytest.mark.parametrize(
    ("given", "explains"),
    [
        ({"x_amzn_sagemaker_enable_explanations": "true"}, True),
        ({"x_amzn_sagemaker_enable_explanations": "`true`"}, True),
        ({"x_amzn_sagemaker_enable_explanations": "False"}, False),
        ({"x_amzn_sagemaker_custom_attributes": "a=1, explain=columns"}, True),
    ],
)
def test_explanations_are_asked_for_by_header_or_attribute(
    bench: Bench, given: dict[str, str], explains: bool
) -> None:
    assert bench.ask(**given).status == 200
    assert bench.model.asked[0][2] is explains


@pytest.mark.parametrize(
    ("header", "value", "message"),
    [
        ("target_variant", "blue", "TargetVariant: expected AllTraffic"),
        ("target_model", "m.tar.gz", "TargetModel: an endpoint serves one model"),
        ("target_container_hostname", "first", "TargetContainerHostname: an endpoint has no containers"),
        ("inference_component", "c1", "InferenceComponentName: an endpoint has no inference components"),
        ("session_id", "NEW_SESSION", "SessionId: models keep no sessions"),
        ("enable_explanations", "sometimes", "EnableExplanations: expected true or false"),
    ],
)
def test_what_an_endpoint_does_not_have_is_a_validation_error(
    bench: Bench, header: str, value: str, message: str
) -> None:
    status, code, text = refusal(bench.ask(**{f"x_amzn_sagemaker_{header}": value}))
    assert (status, code) == (400, "ValidationError")
    assert message in text
    assert bench.model.asked == []


def _raise(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("fail", "status", "who"),
    [
        (_raise(ModelFailure(415, "content-type: expected JSON")), 415, "client"),
        (_raise(ModelFailure(400, "amount: expected a number")), 400, "client"),
        (_raise(InvalidInput("amount: expected a number")), 400, "client"),
        (_raise(ValueError("4711")), 500, "server"),
        (lambda: time.sleep(1.0), 504, "server"),
    ],
)
def test_a_model_that_fails_is_a_model_error_with_its_own_status(
    bench: Bench, fail: Callable[[], Any], status: int, who: str
) -> None:
    bench.model.fail = fail
    found = bench.ask(b"secret 4711")
    told = json.loads(found.body)
    assert (found.status, headers(found)["x-amzn-errortype"]) == (424, "ModelError")
    assert told["OriginalStatusCode"] == status
    assert told["Message"].startswith(f"Received {who} error ({status}) from AllTraffic")
    assert told["OriginalMessage"] in told["Message"]
    assert told["LogStreamArn"] == (
        "arn:aws:logs:eu-west-1:000000000000:log-group:/aws/sagemaker/Endpoints/trial:log-stream:AllTraffic"
    )
    assert b"4711" not in found.body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (LimitReached("queue: 1,024 calls wait"), 503, "ServiceUnavailable"),
        (Conflict("endpoint: trial is being loaded"), 429, "ModelNotReadyException"),
    ],
)
def test_come_again_is_said_with_a_status_that_clients_repeat(
    bench: Bench, error: Exception, status: int, code: str
) -> None:
    bench.model.fail = _raise(error)
    assert refusal(bench.ask())[:2] == (status, code)


@pytest.mark.parametrize("path", ["invocations", "async-invocations", "invocations-response-stream"])
def test_an_unknown_endpoint_is_a_validation_error_in_sagemakers_words(bench: Bench, path: str) -> None:
    more = {"x_amzn_sagemaker_inputlocation": "s3://inputs/a.csv"} if path.startswith("async") else {}
    body = b"" if path.startswith("async") else b"12"
    status, code, text = refusal(bench.ask(body, name="none", path=path, **more))
    assert (status, code) == (400, "ValidationError")
    assert text == "Endpoint none of account 000000000000 not found."


def test_what_is_not_served_says_what_to_use(bench: Bench) -> None:
    found = bench.ask(path="invocations-response-stream")
    assert refusal(found)[:2] == (400, "ValidationError")
    assert "use InvokeEndpoint" in refusal(found)[2]


def later(bench: Bench, **more: str) -> tuple[dict[str, Any], dict[str, str]]:
    found = bench.ask(b"", path="async-invocations", **more)
    assert found.status == 202, found.body
    return json.loads(found.body), headers(found)


def test_an_asynchronous_call_is_answered_in_an_object(bench: Bench) -> None:
    objects = bench.masthead.objects
    objects.put("s3://inputs/a.csv", b"abc")
    found, told = later(
        bench,
        x_amzn_sagemaker_inputlocation="s3://inputs/a.csv",
        x_amzn_sagemaker_content_type="text/csv",
        x_amzn_sagemaker_inference_id="mine",
    )
    assert found == {"InferenceId": "mine"}
    where = told["x-amzn-sagemaker-outputlocation"]
    assert where.startswith("s3://async-inference/trial/call-")
    eventually(lambda: objects.exists(where))
    assert objects.get(where) == b"cba"
    assert bench.model.asked == [("text/csv", "", False)]
    assert [job.name for job in bench.masthead.flows.list("invocation")] == ["invocation"]


def test_what_goes_wrong_later_is_told_in_an_object_too(bench: Bench) -> None:
    objects = bench.masthead.objects
    objects.put("s3://inputs/a.csv", b"abc")
    bench.model.fail = _raise(ModelFailure(400, "amount: expected a number"))
    for name, status in (("a.csv", 400), ("none.csv", 400)):
        found, told = later(bench, x_amzn_sagemaker_inputlocation=f"s3://inputs/{name}")
        assert found["InferenceId"].startswith("call-")
        where = told["x-amzn-sagemaker-failurelocation"]
        eventually(lambda where=where: objects.exists(where))  # type: ignore[misc]
        assert json.loads(objects.get(where))["status"] == status
        assert not objects.exists(told["x-amzn-sagemaker-outputlocation"])


@pytest.mark.parametrize("where", ["https://a.example/x", "s3://inputs/../a", "s3://x/a"])
def test_a_body_that_lies_elsewhere_is_refused_at_once(bench: Bench, where: str) -> None:
    found = bench.ask(b"", path="async-invocations", x_amzn_sagemaker_inputlocation=where)
    assert refusal(found)[:2] == (400, "ValidationError")


def test_calls_are_counted_for_the_key_that_made_them(bench: Bench) -> None:
    key = bench.masthead.keys.create_key("customer", ["invoke"])
    assert bench.ask(key=key).status == 200
    bench.model.fail = _raise(ModelFailure(400, "no"))
    bench.ask(key=key)
    assert (key.key.id, 2, 1) in bench.counted()


def test_a_key_for_one_endpoint_reaches_no_other(bench: Bench) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "sagemaker:InvokeEndpoint",
            "Resource": "arn:aws:sagemaker:*:*:endpoint/trial",
        },
    }
    key = bench.masthead.keys.create_key("one", [("one", document)])
    assert bench.ask(key=key).status == 200
    found = bench.ask(key=key, name="none")  # before anybody looks whether it exists
    assert refusal(found)[:2] == (403, "AccessDeniedException")


def test_a_deleted_endpoint_is_not_found_by_the_next_call(bench: Bench) -> None:
    bench.masthead.endpoints.create("gone", "trial", {})
    assert bench.ask(name="gone").status == 200
    with Masthead.open(bench.masthead.settings) as other:
        other.endpoints.delete("gone")
    assert refusal(bench.ask(name="gone"))[:2] == (400, "ValidationError")
