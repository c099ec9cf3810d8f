"""Paths of a specification to files: local ones by name, folder or pattern, and objects by address."""

from collections.abc import Sequence

from masthead.base.errors import InvalidInput, LimitReached, NotFound, shown
from masthead.metrics.files import Source, find_files
from masthead.metrics.spec import Source as SpecSource
from masthead.metrics.spec import is_local
from masthead.store.objects import Objects

__all__ = ["fixed_part", "folder_sources", "open_sources", "sampled_sources"]

MOST_FILES = 100_000
SAMPLED_OBJECTS = 20


def open_sources(paths: Sequence[str], objects: Objects, what: str) -> list[Source]:
    """Return the files that paths name, each once, in order; `s3://bucket/prefix` is every object below it.

    Raises:
        InvalidInput: A path matches nothing; `what` names the field. LimitReached: Too many files.
    """
    found: list[Source] = []
    for path in paths:
        if is_local(path):
            found += find_files([path], what)
            continue
        matches = _object_sources(path, objects)
        if not matches:
            raise InvalidInput(
                f"{what}: expected an object or a prefix with objects, got {shown(path)}", field=what
            )
        found += matches
    return list({source.name: source for source in found}.values())


def _object_sources(path: str, objects: Objects) -> list[Source]:
    try:
        return [Source(path, objects.get(path))]
    except (NotFound, InvalidInput):
        return folder_sources(path, objects)


def sampled_sources(source: SpecSource, objects: Objects, what: str = "source") -> list[Source]:
    """Return the files of a source that are worth a look: of a template the latest below its fixed part.

    Raises:
        InvalidInput: A path matches nothing, or a stream is asked, which has no files.
    """
    if source.kind == "files":
        return open_sources(source.paths, objects, f"{what}.paths")
    if source.kind != "path":
        raise InvalidInput(f"{what}.kind: expected files or path, got {source.kind}")
    infos = sorted(objects.list(fixed_part(source.template)), key=lambda info: info.modified)
    return [Source(info.uri, objects.get(info.uri)) for info in infos[-SAMPLED_OBJECTS:]]


def fixed_part(template: str) -> str:
    """Return the folder in which all folders of a template lie.

    >>> fixed_part("s3://air/in/day-{{yyyyMMdd}}/{{HHmm}}")
    's3://air/in/'
    """
    return template.split("{{")[0].rpartition("/")[0] + "/"


def folder_sources(folder: str, objects: Objects, *, without: frozenset[str] = frozenset()) -> list[Source]:
    """Return the objects below a folder, by address, but those in `without`; one that vanishes meanwhile is left out.

    Raises:
        LimitReached: More than 100,000 objects.
    """
    prefix = folder if folder.endswith("/") else folder + "/"
    names = sorted(info.uri for info in objects.list(prefix) if info.uri not in without)
    if len(names) > MOST_FILES:
        raise LimitReached(f"files: expected at most {MOST_FILES:,} below {prefix}, got {len(names):,}")
    found: list[Source] = []
    for name in names:
        try:
            found.append(Source(name, objects.get(name)))
        except NotFound:
            continue
    return found
