"""A run's report is made from its folder, whatever is there of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.runs_on_disk import LABELS, SIZES, TAGS, write_run
from textmill.errors import InputError
from textmill.labels import Labels
from textmill.report.writing import write_report
from textmill.runs import Run, create_run, write_json

WITHOUT_TEST = {"train": 80, "validation": 60}
ALL_SECTIONS = [
    "results",
    "charts-test",
    "charts-validation",
    "learning",
    "slices",
    "mistakes",
    "instructive",
    "followed",
    "suspects",
    "samples",
    "cost",
    "data",
    "configuration",
    "environment",
    "reproduce",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(whole: Run) -> str:
    return report(whole)


@pytest.fixture
def run(whole: Run, tmp_path: Path) -> Run:
    shutil.copytree(whole.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def report(run: Run) -> str:
    return write_report(run).read_text("utf-8")


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)">', page)


def test_it_has_every_section(page: str) -> None:
    assert sections(page) == ALL_SECTIONS
    assert page.count("<svg ") == 2 * 8 + 6


def test_it_is_the_same_when_it_is_made_again_elsewhere(whole: Run, page: str, run: Run) -> None:
    moved = Run(run.folder.rename(run.folder.with_name("moved")))
    assert report(moved) == page.replace(str(whole.folder), str(moved.folder))


def test_the_verdict_comes_first(whole: Run, page: str) -> None:
    for sentence in whole.read_manifest()["results"][1:]:
        place = page.index(sentence.replace("<", "&lt;"))
        assert place < page.index("<nav")


def test_ids_are_unique(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_it_tells_how_to_reproduce_the_run(whole: Run, page: str) -> None:
    manifest = whole.read_manifest()
    assert manifest["command"] in page
    assert manifest["git"] is None or f"git checkout {manifest['git']['commit']}" in page
    assert manifest["data"]["fingerprints"]["train"] in page
    assert "2 rows of train repeat the text and label of an earlier row" in page


def test_without_a_test_split_validation_is_what_it_tells_of(tmp_path: Path) -> None:
    page = report(write_run(tmp_path, sizes=WITHOUT_TEST))
    assert sections(page) == [name for name in ALL_SECTIONS if name != "charts-test"]
    assert "Accuracy on validation" in page


def test_several_labels_a_text_have_a_report_too(tmp_path: Path) -> None:
    page = report(write_run(tmp_path, labels=TAGS))
    assert sections(page) == ALL_SECTIONS
    assert "Hits, misses and false alarms of each label" in page


def test_without_tables_their_sections_are_left_out(tmp_path: Path) -> None:
    page = report(write_run(tmp_path, tables=False))
    missing = {"slices", "instructive", "followed", "suspects", "samples"}
    assert sections(page) == [name for name in ALL_SECTIONS if name not in missing]


def test_a_run_that_was_stopped_shows_how_far_it_came(run: Run) -> None:
    manifest = run.read_manifest()
    kept = {name: value for name, value in manifest.items() if name not in ("results", "judged")}
    write_json(run.manifest, {**kept, "state": "interrupted"})
    run.metrics.unlink()
    shutil.rmtree(run.folder / "predictions")
    shutil.rmtree(run.folder / "tables")
    page = report(run)
    assert "This run has not been judged: it was stopped." in page
    assert sections(page) == [
        "learning",
        "cost",
        "data",
        "configuration",
        "environment",
        "reproduce",
    ]


def test_a_run_that_had_no_data_yet_has_no_report(tmp_path: Path) -> None:
    run = create_run(tmp_path, "early", {"seed": 1}, [])
    with pytest.raises(InputError, match="nothing to report"):
        write_report(run)
    assert not run.report.exists()


@pytest.mark.parametrize(
    "name", ["metrics.json", "predictions/test.parquet", "tables/followed.parquet"]
)
def test_a_broken_file_is_named(run: Run, name: str) -> None:
    (run.folder / name).write_bytes(b"\xff broken")
    with pytest.raises(InputError, match=re.escape(name)):
        write_report(run)


def test_markup_in_the_data_is_text(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    labels = Labels((script, "<img src=x>", "a & b"))
    page = report(write_run(tmp_path, labels=labels, texts=[script, 'a "quoted" text']))
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_worst_mistakes_come_first_and_all_are_counted(tmp_path: Path) -> None:
    page = report(write_run(tmp_path, strength=0.0, sizes={**SIZES, "test": 900}))
    mistakes = page[page.index('<section id="mistakes">') :]
    count = re.search(r"The first 200 of (\d+) rows", mistakes)
    assert count is not None
    assert 200 < int(count[1]) < 900
    table = mistakes[mistakes.index("<tbody>") : mistakes.index("</tbody>")]
    losses = [float(row.split('data-value="')[2].split('"')[0]) for row in table.split("<tr>")[1:]]
    assert len(losses) == 200
    assert losses == sorted(losses, reverse=True)


def test_a_large_run_of_many_labels_and_long_texts_has_a_report_below_5_mb(tmp_path: Path) -> None:
    labels = Labels(tuple(f'label "{number}" of many' for number in range(77)))
    texts = ["\"quoted\" & 'quoted' <again> 積極的 " * 40]
    run = write_run(
        tmp_path, labels=labels, texts=texts, sizes={"train": 90, "validation": 2000, "test": 2000}
    )
    assert write_report(run).stat().st_size < 5_000_000


def test_the_labels_are_those_of_the_run(page: str) -> None:
    table = page[page.index("Label by label") : page.index('id="charts-test"')]
    assert all(f">{name}</td>" in table for name in LABELS.names)
