"""A model's archive: the same files give the same bytes, and nothing in an archive leads out of its folder."""

import io
import tarfile
from pathlib import Path

import pytest

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.learn.packages import SUMS, file_sha256, pack, unpack


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "heads").mkdir(parents=True)
    (folder / "model.txt").write_bytes(b"trees" * 1000)
    (folder / "heads" / "a.npz").write_bytes(bytes(range(256)))
    return folder


def archive_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return path


def entry(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.type, found.size, found.linkname = kind, len(data), "/etc/passwd"
    return found, data


def test_what_was_packed_comes_back_and_the_same_files_give_the_same_bytes(
    model: Path, tmp_path: Path
) -> None:
    first = pack(model, tmp_path / "a.tar.gz")
    (model / "model.txt").touch()
    second = pack(model, tmp_path / "b.tar.gz")
    assert first == second
    assert first["files"]["model.txt"] == file_sha256(model / "model.txt")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    names = unpack(tmp_path / "a.tar.gz", tmp_path / "back", sha256=first["sha256"])
    assert names == ["heads/a.npz", "model.txt"]
    assert (tmp_path / "back/heads/a.npz").read_bytes() == bytes(range(256))
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["heads", "model.txt"]


@pytest.mark.parametrize(
    "bad",
    [
        entry("../out"),
        entry("/abs"),
        entry("a/../../out"),
        entry("a\\..\\out"),
        entry("link", b"", tarfile.SYMTYPE),
        entry("hard", b"", tarfile.LNKTYPE),
        entry("pipe", b"", tarfile.FIFOTYPE),
        entry("device", b"", tarfile.CHRTYPE),
    ],
    ids=lambda given: given[0].name,
)
def test_an_entry_that_is_no_plain_file_inside_is_refused_and_nothing_is_left(
    tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]
) -> None:
    inside = tmp_path / "place"
    inside.mkdir()
    archive = archive_of(tmp_path / "bad.tar.gz", entry("good"), bad)
    with pytest.raises(InvalidInput, match="plain files"):
        unpack(archive, inside / "model")
    assert list(inside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "place"]


def test_an_archive_that_was_changed_or_is_too_large_is_refused(model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    made = pack(model, archive)
    with pytest.raises(LimitReached, match="at most 100 bytes"):
        unpack(archive, tmp_path / "back", most_bytes=100)
    with pytest.raises(InvalidInput, match="SHA-256"):
        unpack(archive, tmp_path / "back", sha256="0" * 64)
    wrong = archive_of(tmp_path / "w.tar.gz", entry("a"), entry(SUMS, b"0  a\n"))
    with pytest.raises(InvalidInput, match=f"{SUMS} tells, differs in a"):
        unpack(wrong, tmp_path / "back")
    twice = archive_of(tmp_path / "t.tar.gz", entry("a"), entry("./a"))
    with pytest.raises(InvalidInput, match="each once"):
        unpack(twice, tmp_path / "back")
    torn = tmp_path / "torn.tar.gz"
    torn.write_bytes(archive.read_bytes()[: made["bytes"] // 2])
    with pytest.raises(InvalidInput, match=r"tar\.gz"):
        unpack(torn, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    unpack(archive, tmp_path / "back")
    with pytest.raises(Conflict, match="not there yet"):
        unpack(archive, tmp_path / "back")


def test_a_folder_without_files_or_with_links_is_not_packed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound):
        pack(tmp_path / "empty", tmp_path / "a.tar.gz")
    (model / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="link"):
        pack(model, tmp_path / "a.tar.gz")
