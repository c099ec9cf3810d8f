"""Every setting, its default and its bounds. Read once, in `cli`; nobody else looks at the environment.

Order, the first that names a value wins: an option on the command line, `MASTHEAD_NAME` in the environment,
the TOML file named by `MASTHEAD_CONFIG` (default: `masthead.toml` in the data folder), the default here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from masthead.base.errors import InvalidInput, nearest, shown

ROLES = ("console", "api", "aws", "devices", "worker")
PREFIX = "MASTHEAD_"
# Of our names, but no settings: the file itself, and what we hand to processes that we start.
_OTHER_VARIABLES = frozenset({"MASTHEAD_CONFIG", "MASTHEAD_ALERT_KEY", "MASTHEAD_JETSTREAM_KEY"})


class Settings(BaseModel):
    """What an installation can be told. Units stand last in a name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(Path("masthead-data"), description="The data folder.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8400, ge=0, le=65535, description="Port of console and native API; 0: any free port.")
    aws_port: int = Field(8401, ge=0, le=65535, description="Port of the AWS wire API; 0: any free port.")
    aws_region: str = Field("", pattern="[a-z0-9-]{0,32}", description="The only region served; empty: any.")
    access_key_id: str = Field("", description="Id of a key that exists after each start; with its secret.")
    secret_access_key: SecretStr = Field(SecretStr(""), description="Its secret.")
    limits_url: str = Field(
        "", description="Where several processes count rates, say redis://HOST; empty: here."
    )
    trusted_proxies: str = Field(
        "", description="Addresses or CIDR blocks, by commas, whose X-Forwarded-For is believed."
    )
    audit_reads: bool = Field(False, description="Audit reads, too, not only mutations and refusals.")
    mqtt_port: int = Field(8883, ge=0, le=65535, description="Port of MQTT over TLS; 0: any free port.")
    mqtt_plain: bool = Field(False, description="Open MQTT without TLS on 127.0.0.1 only.")
    mqtt_plain_port: int = Field(1883, ge=0, le=65535, description="Its port; 0: any free port.")
    mqtt_names: str = Field(
        "", description="Further names and addresses in the MQTT server's certificate, by commas."
    )
    insecure_http: bool = Field(False, description="Allow a host that is not loopback without TLS.")
    roles: str = Field(",".join(ROLES), description="Parts to run, by commas.")
    nats_url: str = Field("", description="An external NATS server; empty: start our own.")
    sync: Literal["always", "interval"] = Field("always", description="When the stream is flushed to disk.")
    stream_max_gib: float = Field(8.0, gt=0, description="Bound of the readings' stream, GiB.")
    stream_keep_days: float = Field(
        7.0, gt=0, description="How long consumed readings stay in the stream, days."
    )
    results_keep_days: float = Field(400.0, gt=0, description="How long scores stay for charts, days.")
    results_max_gib: float = Field(10.0, gt=0, description="Bound of the stored scores, GiB.")
    objects_keep_days: float = Field(
        0.0, ge=0, description="How long delivered objects stay, days; 0: for ever."
    )
    objects_max_gib: float = Field(0.0, ge=0, description="Bound of delivered objects, GiB; 0: none.")
    disk_free_warn_gib: float = Field(2.0, ge=0, description="Warn when less disk is free, GiB.")
    encrypt_streams: bool = Field(True, description="Encrypt JetStream's files at rest.")
    stream_key_file: Path | None = Field(
        None, description="Key for that; default: derived from the master key."
    )
    master_key_file: Path | None = Field(
        None, description="The master key; default: master.key in the data folder."
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the data folder.")
    flows_url: str = Field("", description="Database of durable jobs; empty: SQLite in the data folder.")
    objects_url: str = Field("", description="Object store, say s3://bucket/prefix; empty: a local folder.")
    objects_options: str = Field("", description="Options of the object store: key=value pairs by commas.")
    buckets: dict[str, str] = Field(
        {},
        description="Buckets with a place of their own: name=folder or name=s3://bucket/prefix, by commas.",
    )
    max_detectors: int = Field(1_000, ge=1, description="Detectors of the installation.")
    max_series: int = Field(50_000, ge=1, description="Series of one detector.")
    max_measures: int = Field(10, ge=1, description="Measures of one detector.")
    max_dimensions: int = Field(10, ge=0, description="Dimensions of one detector.")
    max_interval_records: int = Field(1_000_000, ge=1, description="Records of one interval of one detector.")
    endpoint_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="How long a served model may take for one call, seconds."
    )
    fraud_sync: Literal["full", "normal"] = Field(
        "full",
        description="SQLite: whether a scored transaction survives a power failure; normal: a crash only.",
    )
    max_body_mib: float = Field(64.0, gt=0, description="Largest HTTP body, MiB.")
    virtual_clock: bool = Field(False, description="Follow the beats on masthead.clock (demonstrations).")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What the log shows.")
    log_json: bool = Field(False, description="Log as JSON lines.")

    @field_validator("buckets", mode="before")
    @classmethod
    def _read_buckets(cls, given: object) -> object:
        """Take the text of a variable; a table of the file is one already."""
        if not isinstance(given, str):
            return given
        pairs = [part.partition("=") for part in given.split(",") if part.strip()]
        if not all(equals and name.strip() and place.strip() for name, equals, place in pairs):
            raise ValueError("expected name=folder or name=URL by commas")
        return {name.strip(): place.strip() for name, _, place in pairs}

    @property
    def role_set(self) -> frozenset[str]:
        """Return the roles to run.

        Raises:
            InvalidInput: One of them is unknown.
        """
        wanted = frozenset(role.strip() for role in self.roles.split(",") if role.strip())
        if not wanted or wanted - set(ROLES):
            raise InvalidInput(f"roles: expected some of {', '.join(ROLES)}, got {shown(self.roles)}")
        return wanted

    @property
    def preset_key(self) -> tuple[str, str] | None:
        """Return id and secret of the key that is to exist after each start; None when none was named.

        Raises:
            InvalidInput: Only one of the two was given.
        """
        id, secret = self.access_key_id, self.secret_access_key.get_secret_value()
        if bool(id) != bool(secret):
            missing, given = ("secret_access_key", "the id") if id else ("access_key_id", "the secret")
            raise InvalidInput(
                f"{missing}: expected both access_key_id and secret_access_key, got {given} alone"
            )
        return (id, secret) if id else None


def load_settings(environment: Mapping[str, str], **options: Any) -> Settings:
    """Return the settings; `options` that are None count as not given.

    Raises:
        InvalidInput: A value is out of its range, or the file names an unknown setting.
    """
    given = {name: value for name, value in options.items() if value is not None}
    data = Path(given.get("data") or environment.get("MASTHEAD_DATA") or "masthead-data")
    chosen = environment.get("MASTHEAD_CONFIG")
    path = Path(chosen) if chosen else data / "masthead.toml"
    from_file = _read_file(path) if chosen or path.exists() else {}
    from_environment = {
        name: environment[key]
        for name in Settings.model_fields
        if (key := f"{PREFIX}{name.upper()}") in environment
    }
    try:
        return Settings(**{**from_file, **from_environment, **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        # The error itself shows its input, so it does not go along either where that is a secret.
        if name == "secret_access_key":
            raise InvalidInput(f"{name}: {_told(first)}") from None
        raise InvalidInput(f"{name}: {_told(first)}, got {shown(first.get('input'))}") from error


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable of our name that sets nothing.

    >>> unknown_variables({"MASTHEAD_PROT": "1", "MASTHEAD_PORT": "2"})
    ['MASTHEAD_PROT: expected the name of a setting, such as MASTHEAD_PORT; it sets nothing']
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    return [
        f"{name}: expected the name of a setting, such as {nearest(name, known)}; it sets nothing"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]


def _read_file(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"config: expected a TOML file at {path}: {error}") from error
    for name in found:
        if name not in Settings.model_fields:
            near = nearest(name, Settings.model_fields)
            raise InvalidInput(
                f"{name}: expected the name of a setting, such as {near}, got {shown(name)} in {path}",
                field=name,
            )
    return found


def _told(error: Any) -> str:
    """Return what was expected, in our words: pydantic's are `Input should be ...`."""
    bounds = error.get("ctx", {})
    for bound, words in (("ge", "or more"), ("le", "or less")):
        if bound in bounds:
            return f"expected {bounds[bound]:g} {words}"
    if "gt" in bounds:
        return f"expected more than {bounds['gt']:g}"
    message = str(error["msg"])
    for beginning in ("Input should be a valid ", "Input should be "):
        if message.startswith(beginning):
            return f"expected {message.removeprefix(beginning)}"
    return message
