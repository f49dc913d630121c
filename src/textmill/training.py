"""One run from its configuration: trained, judged, and written into its folder."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from torch import distributed, nn

from textmill.bundle import write_bundle
from textmill.cache import cache_folder
from textmill.configuration.composing import Composed, read_config
from textmill.configuration.overrides import override_of
from textmill.configuration.schema import TrainConfig
from textmill.data.batches import widest_window
from textmill.data.examples import Examples
from textmill.data.statistics import label_counts
from textmill.data.tokens import TokenizedSplit, tokenize_split
from textmill.encoding import Lengths, Padding
from textmill.environment import describe_environment
from textmill.errors import InputError, did_you_mean, make_all
from textmill.fit import Budget, Fitted, Hardware, Saving, fit, process_rank
from textmill.judge import (
    scored_table,
    texts_of,
)
from textmill.labels import Labels
from textmill.model.checkpoints import PrunedError, StoppedError, resume_state
from textmill.model.losses import ClassificationLoss, resolve_class_weights
from textmill.model.metric_names import monitor_mode
from textmill.model.network import (
    Lora,
    add_lora,
    build_network,
    encoder_fingerprint,
    merge_lora,
)
from textmill.model.optimizers import Adam, Optimization
from textmill.model_card import CardFacts, model_card
from textmill.outcome import judge_run, show_run
from textmill.predictor import Predictor
from textmill.recipe import (
    Encoder,
    check_adapters,
    check_files,
    check_model,
    encoder_of,
    examples_of,
    text_columns,
)
from textmill.runs import Run, State, check_writable, create_run
from textmill.safe_write import write_text
from textmill.trackers import check_trackers, trackers_of
from textmill.tracking.mirror import Mirrors
from textmill.tracking.recorder import Recorder, Recording
from textmill.tracking.replay import replay, rewind

GOLDEN_TEXTS = 32
# By which processes that train together find each other.
_OF_PROCESSES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is said of a run beside its configuration.

    Args:
        facts: Entries of the manifest, such as the multirun or the search that it belongs to.
        begun: Called with the run when it has its folder, before that has a file in it.
        observers: Callbacks that watch the training, and may end it by an exception.
        told: Whether the results are printed.
    """

    facts: Mapping[str, object] = field(default_factory=dict)
    begun: Callable[[Run], None] | None = None
    observers: Sequence[L.Callback] = ()
    told: bool = True


def train(composed: Composed[TrainConfig], settings: Settings = Settings()) -> Run:
    """Trains a new run as configured, judges it, and writes everything into its folder.

    Args:
        composed: The configuration.
        settings: What is said of the run beside it.

    Returns:
        The run, finished.

    Raises:
        InputError: The configuration, the data or the model can't be used.
        MachineError: Something can't be fetched or written.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    prepared = _prepare(composed.config)
    return _train(_begin(composed, settings), prepared, settings, resumed=False)


def resume(run: Run, settings: Settings = Settings()) -> Run:
    """Goes on with a stopped run, by the configuration in its folder.

    Args:
        run: The run.
        settings: As for `train`; its facts are not written again.

    Returns:
        The run, finished.

    Raises:
        InputError: The data have changed since it began, or can't be used any more.
        MachineError: As `train`.
        StoppedError: As `train`.
    """
    prepared = _prepare(read_config(run.config, TrainConfig))
    _continue(run, prepared.examples)
    return _train(run, prepared, settings, resumed=True)


def made_from_of(config: TrainConfig, examples: Examples, encoder: Encoder) -> dict[str, Any]:
    """What a run here and now is made from, as plain values for its manifest.

    Args:
        config: Its configuration.
        examples: Its data.
        encoder: What it is trained from.
    """
    return {
        "seed": config.seed,
        "data": examples.as_record(),
        "encoder": encoder_fingerprint(encoder.pretrained),
        "precision": _hardware(config).resolved_precision,
        **describe_environment(),
    }


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that a training needs, checked and loaded."""

    config: TrainConfig
    examples: Examples
    encoder: Encoder
    network: nn.Module
    loss: ClassificationLoss


