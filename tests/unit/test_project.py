"""The project's own files agree with its code."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from textmill.cli import TRAINING

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIRED = [Requirement(text) for text in PROJECT["dependencies"]]


def extra(name: str) -> list[Requirement]:
    """What an extra brings, with what the extras bring that it names."""
    own = [Requirement(text) for text in PROJECT["optional-dependencies"][name]]
    named = [other for one in own if one.name == "textmill" for other in sorted(one.extras)]
    others = [one for other in named for one in extra(other)]
    return [one for one in own if one.name != "textmill"] + others


EXTRAS = {name: extra(name) for name in PROJECT["optional-dependencies"]}
OPTIONAL = EXTRAS.keys() - {"dev"}
# Run as a command, or imported by another for us, or by a benchmark.
NOT_IMPORTED = {"accelerate", "pip", "alembic", "cmaes", "httptools", "litserve", "uvloop"}
# Named in the configuration, and imported by Hydra.
PLUGINS = {f"hydra-{name}-launcher" for name in ("joblib", "submitit", "ray")}
# The plugin wants an older cloudpickle than the rest, so that they are installed by themselves.
APART = {"hydra-ray-launcher", "ray"}
# Pydantic's own half, and the one module of it that names the shape of its errors.
NOT_DECLARED = {"pydantic-core"}


def names_of(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def imported_distributions() -> set[str]:
    modules: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "textmill"}
    owners = metadata.packages_distributions()
    return {canonicalize_name(owners[module][0]) for module in modules}


def needed(requirements: list[Requirement]) -> set[str]:
    """The names of what is installed with these, as it is here."""
    to_see, seen = list(names_of(requirements)), set[str]()
    while to_see:
        name = to_see.pop()
        if name not in seen:
            seen.add(name)
            every = map(Requirement, metadata.requires(name) or [])
            to_see += names_of(
                [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]
            )
    return seen


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_what_the_code_imports_is_what_it_depends_on() -> None:
    declared = names_of(REQUIRED) | names_of([one for name in OPTIONAL for one in EXTRAS[name]])
    assert imported_distributions() - NOT_DECLARED == declared - NOT_IMPORTED - PLUGINS - APART


def test_every_dependency_is_pinned_within_its_range() -> None:
    pins = constraints()
    for requirement in [*REQUIRED, *(one for extra in EXTRAS.values() for one in extra)]:
        name = canonicalize_name(requirement.name)
        if name not in NOT_IMPORTED | APART:
            assert requirement.specifier.contains(pins[name]), requirement


def test_what_the_dependencies_need_is_pinned_too() -> None:
    pins = constraints()
    assert needed([*REQUIRED, *EXTRAS["dev"]]) - NOT_IMPORTED <= pins.keys()


def test_a_service_is_installed_without_what_only_training_needs() -> None:
    training = names_of(EXTRAS["train"])
    assert {"torch", "transformers", "lightning", "datasets"} <= training
    assert not needed([*REQUIRED, *EXTRAS["serve"]]) & training


def test_whatever_of_the_extra_train_is_missing_is_told_as_such() -> None:
    owners = metadata.packages_distributions()
    told = {canonicalize_name(owners[module][0]) for module in TRAINING}
    assert told == names_of(EXTRAS["train"]) - {"pip"}


def test_pins_are_exact_and_hold_for_any_build() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)


def test_the_environment_of_the_tests_is_the_pinned_one() -> None:
    installed = {
        canonicalize_name(found.metadata["Name"]): found.version.partition("+")[0]
        for found in metadata.distributions()
    }
    for name, version in constraints().items():
        assert installed.get(name, version) == version, f"{name}: run make test"


@pytest.mark.parametrize(
    "target",
    ["train", "test", "bench", "lint", "types", "manifests", "format", "clean", "help"],
)
def test_make_has_its_targets(target: str) -> None:
    assert re.search(rf"^{target}:.* ## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
