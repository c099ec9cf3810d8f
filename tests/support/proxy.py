"""A real nginx in front of an installation, with the configuration that the guide shows."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GUIDE = Path(__file__).parents[2] / "docs" / "exposure.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_WHOLE = """
{user}
daemon off;
pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/masthead.conf;
}}
"""


@contextlib.contextmanager
def guides_nginx(
    folder: Path, *, api_port: int, aws_port: int, opened: str = ""
) -> Iterator[tuple[int, Path]]:
    """Run the guide's nginx before two ports of loopback; give its own port, and a certificate to trust.

    Names, ports and places are this test's; all else is as the guide has it. `opened` is one more pattern of paths that
    go to the AWS wire.
    """
    assert NGINX is not None
    certificate, key = _certificate(folder)
    port = _free_port()
    shown = re.search(r"^```nginx masthead\.conf\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
    assert shown is not None
    text = shown[1]
    for told, real in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/certs/models.example.com.pem", str(certificate)),
        ("/etc/ssl/private/models.example.com.key", str(key)),
        ("models.example.com", "localhost"),
        ("127.0.0.1:8401", f"127.0.0.1:{aws_port}"),
        ("127.0.0.1:8400", f"127.0.0.1:{api_port}"),
    ):
        assert told in text
        text = text.replace(told, real)
    if opened:
        text = text.replace("^/endpoints/[^/]+/invocations$", f"^/endpoints/[^/]+/invocations$|{opened}")
        assert opened in text
    (folder / "masthead.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""  # whose folder it is
    (folder / "nginx.conf").write_text(_WHOLE.format(folder=folder, user=user))
    process = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    )
    try:
        _wait_until_up(process, port, folder / "error.log")
        yield port, certificate
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nginx does not listen: {log.read_text() if log.exists() else ''}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate of localhost that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    places = folder / "certificate.pem", folder / "private.key"
    places[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    places[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return places
