"""The Lightning module computes the loss, the metrics of the whole split, and its own seeds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from textmill.labels import Labels
from textmill.model.losses import ClassificationLoss
from textmill.model.module import Classifier, batch_seed
from textmill.model.optimizers import Adam, Optimization

LABELS = Labels(("bad", "good"))
OPTIMIZATION = Optimization(
    1e-3, 1e-2, 0.0, Adam((0.9, 0.999), 1e-8), 1.0, "linear", 0.5, None, None
)


class Echo(nn.Module):
    """A network whose logits are its inputs, scaled by a weight."""

    base_model_prefix = "encoder"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.weight * input_ids)


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> Classifier:
    module = Classifier(Echo(), ClassificationLoss(LABELS), LABELS, OPTIMIZATION, 4, seed=1)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log_dict", logged.update)
    monkeypatch.setattr(module, "logged", logged, raising=False)
    return module


def batch(logits: list[list[float]], labels: list[int], index: list[int]) -> dict[str, Tensor]:
    return {
        "input_ids": torch.tensor(logits),
        "labels": torch.tensor(labels),
        "index": torch.tensor(index),
    }


def test_training_step_is_the_loss_of_the_batch(classifier: Classifier) -> None:
    examples = batch([[2.0, 0.0], [0.0, 1.0]], [0, 0], [0, 1])
    expected = nn.functional.cross_entropy(examples["input_ids"], examples["labels"])
    assert torch.equal(classifier.training_step(examples, 0)["loss"], expected)


def test_validation_is_over_the_whole_split_not_a_mean_over_batches(
    classifier: Classifier,
) -> None:
    classifier.requires_grad_(requires_grad=False)
    classifier.on_validation_epoch_start()
    classifier.validation_step(batch([[1.0, 0.0]] * 3, [0, 0, 0], [0, 1, 2]), 0)
    classifier.validation_step(batch([[1.0, 0.0]], [1], [3]), 1)
    classifier.on_validation_epoch_end()
    logged: dict[str, float] = classifier.logged  # type: ignore[assignment]
    assert logged["validation/accuracy"] == pytest.approx(0.75)
    assert logged["validation/f1_macro"] == pytest.approx((6 / 7 + 0) / 2)


def test_an_interrupted_validation_leaves_nothing_behind(classifier: Classifier) -> None:
    classifier.requires_grad_(requires_grad=False)
    classifier.validation_step(batch([[1.0, 0.0]], [1], [0]), 0)
    classifier.on_validation_epoch_start()
    classifier.validation_step(batch([[1.0, 0.0], [0.0, 1.0]], [0, 1], [0, 1]), 0)
    classifier.on_validation_epoch_end()
    logged: dict[str, float] = classifier.logged  # type: ignore[assignment]
    assert logged["validation/accuracy"] == 1.0


def test_dropout_of_a_batch_depends_on_seed_rank_and_batch_alone(classifier: Classifier) -> None:
    classifier.on_train_batch_start({}, 5)
    drawn = torch.rand(3)
    torch.rand(100)
    classifier.on_train_batch_start({}, 5)
    assert torch.equal(torch.rand(3), drawn)
    seeds = {
        batch_seed(seed, rank, number) for seed in (1, 2) for rank in (0, 1) for number in (1, 2)
    }
    assert len(seeds) == 8


def test_schedule_is_stepped_with_the_optimizer_and_planned_for_all_steps(
    classifier: Classifier,
) -> None:
    configured = classifier.configure_optimizers()
    scheduler = configured["lr_scheduler"]
    assert scheduler["interval"] == "step"
    # Two of the four steps warm up: the first has a third of the peak.
    assert configured["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-2 / 3)


class Watch(L.Callback):
    """Keeps what callbacks see of each training batch, and of each validation."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Tensor]] = []
        self.norms: list[Tensor | None] = []
        self.judged: list[Any] = []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,
        outputs: dict[str, Tensor],
        batch: object,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        self.outputs.append(outputs)
        self.norms.append(pl_module.gradient_norm)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        self.judged.append(pl_module.judged)


