"""Makes an ONNX graph of a network, in float32, its nodes fused."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from textmill.encoding import Padding
from textmill.environment import processor_has_bfloat16
from textmill.errors import InputError, MachineError, make_all
from textmill.first_token import reads_first_token
from textmill.forms.choosing import RUNTIMES, FormName
from textmill.installed import require_installed
from textmill.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPSET = 17

_VERB = "textmill export"

# Packages that decide what a graph is.
_MAKERS = ("torch", "transformers", "onnx", "onnxruntime")


def check_installed(forms: Collection[FormName]) -> None:
    """Makes sure, before any work, that forms can be made and proved; imports none of them.

    Raises:
        InputError: Something isn't installed, or the processor hasn't what a form is for.
    """
    makers = partial(require_installed, ["onnx", "onnxruntime"], "textmill[onnx]", where=_VERB)
    make_all([makers, *([_check_bfloat16] if "bf16" in forms else [])])


def _check_bfloat16() -> None:
    require_installed(["openvino"], "textmill[openvino]", where=_VERB)
    if not processor_has_bfloat16():
        raise InputError(
            "this processor doesn't compute in bfloat16, so that the form can't be proved",
            where=_VERB,
            hint="use --precision int8, or run it on a processor with AVX512_BF16 or AMX",
        )


def versions_of(form: FormName) -> dict[str, str]:
    """The versions of the packages that made a form's graph, and of the one that computes it."""
    return {name: metadata.version(name) for name in dict.fromkeys([*_MAKERS, RUNTIMES[form]])}


def export_graph(network: PreTrainedModel, padding: Padding, path: Path) -> None:
    """Writes a network as a graph that takes any number of texts of any length.

    Its inputs are what `textmill.encoding.pad_batch` gives, by name; its output is the logits.

    Args:
        network: A sequence classifier on the CPU; its attention becomes the plain one, which is
            what `fuse` looks for.
        padding: Of the tokenizer; says whether the network takes token types.
        path: The file.

    Raises:
        MachineError: torch can't export the network.
    """
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if padding.token_types else [])]
    network.set_attn_implementation("eager")
    both = {0: "batch", 1: "sequence"}
    try:
        with quiet_exporters(), torch.no_grad():
            torch.onnx.export(
                _Logits(network, names),
                tuple(_example(network, padding, names)),
                str(path),
                input_names=names,
                output_names=["logits"],
                dynamic_axes={**dict.fromkeys(names, both), "logits": {0: "batch"}},
                opset_version=OPSET,
                # ONNX Runtime fuses only the graphs that this exporter makes.
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise MachineError(
            f"torch can't export the network ({reason:.200})",
            where=str(network.config.model_type),
            hint="use the form torch",
        ) from error


def fuse(source: Path, path: Path, network: PreTrainedModel) -> None:
    """Joins the nodes of a graph that ONNX Runtime computes faster as one, as attention.

    Args:
        source: A graph from `export_graph`.
        path: Where the fused graph is written.
        network: The network that it was made from.
    """
    from onnxruntime.transformers import optimizer

    config: Any = network.config
    with quiet_exporters():
        graph = optimizer.optimize_model(
            str(source),
            model_type="bert",  # its fusions hold for all encoders
            num_heads=getattr(config, "num_attention_heads", 0),
            hidden_size=getattr(config, "hidden_size", 0),
            opt_level=0,
        )
        graph.save_model_to_file(str(path))


class _Logits(nn.Module):
    """A network with its inputs by place, and nothing but the logits as its output."""

    def __init__(self, network: PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.network: Any = network
        self.names = names
        self.takes_added_mask = reads_first_token(network)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        batch = dict(zip(self.names, inputs, strict=True))
        if self.takes_added_mask:
            batch["attention_mask"] = _added_mask(batch["attention_mask"])
        logits: torch.Tensor = self.network(**batch).logits
        return logits


def _added_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """What is added to attention's scores, ``[batch, 1, 1, seq]``, in the shape that `fuse` knows.

    It takes a quarter of the nodes that transformers' own function leaves in a graph.
    """
    hidden = 1.0 - attention_mask[:, None, None, :].expand(-1, -1, -1, -1).to(torch.float32)
    return hidden.masked_fill(hidden.to(torch.bool), torch.finfo(torch.float32).min)


def _example(
    network: PreTrainedModel, padding: Padding, names: list[str]
) -> Iterator[torch.Tensor]:
    """Two texts, one of them padded, in tensors that differ: equal ones are taken for one input."""
    embeddings: Any = network.get_input_embeddings()
    ids = torch.arange(14).reshape(2, 7) % len(embeddings.weight)
    mask = torch.ones(2, 7, dtype=torch.int64)
    hidden = slice(5, 7) if padding.side == "right" else slice(0, 2)
    ids[1, hidden], mask[1, hidden] = padding.token_id, 0
    yield ids
    yield mask
    if "token_type_ids" in names:
        yield torch.zeros(2, 7, dtype=torch.int64)


@contextmanager
def quiet_exporters() -> Iterator[None]:
    """Silences what exporters and optimisers say of their own affairs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
