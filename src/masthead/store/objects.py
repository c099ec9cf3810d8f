"""Objects by address, `s3://bucket/key`: a local folder by default, an S3-like store by configuration.

On a folder a bucket is a sub-folder. With a store's URL of the form `s3://bucket/prefix` (or `gs://`, `az://`,
`file:///`) every bucket lies below that prefix; with `s3://` alone each bucket is the store's own bucket of that name.
A bucket may also have a place of its own, a folder or a store's URL.
Puts are whole or absent on both; a put on a folder has also reached the disk when it returns.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.folder import sync_folder

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MAX_KEY = 1024  # bytes, as in S3
_MAX_SEGMENT = 255 - len("#4294967295")  # a file name on Linux, less what a put in progress adds
_STAGED = re.compile(r"#[0-9]+$")  # the name of a put in progress in a folder


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing tells of one object: its address, size in bytes, and when it was last written (UTC)."""

    uri: str
    size: int
    modified: datetime


def parse_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`; the key may be empty.

    Raises:
        InvalidInput: Another scheme, a bucket that S3 would refuse, or a key that leaves its bucket.

    >>> parse_uri("s3://air/2022/03/24/x.json")
    ('air', '2022/03/24/x.json')
    """
    if not isinstance(uri, str) or not uri.startswith("s3://"):
        raise InvalidInput(f"uri: expected s3://bucket/key, got {shown(uri)}")
    bucket, _, key = uri[5:].partition("/")
    return check_bucket(bucket), key


def check_bucket(bucket: str) -> str:
    """Return `bucket` if S3 would take it as a name."""
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise InvalidInput(
            f"bucket: expected 3 to 63 of a-z, 0-9, '-' and '.', letter or digit first and last, got {shown(bucket)}"
        )
    return bucket


def check_key(key: str) -> str:
    """Return `key` if every store can hold it.

    Raises:
        InvalidInput: It is empty or over 1,024 bytes, or a part of it is empty, `.`, `..`, over 244 bytes or
            ends in `#` and digits, or it holds a control character.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= _MAX_KEY or any(ord(char) < 32 or ord(char) == 127 for char in key):
        raise InvalidInput(f"key: expected 1 to {_MAX_KEY} bytes of printable text, got {shown(key)}")
    for part in key.split("/"):
        if part in ("", ".", "..") or len(part.encode()) > _MAX_SEGMENT or _STAGED.search(part):
            raise InvalidInput(
                f"key: expected parts of 1 to {_MAX_SEGMENT} bytes between slashes, none '.', '..' or "
                f"ending in '#' and digits, got {shown(key)}"
            )
    return key