class LightningClips(Classifier):
    """Clips the gradient as Lightning does."""

    configure_gradient_clipping = L.LightningModule.configure_gradient_clipping


class Linear(nn.Module):
    """A network of one linear layer."""

    base_model_prefix = "encoder"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(2, 2)

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(input_ids))


def train(
    clip: float | None,
    kind: type[Classifier] = Classifier,
    **settings: Any,  # noqa: ANN401
) -> tuple[Classifier, Watch]:
    """Trains on four batches of two, two batches to a step, then validates."""
    module = kind(Linear(), ClassificationLoss(LABELS), LABELS, OPTIMIZATION, 2, seed=1)
    inputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    examples = [
        {"input_ids": inputs[i], "labels": torch.tensor(i % 2), "index": torch.tensor(i)}
        for i in range(8)
    ]
    watch = Watch()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=clip,
        callbacks=[watch], logger=False, num_sanity_val_steps=0, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
    validation = [examples[i] for i in (3, 0, 2, 1, 4)]
    trainer.fit(module, DataLoader(examples, batch_size=2), DataLoader(validation, batch_size=2))
    return module, watch


@pytest.mark.filterwarnings("ignore")
class TestWhatCallbacksSee:
    def test_logits_of_the_training_batch(self) -> None:
        _, watch = train(None)
        assert [output["logits"].shape for output in watch.outputs] == [(2, 2)] * 4
        assert not any(output["logits"].requires_grad for output in watch.outputs)

    def test_loss_of_a_batch_is_its_share_of_the_step(self) -> None:
        _, watch = train(None)
        logits = watch.outputs[0]["logits"]
        expected = nn.functional.cross_entropy(logits, torch.tensor([0, 1])) / 2
        assert torch.equal(watch.outputs[0]["loss"], expected)

    @pytest.mark.parametrize("clip", [None, 1e-3])
    def test_gradient_norm_is_that_before_clipping(self, clip: float | None) -> None:
        _, watch = train(clip)
        network, inputs = Linear(), torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
        loss = nn.functional.cross_entropy(network(inputs[:4]).logits, torch.tensor([0, 1, 0, 1]))
        loss.backward()
        whole = torch.cat([each.grad.flatten() for each in network.parameters()])
        assert watch.norms[0] is None
        assert watch.norms[1].item() == pytest.approx(whole.norm().item(), rel=1e-5)
        assert watch.norms[1].item() > 1e-3

    def test_the_whole_split_in_its_order(self) -> None:
        module, watch = train(None)
        ((targets, probabilities),) = watch.judged
        inputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))[:5]
        expected = torch.softmax(module.network(inputs).logits, dim=1).detach().numpy()
        assert targets.tolist() == [0, 1, 0, 1, 0]
        assert probabilities == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
class TestClipping:
    @pytest.mark.parametrize("clip", [None, 1e-3, 100.0])
    def test_weights_are_those_of_lightnings_own_clipping(self, clip: float | None) -> None:
        ours, theirs = train(clip)[0], train(clip, LightningClips)[0]
        for name, weight in ours.state_dict().items():
            assert torch.equal(weight, theirs.state_dict()[name]), name

    def test_bfloat16_clips_too(self) -> None:
        exact, _ = train(1e-3)
        mixed, _ = train(1e-3, precision="bf16-mixed")
        assert mixed.gradient_norm.item() == pytest.approx(exact.gradient_norm.item(), rel=0.05)

    @pytest.mark.parametrize("scale", [1.0, 1024.0])
    def test_float16_clips_the_gradient_without_the_scale_of_the_loss(self, scale: float) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        exact, seen = train(1e-3)
        scaled, seen_scaled = train(1e-3, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        for expected, norm in zip(seen.norms[1:], seen_scaled.norms[1:], strict=True):
            assert norm.item() == pytest.approx(expected.item(), rel=0.02)
        for name, weight in exact.state_dict().items():
            assert torch.allclose(scaled.state_dict()[name], weight, atol=1e-4), name
