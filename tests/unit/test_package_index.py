"""The user's pip settings reach the search for archives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from textmill.errors import MachineError
from textmill.package_index import IndexSettings, Pin, download, pip_settings

PIN = Pin("demo", "1.0", "wheel", "0" * 64)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Takes the machine's own pip settings away."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.endswith("_CA_BUNDLE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(write_config(tmp_path, "[global]\n")))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def write_config(folder: Path, content: str) -> Path:
    path = folder / "pip.conf"
    path.write_text(content)
    return path


def listing(text: str) -> IndexSettings:
    """The settings for an answer of pip."""

    def answer(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, text, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", answer)
        return pip_settings()


def test_without_settings_it_is_pypi() -> None:
    assert listing("") == IndexSettings(index_urls=("https://pypi.org/simple",))


def test_configuration_file_and_environment_of_the_real_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(
        tmp_path,
        "[global]\nindex-url = https://files.example/simple\nextra-index-url =\n"
        "    https://one.example\n    https://two.example\n[download]\nretries = 1\n",
    )
    monkeypatch.setenv("PIP_INDEX_URL", "https://environment.example/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "environment.example")
    settings = pip_settings()
    assert settings.index_urls == (
        "https://environment.example/simple",
        "https://one.example",
        "https://two.example",
    )
    assert settings.trusted_hosts == ("environment.example",)
    assert settings.retries == 1


def test_the_command_section_and_the_environment_override_the_global_section() -> None:
    lines = [
        ":env:.timeout='3'",
        "download.index-url='https://download.example'",
        "global.index-url='https://global.example'",
        "global.timeout='60'",
        "install.index-url='https://install.example'",
    ]
    settings = listing("\n".join(lines))
    assert settings.index_urls == ("https://download.example",)
    assert settings.timeout == 3.0


def test_all_settings_are_taken_over() -> None:
    lines = [
        "global.find-links='/wheels https://links.example'",
        "global.cert='/ca.pem'",
        "global.client-cert='/client.pem'",
        "global.proxy='proxy.example:3128'",
        "global.no-index='true'",
        "global.default-timeout='7'",
        "global.color='never'",
    ]
    assert listing("\n".join(lines)) == IndexSettings(
        index_urls=(),
        find_links=("/wheels", "https://links.example"),
        certificate="/ca.pem",
        client_certificate="/client.pem",
        proxy="http://proxy.example:3128",
        timeout=7.0,
    )


def test_missing_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho 'python: No module named pip' >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MachineError, match=r"pip is missing.*ensurepip"):
        pip_settings()


def test_broken_pip_settings_are_told(tmp_path: Path) -> None:
    write_config(tmp_path, "no section\n")
    with pytest.raises(MachineError, match="pip can't read its settings"):
        pip_settings()


def test_missing_certificate_is_told(tmp_path: Path) -> None:
    settings = IndexSettings(certificate=str(tmp_path / "none.pem"))
    with pytest.raises(MachineError, match="certificate"):
        download(PIN, tmp_path, settings)


def test_no_place_at_all_is_told(tmp_path: Path) -> None:
    settings = IndexSettings(index_urls=(), find_links=(str(tmp_path / "none"),))
    with pytest.raises(MachineError, match="use no index"):
        download(PIN, tmp_path, settings)
