"""Measures what each change of `textmill.model.on_processor` is worth, in steps of one network.

    python -m benchmarks.processor_step

All ways of training take turns in one process, round after round, on the same network of MiniLM's
size with random weights, word embeddings frozen. Prints examples a second, the median of the
rounds, for texts of several lengths.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from rich.console import Console
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from benchmarks.spread import Spread
from benchmarks.tables import Table, as_rich, told
from textmill.environment import has_bfloat16, usable_cores
from textmill.first_token import compute_first_token_only
from textmill.model.on_processor import bfloat16_throughout, plain_attention, quick_dropout

BATCH = 32
LENGTHS = (12, 28, 180)
ROUNDS = 5
# At most so many steps a turn; long texts have fewer.
STEPS = 8

Change = Callable[[PreTrainedModel], AbstractContextManager[None]]
WAYS: dict[str, tuple[Change, ...]] = {
    "as transformers has it": (lambda _: nullcontext(),),
    "quick dropout": (quick_dropout,),
    "and plain attention": (quick_dropout, plain_attention),
    "and bfloat16 throughout": (quick_dropout, plain_attention, bfloat16_throughout),
}


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description="Measures the training step on a processor.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each ({ROUNDS})")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(usable_cores())
    found = {length: measure(length, rounds) for length in LENGTHS}
    header = ("training", *(f"{length} tokens" for length in LENGTHS))
    rows = tuple(
        (way, *(told(Spread.of(found[length][way]), ".0f") for length in LENGTHS)) for way in WAYS
    )
    Console().print(as_rich(Table("Examples a second", header, rows)))


def measure(length: int, rounds: int) -> dict[str, list[float]]:
    """From each way to its examples per second, round by round."""
    network, optimizer = _network()
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, changes in WAYS.items():
            with ExitStack() as stack:
                for change in changes:
                    stack.enter_context(change(network))
                speeds[way].append(_speed(network, optimizer, length))
    return speeds


def _network() -> tuple[PreTrainedModel, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = BertForSequenceClassification(
        BertConfig(
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            attention_probs_dropout_prob=0.0,
        )
    )
    compute_first_token_only(network)
    network.get_input_embeddings().requires_grad_(requires_grad=False)
    trained = [one for one in network.parameters() if one.requires_grad]
    return network.train(), torch.optim.AdamW(trained, fused=True)


def _speed(network: PreTrainedModel, optimizer: torch.optim.Optimizer, length: int) -> float:
    """Examples per second, behind one step to warm up."""
    steps = max(2, min(STEPS, STEPS * 40 // length))
    for step in range(steps + 1):
        if step == 1:
            began = time.perf_counter()
        _step(network, optimizer, length)
    return BATCH * steps / (time.perf_counter() - began)


def _step(network: PreTrainedModel, optimizer: torch.optim.Optimizer, length: int) -> None:
    ids = torch.randint(1000, 30000, (BATCH, length))
    mask = torch.ones_like(ids)
    mask[0, -1] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
        logits = network(input_ids=ids, attention_mask=mask).logits
    torch.nn.functional.cross_entropy(logits.float(), ids[:, 0] % 2).backward()
    optimizer.step()
    optimizer.zero_grad()


if __name__ == "__main__":
    main()