def check_machine(config: TrainConfig) -> None:
    """Makes sure that this machine can do what a configuration asks for; all problems at once.

    Raises:
        InputError: It lacks devices, libraries, files or folders.
        MachineError: It can't write the runs.
    """
    make_all(
        [
            _hardware(config).check,
            partial(check_writable, Path(config.runs_dir)),
            partial(check_trackers, config.tracking),
            partial(check_files, config.data),
            partial(check_model, config.model),
            partial(check_adapters, config.model),
        ]
    )


def _prepare(config: TrainConfig) -> _Prepared:
    check_machine(config)
    examples = examples_of(config.data, config.seed)
    _check_monitor(config.trainer.monitor, examples.labels)
    encoder = encoder_of(config.model, config.data, examples, seed=config.seed)
    L.seed_everything(config.seed, workers=True, verbose=False)
    network = _network(config, encoder, examples.labels)
    return _Prepared(config, examples, encoder, network, _loss(config, examples))


def _train(run: Run, prepared: _Prepared, settings: Settings, *, resumed: bool) -> Run:
    config, examples, encoder = prepared.config, prepared.examples, prepared.encoder
    with _recorded(run):
        tokens = _tokenize(encoder, examples)
        share_cut, window = tokens["train"].share_cut, _window(config, tokens["train"])
        if process_rank() == 0:
            _describe(run, prepared, share_cut, window)
        with _tracked(run, config, examples.labels, resumed=resumed) as tracker:
            recorder = _recorder(config, run, examples, tokens, tracker)
            with _joinable(run):
                fitted = _fit(run, prepared, tokens, window, [recorder, *settings.observers])
            if process_rank() == 0:
                card = _card(config, encoder, examples, share_cut)
                _write_bundle(run, config, prepared.network, encoder, examples, card)
                predictor = Predictor.from_bundle(run.bundle, device="auto")
                run.update_manifest(weights=predictor.bundle.info.fingerprints["weights"])
                results = judge_run(run, config, examples, predictor, fitted, told=settings.told)
                write_text(run.bundle / "README.md", model_card(card, results))
                show_run(run, config, encoder, examples, predictor, tracker, told=settings.told)
    return run


def _continue(run: Run, examples: Examples) -> None:
    """Makes the stopped run a running one, if its data are still the same.

    Raises:
        InputError: They are not.
    """
    recorded = run.read_manifest().get("data", {}).get("fingerprints", examples.fingerprints)
    if recorded != examples.fingerprints:
        raise InputError(
            "the data have changed since the run began",
            where=str(run.folder),
            hint="start a new run, or bring the old data back",
        )
    if process_rank() == 0:
        run.update_manifest(state="running")


def _begin(composed: Composed[TrainConfig], settings: Settings) -> Run:
    config = composed.config
    base = {"started_from": composed.base} if composed.base else {}
    return create_run(
        Path(config.runs_dir),
        config.name,
        composed.resolved,
        composed.overrides,
        facts={**base, **settings.facts},
        made=settings.begun,
    )


@contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """Writes into the manifest how the run ends, whatever ends it."""
    if process_rank() > 0:
        yield
        return
    try:
        yield
    except BaseException as error:
        run.close(_state_after(error))
        raise
    run.close("finished")


@contextmanager
def _tracked(run: Run, config: TrainConfig, labels: Labels, *, resumed: bool) -> Iterator[Mirrors]:
    """The trackers; they are told what a resumed run has recorded, and how the run ends."""
    if process_rank() > 0:
        yield Mirrors([], timeout=0)
        return
    if resumed:
        rewind(run, _step_of(run.last_checkpoint, config.trainer.accumulate))
    tracker = trackers_of(config.tracking, run, resumed=resumed)
    if resumed:
        replay(run, tracker, labels)
    try:
        yield tracker
    except BaseException as error:
        tracker.finish(_state_after(error))
        raise
    tracker.finish("finished")


