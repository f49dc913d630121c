"""What words add to a score: all of the difference, in the right places, for every encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from tests.bundles import MULTI, SINGLE, make_bundle, tiny_tokenizer
from tests.tiny import SENTENCES
from tests.unit.test_encoding import TOKENIZERS
from textmill import attribution
from textmill.attribution import (
    Mistake,
    attribute,
    read_mistakes,
    worst_attributions,
    write_mistakes,
)
from textmill.encoding import LengthPolicy, Overflow, token_places
from textmill.errors import InputError
from textmill.explaining import gradients, record
from textmill.explaining.gradients import FIRST_STEPS, MOST_STEPS
from textmill.explaining.record import ABSOLUTE_GAP, RELATIVE_GAP, Attribution
from textmill.explaining.words import Word, word_of, word_positions
from textmill.forms.torch_form import torch_scorer
from textmill.labels import Labels
from textmill.predictor import Predictor

TEXTS = [*SENTENCES, "unknown wörds 良い", "a [SEP] inside, isn't it?"]
TWO = Labels(("no", "yes"))
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 70,
}
# The architectures of conf/model, each with what its configuration needs beside the shape.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "roberta": {"type_vocab_size": 1},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "electra": {"embedding_size": 16},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
}


@pytest.fixture(scope="module")
def single(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.from_bundle(make_bundle(tiny_encoder, tmp_path_factory.mktemp("a") / "single"))


@pytest.fixture(scope="module")
def multi(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("a") / "multi"
    return Predictor.from_bundle(make_bundle(tiny_encoder, folder, MULTI))


@pytest.fixture(scope="module")
def pairs(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("a") / "pairs"
    return Predictor.from_bundle(make_bundle(tiny_encoder, folder, text_columns=("one", "two")))


class Linear(nn.Module):
    """The sum of the tokens' embeddings, times a matrix."""

    def __init__(self, vocabulary: int, labels: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.config = SimpleNamespace(num_labels=labels)
        self.embeddings = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, labels)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: torch.Tensor,
    ) -> SimpleNamespace:
        embeddings = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        return SimpleNamespace(logits=self.head(embeddings.sum(dim=1)))


class Deaf(Linear):
    """Takes no embeddings."""

    def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> SimpleNamespace:  # type: ignore[override]
        return super().forward(input_ids)


class NeedsIds(Linear):
    """Takes embeddings by its signature, and then asks for ids."""

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: torch.Tensor,
    ) -> SimpleNamespace:
        if input_ids is None:
            raise NotImplementedError("Passing input embeddings is not supported\nfor it")
        return super().forward(input_ids, inputs_embeds)


class Forgetful(Linear):
    """Scores embeddings otherwise than the ids that they are of."""

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: torch.Tensor,
    ) -> SimpleNamespace:
        return super().forward(
            input_ids, None if inputs_embeds is None else 2 * inputs_embeds + 0.1
        )


def predictor_with(
    model: nn.Module, encoder: Path, folder: Path, labels: Labels = TWO, *, token_types: bool = True
) -> Predictor:
    """A predictor around any network."""
    bundle = Predictor.from_bundle(make_bundle(encoder, folder / "bundle", labels)).bundle
    tokenizer = tiny_tokenizer(encoder)
    if not token_types:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    scorer = torch_scorer(
        cast("PreTrainedModel", model), tokenizer, bundle.policy, multi_label=labels.multi_label
    )
    return Predictor(bundle, scorer)


def linear(
    kind: type[Linear], encoder: Path, folder: Path, labels: Labels = TWO
) -> tuple[Linear, Predictor]:
    model = kind(len(tiny_tokenizer(encoder)), len(labels))
    return model, predictor_with(model, encoder, folder, labels)


def log_odds(probability: float) -> float:
    return float(torch.logit(torch.tensor(probability, dtype=torch.float64)))


def assert_complete(found: Attribution) -> None:
    assert found.difference == found.log_odds - found.baseline_log_odds
    assert abs(found.total - found.difference) <= max(
        RELATIVE_GAP * abs(found.difference), ABSOLUTE_GAP
    )
    assert found.complete


