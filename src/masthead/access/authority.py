"""The installation's own certificate authority: bytes in, bytes out; it keeps nothing.

Keys are ECDSA on P-256, which TLS 1.2 and 1.3 clients of any size know. A thing's certificate names the thing
(CN) and its own serial number (OU), so that the broker can tell an older certificate of the same thing, or of
an earlier thing with the same name, from the present one.

Source: RFC 5280 sections 4.1 and 4.2; RFC 6125 section 6.4 for the names of the server.
"""

import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from masthead.base.errors import InvalidInput, shown

_AUTHORITY_DAYS = 20 * 365
_BACK = timedelta(
    minutes=5
)  # a device whose clock is a little slow must not meet a certificate of the future


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, both PEM, and what the records need to know of them."""

    certificate: bytes
    key: bytes
    serial: str
    sha256: str
    subject: str
    issued: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    @classmethod
    def create(cls, *, name: str, now: datetime) -> "Authority":
        """Return a new authority that signs end certificates only and lives for 20 years."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, subject, key.public_key(), now, _AUTHORITY_DAYS, _new_serial())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        return cls(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))

    def issue_thing(self, name: str, *, now: datetime, days: int) -> Issued:
        """Return a client certificate of the thing `name` and its new key."""
        serial = _new_serial()
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"{serial:040x}"),
            ]
        )
        return self._issue(subject, serial, now, days, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def issue_server(self, names: Iterable[str], *, now: datetime, days: int) -> Issued:
        """Return a server certificate for host names and addresses, and its new key.

        Raises:
            InvalidInput: There is no name, or one that a certificate cannot carry.
        """
        wanted = list(dict.fromkeys(names))
        if not wanted:
            raise InvalidInput("names: expected at least one host name or address, got none")
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in wanted])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "masthead")])
        return self._issue(subject, _new_serial(), now, days, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def _issue(
        self,
        subject: x509.Name,
        serial: int,
        now: datetime,
        days: int,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Issued:
        signer = serialization.load_pem_private_key(self.key, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)  # made by `create`
        own = x509.load_pem_x509_certificate(self.certificate)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, own.subject, key.public_key(), now, days, serial)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        return Issued(
            certificate=_pem(certificate),
            key=_key_pem(key),
            serial=f"{serial:040x}",
            sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            subject=subject_of(certificate),
            issued=certificate.not_valid_before_utc,
            expires=certificate.not_valid_after_utc,
        )


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as the broker writes it: RFC 4514, last attribute first."""
    return certificate.subject.rfc4514_string()


def expiry(certificate: bytes) -> datetime:
    """Return when a PEM certificate ends, aware UTC.

    Raises:
        InvalidInput: The bytes are no PEM certificate.
    """
    return _load(certificate).not_valid_after_utc


def server_names(certificate: bytes) -> set[str]:
    """Return the host names and addresses that a PEM server certificate carries."""
    try:
        found = _load(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in found}


def signed_by(certificate: bytes, authority: bytes) -> bool:
    """Return whether `authority` (PEM) signed `certificate` (PEM)."""
    try:
        _load(certificate).verify_directly_issued_by(_load(authority))
    except Exception:  # cryptography raises ValueError, TypeError or InvalidSignature
        return False
    return True


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise InvalidInput(f"certificate: expected PEM, got {shown(certificate, 40)}") from error


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
    serial: int,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key)
    builder = builder.serial_number(serial).not_valid_before(now - _BACK)
    builder = builder.not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_serial() -> int:
    return secrets.randbits(158) + 1  # positive and at most 20 octets, RFC 5280 section 4.1.2.2


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode())
    except (ValueError, UnicodeError) as error:
        raise InvalidInput(f"names: expected a host name or address, got {shown(name)}") from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
