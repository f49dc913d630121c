"""The wheel is whole: with nothing but what it and an extra ask for, it trains, and it serves.

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
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx2 as httpx
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.bundles import make_bundle
from tests.unit.test_deploy import ENTRY_POINT, HEALTH_CHECK
from textmill.packaging import examples_of, package

ROOT = Path(__file__).parents[2]
NOT_SHIPPED = ("__pycache__", "*.egg-info")
KEY = "a-key-of-some-length"
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
    """The programs of an environment that trains."""
    return install(archives, "train", tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def service(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that only serves."""
    return install(archives, "serve", tmp_path_factory.mktemp("serving"))


@pytest.fixture
def exported(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A bundle with a form that needs no torch."""
    folder = make_bundle(tiny_encoder, tmp_path / "bundle")
    package(folder, examples_of(folder, None))
    return folder


def install(archives: Path, extra: str, environment: Path) -> Path:
    """Makes an environment with the wheel, what it and an extra ask for, and nothing else."""
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (wheel,) = archives.glob("*.whl")
    for needed in needed_by(requirements_of(wheel), frozenset({extra})):
        link(needed, packages)
    constraints = ROOT / "constraints.txt"
    # Without an index, pip fails unless everything that the wheel asks for is there and as pinned.
    run(
        *(sys.executable, "-m", "pip", "--isolated", "--python", python, "install", "--no-index"),
        *("--no-compile", "--constraint", constraints, f"{wheel}[{extra}]"),
    )
    return environment / "bin"


def run(*command: object, cwd: Path | None = None) -> str:
    """What a program prints."""
    done = ended(command, cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def complaint(*command: object, cwd: Path) -> str:
    """The line with which a program refuses its input."""
    done = ended(command, cwd)
    assert (done.returncode, done.stdout) == (2, ""), f"{command}\n{done.stdout}\n{done.stderr}"
    (line,) = done.stderr.splitlines()
    return line


def ended(command: Sequence[object], cwd: Path | None) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    return subprocess.run(
        words, cwd=cwd, env=bare(), capture_output=True, text=True, timeout=600, check=False
    )


def bare() -> dict[str, str]:
    """Variables without anything that shows a program the checkout or the network."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**environment, "PIP_INDEX_URL": NOWHERE, "PIP_EXTRA_INDEX_URL": ""}


@contextmanager
def answering(*command: object, folder: Path, **variables: str) -> Iterator[str]:
    """A service at any free port; gives its address."""
    log, environment = folder / "serve.log", {**bare(), **variables}
    words = [*map(str, command), "--port", "0"]
    with (
        log.open("w") as stream,
        subprocess.Popen(words, cwd=folder, env=environment, stderr=stream) as process,
    ):
        try:
            yield wait_for_address(process, log)
        finally:
            process.terminate()
    assert process.returncode == 0, log.read_text()


def wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where a service listens, once it is ready."""
    while process.poll() is None:
        events = [json.loads(line) for line in log.read_text().splitlines()]
        if any(event["event"] == "worker ready" for event in events):
            return next(str(event["url"]) for event in events if event["event"] == "listening")
        time.sleep(0.05)
    raise AssertionError(log.read_text())


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


def test_a_service_has_no_use_for_torch(service: Path, exported: Path, tmp_path: Path) -> None:
    program = (
        "from importlib.util import find_spec as find; "
        "print(*map(find, ('torch', 'transformers', 'lightning', 'datasets', 'hydra')))"
    )
    assert run(service / "python", "-c", program, cwd=tmp_path).split() == ["None"] * 5
    assert "form onnx    same" in run(service / "textmill", "verify", exported, cwd=tmp_path)
    with answering(service / "textmill", "serve", exported, folder=tmp_path) as address:
        answer = httpx.post(f"{address}/predict", json={"texts": ["a lovely film"]}, timeout=30)
    (prediction,) = answer.json()["predictions"]
    alone = run(service / "textmill", "predict", exported, "a lovely film", cwd=tmp_path)
    assert prediction == pytest.approx(json.loads(alone), abs=1e-6)


def test_what_the_image_runs_answers_and_passes_its_health_check(
    service: Path, exported: Path, tmp_path: Path
) -> None:
    program, *arguments = ENTRY_POINT
    python, *check = HEALTH_CHECK
    assert ended([service / python, *check], tmp_path).returncode != 0
    command = (service / program, *arguments, exported)
    with answering(*command, folder=tmp_path, TEXTMILL_API_KEYS=KEY) as address:
        assert address.startswith("http://0.0.0.0:")
        here = address.removeprefix("http://").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        run(service / python, *(word.replace("127.0.0.1:8000", here) for word in check))
        for key, status in ((KEY, 200), ("another", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx.get(f"http://{here}/info", headers=headers).status_code == status


def test_what_a_service_lacks_is_told(service: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tiny_encoder, tmp_path / "bundle")
    for verb in (["train"], ["export", bundle]):
        told = complaint(service / "textmill", *verb, cwd=tmp_path)
        assert told.endswith("is not installed: pip install 'textmill[train]'")
    told = complaint(service / "textmill", "predict", bundle, "a film", cwd=tmp_path)
    assert told.endswith("textmill export BUNDLE")
