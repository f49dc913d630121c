"""``textmill runs show``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from textmill.browse.entries import Entry
from textmill.browse.views import view_table
from textmill.labels import Labels
from textmill.report.record import RunRecord
from textmill.report.results import metrics_table
from textmill.report.search_values import value_text
from textmill.report.writing import cost_facts
from textmill.runs import Run, short_path
from textmill.terminal import facts_of, text

# What the manifest of a run tells of the search or multirun that it is one of.
_BELONGING = ("group", "trial", "parameters", "combination")


def show_run(entry: Entry, console: Console) -> None:
    """Prints the verdict on a run, its metrics, and where everything is.

    Raises:
        InputError: A file of the run is broken.
    """
    manifest = entry.manifest
    console.print(text(f"{entry.place} is {manifest.get('state')}"), style="bold")
    for sentence in manifest.get("results", [_unjudged(manifest)]):
        console.print(text(sentence))
    labels = _labels(manifest)
    if entry.judged is not None and labels is not None:
        console.print()
        console.print(view_table(metrics_table(entry.metrics, entry.judged, labels)))
    for title, facts in _parts(entry).items():
        if facts:
            console.print()
            console.print(text(title), style="bold")
            console.print(facts_of(facts))


def run_json(entry: Entry) -> str:
    """What is known of a run, as JSON."""
    told = ("name", "state", *_BELONGING, "started", "ended", "judged", "command", "seed")
    record = {
        "run": entry.place,
        "folder": str(entry.run.folder.absolute()),
        **{name: entry.manifest.get(name) for name in (*told, "git", "data")},
        "verdict": entry.manifest.get("results", []),
        "metrics": entry.metrics,
        "config": entry.config,
        "files": {name: str(path.absolute()) for name, path in _files(entry.run)},
    }
    return json.dumps(record, indent=2, ensure_ascii=False)


def _unjudged(manifest: Mapping[str, Any]) -> str:
    if manifest.get("state") == "pruned":
        return "A search ended it early, as others did better."
    return "It has not been judged."


def _parts(entry: Entry) -> dict[str, Mapping[str, object]]:
    return {
        "Made from": _origin(entry),
        "Cost": cost_facts(RunRecord.of(entry.run)) if "data" in entry.manifest else {},
        "Files": {name: short_path(path) for name, path in _files(entry.run)},
        "Tracked": dict(_trackers(entry)),
        "Next": dict(_next_steps(entry)),
    }


def _labels(manifest: Mapping[str, Any]) -> Labels | None:
    data = manifest.get("data")
    return None if data is None else Labels(tuple(data["labels"]), data["multi_label"])


def _origin(entry: Entry) -> dict[str, object]:
    manifest = entry.manifest
    data, git = manifest.get("data", {}), manifest.get("git") or {}
    counts = ", ".join(f"{count:,} {split}" for split, count in data.get("counts", {}).items())
    commit = git.get("commit")
    facts = {
        "data": f"{entry.value('data')}{f': {counts}' if counts else ''}",
        "labels": ", ".join(data.get("labels", [])),
        "model": entry.value("model"),
        "seed": manifest.get("seed"),
        "commit": f"{commit}{' and changes' if git.get('dirty') else ''}" if commit else None,
        "command": manifest.get("command"),
        "started": manifest.get("started"),
        **_belonging(manifest),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _belonging(manifest: Mapping[str, Any]) -> dict[str, object]:
    """The search or multirun that a run is one of, and what was chosen for it."""
    group = manifest.get("group")
    if "trial" in manifest:
        chosen = manifest.get("parameters", {}).items()
        settings = ", ".join(f"{name}={value_text(value)}" for name, value in chosen)
        return {"search": f"{group}, trial {manifest['trial']}", "settings": settings}
    return {"multirun": group, "settings": ", ".join(manifest.get("combination", []))}


def _files(run: Run) -> Iterator[tuple[str, Path]]:
    """What there is in the run's folder: a name for each, and where it is."""
    places = {
        "report": run.report,
        "bundle": run.bundle,
        "metrics": run.metrics,
        "predictions": run.predictions("test").parent,
        "suspected labels": run.suspects,
        "tables": run.table("any").parent,
        "configuration": run.config,
        "manifest": run.manifest,
        "checkpoints": run.last_checkpoint.parent,
    }
    return ((name, path) for name, path in places.items() if path.exists())


def _trackers(entry: Entry) -> Iterator[tuple[str, object]]:
    """The trackers that were told of the run, and how to see it there."""
    folder = entry.run.folder
    if entry.value("tracking.wandb") and entry.value("tracking.mode") != "disabled":
        seen = "online"
        if entry.value("tracking.mode") == "offline":
            seen = f"offline; textmill runs sync {_quoted(folder)} uploads it"
        yield "W&B", f"project {entry.value('tracking.project')}, {seen}"
    if entry.value("tracking.tensorboard"):
        yield "TensorBoard", f"tensorboard --logdir {_quoted(folder / 'tensorboard')}"
    if entry.value("tracking.mlflow"):
        local = f"sqlite:///{folder.parent.parent / 'mlflow.db'}"
        yield "MLflow", entry.value("tracking.mlflow_uri") or local
    if entry.value("tracking.csv"):
        yield "CSV", short_path(folder / "csv")


def _next_steps(entry: Entry) -> Iterator[tuple[str, object]]:
    folder, state = entry.run.folder, entry.manifest.get("state")
    if state not in ("finished", "pruned"):
        when = "go on, if it isn't running" if state == "running" else "go on"
        yield when, f"textmill train resume={_quoted(folder)}"
    if entry.run.bundle.exists():
        yield "predict", f'textmill predict {_quoted(entry.run.bundle)} "a text"'
    if entry.judged is not None:
        yield "look", f"textmill runs report {_quoted(folder)}"


def _quoted(path: Path) -> str:
    return shlex.quote(short_path(path))