def assert_in_text(found: Attribution) -> None:
    """Words are where they say, none over another, in order."""
    ends = [0] * len(found.texts)
    for word in found.words:
        assert found.texts[word.side][word.start : word.end] == word.text
        assert word.text == word.text.strip() != ""
        assert word.start >= ends[word.side]
        ends[word.side] = word.end
    assert [word.side for word in found.words] == sorted(word.side for word in found.words)


def test_words_add_up_to_the_score_of_the_predicted_label(single: Predictor) -> None:
    found = attribute(single, TEXTS)
    assert [one.texts for one in found] == [(text,) for text in TEXTS]
    for one, prediction in zip(found, single.predict(TEXTS), strict=True):
        assert one.label == prediction.label
        assert one.score == pytest.approx(prediction.score, abs=1e-5)
        assert one.log_odds == pytest.approx(log_odds(prediction.score), abs=1e-3)
        assert one.baseline_score != pytest.approx(one.score, abs=1e-3)
        assert len({word.contribution for word in one.words}) > 1
        assert_complete(one)
        assert_in_text(one)


def test_the_baseline_hides_every_word_and_keeps_the_special_tokens(single: Predictor) -> None:
    text = "a wonderful film"
    (found,) = attribute(single, [text])
    hidden = single.predict(["[MASK] [MASK] [MASK]"])[0].scores[found.label]
    assert found.baseline_score == pytest.approx(hidden, abs=1e-5)


@pytest.mark.parametrize("labels", [TWO, Labels(TWO.names, multi_label=True)])
def test_of_a_linear_network_each_word_adds_what_its_weights_say(
    labels: Labels, tiny_encoder: Path, tmp_path: Path
) -> None:
    model, predictor = linear(Linear, tiny_encoder, tmp_path, labels)
    (found,) = attribute(predictor, ["a wonderful film"], "yes")
    tokenizer = predictor.scorer.tokenizer
    weights = model.head.weight[1] - (0 if labels.multi_label else model.head.weight[0])
    ids = [tokenizer.convert_tokens_to_ids(word) for word in ("a", "wonderful", "film")]
    steps = model.embeddings.weight[ids] - model.embeddings.weight[tokenizer.mask_token_id]
    expected = (steps @ weights).tolist()
    assert [word.contribution for word in found.words] == pytest.approx(expected, abs=1e-4)
    assert found.steps == FIRST_STEPS


