"""Rows out of a packaged asset."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

import textmill.assets
from textmill.assets import Asset
from textmill.data.rows import Row
from textmill.data.sources.files import FileFormat, FilesSource
from textmill.data.sources.package import PackageSource
from textmill.errors import InputError
from textmill.package_index import IndexSettings

TAB = "Category\tText\nd\tstring\nclass\t\n\ntrade\tasian exporters\n"
FORMAT = FileFormat(quoting=False, skip_after_header=2)


@pytest.fixture
def asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asset:
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("demo/train.tab", TAB)
        archive.writestr("demo/test.tab", TAB.replace("trade", "crude"))
    settings = IndexSettings(index_urls=(), find_links=(str(tmp_path),))
    monkeypatch.setattr(textmill.assets, "pip_settings", lambda: settings)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return Asset("demo", "1.0", digest, "wheel", ("demo/*.tab",))


def test_it_reads_the_asset_like_files(asset: Asset) -> None:
    paths = {"train": "demo/train.tab", "test": "demo/test.tab"}
    source = PackageSource(asset, paths, file_format=FORMAT)
    assert source.splits() == ("train", "test")
    assert source.columns("train") == ("Category", "Text")
    expected = {"Category": "trade", "Text": "asian exporters"}
    assert list(source.rows("train")) == [Row("train.tab:5", expected)]
    assert source.describe() == "package demo 1.0"


def test_its_fingerprint_is_that_of_the_same_files_elsewhere(asset: Asset, tmp_path: Path) -> None:
    (tmp_path / "copy.tab").write_text(TAB)
    copy = FilesSource({"train": tmp_path / "copy.tab"}, file_format=FORMAT)
    source = PackageSource(asset, {"train": "demo/train.tab"}, file_format=FORMAT)
    assert source.fingerprint() == copy.fingerprint()


def test_a_file_that_the_asset_does_not_have_is_told(asset: Asset) -> None:
    with pytest.raises(InputError, match=r"no such file.*train\.tab"):
        PackageSource(asset, {"train": "demo/trian.tab"})
