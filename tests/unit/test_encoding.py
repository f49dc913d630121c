from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import BertConfig, GPT2Config, PreTrainedTokenizerFast, RobertaConfig, T5Config

from tests.tiny import SENTENCES, make_tokenizer
from textmill import encoding
from textmill.encoding import (
    LengthPolicy,
    Overflow,
    Padding,
    encode,
    model_positions,
    pad_batch,
    resolve_max_length,
    token_places,
    tokenizer_fingerprint,
)
from textmill.errors import InputError

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
MASKED = ["input_ids", "attention_mask"]
OVERFLOWS: list[Overflow] = ["keep_head", "keep_tail", "keep_ends"]


def byte_level(post_processor: object, **settings: object) -> PreTrainedTokenizerFast:
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.train_from_iterator(
        SENTENCES,
        BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "<pad>", "</s>"],
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if post_processor is not None:
        backend.post_processor = post_processor
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL, **settings)


def template(single: str, pair: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )


TOKENIZERS = {
    "bert": make_tokenizer(),
    "roberta": byte_level(
        processors.RobertaProcessing(("</s>", 2), ("<s>", 0)), model_input_names=MASKED
    ),
    "deberta": byte_level(
        template("<s> $A </s>", "<s> $A </s> $B:1 </s>:1"),
        model_input_names=["input_ids", "attention_mask", "token_type_ids"],
    ),
    "modernbert": byte_level(
        template("<s> $A </s>", "<s> $A </s> $B </s>"), model_input_names=MASKED
    ),
    "xlnet": byte_level(
        template("$A </s> <s>:2", "$A </s> $B:1 </s>:1 <s>:2"),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        padding_side="left",
    ),
    "gpt": byte_level(processors.ByteLevel(trim_offsets=False), model_input_names=MASKED),
    "bare": byte_level(None, model_input_names=MASKED),
}
AROUND: dict[str, tuple[list[int], list[int]]] = {
    "bert": ([2], [3]),
    "xlnet": ([], [2, 0]),
    "gpt": ([], []),
    "bare": ([], []),
}
KINDS = sorted(TOKENIZERS)

words = st.sampled_from([*" ".join(SENTENCES).split(), "[SEP]", "</s>", "żółw", "🎬", "x" * 40])
texts = st.lists(words, max_size=25).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=6),
    paired=st.booleans(),
    max_length=st.integers(6, 40),
)
def test_keep_head_gives_what_transformers_gives(
    kind: str, rows: list[tuple[str, str]], paired: bool, max_length: int
) -> None:
    tokenizer = TOKENIZERS[kind]
    first = [text for text, _ in rows]
    second = [pair for _, pair in rows] if paired else None

    ours = encode(tokenizer, first, second, LengthPolicy(max_length, "keep_head"))

    theirs = tokenizer(first, second, truncation=True, max_length=max_length)
    whole = tokenizer(first, second)["input_ids"]
    assert ours.input_ids == theirs["input_ids"]
    assert ours.token_type_ids == theirs.get("token_type_ids")
    assert ours.cut == [len(ids) > max_length for ids in whole]


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    text=texts,
    max_length=st.integers(4, 40),
    overflow=st.sampled_from(OVERFLOWS),
)
def test_a_cut_text_keeps_its_special_tokens_and_the_named_part(
    kind: str, text: str, max_length: int, overflow: Overflow
) -> None:
    tokenizer = TOKENIZERS[kind]
    content = tokenizer(text, add_special_tokens=False)["input_ids"]
    special = tokenizer.num_special_tokens_to_add()

    (ids,) = encode(tokenizer, [text], None, LengthPolicy(max_length, overflow)).input_ids

    room = min(max_length - special, len(content))
    tail = {"keep_head": 0, "keep_tail": room, "keep_ends": room // 2}[overflow]
    kept = content[: room - tail] + content[len(content) - tail :]
    before, after = AROUND.get(kind, ([0], [2]))
    assert ids == before + kept + after


@pytest.mark.parametrize("kind", KINDS)
def test_keep_tail_and_keep_ends_cut_each_text_of_a_pair_to_its_longest_first_share(
    kind: str,
) -> None:
    tokenizer = TOKENIZERS[kind]
    first, second = "a b c d e f g h", "c d"
    parts = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in (first, second)]
    room = len(parts[1]) + 4
    policy = room + tokenizer.num_special_tokens_to_add(pair=True)

    def content(overflow: Overflow) -> list[int]:
        (ids,) = encode(tokenizer, [first], [second], LengthPolicy(policy, overflow)).input_ids
        return [token for token in ids if token not in tokenizer.all_special_ids]

    assert content("keep_tail") == parts[0][-4:] + parts[1]
    assert content("keep_ends") == parts[0][:2] + parts[0][-2:] + parts[1]