@contextmanager
def _joinable(run: Run) -> Iterator[None]:
    """Has the processes that Lightning starts for further devices join the run, by resuming it.

    It starts them with the command line, which may ask for many runs. What it leaves behind, by
    which a further training in this process would take those for its own, is put away.
    """
    command_line, before = list(sys.argv), {name: os.environ.get(name) for name in _OF_PROCESSES}
    sys.argv = [command_line[0], "train", override_of("resume", str(run.folder))]
    joined = distributed.is_initialized()
    try:
        yield
    finally:
        sys.argv = command_line
        if distributed.is_initialized() and not joined:
            distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _state_after(error: BaseException) -> State:
    """How a run ended that an exception ended."""
    if isinstance(error, PrunedError):
        return "pruned"
    return "interrupted" if isinstance(error, StoppedError | KeyboardInterrupt) else "failed"


def _step_of(checkpoint: Path, accumulate: int) -> int:
    """The optimizer steps that were made when a checkpoint was written; 0 where there is none."""
    return resume_state(checkpoint)["batches_done"] // accumulate if checkpoint.exists() else 0


def _tokenize(encoder: Encoder, examples: Examples) -> dict[str, TokenizedSplit]:
    return {
        split: tokenize_split(
            examples.splits[split],
            encoder.tokenizer,
            encoder.policy,
            fingerprint=examples.fingerprints[split],
            cache=cache_folder(),
        )
        for split in ("train", "validation")
    }


def _window(config: TrainConfig, train: TokenizedSplit) -> int:
    trainer = config.trainer
    if trainer.window is not None:
        return trainer.window
    return widest_window(train, trainer.batch_size, trainer.max_tokens)


def _describe(run: Run, prepared: _Prepared, share_cut: float, window: int) -> None:
    """Records what the run is made from, and tells it in a few lines."""
    config, examples, encoder = prepared.config, prepared.examples, prepared.encoder
    made_from = made_from_of(config, examples, encoder)
    run.update_manifest(command=shlex.join(sys.argv), share_cut=share_cut, **made_from)
    counts = ", ".join(f"{len(split):,} {name}" for name, split in examples.splits.items())
    _tell(f"run {run.folder}")
    _tell(f"data {config.data.name}: {counts}; labels {', '.join(examples.labels.names)}")
    for problem in examples.problems:
        _tell(f"data {config.data.name}: {problem.sentence}")
    if examples.corrections:
        relabelled, left_out = examples.corrections["relabelled"], examples.corrections["left_out"]
        _tell(f"corrections: {relabelled:,} labels changed, {left_out:,} rows left out")
    if share_cut:
        cut = round(share_cut * len(examples.splits["train"]))
        _tell(f"{cut:,} training texts ({share_cut:.1%}) are longer than data.max_length")
    precision, devices = made_from["precision"], config.trainer.devices
    threads = _hardware(config).resolved_threads
    _tell(
        f"model {config.model.name}, precision {precision}, {devices} device(s), "
        f"{threads} thread(s) each"
    )
    _tell(
        "batches of texts at random"
        if window == 1
        else f"batches of texts of like length, sorted {window} batches at a time"
    )


def _check_monitor(monitor: str, labels: Labels) -> None:
    """Makes sure that there will be such a metric.

    Raises:
        InputError: There won't.
    """
    monitor_mode(monitor, multi_label=labels.multi_label)
    _, _, label = monitor.partition("/")
    if label and label not in labels.names:
        raise InputError(
            f"there is no label {label!r}",
            where=f"trainer.monitor={monitor}",
            hint=did_you_mean(label, labels.names),
        )


def _network(config: TrainConfig, encoder: Encoder, labels: Labels) -> nn.Module:
    model = config.model
    network = build_network(
        encoder.pretrained,
        labels,
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
        freeze=model.freeze,
    )
    if not model.lora.rank:
        return network
    lora = model.lora
    targets = None if lora.targets is None else tuple(lora.targets)
    return add_lora(network, Lora(lora.rank, lora.alpha, lora.dropout, targets))


def _loss(config: TrainConfig, examples: Examples) -> ClassificationLoss:
    labels, train = examples.labels, examples.splits["train"]
    counts = label_counts(train, labels)
    weights = resolve_class_weights(config.loss.class_weights, labels, counts, len(train))
    return ClassificationLoss(labels, weights, config.loss.label_smoothing)


