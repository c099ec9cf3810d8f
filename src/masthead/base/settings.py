"""Every setting, its default and its bounds. Read once, in `cli`; nobody else looks at the environment.

Order, the first that names a value wins: an option on the command line, `MASTHEAD_NAME` in the environment,
the TOML file named by `MASTHEAD_CONFIG` (default: `masthead.toml` in the data folder), the default here.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from masthead.base.errors import InvalidInput, shown

ROLES = ("console", "api", "devices", "worker")


class Settings(BaseSettings):
    """What an installation can be told. Units stand last in a name."""

    model_config = SettingsConfigDict(env_prefix="MASTHEAD_", extra="forbid", frozen=True)

    data: Path = Field(Path("masthead-data"), description="The data folder.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8400, ge=0, le=65535, description="Port of console and native API; 0: any free port.")
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
    max_series: int = Field(50_000, ge=1, description="Series of one detector.")
    max_body_mib: float = Field(64.0, gt=0, description="Largest HTTP body, MiB.")
    virtual_clock: bool = Field(False, description="Follow the beats on masthead.clock (demonstrations).")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What the log shows.")
    log_json: bool = Field(False, description="Log as JSON lines.")

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
        if (key := f"MASTHEAD_{name.upper()}") in environment
    }
    try:
        return Settings(**{**from_file, **from_environment, **given})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise InvalidInput(f"{field}: {first['msg']}, got {shown(first.get('input'))}") from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"config: expected a TOML file at {path}: {error}") from error
