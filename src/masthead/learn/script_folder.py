"""The folder and the environment in which a training script of SageMaker's contract finds itself.

    input/config/{hyperparameters,inputdataconfig,resourceconfig}.json
    input/data/CHANNEL/     the files of a channel, as links
    code/                   a copy of the source folder
    model/                  what the script leaves here is the model
    output/{data,intermediate,failure}

Names and forms are those of the SageMaker training toolkit, so that a script written for it runs here unchanged, if it
reads the environment; one that has `/opt/ml` written into it runs only in a container.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masthead.base.errors import InvalidInput, NotFound, shown

__all__ = ["arguments", "environment", "lay_out", "split_hyperparameters"]

_HOST, _GROUP, _INSTANCE, _NETWORK = "algo-1", "homogeneousCluster", "local", "lo"
_LOG_LEVEL = 20
_CHANNEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RESERVED = "sagemaker_"
_SECRETS = "MASTHEAD_"  # settings of ours, among them keys and addresses of databases, are not the script's
_OF_OURS = ("PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def lay_out(
    base: Path, source: Path, channels: Mapping[str, Path], hyperparameters: Mapping[str, Any]
) -> None:
    """Make the folder `base` as the script expects it.

    Args:
        source: The folder of the script, or the script alone.

    Raises:
        InvalidInput: A channel's name cannot be one.
        NotFound: A channel's path does not exist.
    """
    for folder in ("input/config", "input/data", "model", "output/data", "output/intermediate"):
        (base / folder).mkdir(parents=True)
    if source.is_dir():
        shutil.copytree(source, base / "code", ignore=lambda folder, names: _left_out(folder, names, base))
    else:
        (base / "code").mkdir()
        shutil.copy(source, base / "code" / source.name)
    for name, path in channels.items():
        _link_channel(base / "input/data", name, path)
    told = {
        name: value if isinstance(value, str) else _json(value) for name, value in hyperparameters.items()
    }
    for name, content in (
        ("hyperparameters", told),
        ("inputdataconfig", _data_config(channels)),
        ("resourceconfig", _resources()),
    ):
        (base / "input/config" / f"{name}.json").write_text(_json(content))


def _left_out(folder: str, names: list[str], base: Path) -> set[str]:
    """Return what of a source folder is not copied: what tools leave there, and the copy itself."""
    return {
        name
        for name in names
        if name in (".git", "__pycache__") or Path(folder, name).resolve() == base.resolve()
    }


def _link_channel(data: Path, name: str, path: Path) -> None:
    if not _CHANNEL.fullmatch(name) or name.startswith("."):
        raise InvalidInput(
            f"channel: expected 1 to 64 letters, digits, '-', '_' or '.' as a name, got {shown(name)}"
        )
    if not path.exists():
        raise NotFound(f"channel: there is no file or folder {path} for {name}")
    if path.is_dir():
        (data / name).symlink_to(path.resolve(), target_is_directory=True)
    else:
        (data / name).mkdir()
        (data / name / path.name).symlink_to(path.resolve())


def split_hyperparameters(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is the script's, sorted by name, and what is the platform's: names with `sagemaker_` before them.

    >>> split_hyperparameters({"rate": 0.1, "sagemaker_program": "a.py"})
    ({'rate': 0.1}, {'sagemaker_program': 'a.py'})
    """
    ours = {name: value for name, value in sorted(given.items()) if not name.startswith(_RESERVED)}
    return ours, {name: value for name, value in sorted(given.items()) if name.startswith(_RESERVED)}


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Return the script's arguments: sorted, `--name value`, of one letter `-n value`; none that are the platform's.

    >>> arguments({"rate": 0.1, "b": True, "sizes": {"b": 2, "a": 1}, "none": None})
    ['-b', 'True', '--none', '', '--rate', '0.1', '--sizes', 'a=1,b=2']
    """
    found: list[str] = []
    for name, value in split_hyperparameters(hyperparameters)[0].items():
        found += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(value)]
    return found


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={inner}" for name, inner in sorted(value.items()))
    return "" if value is None else str(value)


def environment(
    base: Path,
    entry_point: str,
    channels: Mapping[str, Path],
    hyperparameters: Mapping[str, Any],
    *,
    inherited: Mapping[str, str],
    same_python: bool,
) -> dict[str, str]:
    """Return the script's environment: what this process has but for our settings, and every `SM_` variable.

    Args:
        inherited: This process's environment.
        same_python: Whether the script runs in this interpreter, which then finds the same packages.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_SECRETS) and (same_python or name not in (*_OF_OURS, "PYTHONPATH"))
    }
    code = str(base / "code")
    path = os.pathsep.join([code, *([kept["PYTHONPATH"]] if kept.get("PYTHONPATH") else [])])
    told = {
        f"SM_{name.upper()}": _text(value)
        for name, value in _variables(base, entry_point, channels, hyperparameters).items()
    }
    return {
        **kept,
        **told,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "SAGEMAKER_BASE_DIR": str(base),
        "TRAINING_JOB_NAME": base.name,
    }


def _variables(
    base: Path, entry_point: str, channels: Mapping[str, Path], hyperparameters: Mapping[str, Any]
) -> dict[str, Any]:
    ours, platform = split_hyperparameters(hyperparameters)
    folders = {name: str(base / "input/data" / name) for name in sorted(channels)}
    training = {
        "additional_framework_parameters": platform,
        "channel_input_dirs": folders,
        "current_host": _HOST,
        "current_instance_group": _GROUP,
        "current_instance_type": _INSTANCE,
        "framework_module": None,
        "hosts": [_HOST],
        "hyperparameters": ours,
        "input_config_dir": str(base / "input/config"),
        "input_data_config": _data_config(channels),
        "input_dir": str(base / "input"),
        "is_master": True,
        "job_name": base.name,
        "log_level": _LOG_LEVEL,
        "master_hostname": _HOST,
        "model_dir": str(base / "model"),
        "module_dir": str(base / "code"),
        "module_name": Path(entry_point).stem,
        "network_interface_name": _NETWORK,
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        "num_neurons": 0,
        "output_data_dir": str(base / "output/data"),
        "output_dir": str(base / "output"),
        "output_intermediate_dir": str(base / "output/intermediate"),
        "resource_config": _resources(),
        "user_entry_point": entry_point,
    }
    same = set(training) - {
        "additional_framework_parameters",
        "channel_input_dirs",
        "hyperparameters",
        "job_name",
        "is_master",
        "master_hostname",
    }
    return {
        **{name: training[name] for name in sorted(same)},
        "channels": sorted(channels),
        **{f"channel_{name}": path for name, path in folders.items()},
        "hps": ours,
        **{f"hp_{name}": value for name, value in ours.items()},
        "framework_params": platform,
        "user_args": arguments(hyperparameters),
        "training_env": training,
    }


def _data_config(channels: Mapping[str, Path]) -> dict[str, Any]:
    return {
        name: {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        for name in sorted(channels)
    }


def _resources() -> dict[str, Any]:
    group = {"instance_group_name": _GROUP, "instance_type": _INSTANCE, "hosts": [_HOST]}
    return {
        "current_host": _HOST,
        "current_instance_type": _INSTANCE,
        "current_group_name": _GROUP,
        "hosts": [_HOST],
        "instance_groups": [group],
        "network_interface_name": _NETWORK,
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
