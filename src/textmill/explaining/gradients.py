"""Integrated gradients: the score's slopes on the way from a hidden text to the text, summed up.

From a baseline to the text, along a straight line in the space of the input embeddings, the score's
slope in the direction of each token is summed up (Sundararajan, Taly and Yan, 2017, "Axiomatic
Attribution for Deep Networks"). What the tokens add is then the whole difference between the scores
of the text and of the baseline, which is checked each time. The baseline is the same text with
every token hidden; special tokens stay, and so add nothing. That is the nearest thing to no text
that the network has learned to read. The integral is a midpoint rule, which on trained encoders
needed half the steps of Gauss-Legendre quadrature for the same gap.
"""

from __future__ import annotations

import inspect
import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from textmill.encoding import pad_batch, token_places
from textmill.errors import InputError
from textmill.explaining.occlusion import stand_in
from textmill.explaining.record import Attribution, passes, probability_of
from textmill.explaining.words import word_of, word_positions
from textmill.forms.torch_form import TorchModel
from textmill.scoring import Scorer, Texts

Floats = npt.NDArray[np.float64]

# Points on the line. While the gap is too large there are three times as many, for then those
# computed already are among the new ones.
FIRST_STEPS = 32
GROWTH = 3
MOST_STEPS = FIRST_STEPS * GROWTH**3

# Tokens computed together, which bounds the memory.
TOKENS_AT_ONCE = 2048

# How far the score of a text may be off when its tokens are given as embeddings.
_SAME_SCORE = 0.01


class _Line:
    """The straight line from a baseline to a text, with the score of a label along it.

    Args:
        scorer: The model with its tokenizer.
        text: A text, or a pair of texts.
        label: The label's id.
        multi_label: Whether each label is scored by itself.
    """

    def __init__(
        self, scorer: Scorer, text: str | tuple[str, str], label: int, *, multi_label: bool
    ) -> None:
        model = torch_model(scorer)
        self._network: Any = model.network
        self._label, self._multi_label = label, multi_label
        encoded = scorer.encode(cast("Texts", [text]))
        self.cut = encoded.cut[0]
        self.places = token_places(scorer.tokenizer, text, scorer.policy)
        inputs = pad_batch(encoded.input_ids, encoded.token_type_ids, scorer.padding)
        self._others = model.tensors(inputs)
        ids = self._others.pop("input_ids")
        shown = torch.tensor([place is not None for place in self.places], device=ids.device)
        hidden = torch.where(shown, stand_in(scorer), ids)
        embed = model.network.get_input_embeddings()
        with torch.no_grad():
            self._start: torch.Tensor = embed(hidden)
            self._step: torch.Tensor = embed(ids) - self._start

    def ends(self) -> tuple[float, float]:
        """The log-odds of the baseline and of the text."""
        with torch.no_grad():
            start, end = self._log_odds(self._points(np.array([0.0, 1.0]))).tolist()
        return start, end

    def slopes(self, shares: Floats) -> Floats:
        """The score's slopes at these shares of the way, added up; of each token, ``[seq]``."""
        total = np.zeros(len(self.places))
        at_once = max(1, TOKENS_AT_ONCE // max(1, len(self.places)))
        for first in range(0, len(shares), at_once):
            points = self._points(shares[first : first + at_once]).requires_grad_()
            (gradients,) = torch.autograd.grad(self._log_odds(points).sum(), points)
            total += (gradients * self._step).sum(dim=2).cpu().double().sum(dim=0).numpy()
        return total

    def _points(self, shares: Floats) -> torch.Tensor:
        """Embeddings ``[points, seq, width]``."""
        return self._start + self._start.new_tensor(shares)[:, None, None] * self._step

    def _log_odds(self, embeddings: torch.Tensor) -> torch.Tensor:
        others = {name: ids.expand(len(embeddings), -1) for name, ids in self._others.items()}
        logits: torch.Tensor = self._network(inputs_embeds=embeddings, **others).logits.float()
        label = self._label
        if self._multi_label:
            return logits[:, label]
        rest = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
        return logits[:, label] - torch.logsumexp(rest, dim=1)


def check_takes_embeddings(scorer: Scorer, where: str) -> None:
    """Makes sure, as far as the network tells, that it takes embeddings as its input.

    Raises:
        InputError: It doesn't.
    """
    forward = type(torch_model(scorer).network).forward
    if "inputs_embeds" not in inspect.signature(forward).parameters:
        raise _not_explained("the network takes no embeddings as its input", where)


@torch.inference_mode(mode=False)
def by_gradients(
    scorer: Scorer,
    text: str | tuple[str, str],
    label: tuple[int, str],
    score: float,
    *,
    multi_label: bool,
    most_steps: int = MOST_STEPS,
    where: str,
) -> Attribution:
    """Explains the score of a label by integrated gradients.

    Args:
        scorer: The model, in torch, with its tokenizer.
        text: A text, or a pair of texts.
        label: The label's id and name.
        score: Its probability, to check what embeddings give.
        multi_label: Whether each label is scored by itself.
        most_steps: The most points on the line.
        where: The bundle, for messages.

    Raises:
        InputError: The network takes no embeddings, or scores them otherwise.
    """
    try:
        line = _Line(scorer, text, label[0], multi_label=multi_label)
        start, end = line.ends()
    except (NotImplementedError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise _not_explained(f"the network takes no embeddings ({reason})", where) from error
    if not math.isclose(probability_of(end), score, abs_tol=_SAME_SCORE):
        raise _not_explained("the network scores embeddings otherwise than their text", where)
    contributions, steps = _integrate(line, end - start, most_steps)
    texts = text if isinstance(text, tuple) else (text,)
    words = tuple(
        word_of(texts, line.places, positions, math.fsum(contributions[positions]))
        for positions in word_positions(texts, line.places)
    )
    return Attribution(texts, label[1], end, start, words, steps, line.cut)


def torch_model(scorer: Scorer) -> TorchModel:
    """The scorer's model, which must be torch's.

    Raises:
        InputError: It is another form.
    """
    if not isinstance(scorer.model, TorchModel):
        raise InputError("only torch has gradients", hint="load the bundle with form='torch'")
    return scorer.model


def _integrate(line: _Line, difference: float, most_steps: int) -> tuple[Floats, int]:
    """What each token adds, ``[seq]``, and the steps that it took."""
    steps = FIRST_STEPS
    slopes = line.slopes(_midpoints(steps))
    while steps < most_steps and not passes(difference - slopes.sum() / steps, difference):
        steps *= GROWTH
        slopes += line.slopes(np.delete(_midpoints(steps), np.s_[GROWTH // 2 :: GROWTH]))
    return slopes / steps, steps


def _midpoints(steps: int) -> Floats:
    return (np.arange(steps) + 0.5) / steps


def _not_explained(reason: str, where: str) -> InputError:
    return InputError(
        f"{reason}, so its decisions can't be explained",
        where=where,
        hint="explain a bundle with another encoder",
    )
