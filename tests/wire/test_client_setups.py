"""What an owner of scripts sets so that the AWS CLI and boto3 find this house: each way that the docs name, typed."""

import os
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from aws_clients import BARE, MATRIX, PINNED, client_python

from masthead.base.settings import Settings
from masthead.cli.main import run
from masthead.server import Server, Tls

LIST = (
    "lookoutmetrics",
    "list-anomaly-detectors",
    "--query",
    "AnomalyDetectorSummaryList[].AnomalyDetectorName",
)
LIST_BY_BOTO = """
import boto3
print([one["AnomalyDetectorName"] for one in
       boto3.client("lookoutmetrics").list_anomaly_detectors()["AnomalyDetectorSummaryList"]])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("setups")
    with Server(Settings(data=folder / "data", port=0, aws_port=0, roles="api,aws")) as found:
        found.masthead.metrics.create_detector(
            {"name": "air", "time": {"column": "TIMESTAMP"}, "measures": ["CO"]}
        )
        found.masthead.streams.create_stream({"name": "sales", "destination": "s3://sales/"})
        yield found


@pytest.fixture
def told(server: Server) -> dict[str, str]:
    """What the credentials file says."""
    parser = ConfigParser(interpolation=None)
    parser.read(server.settings.data / "credentials")
    return dict(parser["masthead"])


@pytest.fixture
def by_file(server: Server, tmp_path: Path) -> dict[str, str]:
    """The environment in which the credentials file is all that is set."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_SHARED_CREDENTIALS_FILE": str(server.settings.data / "credentials"),
    }


@pytest.fixture
def by_keys(told: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of keys and a region, without an endpoint."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": told["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": told["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


def aws(environment: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    program = str(client_python(*PINNED).with_name("aws"))
    return subprocess.run(
        [program, *command, "--output", "text"], env=environment, capture_output=True, text=True, timeout=60
    )


def printed(environment: dict[str, str], *command: str) -> str:
    done = aws(environment, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_credentials_file_and_a_profile_are_the_whole_set_up(by_file: dict[str, str]) -> None:
    assert printed(by_file, *LIST, "--profile", "masthead") == "air"
    assert printed({**by_file, "AWS_PROFILE": "masthead"}, *LIST) == "air"


def test_with_a_profile_the_keys_of_the_environment_do_not_count(by_file: dict[str, str]) -> None:
    stale = {**by_file, "AWS_ACCESS_KEY_ID": "AKIAOLD", "AWS_SECRET_ACCESS_KEY": "old"}
    assert printed(stale, *LIST, "--profile", "masthead") == "air"


def test_an_endpoint_is_an_option(by_keys: dict[str, str], told: dict[str, str]) -> None:
    assert printed(by_keys, *LIST, "--endpoint-url", told["endpoint_url"]) == "air"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_LOOKOUTMETRICS", "AWS_ENDPOINT_URL"])
def test_an_endpoint_is_a_variable(variable: str, by_keys: dict[str, str], told: dict[str, str]) -> None:
    assert printed({**by_keys, variable: told["endpoint_url"]}, *LIST) == "air"


def test_each_service_has_a_variable_of_its_own(by_keys: dict[str, str], told: dict[str, str]) -> None:
    firehose = {**by_keys, "AWS_ENDPOINT_URL_FIREHOSE": told["endpoint_url"]}
    assert "sales" in printed(firehose, "firehose", "list-delivery-streams")
    runtime = {**by_keys, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": told["endpoint_url"]}
    asked = ("--endpoint-name", "none", "--body", "{}", os.devnull)
    done = aws(runtime, "sagemaker-runtime", "invoke-endpoint", *asked)
    assert "(ValidationError)" in done.stderr
    assert "Endpoint none of account 000000000000 not found." in done.stderr
    network = {**by_keys, "AWS_ENDPOINT_URL_PRIVATENETWORKS": told["endpoint_url"]}
    done = aws(network, "privatenetworks", "ping")
    assert "(UnknownOperationException)" in done.stderr
    assert done.returncode != 0


def test_a_wrong_secret_is_told_as_one(by_keys: dict[str, str], told: dict[str, str]) -> None:
    wrong = {**by_keys, "AWS_SECRET_ACCESS_KEY": "x" * 40, "AWS_ENDPOINT_URL": told["endpoint_url"]}
    done = aws(wrong, *LIST)
    assert "(InvalidSignatureException)" in done.stderr
    assert "Check your AWS Secret Access Key and signing method." in done.stderr


@pytest.mark.parametrize("client", MATRIX)
def test_boto3_needs_the_file_and_the_profile_alone(client: str, by_file: dict[str, str]) -> None:
    command = [str(client_python(*MATRIX[client])), "-c", LIST_BY_BOTO]
    environment = {**by_file, "AWS_PROFILE": "masthead"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['air']", done.stderr


def test_a_boto3_that_has_lost_both_services_has_them_again_once_the_models_are_installed(
    by_file: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(client_python(*BARE)), "-c", LIST_BY_BOTO]
    environment = {**by_file, "AWS_PROFILE": "masthead"}
    before = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "UnknownServiceError: Unknown service: 'lookoutmetrics'" in before.stderr
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["aws", "models", "install"]) == 0
    after = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert after.stdout.strip() == "['air']", after.stderr
    ping = "import boto3; boto3.client('privatenetworks').ping()"
    done = subprocess.run(
        [command[0], "-c", ping], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "(UnknownOperationException)" in done.stderr


def test_over_tls_the_file_of_the_authority_is_all_that_is_added(
    by_file: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with Server(Settings(data=data, port=0, aws_port=0, roles="api,aws"), tls=Tls()):
        environment = by_file | {"AWS_SHARED_CREDENTIALS_FILE": str(data / "credentials")}
        command = (*LIST, "--profile", "masthead")
        assert printed({**environment, "AWS_CA_BUNDLE": str(data / "ca.pem")}, *command) == ""
        done = aws(environment, *command)
        assert "certificate verify failed" in done.stderr.lower()
