"""The file by which AWS's clients find a key and the endpoint: `DIR/credentials`, readable by its owner only.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html; boto3 and the AWS CLI also read `region` and
`endpoint_url` from it.
"""

import configparser
import os
from pathlib import Path

from masthead.access.keys import KeyService, NewKey
from masthead.base.folder import write_atomic

PROFILE = "masthead"


def keep_credentials(
    path: Path, keys: KeyService, made: NewKey | None, *, region: str, endpoint_url: str
) -> bool:
    """Write a key's file unless the one that is there holds a key that works; return whether it was written.

    Args:
        path: The file.
        keys: Judges the key of a file that is there.
        made: The key that this start made or was told; None: nothing is written.
        region: What a client says when it is told none.
        endpoint_url: Where the AWS wire API listens.
    """
    if made is None or (path.exists() and keys.authenticate(_token(path)) is not None):
        return False
    text = (
        f"[{PROFILE}]\naws_access_key_id = {made.key.id}\naws_secret_access_key = {made.secret}\n"
        f"region = {region}\nendpoint_url = {endpoint_url}\n"
    )
    if path.exists():
        write_atomic(path, text.encode(), mode=0o600)
        return True
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    return True


def _token(path: Path) -> str:
    """Return the key of a file as `ID.SECRET`; "" when it holds none."""
    reader = configparser.RawConfigParser()
    try:
        reader.read_string(path.read_text())
        section = reader[PROFILE]
        return f"{section['aws_access_key_id']}.{section['aws_secret_access_key']}"
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        return ""
