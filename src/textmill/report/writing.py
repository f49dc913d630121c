"""Writes a run's report, from the files of its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from textmill.attribution import read_mistakes
from textmill.data.checks import Problem
from textmill.report.attributions import MistakeView
from textmill.report.examples import followed_table, mistakes_table, table_of, tables_of
from textmill.report.figures import figures_of
from textmill.report.page import duration, number, render, size
from textmill.report.record import RunRecord
from textmill.report.results import gains_table, labels_table, metrics_table, tiles
from textmill.runs import Run
from textmill.safe_write import write_text
from textmill.tracking.charts import learning_charts, split_charts
from textmill.version import __version__


def write_report(run: Run) -> Path:
    """Writes ``report.html`` into the folder of a run, finished or not; returns its path.

    Raises:
        InputError: A file of the folder is broken, or the run ended before it had read its data.
        MachineError: The disk is full, or the folder can't be written.
    """
    write_text(run.report, report_page(RunRecord.of(run)))
    return run.report


def report_page(record: RunRecord) -> str:
    """The report, as HTML."""
    config = yaml.safe_load(record.config)
    return render(
        "report.html.j2",
        name=str(record.manifest.get("name", record.run.folder.name)),
        version=__version__,
        state=record.manifest["state"],
        sentences=record.manifest.get("results", []),
        judged=record.judged,
        summary=_summary(record, config),
        **_results(record),
        **_charts(record),
        **_examples(record),
        cost=cost_facts(record),
        data=_data(record),
        environment=_environment(record.manifest),
        reproduction=_reproduction(record),
        config=record.config,
        overrides=_overrides(record.run),
    )


def cost_facts(record: RunRecord) -> dict[str, str]:
    """What the run took: from title to what is told."""
    metrics, training = record.metrics, record.training
    shown = {
        "Training": ("train/seconds", duration),
        "Speed": ("train/examples_per_second", lambda value: f"{number(value)} examples a second"),
        "Peak memory": ("train/peak_memory_bytes", size),
        "Optimizer steps": ("train/steps", lambda value: f"{value:,.0f}"),
        "Best step": ("train/best_step", lambda value: f"{value:,.0f}"),
    }
    cost = {title: show(metrics[key]) for title, (key, show) in shown.items() if key in metrics}
    padding = [one["padding_share"] for one in training if "padding_share" in one]
    if padding:
        cost["Padding"] = f"{np.mean(padding):.1%} of the tokens computed"
    return cost | {
        f"Training the {name} baseline": duration(metrics[f"baseline/{name}/seconds"])
        for name in ("linear",)
        if f"baseline/{name}/seconds" in metrics
    }


def _summary(record: RunRecord, config: Mapping[str, Any]) -> dict[str, str]:
    counts = record.manifest["data"]["counts"]
    kind = "any number of" if record.labels.multi_label else "one of"
    return {
        "Model": str(config.get("model", {}).get("name", "")),
        "Data": str(config.get("data", {}).get("name", "")),
        "Task": f"{kind} {len(record.labels)} labels for each text",
        "Examples": ", ".join(f"{count:,} {split}" for split, count in counts.items()),
        "Started": _moment(record.manifest["started"]),
        "Folder": str(record.run.folder),
    }


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _results(record: RunRecord) -> dict[str, Any]:
    """The verdict and the tables of metrics; empty where the run wasn't judged."""
    metrics, judged, labels = record.metrics, record.judged, record.labels
    if not metrics or judged not in record.predictions:
        return {"tiles": {}, "metrics": None, "gains": None, "labels": None}
    return {
        "tiles": tiles(metrics, judged),
        "metrics": metrics_table(metrics, judged, labels),
        "gains": gains_table(metrics),
        "labels": labels_table(metrics, judged, record.predictions[judged], labels),
    }


def _charts(record: RunRecord) -> dict[str, Any]:
    learning = learning_charts(record.history, record.training)
    return {
        "learning": figures_of(learning, "training"),
        "splits": {
            split: figures_of(split_charts(table, record.labels), f"{split} split")
            for split, table in record.predictions.items()
        },
    }


def _examples(record: RunRecord) -> dict[str, Any]:
    return {
        "mistakes": {
            split: mistakes_table(split, table) for split, table in record.predictions.items()
        },
        "explained": _explained(record.run),
        "slices": tables_of(record, "slices"),
        "instructive": tables_of(record, "instructive"),
        "samples": tables_of(record, "samples"),
        "followed": followed_table(record),
        "suspects": table_of(record, "suspects", "suspects", "Suspected label errors"),
    }


def _explained(run: Run) -> list[MistakeView]:
    if not run.attributions.exists():
        return []
    return [MistakeView.of(mistake) for mistake in read_mistakes(run.attributions)]


def _data(record: RunRecord) -> dict[str, Any]:
    data = record.manifest["data"]
    facts = {
        f"{split} split": f"{count:,} examples, SHA-256 {data['fingerprints'][split]}"
        for split, count in data["counts"].items()
    }
    share_cut = record.manifest.get("share_cut")
    if share_cut is not None:
        facts["Cut"] = f"{share_cut:.1%} of the training texts are longer than the model reads"
    made = [
        f"The {split} split was made from {one['source']}: {one['count']:,} examples, a share of "
        f"{one['share']:g}, {one['method']}, seed {one['seed']}."
        for split, one in data["made"].items()
    ]
    problems = [Problem(**problem).sentence for problem in data["problems"]]
    return {"facts": facts, "made": made, "problems": problems}


def _environment(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    machine = dict(manifest.get("machine", {}))
    if "memory_bytes" in machine:
        machine["memory"] = size(machine.pop("memory_bytes"))
    accelerators = machine.pop("accelerators", None) or ["none"]
    shown = {name: str(value) for name, value in machine.items()}
    return {
        "Machine": {**shown, "accelerators": ", ".join(accelerators)},
        "Packages": {name: str(one) for name, one in manifest.get("packages", {}).items()},
    }


def _reproduction(record: RunRecord) -> dict[str, Any]:
    manifest = record.manifest
    git = manifest.get("git") or {}
    return {
        "command": manifest.get("command"),
        "commit": git.get("commit"),
        "dirty": bool(git.get("dirty")),
        "seed": manifest.get("seed"),
    }


def _overrides(run: Run) -> list[str]:
    path = run.folder / ".hydra" / "overrides.yaml"
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.exists() else []
