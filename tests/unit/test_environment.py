"""What a run records about the code, the packages and the machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from textmill import environment
from textmill.environment import describe_environment, git_state, package_versions
from textmill.version import __version__


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    result = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").touch()
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "First")
    return tmp_path


def test_the_commit_is_recorded_with_whether_files_differ(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == {"commit": commit, "dirty": False}
    (repository / "file").write_text("changed")
    assert git_state(repository) == {"commit": commit, "dirty": True}


def test_a_folder_outside_git_has_no_git_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None


def test_a_machine_without_git_has_no_git_state(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert git_state(repository) is None


def test_versions_are_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("textmill", "numpy", "not-installed-here"))
    versions = package_versions()
    assert list(versions) == ["python", "textmill", "numpy"]
    assert versions["textmill"] == __version__


def test_the_source_has_another_hash_when_any_file_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    hashes = [environment.source_hash()]
    for name, text in {"a.py": "1", "conf/a.yaml": "1", "conf/b.yaml": "1", "a.pyc": "1"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        hashes.append(environment.source_hash())
    (tmp_path / "a.py").write_text("2")
    hashes.append(environment.source_hash())
    assert hashes[-2] == hashes[-3]
    assert len(set(hashes)) == len(hashes) - 1


def test_the_description_is_plain_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    description = describe_environment()
    assert json.loads(json.dumps(description)) == description
    assert description["folder"] == str(tmp_path)
    assert description["machine"]["cores"] == os.cpu_count()
    assert description["machine"]["memory_bytes"] > 2**20


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu sse2 avx512_bf16", True),
        ("flags : fpu amx_bf16", True),
        ("Features : fp asimd bf16", True),
        ("flags : fpu avx2 avx512f", False),
        ("bogus line", False),
    ],
)
def test_bfloat16_is_used_where_the_processor_computes_it(
    flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(environment, "_cpuinfo", lambda: ["processor : 0", flags])
    environment.has_bfloat16.cache_clear()
    try:
        assert environment.has_bfloat16() is expected
    finally:
        environment.has_bfloat16.cache_clear()