def test_token_types_stay_with_their_tokens_when_the_head_is_cut() -> None:
    encoded = encode(
        TOKENIZERS["bert"], ["the plot is clever"], ["a film"], LengthPolicy(7, "keep_tail")
    )

    assert encoded.token_type_ids == [[0, 0, 0, 0, 1, 1, 1]]


def test_keep_head_does_not_follow_the_tokenizers_own_side_of_truncation() -> None:
    tokenizer = make_tokenizer()
    expected = tokenizer(SENTENCES, truncation=True, max_length=6)["input_ids"]
    tokenizer.truncation_side = "left"

    assert encode(tokenizer, SENTENCES, None, LengthPolicy(6, "keep_head")).input_ids == expected


def test_no_texts_give_no_rows() -> None:
    encoded = encode(TOKENIZERS["bert"], [], None, LengthPolicy(8, "keep_head"))

    assert (encoded.input_ids, encoded.token_type_ids, encoded.cut) == ([], [], [])


@pytest.mark.parametrize("pairs", [None, SENTENCES[::-1]])
def test_parts_bounded_in_characters_come_together_in_order(
    monkeypatch: pytest.MonkeyPatch, pairs: list[str] | None
) -> None:
    policy = LengthPolicy(20, "keep_head")
    expected = encode(TOKENIZERS["bert"], SENTENCES, pairs, policy)
    monkeypatch.setattr(encoding, "CHARACTERS_AT_ONCE", 60)

    assert encode(TOKENIZERS["bert"], SENTENCES, pairs, policy) == expected


def test_pairs_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        encode(TOKENIZERS["bert"], SENTENCES, SENTENCES[:-1], LengthPolicy(20, "keep_head"))


@pytest.mark.parametrize(("pairs", "least"), [(None, 3), (SENTENCES, 4)])
def test_a_length_without_room_for_text_is_named(pairs: list[str] | None, least: int) -> None:
    with pytest.raises(InputError, match=f"set it to {least} or more"):
        encode(TOKENIZERS["bert"], SENTENCES, pairs, LengthPolicy(least - 1, "keep_head"))


@pytest.mark.parametrize("odd", ["a \ud800 film", "\udcff", None, 3.5])
@pytest.mark.parametrize("paired", [False, True])
def test_what_is_no_text_is_an_input_error_that_says_where(odd: str, paired: bool) -> None:
    texts = ["a film", odd]
    first, second = (["x", "y"], texts) if paired else (texts, None)

    with pytest.raises(InputError, match="text 2: give it as text") as raised:
        encode(TOKENIZERS["bert"], first, second, LengthPolicy(20, "keep_head"))
    str(raised.value).encode()


def test_the_tokenizer_is_left_as_it_was_and_its_state_changes_nothing() -> None:
    tokenizer = make_tokenizer()
    expected = encode(tokenizer, SENTENCES, None, LengthPolicy(10, "keep_head"))
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    before, attributes = tokenizer.backend_tokenizer.to_str(), set(vars(tokenizer))

    fresh = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301
    for same in (tokenizer, fresh):
        assert encode(same, SENTENCES, None, LengthPolicy(10, "keep_head")) == expected
    assert tokenizer.backend_tokenizer.to_str() == before
    assert set(vars(tokenizer)) == attributes


