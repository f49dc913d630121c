"""The wheel is whole: in an environment with nothing but what it asks for, it trains and predicts.

The packages that it asks for are linked into the environment from that of the tests, which has the
pinned ones, since copying them would take minutes. pip then has to find them sufficient.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = ("__pycache__", "*.egg-info")
NOWHERE = "http://127.0.0.1:9/simple"

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that is built from it."""
    copy = tmp_path_factory.mktemp("checkout") / "textmill"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy)
    return folder


@pytest.fixture(scope="module")
def installed(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with Textmill's wheel, what it asks for, and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (wheel,) = archives.glob("*.whl")
    for package in needed_by(requirements_of(wheel)):
        link(package, packages)
    constraints = ROOT / "constraints.txt"
    # Without an index, pip fails unless everything that the wheel asks for is there and as pinned.
    run(
        *(sys.executable, "-m", "pip", "--isolated", "--python", python, "install", "--no-index"),
        *("--no-compile", "--constraint", constraints, wheel),
    )
    return environment / "bin"


def run(*command: object, cwd: Path | None = None) -> str:
    """What a program prints, without anything that shows it the checkout or the network."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "PIP_INDEX_URL": NOWHERE, "PIP_EXTRA_INDEX_URL": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def requirements_of(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode("utf-8").splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]


def needed_by(requirements: list[str], extras: frozenset[str] = frozenset()) -> list[Distribution]:
    """The installed packages that requirements ask for, and those that these ask for, and so on."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    to_see = list(asked_for(requirements, extras))
    while to_see:
        one = to_see.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key not in seen:
            seen.add(key)
            found[key[0]] = distribution(key[0])
            to_see += asked_for(found[key[0]].requires or [], key[1])
    return list(found.values())


def asked_for(requirements: list[str], extras: frozenset[str]) -> Iterator[Requirement]:
    for text in requirements:
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield one


def link(package: Distribution, packages: Path) -> None:
    for name in {file.parts[0] for file in package.files or [] if file.parts[0] != ".."}:
        target = packages / name
        if name != "__pycache__" and not target.exists():
            target.symlink_to(Path(str(package.locate_file(name))))


def sources() -> set[str]:
    """Every file of the package, at its path in an archive."""
    paths = (path for path in (ROOT / "src" / "textmill").rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT / "src").as_posix()
        for path in paths
        if "__pycache__" not in path.parts
    }


def test_both_archives_have_every_file_of_the_package(archives: Path) -> None:
    (wheel,), (archive,) = archives.glob("*.whl"), archives.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = {name for name in opened.namelist() if name.startswith("textmill/")}
    with tarfile.open(archive) as opened_archive:
        paths = [Path(member.name) for member in opened_archive if member.isfile()]
    in_archive = {Path(*path.parts[1:]).as_posix() for path in paths}
    assert in_wheel == sources()
    assert {f"src/{name}" for name in in_wheel} | {"LICENSE", "README.md"} <= in_archive
    assert any(name.endswith(".yaml") for name in in_wheel)
    assert any(name.endswith(".j2") for name in in_wheel)


def test_it_is_the_wheel_that_is_imported_and_nothing_of_the_tests_environment_is_there(
    installed: Path, tmp_path: Path
) -> None:
    program = (
        "import importlib.util as u, textmill; "
        "print(textmill.__file__, *(u.find_spec(n) for n in ('pytest', 'peft', 'tests')))"
    )
    place, *others = run(installed / "python", "-c", program, cwd=tmp_path).split()
    assert Path(place).is_relative_to(installed.parent)
    assert others == ["None"] * 3


def test_it_composes_anywhere(installed: Path, tmp_path: Path) -> None:
    shown = run(installed / "textmill", "train", "experiment=smoke", "--cfg", "job", cwd=tmp_path)
    config = yaml.safe_load(shown)
    assert (config["data"]["name"], config["model"]["name"]) == ("movie_reviews", "minilm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("packaged_assets")
def test_it_trains_and_predicts_anywhere(installed: Path, tmp_path: Path) -> None:
    textmill = installed / "textmill"
    shown = run(textmill, "train", "experiment=smoke", cwd=tmp_path)
    assert "TF-IDF + linear" in shown
    finished = tmp_path / "runs" / "latest"
    assert json.loads((finished / "manifest.json").read_text())["state"] == "finished"
    assert (finished / "report.html").stat().st_size > 10_000
    answer = json.loads(run(textmill, "predict", "latest", "a lovely film", cwd=tmp_path))
    assert answer["label"] in ("negative", "positive")
    assert answer["score"] >= 0.5
