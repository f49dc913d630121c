"""Forms that need neither torch nor transformers: graphs, and the tokenizers library alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from textmill.encoding import LengthPolicy, Padding, PlainTokenizer
from textmill.forms.choosing import FormName
from textmill.forms.onnx_form import OnnxModel
from textmill.forms.openvino_form import STEP, OpenVinoModel
from textmill.scoring import Scorer


def graph_scorer(
    form: FormName,
    path: Path,
    outputs: int,
    tokenizer: PlainTokenizer,
    padding: Padding,
    policy: LengthPolicy,
    *,
    multi_label: bool,
) -> Scorer:
    """Scores with a graph and the tokenizers library alone.

    Args:
        form: Says what computes it.
        path: The graph's file.
        outputs: The number of its outputs, one for each label.
        tokenizer: The model's tokenizer.
        padding: How the model's batches are padded.
        policy: What happens to long texts.
        multi_label: Whether each label is scored by itself.

    Raises:
        InputError: What computes it isn't installed, or can't use the file.
    """
    if form != "bf16":
        model = OnnxModel(path, outputs)
        return Scorer(model, tokenizer, padding, policy, multi_label=multi_label)
    # The longest text stays within what the model has positions for.
    step = STEP if policy.max_length % STEP == 0 else 1
    return Scorer(
        OpenVinoModel(path, outputs),
        tokenizer,
        replace(padding, to_multiple_of=step),
        policy,
        multi_label=multi_label,
    )
