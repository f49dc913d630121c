"""An encoder from scratch: learned from the texts alone, the same wherever it is made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from tests.tiny import SENTENCES
from textmill.cache import cache_folder
from textmill.encoding import LengthPolicy, encode, token_places
from textmill.labels import Labels
from textmill.model import scratch
from textmill.model.network import Pretrained, build_network, load_config, load_tokenizer
from textmill.model.scratch import SPECIAL_TOKENS, Size, learn_tokenizer, scratch_encoder

SIZE = Size(layers=2, width=32, heads=4, vocabulary=300, positions=48)
POLICY = LengthPolicy(48)
# Each in another order than they are met, and with as many ties as can be.
MANY = [f"{first}{second}{third}" for first in "zyxw" for second in "qrst" for third in "abcdef"]


def split(texts: list[str], pairs: list[str] | None = None) -> Dataset:
    columns = {"text": texts, "label": [0] * len(texts)}
    return Dataset.from_dict(columns if pairs is None else {**columns, "text_pair": pairs})


def make(
    texts: list[str] = SENTENCES, size: Size = SIZE, *, fingerprint: str = "f", seed: int = 1
) -> Pretrained:
    return scratch_encoder(
        split(texts), size, fingerprint=fingerprint, seed=seed, cache=cache_folder()
    )


def files_of(encoder: Pretrained) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(encoder.location).glob("[!.]*")}


def tokens(tokenizer: PreTrainedTokenizerFast, text: str, pair: str | None = None) -> list[str]:
    [ids] = encode(tokenizer, [text], None if pair is None else [pair], POLICY).input_ids
    return list(tokenizer.convert_ids_to_tokens(ids))


def fail(*_: object) -> None:
    raise KeyboardInterrupt


def test_of_too_many_texts_some_make_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MOST_TEXTS", 4)
    texts = [word for word in ("alpha", "beta", "gamma", "delta") for _ in range(2)]
    texts[1::2] = ["xyz"] * 4
    learned = learn_tokenizer(split(texts), SIZE).get_vocab()
    assert learned == learn_tokenizer(split(texts[::2]), SIZE).get_vocab()
    assert "x" not in learned


class TestEncoder:
    def test_it_is_as_large_as_asked_for(self) -> None:
        encoder = make()
        config, tokenizer = load_config(encoder), load_tokenizer(encoder)
        assert config.num_hidden_layers == SIZE.layers
        assert config.hidden_size == SIZE.width
        assert config.num_attention_heads == SIZE.heads
        assert config.max_position_embeddings == tokenizer.model_max_length == SIZE.positions
        assert config.vocab_size == len(tokenizer) <= SIZE.vocabulary
        assert config.pad_token_id == tokenizer.pad_token_id

    def test_it_gets_a_head_as_any_encoder_does(self) -> None:
        network = build_network(
            make(), Labels(("a", "b")), dropout=0.1, attention_dropout=0.0, freeze="none"
        )
        ids = torch.tensor([[2, 6, 7, 3]])
        assert network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.shape == (1, 2)

    def test_another_seed_gives_other_weights_and_the_same_vocabulary(self) -> None:
        first, second = files_of(make(seed=1)), files_of(make(seed=2))
        assert first["model.safetensors"] != second["model.safetensors"]
        assert first["tokenizer.json"] == second["tokenizer.json"]

    def test_making_one_leaves_other_random_numbers_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        make()
        assert torch.equal(torch.rand(1), expected)

    def test_it_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        location = make().location
        monkeypatch.setattr(scratch, "_write_encoder", fail)
        assert make().location == location

    @pytest.mark.parametrize(
        "change",
        [
            {"fingerprint": "g"},
            {"seed": 2},
            {"size": Size(layers=1, width=32, heads=4, vocabulary=300, positions=48)},
            {"size": Size(layers=2, width=32, heads=4, vocabulary=300, positions=40)},
        ],
    )
    def test_whatever_it_depends_on_makes_another(self, change: dict[str, object]) -> None:
        assert make().location != make(**change).location  # type: ignore[arg-type]

    def test_several_that_ask_at_once_get_one_whole_encoder(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[Path] = []
        write = scratch._write_encoder

        def counted(texts: Dataset, size: Size, seed: int, folder: Path) -> None:
            written.append(folder)
            write(texts, size, seed, folder)

        monkeypatch.setattr(scratch, "_write_encoder", counted)
        with ThreadPoolExecutor(4) as pool:
            locations = {future.location for future in pool.map(lambda _: make(), range(4))}
        assert len(written) == len(locations) == 1

    def test_a_making_that_fails_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scratch, "learn_tokenizer", fail)
        with pytest.raises(KeyboardInterrupt):
            make()
        assert [path for path in (cache_folder() / "scratch").iterdir() if path.is_dir()] == []

    def test_a_damaged_one_is_made_again(self) -> None:
        encoder = make()
        before = files_of(encoder)
        (Path(encoder.location) / "model.safetensors").write_bytes(b"half")
        assert files_of(make()) == before


class TestTokenizer:
    def test_the_same_texts_give_the_same_tokenizer(self) -> None:
        """The library's trainer alone gives another each time, as its hashes differ."""
        texts = split(MANY * 3)
        learned = [learn_tokenizer(texts, Size(1, 8, 1, 70, 8)) for _ in range(5)]
        assert len({tokenizer.backend_tokenizer.to_str() for tokenizer in learned}) == 1

    def test_it_comes_back_from_its_folder_as_it_was(self) -> None:
        learned = learn_tokenizer(split(SENTENCES), SIZE)
        loaded = load_tokenizer(make())
        assert loaded.backend_tokenizer.to_str() == learned.backend_tokenizer.to_str()
        assert tuple(loaded.convert_ids_to_tokens(range(5))) == SPECIAL_TOKENS

    def test_frequent_words_are_one_token_and_others_are_pieced_together(self) -> None:
        tokenizer = learn_tokenizer(split(SENTENCES * 3), SIZE)
        assert tokens(tokenizer, "A story!") == ["[CLS]", "a", "story", "!", "[SEP]"]
        assert "".join(tokens(tokenizer, "storyteller")).replace("##", "") == (
            "[CLS]storyteller[SEP]"
        )

    def test_pairs_are_told_apart(self) -> None:
        tokenizer = learn_tokenizer(split(SENTENCES, pairs=["unheard words"] * 6), SIZE)
        encoded = encode(tokenizer, ["a film"], ["unheard"], POLICY)
        assert "unheard" in tokens(tokenizer, "a film", "unheard")
        assert encoded.token_type_ids == [[0, 0, 0, 0, 1, 1]]

    def test_accents_count_and_the_way_they_are_typed_does_not(self) -> None:
        tokenizer = learn_tokenizer(split(["mà", "má", "ma"] * 5), SIZE)
        assert tokens(tokenizer, "mà má ma Ma\u0300") == ["[CLS]", "mà", "má", "ma", "mà", "[SEP]"]

    def test_accents_that_are_typed_apart_are_learned_as_one_letter(self) -> None:
        tokenizer = learn_tokenizer(split(["ma\u0300", "ma"] * 5), SIZE)
        assert tokens(tokenizer, "mà") == ["[CLS]", "mà", "[SEP]"]

    def test_text_without_spaces_is_read_too(self) -> None:
        line = (
            "ฉันรักหนังเรื่องนี้มากและอยากดูอีกครั้งกับเพื่อนของฉันในวันหยุดสุดสัปดาห์หน้าที่โรงหนังใกล้บ้านของเราเพราะมันสนุก"
        )
        assert len(line) > 100
        tokenizer = learn_tokenizer(split([line] * 3), SIZE)
        assert "[UNK]" not in tokens(tokenizer, line)
        places = token_places(tokenizer, line, LengthPolicy(200))
        assert "".join(line[place.start : place.end] for place in places if place) == line

    def test_the_rarest_characters_give_way_to_the_vocabulary(self) -> None:
        letters = [chr(0x4E00 + number) for number in range(200)]
        texts = ["".join(letters[: 1 + number]) for number in range(200)]
        tokenizer = learn_tokenizer(split(texts), Size(1, 8, 1, 100, 8))
        assert len(tokenizer) <= 100
        assert tokens(tokenizer, letters[0] + letters[-1]) == [
            "[CLS]", letters[0], "[UNK]", "[SEP]"
        ]  # fmt: skip

    def test_special_tokens_written_in_a_text_are_no_vocabulary(self) -> None:
        tokenizer = learn_tokenizer(split(["##a [MASK] ##b"] * 3), SIZE)
        assert set(tokenizer.added_tokens_decoder) == set(range(len(SPECIAL_TOKENS)))
