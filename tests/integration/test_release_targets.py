"""What `make bundle` packs is what `make released` fetches, and what `make gate` compares with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Stands for GitHub's command line: one release, or none, or no answer.
GH = """#!/bin/sh
case "$GH_STATE $2" in
  "down "*) echo 'no network' >&2; exit 1 ;;
  "none list") ;;
  "one list") echo v1.0.0 ;;
  "one download") mkdir -p "$5" && cp store/model.tar.gz store/model.tar.gz.sha256 "$5" ;;
  *) exit 9 ;;
esac
"""

Make = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with an environment that only tells what it is asked to do, and a run."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    scripts = {name: f'#!/bin/sh\necho {name} "$@"\n' for name in ("textmill", "docker", "pip")}
    for name, script in {**scripts, "gh": GH}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    (tmp_path / "venv" / ".installed-release").touch()
    model = tmp_path / "runs" / "latest" / "model"
    model.mkdir(parents=True)
    (model / "README.md").write_text("# A card\n")
    (model / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Make:
    def run(*arguments: str, gh: str = "down", status: int = 0) -> subprocess.CompletedProcess[str]:
        path = f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        inherited = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS", "VENV"}
        environment = {name: value for name, value in os.environ.items() if name not in inherited}
        done = subprocess.run(
            ["make", "VENV=venv", *arguments],
            cwd=folder,
            env={**environment, "PATH": path, "GH_STATE": gh},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def packed(folder: Path, make: Make) -> Path:
    """The last release: what was packed, in the store of the stand-in for GitHub."""
    make("bundle")
    (folder / "dist").rename(folder / "store")
    return folder / "store"


def gated(make: Make) -> str:
    return make("gate").stdout.splitlines()[-1]


def test_the_bundle_is_packed_with_its_hash_and_its_card(folder: Path, make: Make) -> None:
    make("bundle")
    with tarfile.open(folder / "dist" / "model.tar.gz") as archive:
        assert "model/model.safetensors" in archive.getnames()
    assert (folder / "dist" / "model-card.md").read_text() == "# A card\n"
    check = ["sha256sum", "--check", "model.tar.gz.sha256"]
    subprocess.run(check, cwd=folder / "dist", check=True, capture_output=True)


@pytest.mark.usefixtures("packed")
def test_the_last_release_is_what_is_compared_with(folder: Path, make: Make) -> None:
    make("released", gh="one")
    assert (folder / "dist" / "released" / "model" / "model.safetensors").read_bytes() == b"weights"
    assert gated(make) == "textmill gate runs/latest --against dist/released/model --margin 0"


def test_a_first_release_is_compared_with_nothing(make: Make) -> None:
    assert "nothing has been released yet" in make("released", gh="none").stdout
    assert gated(make) == "textmill gate runs/latest --margin 0"


def test_a_release_that_cannot_be_fetched_is_not_taken_for_none(make: Make) -> None:
    make("released", gh="down", status=2)


def test_a_release_that_was_changed_is_not_used(folder: Path, packed: Path, make: Make) -> None:
    with (packed / "model.tar.gz").open("ab") as archive:
        archive.write(b"more")
    make("released", gh="one", status=2)
    assert not (folder / "dist" / "released" / "model").exists()


def test_a_bundle_that_is_named_but_not_there_is_not_left_out(make: Make) -> None:
    told = make("gate", "AGAINST=no/such/model", "MARGIN=0.01").stdout
    assert told.splitlines()[-1].endswith("--against no/such/model --margin 0.01")


def test_the_image_has_the_packed_bundle(folder: Path, make: Make) -> None:
    make("bundle")
    built = make("image", "IMAGE=ghcr.io/us/textmill:v1").stdout.splitlines()[-1]
    assert built == (
        "docker build --tag ghcr.io/us/textmill:v1 --target baked "
        "--build-arg BUNDLE=bundles/release ."
    )
    assert (folder / "bundles" / "release" / "model.safetensors").read_bytes() == b"weights"


def test_the_token_of_the_registry_is_not_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_USER", "us")
    monkeypatch.setenv("REGISTRY_TOKEN", "a-secret-token")
    told = make("push", "IMAGE=ghcr.io/us/textmill:v1")
    assert "docker login ghcr.io --username us --password-stdin" in told.stdout
    assert "docker push ghcr.io/us/textmill:v1" in told.stdout
    assert "a-secret-token" not in told.stdout + told.stderr
