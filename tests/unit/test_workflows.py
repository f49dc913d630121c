"""The workflows do what runs here, with actions that can't change, and with few rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
# The only rights to write, and whose they are.
WRITES = {("release.yaml", "image"): {"packages"}, ("release.yaml", "release"): {"contents"}}

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text("utf-8")))


def commands(path: Path) -> list[str]:
    jobs = read(path)["jobs"].values()
    return [step["run"].strip() for job in jobs for step in job.get("steps", []) if "run" in step]


def targets_of(command: str) -> list[str]:
    """The targets that a call of make names."""
    found = re.fullmatch(r"""make((?: [a-z-]+)+)(?: [A-Z]+=(?:"[^"]*"|\S+))*""", command)
    assert found, f"not a call of make: {command}"
    return found[1].split()


def test_there_are_the_two_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yaml", "release.yaml"]


@each_workflow
def test_every_step_is_a_target_of_the_makefile(path: Path) -> None:
    named = {target for command in commands(path) for target in targets_of(command)}
    assert named
    assert named <= TARGETS


@each_workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert PINNED.search(line) or "uses: ./.github/workflows/" in line, line


@each_workflow
def test_only_the_jobs_that_publish_may_write(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions", {})
        writes = {right for right, level in rights.items() if level != "read"}
        assert writes == WRITES.get((path.name, name), set())
        assert not writes or job["environment"] == "release"


@each_workflow
def test_no_checkout_leaves_its_token_behind(path: Path) -> None:
    for job in read(path)["jobs"].values():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@each_workflow
def test_no_job_runs_on_without_end(path: Path) -> None:
    jobs = read(path)["jobs"].values()
    assert all("timeout-minutes" in job for job in jobs if "steps" in job)


def test_a_release_is_gated_before_anything_is_published() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "release.yaml")["jobs"]
    steps = [step["run"] for step in jobs["model"]["steps"] if "run" in step]
    order = ["release-train", "released", "gate", "verify", "export", "bundle"]
    assert steps == [f"make {target}" for target in order]
    assert {"checks", "model", "wheel"} <= set(jobs["image"]["needs"])
    assert jobs["release"]["needs"] == ["image"]


def test_every_supported_python_is_tested() -> None:
    tested = read(ROOT / ".github" / "workflows" / "ci.yaml")["jobs"]["test"]["strategy"]
    assert tested["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.findall(r"^([a-z-]+):.* ## ", text, re.MULTILINE)) == TARGETS
    declared = " ".join(re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE)).split()
    assert set(declared) == TARGETS
