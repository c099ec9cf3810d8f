"""`masthead aws models install` gives a newer boto3 the two services that it has lost."""

import json
from pathlib import Path

import pytest

from masthead.cli.main import run


def test_both_models_lie_where_clients_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in range(2):  # a second time changes nothing
        assert run(["aws", "models", "install"]) == 0
    printed = capsys.readouterr().out.splitlines()
    places = {"privatenetworks": "2021-12-03", "lookoutmetrics": "2017-07-25"}
    for name, version in places.items():
        path = tmp_path / ".aws" / "models" / name / version / "service-2.json"
        assert str(path) in printed
        assert json.loads(path.read_bytes())["metadata"]["apiVersion"] == version
        assert (path.parent / "endpoint-rule-set-1.json").exists()