def _fit(
    run: Run,
    prepared: _Prepared,
    tokens: Mapping[str, TokenizedSplit],
    window: int,
    observers: Sequence[L.Callback],
) -> Fitted:
    config = prepared.config
    trainer = config.trainer
    return fit(
        prepared.network,
        prepared.loss,
        prepared.examples.labels,
        tokens["train"],
        tokens["validation"],
        Padding.of(prepared.encoder.tokenizer),
        optimization=_optimization(config),
        budget=Budget(
            max_epochs=trainer.max_epochs,
            max_steps=trainer.max_steps,
            batch_size=trainer.batch_size,
            max_tokens=trainer.max_tokens,
            window=window,
            accumulate=trainer.accumulate,
            validations=trainer.validations,
            patience=trainer.patience,
        ),
        hardware=_hardware(config),
        saving=Saving(
            last=run.last_checkpoint,
            best=run.best_checkpoint,
            history=run.history,
            monitor=trainer.monitor,
            every_steps=trainer.checkpoint_steps,
            every_seconds=60 * trainer.checkpoint_minutes,
        ),
        seed=config.seed,
        observers=observers,
    )


def _recorder(
    config: TrainConfig,
    run: Run,
    examples: Examples,
    tokens: Mapping[str, TokenizedSplit],
    tracker: Mirrors,
) -> Recorder:
    validation = tokens["validation"]
    predictions_of = partial(
        scored_table,
        examples.splits["validation"],
        labels=examples.labels,
        lengths=Lengths(validation.lengths, validation.cut),
    )

    recording = Recording(
        labels=examples.labels,
        train_examples=len(tokens["train"]),
        log_steps=config.tracking.log_steps,
        watch=config.tracking.watch,
    )
    return Recorder(run, tracker, predictions_of, recording)


def _optimization(config: TrainConfig) -> Optimization:
    optimizer = config.optimizer
    betas, eps = optimizer.betas, optimizer.eps
    adam = None if betas is None or eps is None else Adam(betas, eps)
    return Optimization(
        lr=optimizer.lr,
        head_lr=optimizer.head_lr,
        weight_decay=optimizer.weight_decay,
        adam=adam,
        layer_decay=optimizer.layer_decay,
        shape=config.scheduler.shape,
        warmup=config.scheduler.warmup,
        warmup_steps=config.scheduler.warmup_steps,
        gradient_clip=config.trainer.gradient_clip,
    )


def _hardware(config: TrainConfig) -> Hardware:
    trainer = config.trainer
    return Hardware(
        trainer.accelerator,
        trainer.devices,
        trainer.strategy,
        trainer.precision,
        trainer.workers,
        trainer.threads,
    )


def _write_bundle(
    run: Run,
    config: TrainConfig,
    network: nn.Module,
    encoder: Encoder,
    examples: Examples,
    card: CardFacts,
) -> None:
    """Writes the model to ship; its card gets its results once it is judged."""
    write_bundle(
        run.bundle,
        merge_lora(network),
        encoder.tokenizer,
        labels=examples.labels,
        policy=encoder.policy,
        text_columns=text_columns(config.data),
        fingerprints={f"data/{name}": value for name, value in examples.fingerprints.items()},
        golden_texts=texts_of(examples.splits["validation"])[:GOLDEN_TEXTS],
        card=model_card(card, results=()),
    )


def _card(config: TrainConfig, encoder: Encoder, examples: Examples, share_cut: float) -> CardFacts:
    return CardFacts(
        name=config.name,
        encoder=config.model.name,
        data=config.data.name,
        labels=examples.labels,
        counts={name: len(split) for name, split in examples.splits.items()},
        max_length=encoder.policy.max_length,
        overflow=encoder.policy.overflow,
        share_cut=share_cut,
        seed=config.seed,
    )


def _tell(line: str) -> None:
    """A line about the run for whoever watches, from the first process alone."""
    print(line, file=sys.stderr, flush=True)