def test_threads_with_different_policies_share_a_tokenizer() -> None:
    tokenizer = make_tokenizer()
    policies = [LengthPolicy(*pair) for pair in product(range(4, 20), OVERFLOWS)]
    expected = [encode(tokenizer, SENTENCES, None, policy) for policy in policies]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda p: encode(tokenizer, SENTENCES, None, p), policies * 5))

    assert found == expected * 5


def test_a_token_added_later_is_seen() -> None:
    tokenizer = make_tokenizer()
    policy = LengthPolicy(20, "keep_head")
    encode(tokenizer, ["a [GENRE] film"], None, policy)
    tokenizer.add_tokens(["[GENRE]"])

    (ids,) = encode(tokenizer, ["a [GENRE] film"], None, policy).input_ids

    assert tokenizer.convert_tokens_to_ids("[GENRE]") in ids


def test_special_tokens_in_a_text_are_split_when_the_tokenizer_says_so() -> None:
    tokenizer = make_tokenizer()
    policy = LengthPolicy(20, "keep_head")
    (plain,) = encode(tokenizer, ["a [SEP] film"], None, policy).input_ids
    tokenizer.split_special_tokens = True

    (split,) = encode(tokenizer, ["a [SEP] film"], None, policy).input_ids

    assert plain.count(tokenizer.sep_token_id) == 2
    assert split.count(tokenizer.sep_token_id) == 1


@pytest.mark.parametrize(("kind", "multiple"), list(product(KINDS, [1, 8])))
def test_padding_gives_what_transformers_gives(kind: str, multiple: int) -> None:
    tokenizer = TOKENIZERS[kind]
    encoded = encode(tokenizer, SENTENCES, SENTENCES[::-1], LengthPolicy(32, "keep_head"))

    batch = pad_batch(
        encoded.input_ids, encoded.token_type_ids, Padding.of(tokenizer, to_multiple_of=multiple)
    )

    theirs = tokenizer(
        SENTENCES,
        SENTENCES[::-1],
        truncation=True,
        max_length=32,
        padding=True,
        pad_to_multiple_of=multiple,
        return_tensors="pt",
    )
    assert set(batch) == set(theirs)
    for name, padded in batch.items():
        assert padded.dtype == np.int64
        np.testing.assert_array_equal(padded, theirs[name].numpy())


def test_arrays_and_missing_token_types_pad_like_lists_and_zeros() -> None:
    padding = Padding(token_id=9, token_types=True, side="left")

    batch = pad_batch([np.array([1, 2], np.int32), [], [3]], None, padding)

    assert batch["input_ids"].tolist() == [[1, 2], [9, 9], [9, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1], [0, 0], [0, 1]]
    assert batch["token_type_ids"].tolist() == [[0, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("rows", [[], [[], []]])
def test_batches_without_a_token_have_no_width(rows: list[list[int]]) -> None:
    assert pad_batch(rows, None, Padding(token_id=0))["input_ids"].shape == (len(rows), 0)


def test_padding_is_small_to_send_and_equal_on_arrival() -> None:
    padding = Padding.of(TOKENIZERS["xlnet"])

    assert pickle.loads(pickle.dumps(padding)) == padding  # noqa: S301
    assert padding.side == "left"
    assert len(pickle.dumps(padding)) < 300


def test_a_tokenizer_without_padding_token_is_an_input_error() -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None

    with pytest.raises(InputError, match="no padding token"):
        Padding.of(tokenizer)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (BertConfig(max_position_embeddings=512), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (RobertaConfig(max_position_embeddings=130, pad_token_id=0), 129),
        (GPT2Config(n_positions=1024), 1024),
        (T5Config(), None),
    ],
)
def test_model_positions_are_those_usable_for_tokens(config: object, positions: int | None) -> None:
    assert model_positions(config) == positions  # type: ignore[arg-type]


def test_roberta_takes_exactly_the_length_that_we_allow() -> None:
    from transformers import RobertaModel

    config = RobertaConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=20,
        pad_token_id=1,
    )
    model, positions = RobertaModel(config), model_positions(config)
    assert positions is not None

    model(input_ids=torch.full((1, positions), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, positions + 1), 5))


