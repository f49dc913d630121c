"""``textmill verify --url``: whether a running service answers as a bundle does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import RUINED, make_all_kinds
from tests.servers import Server, serving
from textmill.cli import main
from textmill.service_verification import verify_service

KEY = "a-key-of-some-length"


@pytest.fixture(scope="module")
def bundles(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_all_kinds(tiny_encoder, tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def single(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that takes fewer texts at once, and shorter ones, than the golden file has."""
    limits = ("--max-texts", 3, "--max-characters", 100)
    with serving(tmp_path_factory.mktemp("served"), bundles / "single", *limits) as server:
        yield server


def different(bundle: Path, url: str) -> list[str]:
    return [check.part for check in verify_service(bundle, url) if check.holds is False]


def test_a_service_of_the_bundle_is_the_same(
    bundles: Path, single: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(bundles / "single"), "--url", f"{single.url}/"]) == 0
    assert "service form torch" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["strict", "multi", "pairs"])
def test_thresholds_several_labels_and_pairs(bundles: Path, tmp_path: Path, name: str) -> None:
    with serving(tmp_path, bundles / name) as server:
        assert different(bundles / name, server.url) == []


def test_a_service_of_another_bundle_is_different(
    bundles: Path, single: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"service bundle", "service thresholds"} <= set(
        different(bundles / "strict", single.url)
    )
    assert "service form torch" in different(bundles / "multi", single.url)
    assert main(["verify", str(bundles / "strict"), "--url", single.url]) == 1
    assert "the service has None" in capsys.readouterr().out


def test_other_golden_scores_are_noticed(bundles: Path, single: Server, tmp_path: Path) -> None:
    edited = Path(shutil.copytree(bundles / "single", tmp_path / "edited"))
    lines = [json.loads(line) for line in (edited / "golden.jsonl").read_text().splitlines()]
    for line in lines:
        line["scores"] = dict(zip(line["scores"], (0.1, 0.2, 0.7), strict=True))
    (edited / "golden.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert different(edited, single.url) == ["service form torch"]


def test_a_broken_bundle_is_told_and_the_service_not_asked(bundles: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(bundles / "single", tmp_path / "broken"))
    (broken / "config.json").unlink()
    (check,) = verify_service(broken, "http://127.0.0.1:9")
    assert check.holds is None


def test_a_service_that_asks_for_a_key(
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {"TEXTMILL_API_KEYS": f"{KEY}, another-key-of-that-length"}
    with serving(tmp_path, bundles / "single", environment=environment) as server:
        arguments = ["verify", str(bundles / "single"), "--url", server.url]
        monkeypatch.setenv("TEXTMILL_API_KEYS", environment["TEXTMILL_API_KEYS"])
        assert main(arguments) == 0
        monkeypatch.setenv("TEXTMILL_API_KEYS", "no-key-of-that-service")
        assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "set TEXTMILL_API_KEYS" in told
    assert "no-key-of-that-service" not in told


@pytest.mark.parametrize(
    ("url", "status", "told"),
    [
        ("http://127.0.0.1:9", 1, "doesn't answer"),
        ("127.0.0.1:8000", 2, "not the address"),
        ("ftp://127.0.0.1", 2, "not the address"),
        ("http://127.0.0.1:0x", 2, "not the address"),
    ],
)
def test_an_address_without_a_service_is_told_in_a_line(
    bundles: Path, capsys: pytest.CaptureFixture[str], url: str, status: int, told: str
) -> None:
    assert main(["verify", str(bundles / "single"), "--url", url]) == status
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_another_kind_of_server_is_told(bundles: Path, single: Server) -> None:
    with pytest.raises(Exception, match="no right answer"):
        verify_service(bundles / "single", f"{single.url}/nowhere")


@pytest.mark.parametrize("part", RUINED)
def test_serve_refuses_a_bundle_that_is_not_what_was_trained(
    bundles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], part: str
) -> None:
    bundle = Path(shutil.copytree(bundles / "single", tmp_path / "bundle"))
    RUINED[part](bundle)
    assert main(["serve", str(bundle), "--port", "0"]) == 2
    assert f"{part}: " in capfd.readouterr().err