class Objects:
    """The object store of an installation. Safe in threads."""

    def __init__(
        self,
        location: Path | str,
        options: Mapping[str, str] | str = "",
        buckets: Mapping[str, str] | None = None,
    ) -> None:
        """Open the store.

        Args:
            location: A folder, or the URL of a store.
            options: Settings of the store's client, also as `key=value,key=value`: say `endpoint`, `region`,
                `access_key_id`, `secret_access_key`, `allow_http`.
            buckets: Buckets with a place of their own: name -> folder, or URL of a store.

        Raises:
            InvalidInput: The URL, an option or a bucket cannot be used.
        """
        place = _location(location)
        self._folder: Path | None = place if isinstance(place, Path) else None
        self._url = "" if isinstance(place, Path) else place
        self._options = _parsed_options(options) if isinstance(options, str) else dict(options)
        self._stores: dict[str, Any] = {}
        self._named = {check_bucket(name): _location(own) for name, own in (buckets or {}).items()}
        for name, own in self._named.items():
            if isinstance(own, Path) and not own.is_absolute():
                raise InvalidInput(
                    f"buckets: {name}: expected an absolute folder or a URL, got {shown(str(own))}"
                )
            if isinstance(own, str):
                self._store(name)
        if self._url:
            self._store("masthead-check") if self._url.rstrip("/").endswith(":") else self._shared()

    def put(self, uri: str, data: bytes, *, create_only: bool = False) -> bool:
        """Store `data` whole under `uri`; return False, and change nothing, if `create_only` and there is one.

        Raises:
            InvalidInput: The address cannot be an object's.
            Conflict: On a folder, `a` cannot be both an object and the folder of `a/b`.
            LimitReached: The disk is full.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        store, path = self._place(uri)
        try:
            obstore.put(store, path, data, mode="create" if create_only else "overwrite", use_multipart=False)
        except AlreadyExistsError as error:
            if create_only and not self._is_folder(uri):
                return False
            raise Conflict(f"uri: {uri} is the folder of other objects") from error
        except Exception as error:
            raise _translated(error, uri) from error
        self._sync(uri)
        return True

    def get(self, uri: str) -> bytes:
        """Return the object's bytes.

        Raises:
            NotFound: There is none.
        """
        import obstore

        store, path = self._place(uri)
        try:
            return bytes(obstore.get(store, path).bytes())
        except Exception as error:
            raise _translated(error, uri) from error

    def head(self, uri: str) -> ObjectInfo:
        """Return what a listing would tell of the object.

        Raises:
            NotFound: There is none.
        """
        import obstore

        store, path = self._place(uri)
        try:
            found = obstore.head(store, path)
        except Exception as error:
            raise _translated(error, uri) from error
        return ObjectInfo(uri, found["size"], found["last_modified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose address starts with `prefix` (as text, so `s3://b/a` finds `s3://b/ab/c`), sorted.

        A bucket that does not exist yet is empty.
        """
        import obstore

        bucket, key = parse_uri(prefix)
        parent = key.rpartition("/")[0]
        if parent:
            check_key(parent)
        folder = self._folder_of(bucket)
        if folder is not None and not folder.is_dir():
            return
        store, root = self._bucket(bucket)
        found: list[ObjectInfo] = []
        try:
            for chunk in obstore.list(store, prefix=root + parent or None):
                for each in chunk:
                    name = each["path"].removeprefix(root)
                    if name.startswith(key):
                        found.append(ObjectInfo(f"s3://{bucket}/{name}", each["size"], each["last_modified"]))
        except FileNotFoundError:
            return
        except Exception as error:
            raise _translated(error, prefix) from error
        yield from sorted(found, key=lambda info: info.uri)

    def delete(self, uri: str) -> None:
        """Remove the object; nothing happens if there is none."""
        import obstore

        store, path = self._place(uri)
        try:
            obstore.delete(store, path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _translated(error, uri) from error

    def exists(self, uri: str) -> bool:
        """Return whether there is such an object."""
        try:
            self.head(uri)
        except NotFound:
            return False
        return True

    def local_path(self, uri: str) -> Path | None:
        """Return the file or folder that holds `uri` on this machine, or None when the store is elsewhere."""
        bucket, key = parse_uri(uri)
        folder = self._folder_of(bucket)
        if folder is None:
            return None
        key = key.rstrip("/")
        return folder / check_key(key) if key else folder

    def sweep(self, *, older_than_s: float, now: float) -> int:
        """Remove what puts cut short by a crash left in folders; return how many files that were."""
        swept = 0
        for folder in (self._folder, *self._named.values()):
            if not isinstance(folder, Path) or not folder.is_dir():
                continue
            for path in folder.rglob("*#*"):
                with contextlib.suppress(FileNotFoundError):
                    if (
                        _STAGED.search(path.name)
                        and path.is_file()
                        and path.stat().st_mtime < now - older_than_s
                    ):
                        path.unlink()
                        swept += 1
        return swept

    def _place(self, uri: str) -> tuple[Any, str]:
        bucket, key = parse_uri(uri)
        check_key(key)
        store, root = self._bucket(bucket)
        return store, root + key

    def _bucket(self, bucket: str) -> tuple[Any, str]:
        """Return the store that holds a bucket and what comes before its keys there."""
        if bucket in self._named or self._folder is not None or self._url.rstrip("/").endswith(":"):
            return self._store(bucket), ""
        return self._shared(), f"{bucket}/"

    def _store(self, bucket: str) -> Any:
        if bucket not in self._stores:
            from obstore.store import LocalStore

            folder, own = self._folder_of(bucket), self._named.get(bucket)
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._stores[bucket] = LocalStore(folder)
            else:
                self._stores[bucket] = self._opened(own if isinstance(own, str) else f"s3://{bucket}")
        return self._stores[bucket]

    def _folder_of(self, bucket: str) -> Path | None:
        """Return the folder of a bucket on this machine; None when it lies in a store elsewhere."""
        own = self._named.get(bucket)
        if own is not None:
            return own if isinstance(own, Path) else None
        return self._folder / bucket if self._folder is not None else None

    def _shared(self) -> Any:
        if "" not in self._stores:
            self._stores[""] = self._opened(self._url)
        return self._stores[""]

    def _opened(self, url: str) -> Any:
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        options = dict(self._options)
        client: dict[str, Any] = {"timeout": options.pop("timeout", "30s")}
        if options.pop("allow_http", "").lower() in ("1", "true", "yes"):
            client["allow_http"] = True
        # Three tries within 20 s: a store that is away must not hold the stream's thread for minutes; the
        # delivery buffer keeps the bytes and tries again.
        retry = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
        try:
            return from_url(url, config=options, client_options=client, retry_config=retry)  # type: ignore[call-overload]
        except (BaseError, ValueError, TypeError) as error:
            raise InvalidInput(
                f"objects_url: expected the URL and options of a store, got {url}: {error}"
            ) from error

    def _is_folder(self, uri: str) -> bool:
        path = self.local_path(uri)
        return path is not None and path.is_dir()

    def _sync(self, uri: str) -> None:
        """Bring a put on a folder to the disk, so that what a ledger calls done survives a power failure."""
        path, folder = self.local_path(uri), self._folder_of(parse_uri(uri)[0])
        if path is None or folder is None:
            return
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        for parent in path.parents:
            sync_folder(parent)
            if parent == folder.parent:  # its entry of the bucket too, which may be new
                break


def _location(given: Path | str) -> Path | str:
    """Return a folder as a path, and a store's URL as the text that it is."""
    if isinstance(given, Path):
        return given
    return given if "://" in given.removeprefix("file://") else Path(given.removeprefix("file://"))


def _parsed_options(text: str) -> dict[str, str]:
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"objects_options: expected key=value pairs by commas, got {shown(part)}")
        options[name.strip()] = value.strip()
    return options


def _translated(error: Exception, uri: str) -> Exception:
    """Return our error for one of the store's; what nobody can act on stays what it was."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return NotFound(f"uri: there is no object {uri}")
    if "No space left" in text or "Disk quota" in text:
        return LimitReached("disk: no space left for objects; free some and try again")
    if "Not a directory" in text or "Is a directory" in text:
        return Conflict(f"uri: {uri} and another object need the same name as object and as folder")
    return error
