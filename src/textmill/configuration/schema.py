"""The types, ranges and choices of every configuration key.

The YAML files under ``conf/`` hold the defaults and the comments; nothing here repeats them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from textmill.forms.choosing import FormChoice

_NAME = r"^\w[\w.+-]{0,99}$"
_SHA256 = "^[0-9a-f]{64}$"


def _as_text(value: object) -> object:
    """A whole number where text is wanted, such as a label or a folder, means its digits."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_whole else value


def _check_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise ValueError("use letters, digits and . _ + -, at most 100, a letter or digit first")
    return name


def _check_sha256(text: str) -> str:
    if not re.fullmatch(_SHA256, text):
        raise ValueError("give the archive's SHA-256, 64 hexadecimal digits")
    return text


Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(ge=0.0, lt=1.0)]
Decay = Annotated[float, Field(gt=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveNumber = Annotated[float, Field(gt=0.0)]
NotNegativeNumber = Annotated[float, Field(ge=0.0)]
_TEXT: dict[str, Any] = {"type": ["string", "integer"]}
Text = Annotated[str, BeforeValidator(_as_text), WithJsonSchema(_TEXT)]
Name = Annotated[Text, AfterValidator(_check_name), WithJsonSchema({**_TEXT, "pattern": _NAME})]
Sha256 = Annotated[
    Text, AfterValidator(_check_sha256), WithJsonSchema({**_TEXT, "pattern": _SHA256})
]
Column = str | int
Pair = Annotated[list[Column], Field(min_length=2, max_length=2)]
Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
FileNames = Text | list[Text]
FullPolicy = Literal["error", "drop", "keep"]
UnreadablePolicy = Literal["error", "drop"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class Section(BaseModel):
    """A part of the configuration.

    An unknown key is an error, and so is a value of another type: ``true`` is not 1, and ``"2"``
    is not 2.
    """

    # Built when first used: most sections are parts of a configuration that is built whole.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )


class HubSection(Section):
    repo: Text | None
    revision: Text | None


class HubDataSection(HubSection):
    config: Text | None


class PackageSection(Section):
    name: Text | None
    version: Text | None
    sha256: Sha256 | None
    kind: Literal["wheel", "sdist"]
    members: list[Text]


class LocalSection(Section):
    """Keys of a data set that a local copy answers differently; none has to be given."""

    train: FileNames | None = None
    validation: FileNames | None = None
    test: FileNames | None = None
    text: Column | Pair | None = None
    label: Column | None = None
    labels: list[Text] | None = None
    label_values: dict[Text, Text] | None = None
    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None
    encoding: Text | None = None
    delimiter: Delimiter | None = None
    quoting: bool | None = None
    header: bool | None = None
    skip_after_header: NotNegative | None = None


class SplitSection(Section):
    validation: OpenShare
    test: OpenShare

    @model_validator(mode="after")
    def _train_keeps_something(self) -> SplitSection:
        if self.validation + self.test >= 1:
            raise ValueError("the shares of validation and test must leave something for train")
        return self


class ProblemsSection(Section):
    wrong_width: UnreadablePolicy
    undecodable: UnreadablePolicy
    malformed: UnreadablePolicy
    missing_text: FullPolicy
    empty_text: FullPolicy
    missing_label: UnreadablePolicy
    unknown_label: UnreadablePolicy
    label_only_in_test: FullPolicy
    rare_class: FullPolicy
    duplicate: FullPolicy
    conflicting_duplicate: FullPolicy
    leak: FullPolicy


class DataSection(Section):
    name: Text
    source: Literal["files", "package", "hub"]
    path: Text | None
    train: FileNames | None
    validation: FileNames | None
    test: FileNames | None
    text: Column | Pair
    label: Column
    group: Column | None
    slices: list[Column]
    labels: list[Text] | None
    label_values: dict[Text, Text] | None
    label_thresholds: list[float] | None
    multi_label: bool
    label_delimiter: Text | None
    format: Literal["csv", "tsv", "jsonl", "parquet"] | None
    encoding: Text
    delimiter: Delimiter | None
    quoting: bool
    header: bool
    skip_after_header: NotNegative
    hub: HubDataSection
    package: PackageSection
    local: LocalSection | None
    split: SplitSection
    corrections: Text | None
    max_length: Positive
    overflow: Literal["keep_head", "keep_tail", "keep_ends"]
    on_problem: ProblemsSection

    @model_validator(mode="after")
    def _something_is_given(self) -> DataSection:
        if self.train is None and self.validation is None and self.test is None:
            raise ValueError("it has no examples, so add data.train=FILE")
        return self

    def as_read(self) -> DataSection:
        """The section with the answers of ``local``, where a hub data set lies in a folder."""
        if self.path is None or self.local is None:
            return self
        answers = self.local.model_dump(exclude_unset=True)
        return self.model_copy(update={"source": "files", **answers})


class LoraSection(Section):
    rank: NotNegative
    alpha: Positive
    dropout: OpenShare
    targets: list[Text] | None


class ScratchSection(Section):
    layers: Positive
    width: Positive
    heads: Positive
    vocabulary: Annotated[int, Field(ge=100)]


class ModelSection(Section):
    name: Text
    source: Literal["hub", "package", "folder", "scratch"]
    max_length: Positive | None
    path: Text | None
    hub: HubSection
    package: PackageSection
    scratch: ScratchSection | None
    learning_rate: PositiveNumber
    layer_decay: Decay
    dropout: OpenShare | None
    attention_dropout: OpenShare | None
    freeze: Literal["none", "embeddings", "encoder"]
    lora: LoraSection


class LossSection(Section):
    class_weights: Literal["none", "balanced"] | dict[Text, PositiveNumber]
    label_smoothing: OpenShare


class OptimizerSection(Section):
    name: Literal["adamw", "adafactor"]
    lr: PositiveNumber
    head_lr: PositiveNumber
    weight_decay: NotNegativeNumber
    betas: Annotated[tuple[OpenShare, OpenShare], Field(strict=False)] | None
    eps: PositiveNumber | None
    layer_decay: Decay


class SchedulerSection(Section):
    shape: Literal["linear", "cosine", "constant"]
    warmup: Share
    warmup_steps: NotNegative | None


class TrainerSection(Section):
    max_epochs: Positive
    max_steps: Positive | None
    batch_size: Positive
    max_tokens: Positive | None
    window: Positive | None
    accumulate: Positive
    gradient_clip: PositiveNumber | None
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Positive
    strategy: Literal["auto", "ddp", "fsdp"]
    workers: NotNegative
    threads: Positive | None
    monitor: Text
    validations: Positive
    patience: Positive | None
    checkpoint_minutes: PositiveNumber
    checkpoint_steps: Positive | None


class BaselinesSection(Section):
    enabled: bool
    max_examples: Positive


class TrackingSection(Section):
    wandb: bool
    tensorboard: bool
    mlflow: bool
    csv: bool
    mode: Literal["online", "offline", "disabled"]
    project: Text
    entity: Text | None
    group: Text | None
    tags: list[Text]
    notes: Text | None
    run_name: Text | None
    mlflow_uri: Text | None
    log_steps: Positive
    watch: Literal["none", "gradients", "parameters", "all"]
    report: bool
    samples: Positive
    explained: NotNegative
    timeout: PositiveNumber


class TrainConfig(Section):
    """The configuration of ``textmill train`` and ``textmill data``."""

    data: DataSection
    model: ModelSection
    loss: LossSection
    optimizer: OptimizerSection
    scheduler: SchedulerSection
    trainer: TrainerSection
    baselines: BaselinesSection
    tracking: TrackingSection
    seed: Seed
    name: Name
    runs_dir: Text
    resume: Text | None


class ParameterSection(Section):
    """What a search varies; none of its keys has to be given."""

    choices: list[bool | int | float | str | None] | None = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    when: dict[Text, Any] = {}


class PruningSection(Section):
    startup_trials: NotNegative
    warmup: NotNegative
    reduction_factor: Annotated[int, Field(ge=2)]
    longest: Positive | None


class SweepSection(Section):
    name: Name
    space: Annotated[dict[Text, ParameterSection], Field(min_length=1)]
    first: list[dict[Text, bool | int | float | str | None]]
    objectives: Annotated[list[Text], Field(min_length=1)]
    sampler: Literal["tpe", "random", "cmaes", "grid", "nsga2"]
    startup_trials: NotNegative
    population: Annotated[int, Field(ge=2)]
    pruner: Literal["none", "median", "hyperband"]
    pruning: PruningSection
    trials: Positive | None
    minutes: PositiveNumber | None
    seed: Seed
    storage: Text | None
    keep: Literal["best", "all"]


class SweepConfig(TrainConfig):
    """The configuration of ``textmill sweep``."""

    sweep: SweepSection


class EvaluateConfig(Section):
    """The configuration of ``textmill evaluate``."""

    data: DataSection
    bundle: Text
    split: Literal["train", "validation", "test", "all"]
    output: Text | None
    device: Device
    form: FormChoice
    seed: Seed


SCHEMAS: dict[Text, type[Section]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "sweep": SweepConfig,
}
