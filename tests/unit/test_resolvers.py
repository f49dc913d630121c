"""What one key works out from others."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from textmill.configuration.resolvers import part, register_resolvers, smallest, stem


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((128, 64), 64), ((128, None), 128), ((None, None), None), ((), None), ((0.5, 2), 0.5)],
)
def test_the_smallest_is_of_those_that_are_given(
    numbers: tuple[float | None, ...], expected: float | None
) -> None:
    assert smallest(*numbers) == expected


@pytest.mark.parametrize(
    ("share", "whole", "expected"),
    [(0.1, 100, 10), (0.1, 101, 11), (0.0, 50, 0), (1, 7, 7), (0.1, None, None)],
)
def test_a_part_is_rounded_up(share: float, whole: int | None, expected: int | None) -> None:
    assert part(share, whole) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["reviews.csv"], "reviews"),
        (["data/Reviews 2024 (new).CSV.gz"], "Reviews_2024_new"),
        (["für.tsv"], "für"),
        (["v1.2.parquet"], "v1.2"),
        (["data/reviews/"], "reviews"),
        (["data/reviews/*.csv"], "reviews"),
        (["data/part-*.jsonl"], "part"),
        (["data/part[12].csv"], "part"),
        ([["a.csv", "b.csv", "c.csv"]], "a+2"),
        ([["a.csv"]], "a"),
        ([None, None, "test.csv"], "test"),
        ([7], "7"),
        (["x" * 300 + ".csv"], "x" * 40),
        ([None, None], "files"),
        (["*.csv"], "files"),
        (["/"], "files"),
        ([".csv"], "files"),
        ([".."], "files"),
    ],
)
def test_the_stem_is_a_short_name_that_a_folder_can_have(
    names: list[object], expected: str
) -> None:
    assert stem(*names) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("${smallest:128,many}", "'many' is not a number"),
        ("${smallest:128,true}", "True is not a number"),
        ("${part:0.1,[3]}", "is not a number"),
        ("${stem:[]}", "is not a file, a glob, a folder or a list of these"),
        ("${stem:1.5}", "1.5 is not a file"),
    ],
)
def test_nonsense_is_told_in_one_line(expression: str, words: str) -> None:
    register_resolvers()
    with pytest.raises(InterpolationResolutionError) as caught:
        OmegaConf.to_container(OmegaConf.create({"key": expression}), resolve=True)
    assert words in str(caught.value).splitlines()[0]


def test_they_can_be_registered_again() -> None:
    register_resolvers()
    register_resolvers()
    config = OmegaConf.create({"a": 3, "b": "${smallest:${a},4}", "c": "${part:0.5,${b}}"})
    assert OmegaConf.to_container(config, resolve=True) == {"a": 3, "b": 3, "c": 2}
