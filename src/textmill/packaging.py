"""Makes the other forms of a bundle's model, proves them, and adds those that pass."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from textmill.bundle import (
    ONNX_FOLDER,
    Bundle,
    FormRecord,
    load_network,
    plain_tokenizer,
    read_bundle,
    read_golden,
    sha256_of,
    write_forms,
)
from textmill.encoding import Padding, pad_batch
from textmill.errors import InputError, MachineError, TextmillError
from textmill.forms.choosing import FormName
from textmill.forms.exporting import export_graph, fuse, versions_of
from textmill.forms.graph_form import graph_scorer
from textmill.forms.quantizing import quantize, quantize_in_blocks
from textmill.forms.smoothing import smooth
from textmill.labels import Labels
from textmill.parity import (
    LARGEST_DROP,
    LEAST_EQUAL,
    TOLERANCE,
    Agreement,
    Examples,
    Parity,
    labels_apart,
    scores_apart,
    task_metric,
)
from textmill.runs import Run
from textmill.safe_write import machine_faults
from textmill.scoring import Batch, Scorer, Scores, Texts
from textmill.tracking.prediction_columns import label_ids, texts_of

FILES: dict[FormName, str] = {
    "onnx": f"{ONNX_FOLDER}/model.onnx",
    "int8": f"{ONNX_FOLDER}/model.int8.onnx",
    # The graph in float32, which is computed in bfloat16.
    "bf16": f"{ONNX_FOLDER}/model.onnx",
}
# What a precision is called that may cost something.
_COARSE: dict[FormName, str] = {"int8": "8-bit integers cost", "bf16": "bfloat16 costs"}
# More texts take minutes, and hardly say more.
MOST_EXAMPLES = 4000
# Texts by which it is seen how large a network's activations become.
MOST_WATCHED = 256


@dataclass(frozen=True, slots=True)
class Packaged:
    """What became of a bundle.

    Args:
        bundle: As it is now.
        told: A line for each form that was added.
        refusals: Why others were not.
    """

    bundle: Bundle
    told: tuple[str, ...]
    refusals: tuple[TextmillError, ...]


@dataclass(frozen=True, eq=False)
class _Work:
    """What the making of all forms has in common.

    Args:
        bundle: The bundle.
        original: Its model in torch.
        padding: How its texts are padded.
        folder: Where files are made.
        examples: What the coarser forms are judged by.
    """

    bundle: Bundle
    original: Scorer
    padding: Padding
    folder: Path
    examples: Examples

    @cached_property
    def expected(self) -> Scores:
        """The original's probabilities of the examples."""
        return self.original.probabilities(self.examples.texts)

    def scorer(self, form: FormName, path: Path) -> Scorer:
        """Scores with a graph as the bundle will."""
        return graph_scorer(
            form,
            path,
            len(self.bundle.labels),
            plain_tokenizer(self.bundle.folder, token_types=self.padding.token_types),
            self.padding,
            self.bundle.policy,
            multi_label=self.bundle.info.multi_label,
        )


def package(path: str | Path, examples: Examples, coarse: Sequence[FormName] = ()) -> Packaged:
    """Makes and proves the forms of a bundle's model; what the bundle had of them is replaced.

    Nothing is changed unless the form in float32 passes.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest``.
        examples: What the coarser forms are judged by.
        coarse: Those to make, beside the one in float32: ``int8``, ``bf16``.

    Raises:
        InputError: There is no bundle, or it is broken.
        MachineError: The form in float32 can't be made or written, or hasn't passed.
    """
    bundle = read_bundle(path)
    original = bundle.scorer()
    with _beside(bundle) as folder:
        work = _Work(bundle, original, original.padding, folder, examples)
        graph, parity = _float32(work)
        made: dict[FormName, tuple[Path, FormRecord]] = {
            "onnx": _record(graph, "onnx", _figures(parity))
        }
        told = [f"{FILES['onnx']}: scores within {parity.largest:.1e} of torch's"]
        refusals = []
        for form in dict.fromkeys(coarse):
            try:
                made[form], line = _coarser(work, form, graph)
                told.append(line)
            except TextmillError as error:
                refusals.append(error)
        return Packaged(write_forms(bundle, work.padding, made), tuple(told), tuple(refusals))


def examples_of(path: str | Path, texts: Path | None) -> Examples:
    """What a form of a bundle's model is judged by.

    These are the texts of a file, or else the validation examples of the bundle's run, with their
    labels, or else the bundle's golden texts.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest``.
        texts: A file with a text, or with a pair and a tab between, in each line.

    Raises:
        InputError: There is no bundle, or the file can't be used.
    """
    bundle = read_bundle(path)
    if texts is not None:
        lines = _lines(texts, pairs=len(bundle.info.text_columns) == 2)
        return Examples(lines, None, "", f"the lines of {texts}")
    run = Run(bundle.folder.absolute().parent)
    if run.bundle == bundle.folder.absolute() and run.predictions("validation").is_file():
        return _validation(run, bundle.labels)
    return Examples(read_golden(bundle).texts, None, "", "the golden texts")