def test_the_length_is_the_models_and_tokenizers_unless_requested() -> None:
    tokenizer = TOKENIZERS["bert"]  # model_max_length 64

    assert resolve_max_length(None, tokenizer, 512) == 64
    assert resolve_max_length(None, tokenizer, 32) == 32
    assert resolve_max_length(None, tokenizer, None) == 64
    assert resolve_max_length(128, tokenizer, 512) == 128
    assert resolve_max_length(3, tokenizer, 512) == 3


@pytest.mark.parametrize(
    ("requested", "pair", "hint"),
    [
        (513, False, "set it to 512 or less"),
        (2, False, "set it to 3 or more"),
        (0, False, "set it to 3 or more"),
        (-1, False, "set it to 3 or more"),
        (3, True, "set it to 4 or more"),
    ],
)
def test_a_length_that_cannot_be_is_an_input_error(requested: int, pair: bool, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        resolve_max_length(requested, TOKENIZERS["bert"], 512, pair=pair)


def test_a_tokenizer_and_model_without_bounds_ask_for_a_length() -> None:
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = encoding.NO_BOUND

    with pytest.raises(InputError, match="no longest length"):
        resolve_max_length(None, tokenizer, None)


def test_the_fingerprint_follows_what_decides_the_ids_and_nothing_else() -> None:
    tokenizer = make_tokenizer()
    original = tokenizer_fingerprint(tokenizer)
    tokenizer(SENTENCES, truncation=True, max_length=5, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == original
    assert tokenizer_fingerprint(deepcopy(tokenizer)) == original

    changed = [deepcopy(tokenizer) for _ in range(4)]
    changed[0].add_tokens(["[GENRE]"])
    changed[1].split_special_tokens = True
    changed[2].model_input_names = MASKED
    changed[3].backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", 2)]
    )
    assert len({original, *map(tokenizer_fingerprint, changed)}) == 5


def test_the_fingerprint_is_the_same_in_another_process(tiny_encoder: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from transformers import AutoTokenizer
        from textmill.encoding import tokenizer_fingerprint
        print(tokenizer_fingerprint(AutoTokenizer.from_pretrained(sys.argv[1])))
    """)
    found = [
        subprocess.run(
            [sys.executable, "-c", program, str(tiny_encoder)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1]


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    first=texts,
    second=st.none() | texts,
    max_length=st.integers(6, 40),
    overflow=st.sampled_from(OVERFLOWS),
)
def test_each_token_has_the_place_that_it_comes_from(
    kind: str, first: str, second: str | None, max_length: int, overflow: Overflow
) -> None:
    tokenizer, policy = TOKENIZERS[kind], LengthPolicy(max_length, overflow)
    both = first if second is None else (first, second)
    places = token_places(tokenizer, both, policy)
    encoded = encode(tokenizer, [first], None if second is None else [second], policy)
    (ids,) = encoded.input_ids
    assert len(places) == len(ids)
    for token_id, place in zip(ids, places, strict=True):
        if place is not None:
            written = (first, second or "")[place.side][place.start : place.end].strip()
            piece = tokenizer.convert_ids_to_tokens(token_id).removeprefix("##").strip("Ġ")
            if piece.isascii() and piece != "[UNK]":
                assert written.lower() == piece.lower()
    if kind not in ("gpt", "bare"):
        special = len(tokenizer("a", "a")["input_ids"]) - 2 if second is not None else 2
        assert sum(place is None for place in places) == special
