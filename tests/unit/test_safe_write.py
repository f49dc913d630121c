"""Files and folders are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from textmill.errors import MachineError
from textmill.safe_write import machine_faults, replace_file, replace_folder, write_text


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(
    place: AbstractContextManager[Path], failure: BaseException | type[BaseException]
) -> None:
    """Writes half of what was to be written."""
    with place as temporary:
        if temporary.is_dir():
            (temporary / "half").touch()
        else:
            temporary.write_text("ha")
        raise failure


def test_text_is_written_as_utf8_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    assert entries(path.parent) == ["text.txt"]


def test_a_file_is_not_seen_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replace_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_broken_off_file_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(failure):
        break_off(replace_file(path), failure)
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_broken_off_folder_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(failure):
        break_off(replace_folder(folder), failure)
    assert entries(folder) == ["old"]
    assert entries(tmp_path) == ["folder"]


def test_a_folder_replaces_the_whole_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("first", "second"):
        with replace_folder(folder) as temporary:
            (temporary / name).touch()
    assert entries(folder) == ["second"]
    assert entries(tmp_path) == ["folder"]


def test_what_is_written_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with replace_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "can't be written"),
        (errno.EROFS, "can't be written"),
        (errno.ENAMETOOLONG, "can't be written"),
    ],
)
def test_a_refusal_of_the_machine_is_told_with_the_place(code: int, words: str) -> None:
    with pytest.raises(MachineError, match=words) as caught, machine_faults(Path("/some/file")):
        raise OSError(code, os.strerror(code))
    assert "/some" in str(caught.value)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(MachineError):
        break_off(replace_folder(tmp_path / "folder"), full)
    assert entries(tmp_path) == []


def test_a_file_where_a_folder_is_wanted_is_told_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(MachineError, match="can't be written"):
        write_text(tmp_path / "file" / "inner", "")
    with pytest.raises(MachineError, match="can't be written"), replace_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "precious"
    assert entries(tmp_path) == ["file"]


def test_other_errors_of_the_caller_are_not_the_machines(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "file"):
        (tmp_path / "not-there").read_text()


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="plain"),
        pytest.param(
            Exception(f"No space left on device (os error {errno.ENOSPC})"), id="quoted-by-rust"
        ),
    ],
)
def test_a_full_disk_is_told_however_a_library_puts_it(tmp_path: Path, failure: Exception) -> None:
    wrapped = RuntimeError("unexpected pos 576 vs 534")
    wrapped.__context__ = failure
    for error in (failure, wrapped):
        with pytest.raises(MachineError, match="the disk is full"):
            break_off(replace_file(tmp_path / "file"), error)
    assert entries(tmp_path) == []
