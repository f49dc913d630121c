"""Two processes that train one network together, as copies of it or with it shared out.

They are forks that meet over gloo on the processor, where a network is shared out by the same code
as on GPUs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import datasets
import lightning as L
import pytest
import torch
from transformers import AutoTokenizer

from tests.forks import kill_self, on_call
from textmill.data.tokens import TokenizedSplit, tokenize_split
from textmill.encoding import LengthPolicy, Padding
from textmill.fit import Budget, Hardware, Saving, fit
from textmill.labels import Labels
from textmill.model.losses import ClassificationLoss
from textmill.model.module import Classifier
from textmill.model.network import Pretrained, build_network
from textmill.model.optimizers import Adam, Optimization
from textmill.model.sharding import whole

LABELS = Labels(("bad", "good"))
# Four batches an epoch, two steps for each process.
BUDGET = Budget(
    max_epochs=2,
    max_steps=None,
    batch_size=8,
    max_tokens=None,
    window=1,
    accumulate=1,
    validations=1,
    patience=None,
)
OPTIMIZATION = Optimization(
    lr=1e-3,
    head_lr=1e-2,
    weight_decay=0.01,
    adam=Adam((0.9, 0.999), 1e-8),
    layer_decay=0.9,
    shape="linear",
    warmup=0.1,
    warmup_steps=None,
    gradient_clip=0.5,
)
COPIES = Hardware("cpu", 2, "ddp", "32-true", 0)
SHARED = replace(COPIES, strategy="fsdp")

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Data:
    """A training split, and a validation split of three batches, one more for one process."""

    encoder: Path
    train: TokenizedSplit
    validation: TokenizedSplit


@pytest.fixture(scope="module")
def data(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    cache = tmp_path_factory.mktemp("cache")

    def split(name: str, rows: int) -> TokenizedSplit:
        words = ("a wonderful film", "an awful film")
        texts = [f"{words[row % 2]} {'the story ' * (row % 5)}{row}" for row in range(rows)]
        examples = datasets.Dataset.from_dict(
            {"text": texts, "label": [row % 2 for row in range(rows)]}
        )
        policy = LengthPolicy(32, "keep_head")
        return tokenize_split(examples, tokenizer, policy, fingerprint=name, cache=cache)

    return Data(tiny_encoder, split("train", 32), split("validation", 15))


class Norms(L.Callback):
    """Notes the norm of the whole gradient, and of each parameter's, at each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Classifier, *_: object) -> None:  # noqa: ARG002
        norms = {
            name: float(whole(parameter.grad).norm())
            for name, parameter in pl_module.named_parameters()
            if parameter.grad is not None
        }
        self.seen.append({"all": float(pl_module.gradient_norm), **norms})


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def train(
    data: Data,
    folder: Path,
    hardware: Hardware,
    *,
    optimization: Optimization = OPTIMIZATION,
    freeze: bool = False,
    patch: Callable[[], None] | None = None,
) -> Sequence[int | None]:
    """Trains in two forks; returns their exit statuses."""
    folder.mkdir(exist_ok=True)
    port = free_port()

    def child(rank: int) -> None:
        os.environ.update(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="2", LOCAL_RANK=str(rank)
        )
        if patch is not None:
            patch()
        torch.manual_seed(0)
        norms = Norms()
        network = build_network(
            Pretrained(str(data.encoder)),
            LABELS,
            dropout=None,
            attention_dropout=None,
            freeze="embeddings" if freeze else "none",
        )
        fit(
            network,
            ClassificationLoss(LABELS),
            LABELS,
            data.train,
            data.validation,
            Padding.of(AutoTokenizer.from_pretrained(data.encoder)),
            optimization=optimization,
            budget=BUDGET,
            hardware=hardware,
            saving=Saving(
                last=folder / "last.ckpt",
                best=folder / "best.ckpt",
                history=folder / "history.jsonl",
                monitor="loss",
                every_steps=1,
                every_seconds=60,
            ),
            seed=1,
            observers=[norms],
        )
        (folder / f"{rank}.json").write_text(json.dumps(norms.seen))
        torch.save(network.state_dict(), folder / f"{rank}.pt")
        os._exit(0)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=child, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    return [process.exitcode for process in processes]


def weights(folder: Path) -> Weights:
    """The best weights, as each process has them in the end."""
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert_equal(first, second)
    return dict(first)


def last(folder: Path) -> Weights:
    return dict(torch.load(folder / "last.ckpt", weights_only=True)["state_dict"])


def assert_equal(some: Weights, others: Weights) -> None:
    assert some.keys() == others.keys()
    assert all(torch.equal(some[name], others[name]) for name in some)


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def norms(folder: Path) -> list[dict[str, float]]:
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    return list(first)


@pytest.mark.parametrize("freeze", [False, True], ids=["all-trained", "embeddings-frozen"])
def test_a_network_that_is_shared_out_learns_what_copies_of_it_do(
    data: Data, tmp_path: Path, *, freeze: bool
) -> None:
    for name, hardware in (("copies", COPIES), ("shared", SHARED)):
        assert train(data, tmp_path / name, hardware, freeze=freeze) == [0, 0]
    copies, shared = weights(tmp_path / "copies"), weights(tmp_path / "shared")
    assert copies.keys() == shared.keys()
    for name, weight in copies.items():
        torch.testing.assert_close(shared[name], weight, atol=2e-5, rtol=1e-4)
    for read in (history, norms):
        records = zip(read(tmp_path / "shared"), read(tmp_path / "copies"), strict=True)
        for ours, theirs in records:
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_network_that_is_shared_out_resumes_to_the_same_weights(
    data: Data, tmp_path: Path
) -> None:
    unstopped, stopped = tmp_path / "unstopped", tmp_path / "stopped"
    assert train(data, unstopped, SHARED) == [0, 0]
    patch = on_call(Classifier, "training_step", 4, kill_self)
    assert train(data, stopped, SHARED, patch=patch) == [-signal.SIGKILL] * 2
    assert train(data, stopped, SHARED) == [0, 0]
    assert_equal(weights(stopped), weights(unstopped))
    assert_equal(last(stopped), last(unstopped))
    assert history(stopped) == history(unstopped)
    assert {name: value.shape for name, value in last(unstopped).items()} == {
        f"network.{name}": value.shape for name, value in weights(unstopped).items()
    }
