"""The commands and the Python of the README and of every page do what they are shown for.

Blocks fenced as ``sh`` and ``python`` are run, a page's in their order, in a fresh folder where
a first training has been done, as by a reader who did what the README begins with. Blocks fenced as
``console`` are not run: they need the hub, another day's run, or many minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUESTIONS = (
    *("data", "processing", "data-loaders", "model", "training", "inference"),
    *("logging", "metrics", "plots", "samples", "explanations"),
    *("configuration", "overriding", "splitting", "interpolation", "combinations", "search"),
    *("reproducing", "packaging", "serving", "deploying", "ci-cd"),
)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Args:
        line: Where its text begins, from 1.
        language: As fenced.
        text: What is run.
    """

    line: int
    language: str
    text: str

    def command(self) -> list[str]:
        """What runs it, so that it stops at the first failure."""
        if self.language == "python":
            return [sys.executable, "-c", self.text]
        return ["bash", "-euo", "pipefail", "-c", self.text]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start(2)) + 1, found[1], found[2])
        for found in FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.real
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_runs(page: Path, short_run: Path, tmp_path: Path) -> None:
    make_readers_folder(tmp_path, short_run)
    executables = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{executables}{os.pathsep}{os.environ['PATH']}"}
    for block in blocks_of(page):
        if block.language not in ("sh", "python"):
            continue
        done = subprocess.run(
            block.command(),
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            place = f"{name_of(page)}:{block.line}"
            pytest.fail(f"{place}: status {done.returncode}\n{block.text}\n{done.stdout}", False)


def make_readers_folder(folder: Path, run: Path) -> None:
    """A finished run, and the file of reviews that the README speaks of."""
    (folder / "runs").mkdir()
    (folder / "runs" / "latest").symlink_to(run, target_is_directory=True)
    opinions = {"good": ("a fine film", "great fun"), "bad": ("a dull film", "a waste of time")}
    rows = [
        f'"{opinion}, says viewer {number}",{rating}'
        for number in range(20)
        for rating, both in opinions.items()
        for opinion in both
    ]
    (folder / "reviews.csv").write_text("\n".join(["review,rating", *rows]) + "\n")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    known = {"sh", "python", "console", "json", "yaml", "text"}
    assert {block.language for block in blocks_of(page)} <= known


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_a_page_with_commands_that_run(question: str) -> None:
    page = ROOT / "docs" / f"{question}.md"
    assert "sh" in {block.language for block in blocks_of(page)}
    assert page in PAGES
