"""Every data set that comes with Textmill is a YAML that says what it is and fits the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import textmill
from textmill.assets import Asset

FOLDER = Path(textmill.__file__).parent / "conf" / "data"
BASE = yaml.safe_load((FOLDER / "base.yaml").read_text(encoding="utf-8"))
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "base")
LOCAL_KEYS = {
    *("train", "validation", "test", "text", "label", "labels", "label_values"),
    *("format", "encoding", "delimiter", "quoting", "header", "skip_after_header"),
}
LICENCES = ("icence", "CC BY", "Apache", "research", "use", "terms")


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def test_the_data_sets_of_the_design_are_there() -> None:
    promised = {"movie_reviews", "product_reviews", "news_editorials", "tweets", "files"}
    promised |= {"reuters_r8", "reuters_r52", "newsgroups"}
    promised |= {"cola", "sst2", "ag_news", "imdb", "tweet_eval"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_what_it_is_and_how_it_is_used(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = lines[: lines.index("defaults: [base, _self_]")]
    assert all(line.startswith("# ") for line in comment)
    assert any(line.startswith(f"# textmill train data={name}") for line in comment)
    assert name == "files" or any(licence in " ".join(comment) for licence in LICENCES)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_only_keys_of_the_base(name: str) -> None:
    content = read(name)
    assert content.pop("defaults") == ["base", "_self_"]
    assert name == "files" or content["name"] == name
    assert set(content) <= set(BASE)
    for section in ("hub", "package", "on_problem"):
        assert set(content.get(section, {})) <= set(BASE[section])
    assert set(content.get("local", {})) <= LOCAL_KEYS


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_only_what_differs_from_the_base(name: str) -> None:
    same = {key for key, value in read(name).items() if BASE.get(key) == value}
    assert same <= {"source"}


def packages() -> dict[str, Asset]:
    contents = {name: read(name) for name in NAMES}
    return {
        name: Asset(**(content["package"] | {"members": tuple(content["package"]["members"])}))
        for name, content in contents.items()
        if content["source"] == "package"
    }


def test_data_sets_of_one_package_share_one_download() -> None:
    assets = packages().values()
    assert len({asset.folder_name for asset in assets}) == len({asset.name for asset in assets})