def _float32(work: _Work) -> tuple[Path, Parity]:
    """The fused graph, or the plain one if that alone passes."""
    plain, fused = work.folder / "plain.onnx", work.folder / "fused.onnx"
    network, _ = load_network(work.bundle)
    export_graph(network, work.padding, plain)
    fuse(plain, fused, network)
    pairs = len(work.bundle.info.text_columns) == 2
    for graph in (fused, plain):
        parity = scores_apart(work.original, work.scorer("onnx", graph), pairs=pairs)
        if parity.holds:
            return graph, parity
    found = (
        f"the scores differ by up to {parity.largest:.2g}, for {parity.where}"
        if parity.same_tokens
        else "tokenizer.json alone makes other tokens"
    )
    raise MachineError(
        f"the exported model is not the original ({found}; allowed: {TOLERANCE})",
        where=str(work.bundle.folder),
        hint="use the form torch",
    )


def _coarser(work: _Work, form: FormName, graph: Path) -> tuple[tuple[Path, FormRecord], str]:
    """A form that is judged by its labels, and a line that tells how it was.

    Raises:
        TextmillError: It can't be computed, or hasn't passed.
    """
    agreement, path = _nearest(work, form, graph)
    if not agreement.holds:
        raise _too_different(form, agreement, work.examples)
    golden = read_golden(work.bundle)
    scores = work.scorer(form, path).probabilities(golden.texts)
    apart = float(np.abs(scores - golden.scores).max())
    record = _record(path, form, agreement.as_figures() | {"golden_difference": apart})
    return record, f"form {form}: {agreement} of {work.examples.source}"


def _nearest(work: _Work, form: FormName, graph: Path) -> tuple[Agreement, Path]:
    """The first graph that is near the original, or else the nearest that passes."""
    info, labels = work.bundle.info, work.bundle.labels
    tried: list[tuple[Agreement, Path]] = []
    for path in _TRIED[form](work, graph):
        scorer = work.scorer(form, path)
        agreement = labels_apart(work.expected, scorer, work.examples, labels, info.thresholds)
        tried.append((agreement, path))
        if agreement.is_near:
            break
    return max(tried, key=lambda one: (one[0].holds, one[0].equal))


def _int8(work: _Work, graph: Path) -> Iterator[Path]:
    """The graph with everything in 8-bit integers, then two that lose less and less."""
    whole, blocks, more, even = (
        work.folder / f"{name}.onnx" for name in ("whole", "blocks", "more", "even")
    )
    quantize(graph, whole)
    yield whole
    smooth(graph, even, _batches(work.original, work.examples.texts))
    quantize_in_blocks(even, blocks)
    yield blocks
    quantize_in_blocks(even, more, attention=True)
    yield more


def _batches(scorer: Scorer, texts: Texts) -> Iterator[Batch]:
    """The first of the texts as a network meets them, few at a time."""
    for start in range(0, min(len(texts), MOST_WATCHED), 4):
        encoded = scorer.encode(texts[start : start + 4])
        yield pad_batch(encoded.input_ids, encoded.token_type_ids, scorer.padding)


def _bf16(_work: _Work, graph: Path) -> Iterator[Path]:
    """The graph itself, which is computed in bfloat16."""
    yield graph


# The graphs that are tried for each form, the fastest first.
_TRIED = {"int8": _int8, "bf16": _bf16}


def _too_different(form: FormName, agreement: Agreement, examples: Examples) -> MachineError:
    return MachineError(
        f"{_COARSE[form]} too much ({agreement} of {examples.source}; allowed: at least "
        f"{LEAST_EQUAL:.0%} equal, and a drop of at most {LARGEST_DROP})",
        where=FILES[form],
        hint="use the form onnx, which was added",
    )


def _record(graph: Path, form: FormName, figures: dict[str, float]) -> tuple[Path, FormRecord]:
    return graph, FormRecord(FILES[form], sha256_of(graph), figures, versions_of(form))


def _figures(parity: Parity) -> dict[str, float]:
    return {"compared": float(parity.compared), "largest_difference": parity.largest}


@contextmanager
def _beside(bundle: Bundle) -> Iterator[Path]:
    """A folder for files in the making, on the bundle's file system."""
    with machine_faults(bundle.folder / ONNX_FOLDER):
        folder = Path(tempfile.mkdtemp(prefix=".export.", dir=bundle.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _validation(run: Run, labels: Labels) -> Examples:
    import pyarrow.parquet as pq

    table = pq.read_table(run.predictions("validation"))
    table = table.take(list(range(0, len(table), -(-len(table) // MOST_EXAMPLES))))
    known = label_ids(table["label"], labels)
    metric = task_metric(run.read_monitor(), labels)
    return Examples(texts_of(table), known, metric, "the validation examples")


def _lines(path: Path, *, pairs: bool) -> Texts:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the texts can't be read ({error})", where=str(path), hint="give a file of UTF-8 lines"
        ) from error
    if not lines:
        raise InputError("there are no texts", where=str(path), hint="give one a line")
    if not pairs:
        return lines
    split = [tuple(line.split("\t")) for line in lines]
    if any(len(pair) != 2 for pair in split):
        raise InputError(
            "a line is not a pair of texts", where=str(path), hint="put one tab between the two"
        )
    return [(pair[0], pair[1]) for pair in split]
