"""Secrets at rest: AES-256-GCM under one master key that lies in the data folder, mode 0600.

The box protects copies of the database and backups, not a thief of the whole folder. To keep the key
elsewhere, name its file in `MASTHEAD_MASTER_KEY_FILE`.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from masthead.base.errors import Conflict, InvalidInput

_VERSION = b"\x01"
_KEY_BYTES = 32


class SecretBox:
    """Seals and opens secrets. The context (say `alert_rule:night`) is bound in, so rows cannot be swapped."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise InvalidInput(f"master key: expected {_KEY_BYTES} bytes, got {len(master_key)}")
        self._master = master_key
        self._cipher = AESGCM(self.derive("secrets at rest"))

    @classmethod
    def open_or_create(cls, folder: Path, key_file: Path | None = None) -> "SecretBox":
        """Return the box of a data folder; its `master.key` is made, with mode 0600, when there is none yet."""
        path = key_file or folder / "master.key"
        if not path.exists():
            if key_file:
                raise InvalidInput(
                    f"master_key_file: expected a file of {_KEY_BYTES} bytes, found none at {path}"
                )
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:  # another process made it between the look and the open
                pass
            else:
                with os.fdopen(handle, "wb") as file:
                    file.write(os.urandom(_KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
        return cls(path.read_bytes())

    def derive(self, purpose: str) -> bytes:
        """Return a 32-byte key of its own for one purpose (HKDF-SHA256, RFC 5869)."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(self._master)

    def seal(self, secret: bytes, *, context: str) -> bytes:
        """Return version, nonce and ciphertext of `secret`, bound to `context`."""
        nonce = os.urandom(12)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, context.encode())

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Return the secret.

        Raises:
            Conflict: It was sealed under another master key or context, or it was altered.
        """
        if sealed[:1] != _VERSION or len(sealed) < 1 + 12 + 16:
            raise Conflict(f"{context}: the sealed secret has an unknown form")
        try:
            return self._cipher.decrypt(sealed[1:13], sealed[13:], context.encode())
        except InvalidTag as error:
            raise Conflict(
                f"{context}: the secret cannot be opened with this installation's master key"
            ) from error