def test_for_one_of_two_labels_words_add_what_they_take_from_the_other(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    _, predictor = linear(Linear, tiny_encoder, tmp_path)
    (yes,), (no,) = (attribute(predictor, [SENTENCES[0]], name) for name in ("yes", "no"))
    for one, other in zip(yes.words, no.words, strict=True):
        assert one.contribution == pytest.approx(-other.contribution, abs=1e-5)
    assert any(word.contribution > 0 for word in yes.words)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_can_be_explained(
    architecture: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    vocabulary = len(tiny_tokenizer(tiny_encoder))
    settings = {**SHAPE, **ARCHITECTURES[architecture]}
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2}
    config = AutoConfig.for_model(
        architecture, vocab_size=vocabulary, num_labels=3, **ids, sep_token_id=3, **settings
    )
    model = AutoModelForSequenceClassification.from_config(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.normal_(0, 0.25, generator=generator)
    takes_types = architecture in ("bert", "electra", "deberta-v2")
    predictor = predictor_with(model, tiny_encoder, tmp_path, SINGLE, token_types=takes_types)
    texts = [SENTENCES[0], "the plot is clever", " ".join(SENTENCES)]
    for one, prediction in zip(attribute(predictor, texts), predictor.predict(texts), strict=True):
        assert one.score == pytest.approx(prediction.score, abs=1e-4)
        assert sum(abs(word.contribution) for word in one.words) > 20 * ABSOLUTE_GAP
        assert_complete(one)
        assert_in_text(one)


def test_pairs(pairs: Predictor) -> None:
    texts = [(SENTENCES[0], "isn't a film"), ("the plot", ""), (" ".join(SENTENCES), SENTENCES[1])]
    for text, found in zip(texts, attribute(pairs, texts), strict=True):
        assert found.texts == text
        assert {word.side for word in found.words} == ({0, 1} if text[1] else {0})
        assert_complete(found)
        assert_in_text(found)
    assert attribute(pairs, texts)[2].cut


def test_several_labels_are_explained_each_by_its_logit(multi: Predictor) -> None:
    expected = [
        (text, label) for text in TEXTS for label in multi.predict([text])[0].label
    ]  # a text without a predicted label is below
    found = attribute(multi, TEXTS)
    predicted = [
        (one.texts[0], one.label) for one in found if multi.predict([one.texts[0]])[0].label
    ]
    assert predicted == expected
    for one in found:
        logit = multi.logits([one.texts[0]])[0][MULTI.names.index(one.label)]
        assert one.log_odds == pytest.approx(logit, abs=1e-4)
        assert_complete(one)


def test_where_no_label_is_predicted_the_most_probable_is_explained(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = make_bundle(tiny_encoder, tmp_path / "b", MULTI, thresholds=[1.0, 1.0, 1.0])
    predictor = Predictor.from_bundle(folder)
    (found,) = attribute(predictor, ["a film"])
    scores = predictor.predict(["a film"])[0].scores
    assert found.score == pytest.approx(max(scores.values()), abs=1e-5)


def test_any_label_can_be_asked_for(single: Predictor) -> None:
    for label in SINGLE.names:
        (found,) = attribute(single, ["a wonderful film"], label)
        assert found.label == label
        expected = single.predict(["a wonderful film"])[0].scores[label]
        assert found.score == pytest.approx(expected, abs=1e-5)
        assert_complete(found)


def test_an_unknown_label_is_told_with_the_nearest(single: Predictor) -> None:
    with pytest.raises(InputError, match=r"no label 'god', in .*: did you mean good\?"):
        attribute(single, ["a film"], "god")


@pytest.mark.parametrize("overflow", ["keep_head", "keep_tail", "keep_ends"])
def test_of_a_cut_text_only_what_the_model_sees_has_numbers(
    overflow: Overflow, tiny_encoder: Path, tmp_path: Path
) -> None:
    policy = LengthPolicy(12, overflow)
    predictor = Predictor.from_bundle(make_bundle(tiny_encoder, tmp_path / "b", policy=policy))
    text = " ".join(SENTENCES)
    (found,) = attribute(predictor, [text])
    assert found.cut
    assert_complete(found)
    assert_in_text(found)
    assert (found.words[0].start == 0) == (overflow != "keep_tail")
    assert (found.words[-1].end == len(text)) == (overflow != "keep_head")
    (whole,) = attribute(predictor, ["a film"])
    assert not whole.cut


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@pytest.mark.parametrize(
    "text", ["a  wonderful\n film, isn't it? 🎬 x良い\t", "\n \n", "", " 🎬🎬"]
)
def test_no_token_is_lost_whatever_the_tokenizer(kind: str, text: str) -> None:
    places = token_places(TOKENIZERS[kind], text, LengthPolicy(64))
    amounts = torch.arange(1, len(places) + 1, dtype=torch.float64).numpy()
    words = tuple(
        word_of((text,), places, positions, sum(amounts[positions]))
        for positions in word_positions((text,), places)
    )
    of_text = [a for a, place in zip(amounts, places, strict=True) if place is not None]
    assert sum(word.contribution for word in words) == sum(of_text)
    if text.strip():
        found = Attribution((text,), "x", 0.0, 0.0, words, 1, cut=False)
        assert_in_text(found)
        assert "isn't" in {word.text for word in words} or "isn't" not in text


def test_words_are_put_together_from_their_pieces(single: Predictor) -> None:
    text = "An unbelievably wonderful film;   isn\N{RIGHT SINGLE QUOTATION MARK}t it?"
    (found,) = attribute(single, [text])
    assert len(single.scorer.tokenizer(text)["input_ids"]) > 2 + len(found.words)
    assert [word.text for word in found.words] == [
        *(
            "An",
            "unbelievably",
            "wonderful",
            "film",
            ";",
            "isn\N{RIGHT SINGLE QUOTATION MARK}t",
            "it",
            "?",
        )
    ]


def test_a_text_without_a_word_has_the_score_of_its_baseline(single: Predictor) -> None:
    (found,) = attribute(single, [""])
    assert found.words == ()
    assert found.total == 0
    assert found.difference == pytest.approx(0, abs=1e-6)
    assert found.complete


def test_more_steps_are_taken_until_the_gap_is_small(
    single: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (once,) = attribute(single, [SENTENCES[2]])
    monkeypatch.setattr(record, "RELATIVE_GAP", 0.0)
    monkeypatch.setattr(record, "ABSOLUTE_GAP", 0.0)
    (found,) = attribute(single, [SENTENCES[2]])
    assert once.steps < found.steps == MOST_STEPS
    assert abs(found.gap) < abs(once.gap)
    assert not found.complete


def test_steps_computed_already_count(single: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RELATIVE_GAP", 0.0)
    monkeypatch.setattr(record, "ABSOLUTE_GAP", 0.0)
    (grown,) = attribute(single, [SENTENCES[0]])
    monkeypatch.setattr(gradients, "FIRST_STEPS", MOST_STEPS)
    (at_once,) = attribute(single, [SENTENCES[0]])
    assert grown.steps == at_once.steps == MOST_STEPS
    for one, other in zip(grown.words, at_once.words, strict=True):
        assert one.contribution == pytest.approx(other.contribution, abs=1e-4)


def test_tokens_computed_together_are_bounded(
    single: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = attribute(single, [SENTENCES[0]])
    sizes = []
    forward = single.scorer.model.network.forward

    def spy(**inputs: torch.Tensor) -> object:
        if "inputs_embeds" in inputs:
            sizes.append(inputs["inputs_embeds"].shape[:2].numel())
        return forward(**inputs)

    monkeypatch.setattr(single.scorer.model.network, "forward", spy)
    monkeypatch.setattr(gradients, "TOKENS_AT_ONCE", 64)
    (in_parts,) = attribute(single, [SENTENCES[0]])
    assert max(sizes) <= 64
    assert len(sizes) > 3
    for one, other in zip(whole.words, in_parts.words, strict=True):
        assert one.contribution == pytest.approx(other.contribution, abs=1e-4)


def test_threads_share_it_and_agree_to_the_bit(single: Predictor) -> None:
    alone = [attribute(single, [text]) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: attribute(single, [text]), TEXTS))
    assert together == alone


def test_it_works_where_gradients_are_off(single: Predictor) -> None:
    expected = attribute(single, [SENTENCES[0]])
    with torch.no_grad():
        assert attribute(single, [SENTENCES[0]]) == expected
    with torch.inference_mode():
        assert attribute(single, [SENTENCES[0]]) == expected


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Deaf, "takes no embeddings as its input"),
        (NeedsIds, r"takes no embeddings \(Passing input embeddings is not supported\)"),
        (Forgetful, "scores embeddings otherwise"),
    ],
)
def test_a_network_that_takes_no_embeddings_is_refused(
    kind: type[Linear], said: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    _, predictor = linear(kind, tiny_encoder, tmp_path)
    with pytest.raises(InputError, match=f"{said}.*can't be explained") as caught:
        attribute(predictor, ["a film"])
    assert len(caught.value.problems) == 1


def test_a_bare_text_is_refused(single: Predictor) -> None:
    with pytest.raises(InputError, match="put the text into a list"):
        attribute(single, "a bare text")


def test_a_record_is_json_and_gives_the_attribution_back(
    single: Predictor, pairs: Predictor
) -> None:
    for found in (
        *attribute(single, ["a <b> film\x1b"]),
        *attribute(pairs, [("a film", "a story")]),
    ):
        record = found.as_record()
        again = json.loads(json.dumps(record, allow_nan=False))
        assert again == record
        assert Attribution.from_record(again) == found
        assert sum(word["contribution"] for word in record["words"]) == pytest.approx(
            record["log_odds"] - record["baseline_log_odds"] - record["gap"]
        )


def predictions_of(
    predictor: Predictor, texts: Sequence[str], truth: Sequence[str | list[str]]
) -> pa.Table:
    """A table of predictions, the worse the later."""
    found = predictor.predict(texts)
    names = predictor.labels.names
    return pa.table(
        {
            "text": list(texts),
            "label": list(truth),
            "prediction": [one.label for one in found],
            "correct": [
                set(label) == set(one.label) if isinstance(label, list) else label == one.label
                for label, one in zip(truth, found, strict=True)
            ],
            "loss": [float(index) for index in range(len(texts))],
            "place": [100 + index for index in range(len(texts))],
        }
        | {f"probability/{name}": [one.scores[name] for one in found] for name in names}
    )


def test_the_worst_mistakes_are_explained(single: Predictor) -> None:
    predicted = [str(one.label) for one in single.predict(TEXTS)]
    others = {"bad": "good", "fair": "bad", "good": "fair"}
    right = {1, 4}
    truth = [label if index in right else others[label] for index, label in enumerate(predicted)]
    found = worst_attributions(single, predictions_of(single, TEXTS, truth), 4)
    assert [one.place for one in found] == [107, 106, 105, 103]
    for one in found:
        text = TEXTS[one.place - 100]
        assert one.attribution == attribute(single, [text])[0]
        assert one.prediction == one.attribution.label
        assert one.truth == others[one.attribution.label]
    assert len(worst_attributions(single, predictions_of(single, TEXTS, predicted), 4)) == 0


def test_of_several_labels_the_one_most_wrong_is_explained(multi: Predictor) -> None:
    scores = multi.predict(TEXTS)[0].scores
    nearest = min(scores, key=lambda name: abs(scores[name] - 0.5))
    farthest = max(scores, key=lambda name: abs(scores[name] - 0.5))
    predicted = set(multi.predict(TEXTS)[0].label)
    truth = sorted(predicted ^ {nearest, farthest})
    (found,) = worst_attributions(multi, predictions_of(multi, TEXTS[:1], [truth]), 4)
    assert found.attribution.label == farthest
    assert found.truth == truth


def test_long_mistakes_cost_no_more_than_short_ones(
    single: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = [str(one.label) for one in single.predict(TEXTS)]
    truth = ["bad" if label != "bad" else "good" for label in predicted]
    table = predictions_of(single, TEXTS, truth)
    assert len(worst_attributions(single, table, 5)) == 5
    tokens = single.lengths(list(reversed(TEXTS))).tokens
    monkeypatch.setattr(attribution, "MISTAKES_TOKENS", int(tokens[:2].sum()))
    assert len(worst_attributions(single, table, 5)) == 2
    monkeypatch.setattr(attribution, "MISTAKES_TOKENS", 1)
    assert len(worst_attributions(single, table, 5)) == 1


def test_mistakes_are_written_and_read(tmp_path: Path) -> None:
    words = (Word("a\u2028b", 0, 3, 0.1 + 0.2),)
    one = Attribution(("a\u2028b",), "é", 1.0, -1.0, words, 32, cut=True)
    mistakes = [Mistake(7, "x", "é", 2.5, one), Mistake(8, ["x"], [], 1.5, one)]
    write_mistakes(tmp_path / "tables" / "attributions.jsonl", mistakes)
    assert read_mistakes(tmp_path / "tables" / "attributions.jsonl") == mistakes


@pytest.mark.parametrize("content", [None, "{", "{}\n", "[]\n", '{"attribution": 1}\n'])
def test_a_broken_file_of_mistakes_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "attributions.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="file of attributions can't be read"):
        read_mistakes(path)
