"""An output that broke off goes on where it was whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.errors import InputError
from textmill.part_file import PartFile, Progress, part_paths

SETTINGS = {"bundle": "abc", "columns": ["text"]}
HEAD = b"head\n"
WINDOWS = [b"first\n", b"second\n", b"third\n"]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


def write(output: Path, windows: list[bytes]) -> Progress:
    """Writes a head and some windows of two rows, one of them without text; then breaks off."""
    with PartFile(output, SETTINGS, HEAD) as part:
        progress = part.start()
        for window in windows:
            progress = part.append(window, progress, rows=2, missing=1)
    return progress


def resume(output: Path, settings: dict[str, object] | None = None) -> Progress:
    with PartFile(output, settings or SETTINGS, HEAD) as part:
        return part.resume()


def test_it_goes_on_behind_what_was_written(output: Path) -> None:
    part, _ = part_paths(output)
    written = write(output, WINDOWS)
    assert written == Progress(rows=6, missing=3, size=len(HEAD + b"".join(WINDOWS)))
    assert resume(output) == written
    assert part.read_bytes() == HEAD + b"".join(WINDOWS)


def test_an_output_of_no_rows_has_its_head(output: Path) -> None:
    assert write(output, []) == Progress(0, 0, len(HEAD))
    assert part_paths(output)[0].read_bytes() == HEAD


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lost=st.integers(0, 40), lost_of_record=st.integers(0, 400), tail=st.binary(max_size=9))
def test_whatever_the_ends_lost_all_windows_end_up_in_it_once(
    output: Path, lost: int, lost_of_record: int, tail: bytes
) -> None:
    part, record = part_paths(output)
    write(output, WINDOWS)
    part.write_bytes(part.read_bytes()[: len(part.read_bytes()) - lost])
    if not lost:
        part.write_bytes(part.read_bytes() + tail)
    lines = record.read_bytes()
    record.write_bytes(lines[: len(lines) - lost_of_record])
    with PartFile(output, SETTINGS, HEAD) as again:
        progress = again.resume()
        for window in WINDOWS[progress.rows // 2 :]:
            progress = again.append(window, progress, rows=2, missing=1)
    assert part.read_bytes() == HEAD + b"".join(WINDOWS)
    assert progress == Progress(6, 3, len(HEAD + b"".join(WINDOWS)))


def test_it_breaks_off_twice(output: Path) -> None:
    part, _ = part_paths(output)
    write(output, WINDOWS[:1])
    part.write_bytes(part.read_bytes() + b"half of the sec")
    with PartFile(output, SETTINGS, HEAD) as again:
        again.append(WINDOWS[1], again.resume(), rows=2)
    assert resume(output).rows == 4
    assert part.read_bytes() == HEAD + WINDOWS[0] + WINDOWS[1]


def test_starting_drops_what_was_there(output: Path) -> None:
    write(output, WINDOWS)
    write(output, [])
    assert resume(output) == Progress(0, 0, len(HEAD))


@pytest.mark.parametrize(
    "changed", [{"bundle": "other"}, {"columns": ["title"]}, {"bundle": "other", "columns": []}]
)
def test_another_making_is_refused_and_named(output: Path, changed: dict[str, object]) -> None:
    write(output, WINDOWS)
    with pytest.raises(InputError) as caught:
        resume(output, {**SETTINGS, **changed})
    for key in changed:
        assert f"another {key}" in str(caught.value)
    assert "--force" in str(caught.value)
    assert part_paths(output)[0].read_bytes() == HEAD + b"".join(WINDOWS)


@pytest.mark.parametrize("content", [None, "", "no json\n", '{"half": ', "[1]\n2\n", "{}\n2\n"])
def test_a_record_that_says_nothing_means_a_new_start(output: Path, content: str | None) -> None:
    write(output, WINDOWS)
    part, record = part_paths(output)
    record.unlink()
    if content is not None:
        record.write_text(content)
    assert resume(output) == Progress(0, 0, len(HEAD))
    assert part.read_bytes() == HEAD
    assert json.loads(record.read_text().splitlines()[0]) == SETTINGS


def test_two_processes_cannot_write_the_same_output(output: Path) -> None:
    with PartFile(output, SETTINGS, HEAD) as part:
        part.start()
        with pytest.raises(InputError, match="another process is writing this output"):
            PartFile(output, SETTINGS, HEAD)
    assert resume(output).rows == 0


def test_dropping_leaves_nothing(output: Path) -> None:
    with PartFile(output, SETTINGS, HEAD) as part:
        part.start()
        part.drop()
    assert list(output.parent.iterdir()) == []
