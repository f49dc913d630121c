"""What is wrong between the keys of a configuration, though each value is right by itself.

All of it is known from the configuration alone, so it is told before any work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from textmill.configuration.explanations import sections_in
from textmill.configuration.origins import Origins
from textmill.configuration.schema import (
    DataSection,
    EvaluateConfig,
    ModelSection,
    Section,
    TrainConfig,
)
from textmill.data import label_rules
from textmill.errors import InputError, did_you_mean
from textmill.model.metric_names import PER_LABEL_METRICS, is_metric, metric_names

SectionT = TypeVar("SectionT", bound=BaseModel)


class Contradiction(NamedTuple):
    """Values that don't go together.

    Attributes:
        what: What is wrong, with the keys and the values.
        keys: The keys that have a part in it.
        hint: The next step.
    """

    what: str
    keys: tuple[str, ...]
    hint: str

    def told(self, origins: Origins) -> InputError:
        """The error, with the lines of files that set the keys, if these are not the defaults."""
        changed = [key for key in self.keys if not origins.is_default(key)]
        return InputError(self.what, where=origins.file(*changed), hint=self.hint)


def contradictions(
    config: Section, *, whole: bool = True, parts: Collection[str] | None = None
) -> list[Contradiction]:
    """All contradictions in a configuration.

    Args:
        config: The configuration; one without rules has no contradictions.
        whole: Whether it has all its keys. In one that lacks some, as `known_part` makes it, what
            depends on these is not found.
        parts: The top keys that count; those of the others are not looked at. None is all.
    """
    found: list[Contradiction] = []
    for rule in _rules(config):
        try:
            found += rule(config)
        except AttributeError:
            if whole:
                raise
    return [
        one
        for one in found
        if parts is None or all(key.partition(".")[0] in parts for key in one.keys)
    ]


def known_part(
    values: Mapping[str, Any], schema: type[SectionT], wrong: Collection[str], prefix: str = ""
) -> SectionT:
    """A configuration of those values alone that are right.

    Args:
        values: The values.
        schema: What they should be.
        wrong: The dotted keys of the wrong ones.
        prefix: What the names of ``values`` follow, with a dot at its end.
    """
    right: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        key = f"{prefix}{name}"
        if name not in values or key in wrong:
            continue
        value = values[name]
        inner = next(iter(sections_in(field.annotation)), None)
        if isinstance(value, Mapping) and inner is not None:
            right[name] = known_part(value, inner, wrong, f"{key}.")
        elif not any(other.startswith(f"{key}.") for other in wrong):
            right[name] = value
    return schema.model_construct(**right)


def _rules(config: Section) -> list[Callable[[Any], Iterator[Contradiction]]]:
    of_data: list[Callable[[Any], Iterator[Contradiction]]] = [_labels, _columns, _hub, _pins]
    of_data += [_cells]
    if isinstance(config, EvaluateConfig):
        return of_data
    if not isinstance(config, TrainConfig):
        return []
    return [
        *of_data,
        _missing_splits,
        _no_model,
        _shared_width,
        _model_pins,
        _frozen_adapters,
        _monitor,
        _weighed_labels,
        _too_few_tokens,
        _half_precision,
        _one_device,
        _shared_out,
        _optimizers_own_keys,
        _late_peak,
    ]


def _labels(config: TrainConfig | EvaluateConfig) -> Iterator[Contradiction]:
    data = config.data.as_read()
    for found in label_rules.contradictions(
        data.labels,
        data.label_values,
        data.label_thresholds,
        multi_label=data.multi_label,
        delimiter=data.label_delimiter,
    ):
        yield Contradiction(*found)


def _declared(data: DataSection) -> tuple[str, ...] | None:
    """The labels, where the configuration says them."""
    data = data.as_read()
    return label_rules.declared_labels(data.labels, data.label_values, data.label_thresholds)


def _columns(config: TrainConfig | EvaluateConfig) -> Iterator[Contradiction]:
    data = config.data.as_read()
    texts = [str(column) for column in (data.text if isinstance(data.text, list) else [data.text])]
    label, group = str(data.label), None if data.group is None else str(data.group)
    if len(set(texts)) < len(texts):
        yield Contradiction(
            f"data.text names the column {texts[0]} twice",
            ("data.text",),
            "name two columns for pairs of texts, or one column",
        )
    if label in texts:
        yield Contradiction(
            f"data.text and data.label both name the column {label}",
            ("data.text", "data.label"),
            "set data.text=COLUMN or data.label=COLUMN",
        )
    if group == label:
        yield Contradiction(
            f"data.group and data.label both name the column {label}, so that no label would be in "
            "two splits",
            ("data.group", "data.label"),
            "set data.group=null, or to another column",
        )
    if group in texts:
        yield Contradiction(
            f"data.group and data.text both name the column {group}, and equal texts are kept in "
            "one split anyway",
            ("data.group", "data.text"),
            "set data.group=null, or to another column",
        )


def _hub(config: TrainConfig | EvaluateConfig) -> Iterator[Contradiction]:
    data = config.data.as_read()
    if data.source != "hub":
        return
    if data.hub.repo is None:
        yield Contradiction(
            "no data set is named by data.hub.repo, and data.source is hub",
            ("data.hub.repo", "data.source"),
            "set data.hub.repo=OWNER/NAME",
        )
    for split in ("train", "validation", "test"):
        names = getattr(data, split)
        if isinstance(names, list):
            yield Contradiction(
                f"data.{split} can't be the list [{','.join(names)}], because a split of a hub "
                "data set has one name",
                (f"data.{split}", "data.source"),
                "give one name",
            )


def _pins(config: TrainConfig | EvaluateConfig) -> Iterator[Contradiction]:
    data = config.data.as_read()
    if data.source == "package" and data.path is None:
        yield from _unpinned(data, "data")


def _model_pins(config: TrainConfig) -> Iterator[Contradiction]:
    if config.model.source == "package" and config.model.path is None:
        yield from _unpinned(config.model, "model")


def _unpinned(section: DataSection | ModelSection, name: str) -> Iterator[Contradiction]:
    for pin in ("name", "version", "sha256"):
        if getattr(section.package, pin) is None:
            yield Contradiction(
                f"{name}.package.{pin} is not given, and {name}.source is package",
                (f"{name}.package.{pin}", f"{name}.source"),
                "the archive must be pinned",
            )


def _cells(config: TrainConfig | EvaluateConfig) -> Iterator[Contradiction]:
    data = config.data.as_read()
    if data.format in ("jsonl", "parquet") and data.delimiter is not None:
        yield Contradiction(
            f"data.delimiter can't be {data.delimiter!r} with data.format={data.format}, whose "
            "rows have no delimiter",
            ("data.delimiter", "data.format"),
            "set data.delimiter=null, or data.format to csv or tsv",
        )


def _missing_splits(config: TrainConfig) -> Iterator[Contradiction]:
    data = config.data.as_read()
    if data.train is None:
        yield Contradiction(
            "data.train is null, and there is nothing to learn from without it",
            ("data.train",),
            "add data.train=FILE",
        )
    if data.validation is None and data.split.validation == 0:
        yield Contradiction(
            "data.validation is null and data.split.validation is 0, and a training needs a "
            "validation split",
            ("data.validation", "data.split.validation"),
            "set data.validation=FILE, or data.split.validation=0.1 to make one from train",
        )


def _no_model(config: TrainConfig) -> Iterator[Contradiction]:
    model = config.model
    if model.path is None and model.source == "folder":
        yield Contradiction(
            "no model is named by model.path, and model.source is folder",
            ("model.path", "model.source"),
            "set model.path=FOLDER",
        )
    if model.path is None and model.source == "hub" and model.hub.repo is None:
        yield Contradiction(
            "no model is named by model.hub.repo, and model.source is hub",
            ("model.hub.repo", "model.source"),
            "set model.hub.repo=OWNER/NAME",
        )
    if model.path is None and model.source == "scratch" and model.scratch is None:
        yield Contradiction(
            "model.scratch is null, and model.source is scratch",
            ("model.scratch", "model.source"),
            "set model=scratch, which has the sizes",
        )


def _shared_width(config: TrainConfig) -> Iterator[Contradiction]:
    size = config.model.scratch
    if size is not None and size.width % size.heads:
        yield Contradiction(
            f"model.scratch.width={size.width} can't be shared out equally among "
            f"model.scratch.heads={size.heads}",
            ("model.scratch.width", "model.scratch.heads"),
            f"set model.scratch.width to a multiple of {size.heads}",
        )


def _frozen_adapters(config: TrainConfig) -> Iterator[Contradiction]:
    rank = config.model.lora.rank
    if rank and config.model.freeze == "encoder":
        yield Contradiction(
            f"model.lora.rank={rank} trains updates of the encoder, which model.freeze=encoder "
            "keeps from being trained",
            ("model.lora.rank", "model.freeze"),
            "set model.lora.rank=0 or model.freeze=none",
        )


def _monitor(config: TrainConfig) -> Iterator[Contradiction]:
    monitor, multi_label = config.trainer.monitor, config.data.multi_label
    if not is_metric(monitor, multi_label=multi_label):
        kind = "multi-label" if multi_label else "single-label"
        known = metric_names(multi_label=multi_label)
        own = [f"{metric}/LABEL" for metric in PER_LABEL_METRICS]
        yield Contradiction(
            f"trainer.monitor is wrong, {monitor!r} is not a metric of {kind} classification",
            ("trainer.monitor", *(["data.multi_label"] if multi_label else [])),
            did_you_mean(monitor, own if "/" in monitor else known),
        )
        return
    metric, _, label = monitor.partition("/")
    labels = _declared(config.data)
    if label and labels is not None and label not in labels:
        yield Contradiction(
            f"trainer.monitor={monitor} is wrong, there is no label {label!r}",
            ("trainer.monitor", "data.labels"),
            did_you_mean(monitor, [f"{metric}/{known}" for known in labels]),
        )


def _weighed_labels(config: TrainConfig) -> Iterator[Contradiction]:
    weights, labels = config.loss.class_weights, _declared(config.data)
    if labels is None or not isinstance(weights, Mapping):
        return
    for name in weights:
        if name not in labels:
            yield Contradiction(
                f"loss.class_weights is wrong, there is no label {name!r}",
                (f"loss.class_weights.{name}", "data.labels"),
                did_you_mean(name, labels),
            )


def _too_few_tokens(config: TrainConfig) -> Iterator[Contradiction]:
    tokens, longest = config.trainer.max_tokens, config.data.max_length
    if tokens is not None and tokens < longest:
        yield Contradiction(
            f"trainer.max_tokens={tokens} is less than data.max_length={longest}, so that a long "
            "text would fit into no batch",
            ("trainer.max_tokens", "data.max_length"),
            f"set trainer.max_tokens={longest} or more, or data.max_length={tokens} or less",
        )


def _half_precision(config: TrainConfig) -> Iterator[Contradiction]:
    trainer = config.trainer
    if trainer.precision == "16-mixed" and trainer.accelerator == "cpu":
        yield Contradiction(
            "trainer.precision=16-mixed needs a GPU, and trainer.accelerator is cpu",
            ("trainer.precision", "trainer.accelerator"),
            "set trainer.precision=bf16-mixed or trainer.accelerator=gpu",
        )


def _one_device(config: TrainConfig) -> Iterator[Contradiction]:
    trainer = config.trainer
    if trainer.accelerator == "mps" and trainer.devices > 1:
        yield Contradiction(
            f"trainer.devices={trainer.devices} can't be had with trainer.accelerator=mps, which "
            "is one device",
            ("trainer.devices", "trainer.accelerator"),
            "set trainer.devices=1",
        )
    elif trainer.accelerator == "mps" and trainer.strategy != "auto":
        yield Contradiction(
            f"trainer.strategy={trainer.strategy} is for several devices, and "
            "trainer.accelerator=mps is one",
            ("trainer.strategy", "trainer.accelerator"),
            "set trainer.strategy=auto",
        )


def _shared_out(config: TrainConfig) -> Iterator[Contradiction]:
    trainer, optimizer = config.trainer, config.optimizer
    if trainer.strategy != "fsdp":
        return
    if trainer.precision == "16-mixed":
        yield Contradiction(
            "trainer.precision=16-mixed can't be had with trainer.strategy=fsdp",
            ("trainer.precision", "trainer.strategy"),
            "set trainer.precision=bf16-mixed or trainer.strategy=ddp",
        )
    if optimizer.name == "adafactor":
        yield Contradiction(
            "optimizer.name=adafactor can't be had with trainer.strategy=fsdp, which shares out "
            "the matrices whose rows and columns it adds up",
            ("optimizer.name", "trainer.strategy"),
            "set optimizer=adamw or trainer.strategy=ddp",
        )


def _optimizers_own_keys(config: TrainConfig) -> Iterator[Contradiction]:
    optimizer = config.optimizer
    for key, value in (("betas", optimizer.betas), ("eps", optimizer.eps)):
        if (value is None) == (optimizer.name == "adamw"):
            what = "is null" if value is None else "is given"
            needs = "needs" if value is None else "has no"
            yield Contradiction(
                f"optimizer.{key} {what}, and optimizer.name={optimizer.name} {needs} {key}",
                (f"optimizer.{key}", "optimizer.name"),
                f"choose optimizer={optimizer.name}, which sets its own keys",
            )


def _late_peak(config: TrainConfig) -> Iterator[Contradiction]:
    warmup_steps, max_steps = config.scheduler.warmup_steps, config.trainer.max_steps
    if warmup_steps is not None and max_steps is not None and warmup_steps > max_steps:
        yield Contradiction(
            f"scheduler.warmup_steps={warmup_steps} is more than trainer.max_steps={max_steps}, so "
            "that the learning rate would never reach its peak",
            ("scheduler.warmup_steps", "trainer.max_steps"),
            f"set scheduler.warmup_steps={max_steps} or less, or leave it out",
        )
