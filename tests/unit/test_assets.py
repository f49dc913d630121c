"""Packaged assets: pinned, never run, unpacked whole or not at all, fetched once."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import shutil
import stat
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import textmill.assets
from textmill.assets import Asset, fetch_asset
from textmill.cache import cache_folder
from textmill.errors import InputError, MachineError, TextmillError
from textmill.package_index import IndexSettings, Pin

FILES = {
    "demo/data/train.csv": b"text,label\na,x\n",
    "demo/data/test.csv": b"text,label\nb,y\n",
    "demo/data/more/notes.txt": b"notes",
    "demo/__init__.py": b"raise SystemExit('imported')",
}


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], *links: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for link in links:
            archive.addfile(link)
    return buffer.getvalue()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives, the only place that the settings name."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    settings = IndexSettings(index_urls=(), find_links=(str(folder),))
    monkeypatch.setattr(textmill.assets, "pip_settings", lambda: settings)
    return folder


def put(
    shelf: Path, content: bytes, *members: str, name: str = "demo-1.0-py3-none-any.whl"
) -> Asset:
    (shelf / name).write_bytes(content)
    kind = "wheel" if name.endswith(".whl") else "sdist"
    return Asset("demo", "1.0", hashlib.sha256(content).hexdigest(), kind, members)


def unpacked(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix() for path in files if path.name[0] != "."}


def failure(asset: Asset) -> TextmillError:
    """The error of a fetch; nothing may be left of it."""
    with pytest.raises(TextmillError) as caught:
        fetch_asset(asset)
    left = list((cache_folder() / "assets").glob("*"))
    assert [path for path in left if path.suffix != ".lock"] == []
    assert "\n" not in str(caught.value)
    return caught.value


class TestUnpacking:
    def test_only_the_wanted_files_are_unpacked(self, shelf: Path) -> None:
        folder = fetch_asset(put(shelf, zip_of(FILES), "demo/data/*.csv"))
        assert unpacked(folder) == {"demo/data/train.csv", "demo/data/test.csv"}
        assert (folder / "demo/data/train.csv").read_bytes() == FILES["demo/data/train.csv"]
        assert folder.parent == cache_folder() / "assets"

    @pytest.mark.parametrize("ending", ["zip", "tar.gz"])
    def test_source_archives_of_both_kinds(self, shelf: Path, ending: str) -> None:
        files = {"demo-1.0/setup.py": b"raise SystemExit(1)", "demo-1.0/data.txt": b"text"}
        content = zip_of(files) if ending == "zip" else tar_of(files)
        asset = put(shelf, content, "demo-1.0/*.txt", name=f"demo-1.0.{ending}")
        assert unpacked(fetch_asset(asset)) == {"demo-1.0/data.txt"}

    def test_files_of_an_archive_in_the_archive(self, shelf: Path) -> None:
        inner = tar_of({"study/movies.txt": b"text", "study/paper.pdf": b"pdf"})
        content = zip_of({"demo-1.0/extra/study.tar.gz": inner, "demo-1.0/README": b"read"})
        members = ("demo-1.0/extra/study.tar.gz!/study/*.txt", "demo-1.0/README")
        folder = fetch_asset(put(shelf, content, *members, name="demo-1.0.zip"))
        assert unpacked(folder) == {"study/movies.txt", "demo-1.0/README"}

    def test_a_wheel_and_a_source_archive_are_not_mixed_up(self, shelf: Path) -> None:
        put(shelf, zip_of({"wrong": b""}), name="demo-1.0.zip")
        asset = put(shelf, zip_of(FILES), "demo/__init__.py")
        assert unpacked(fetch_asset(asset)) == {"demo/__init__.py"}

    @pytest.mark.parametrize(
        "name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:/e", "a\\b"]
    )
    @pytest.mark.parametrize("pack", [zip_of, tar_of])
    def test_members_stay_in_the_folder(self, shelf: Path, name: str, pack: object) -> None:
        content = pack({name: b"evil"})  # type: ignore[operator]
        error = failure(put(shelf, content, name, name="demo-1.0.zip"))
        assert isinstance(error, InputError)
        assert "unsafe path" in str(error)
        assert not (shelf.parent / "evil.txt").exists()

    def test_links_are_refused(self, shelf: Path) -> None:
        link = tarfile.TarInfo("demo-1.0/data.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        asset = put(shelf, tar_of({}, link), "demo-1.0/data.txt", name="demo-1.0.tar.gz")
        assert "link" in str(failure(asset))

    def test_links_in_zip_files_are_refused(self, shelf: Path) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            info = zipfile.ZipInfo("demo/data.txt")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        assert "link" in str(failure(put(shelf, buffer.getvalue(), "demo/data.txt")))

    def test_missing_member_names_its_neighbours(self, shelf: Path) -> None:
        error = failure(put(shelf, zip_of(FILES), "demo/data/trian.csv"))
        assert isinstance(error, InputError)
        assert "demo/data/train.csv" in str(error)

    @pytest.mark.parametrize("content", [b"", b"junk", zip_of(FILES)[:-40], tar_of(FILES)[:-40]])
    def test_damaged_archive(self, shelf: Path, content: bytes) -> None:
        error = failure(put(shelf, content, "demo/data/*.csv"))
        assert isinstance(error, MachineError)
        assert "not a readable archive" in str(error)


class TestTrust:
    def test_another_file_than_the_pinned_one_is_refused(self, shelf: Path) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        put(shelf, zip_of({**FILES, "demo/data/train.csv": b"forged"}))
        error = failure(asset)
        assert isinstance(error, MachineError)
        assert asset.sha256 in str(error)

    def test_the_pinned_file_is_found_behind_a_forged_one(
        self, tmp_path: Path, shelf: Path
    ) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        forged = tmp_path / "forged"
        forged.mkdir()
        put(forged, zip_of({"demo/data/train.csv": b"forged"}))
        settings = IndexSettings(index_urls=(), find_links=(str(forged), str(shelf)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(textmill.assets, "pip_settings", lambda: settings)
            assert (fetch_asset(asset) / "demo/data/train.csv").read_bytes() != b"forged"

    def test_nothing_in_the_archive_is_run(self, shelf: Path, tmp_path: Path) -> None:
        mark = tmp_path / "was-run"
        script = f"open({str(mark)!r}, 'w')".encode()
        asset = put(shelf, zip_of({"demo-1.0/setup.py": script}), "*/setup.py", name="demo-1.0.zip")
        fetch_asset(asset)
        assert not mark.exists()

    def test_the_archive_itself_is_left_where_it_is(self, shelf: Path) -> None:
        asset = put(shelf, zip_of(FILES), "demo/__init__.py")
        fetch_asset(asset)
        assert [path.name for path in shelf.iterdir()] == ["demo-1.0-py3-none-any.whl"]


class TestCache:
    def test_a_warm_cache_asks_nobody(self, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        folder = fetch_asset(asset)
        shutil.rmtree(shelf)
        monkeypatch.setattr(textmill.assets, "pip_settings", pytest.fail)
        assert fetch_asset(asset) == folder

    def test_other_members_have_another_folder(self, shelf: Path) -> None:
        first = fetch_asset(put(shelf, zip_of(FILES), "demo/data/*.csv"))
        second = fetch_asset(put(shelf, zip_of(FILES), "demo/__init__.py"))
        assert first != second
        assert unpacked(second) == {"demo/__init__.py"}

    @pytest.mark.parametrize("damage", ["shorter", "same size", "missing", "no manifest"])
    def test_a_damaged_folder_is_fetched_again(
        self, shelf: Path, caplog: pytest.LogCaptureFixture, damage: str
    ) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        file = fetch_asset(asset) / "demo/data/train.csv"
        if damage == "missing":
            file.unlink()
        elif damage == "no manifest":
            next(file.parents[2].glob(".textmill*")).write_text("{")
        else:
            content = file.read_bytes()
            file.write_bytes(content[:-1] if damage == "shorter" else content.replace(b"a", b"o"))
            os.utime(file, ns=(1, 1))
        with caplog.at_level(logging.WARNING):
            fetch_asset(asset)
        assert "is damaged" in caplog.text
        assert file.read_bytes() == FILES["demo/data/train.csv"]

    def test_a_damaged_folder_that_cannot_be_fetched_again_is_an_error(self, shelf: Path) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        (fetch_asset(asset) / "demo/data/train.csv").write_bytes(b"")
        shutil.rmtree(shelf)
        with pytest.raises(MachineError, match=r"can't fetch the wheel of demo==1\.0"):
            fetch_asset(asset)

    def test_a_copied_cache_is_whole(self, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        for file in fetch_asset(asset).rglob("*.csv"):
            os.utime(file, ns=(1, 1))
        monkeypatch.setattr(textmill.assets, "pip_settings", pytest.fail)
        fetch_asset(asset)

    def test_several_at_once_fetch_once(self, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")
        fetches: list[Pin] = []
        download = textmill.assets.download

        def slow(pin: Pin, folder: Path, settings: IndexSettings) -> Path:
            fetches.append(pin)
            time.sleep(0.2)
            return download(pin, folder, settings)

        monkeypatch.setattr(textmill.assets, "download", slow)
        with ThreadPoolExecutor(4) as pool:
            folders = set(pool.map(lambda _: fetch_asset(asset), range(4)))
        assert len(fetches) == len(folders) == 1


class TestMachineFaults:
    @pytest.mark.usefixtures("shelf")
    def test_cold_cache_and_nothing_in_reach(self) -> None:
        error = failure(Asset("demo", "1.0", "0" * 64, "wheel", ("a",)))
        assert isinstance(error, MachineError)
        assert "can't fetch the wheel of demo==1.0" in str(error)
        assert "TEXTMILL_CACHE" in str(error)

    def test_full_disk(self, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asset = put(shelf, zip_of(FILES), "demo/data/*.csv")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(shutil, "copyfileobj", full)
        error = failure(asset)
        assert isinstance(error, MachineError)
        assert "the disk is full" in str(error)

    def test_cache_that_is_no_folder(self, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (shelf / "file").write_text("")
        monkeypatch.setenv("TEXTMILL_CACHE", str(shelf / "file"))
        with pytest.raises(MachineError, match="set TEXTMILL_CACHE"):
            fetch_asset(put(shelf, zip_of(FILES), "demo/data/*.csv"))
