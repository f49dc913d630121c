from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizerFast

from tests.tiny import SENTENCES
from textmill.data import tokens
from textmill.data.tokens import BrokenEntryError, TokenizedSplit, tokenize_split
from textmill.encoding import Encoded, LengthPolicy, encode
from textmill.errors import InputError, MachineError

POLICY = LengthPolicy(12, "keep_head")


@pytest.fixture
def tokenizer(tiny_encoder: Path) -> BertTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_encoder)


def examples(texts: list[str] = SENTENCES, **columns: list[object]) -> datasets.Dataset:
    data = {"text": texts, "label": [row % 2 for row in range(len(texts))], **columns}
    return datasets.Dataset.from_dict(data)


def make(
    split: datasets.Dataset,
    tokenizer: BertTokenizerFast,
    cache: Path,
    *,
    policy: LengthPolicy = POLICY,
    fingerprint: str = "f",
    batch_rows: int = 4000,
) -> TokenizedSplit:
    return tokenize_split(
        split, tokenizer, policy, fingerprint=fingerprint, cache=cache, batch_rows=batch_rows
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of each call of the tokenizer."""
    made: list[int] = []

    def counted(*arguments: object) -> Encoded:
        made.append(len(arguments[1]))  # type: ignore[arg-type]
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tokens, "encode", counted)
    return made


@pytest.mark.parametrize("batch_rows", [1, 4, 4000])
def test_rows_come_back_as_they_were_encoded(
    tokenizer: BertTokenizerFast, tmp_path: Path, batch_rows: int
) -> None:
    split = make(examples(), tokenizer, tmp_path, batch_rows=batch_rows)

    expected = encode(tokenizer, SENTENCES, None, POLICY)
    rows = split.__getitems__([5, 0, 0, 3])
    assert [ids.tolist() for ids in rows.input_ids] == [expected.input_ids[i] for i in (5, 0, 0, 3)]
    assert rows.index.tolist() == [5, 0, 0, 3]
    assert isinstance(rows.labels, np.ndarray)
    assert rows.labels.tolist() == [1, 0, 0, 1]
    assert (rows.index.dtype, rows.labels.dtype) == (np.int64, np.int64)
    assert rows.input_ids[0].dtype == np.int32
    assert split.lengths.tolist() == [len(ids) for ids in expected.input_ids]
    assert split.lengths.dtype == np.int32
    assert split.cut.tolist() == expected.cut
    assert split.share_cut == pytest.approx(sum(expected.cut) / 6)
    assert len(split) == 6


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(st.text("abcde ", max_size=30), st.lists(st.integers(0, 9), max_size=4)),
        max_size=12,
    ),
    batch_rows=st.integers(1, 13),
)
def test_any_texts_and_label_lists_survive_the_disk(
    tokenizer: BertTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, list[int]]],
    batch_rows: int,
) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.List(datasets.Value("int64"))}
    )
    split = datasets.Dataset.from_dict(
        {"text": [text for text, _ in rows], "label": [labels for _, labels in rows]}, features
    )

    made = make(split, tokenizer, tmp_path_factory.mktemp("cache"), batch_rows=batch_rows)

    read = made.__getitems__(range(len(rows)))
    expected = encode(tokenizer, [text for text, _ in rows], None, POLICY)
    assert [ids.tolist() for ids in read.input_ids] == expected.input_ids
    assert [labels.tolist() for labels in read.labels] == [labels for _, labels in rows]


def test_pairs_have_token_types_and_single_texts_none(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    others = SENTENCES[::-1]
    pairs = make(examples(text_pair=list(others)), tokenizer, tmp_path, fingerprint="pairs")
    single = make(examples(), tokenizer, tmp_path)

    expected = encode(tokenizer, SENTENCES, others, POLICY)
    read = pairs.__getitems__([2, 1])
    assert read.token_type_ids is not None
    assert [types.tolist() for types in read.token_type_ids] == [
        expected.token_type_ids[row]  # type: ignore[index]
        for row in (2, 1)
    ]
    assert [ids.tolist() for ids in read.input_ids] == [expected.input_ids[row] for row in (2, 1)]
    assert single.__getitems__([2]).token_type_ids is None


def test_rows_chosen_from_a_data_set_are_the_ones_tokenized(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    split = make(examples().select([4, 2]), tokenizer, tmp_path)

    expected = encode(tokenizer, [SENTENCES[4], SENTENCES[2]], None, POLICY)
    assert [ids.tolist() for ids in split.__getitems__([0, 1]).input_ids] == expected.input_ids


def test_a_split_without_rows_is_a_split(tokenizer: BertTokenizerFast, tmp_path: Path) -> None:
    split = make(examples().select([]), tokenizer, tmp_path)

    assert (len(split), split.share_cut) == (0, 0.0)


def test_the_second_time_tokenizes_nothing(
    tokenizer: BertTokenizerFast, tiny_encoder: Path, tmp_path: Path, calls: list[int]
) -> None:
    first = make(examples(), tokenizer, tmp_path, batch_rows=4)
    assert calls == [4, 2]

    tokenizer("used in between", truncation=True, max_length=5)
    for same in (tokenizer, AutoTokenizer.from_pretrained(tiny_encoder)):
        again = make(examples(), same, tmp_path)
        assert again.folder == first.folder
    assert calls == [4, 2]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t, p: make(examples(), t, p, fingerprint="g"), id="text"),
        pytest.param(lambda t, p: make(examples(text_pair=list(SENTENCES)), t, p), id="pairs"),
        pytest.param(
            lambda t, p: make(examples(), t, p, policy=LengthPolicy(13, "keep_head")), id="length"
        ),
        pytest.param(
            lambda t, p: make(examples(), t, p, policy=LengthPolicy(12, "keep_tail")),
            id="overflow",
        ),
        pytest.param(
            lambda t, p: (t.add_tokens(["[GENRE]"]), make(examples(), t, p)), id="tokenizer"
        ),
        pytest.param(lambda t, p: make(examples(), t, p / "elsewhere"), id="cache"),
    ],
)
def test_a_change_always_tokenizes(
    change: Callable[[BertTokenizerFast, Path], object],
    tokenizer: BertTokenizerFast,
    tmp_path: Path,
    calls: list[int],
) -> None:
    make(examples(), tokenizer, tmp_path)
    change(tokenizer, tmp_path)

    assert calls == [6, 6]


def test_another_version_of_the_tokenizers_library_tokenizes_again(
    tokenizer: BertTokenizerFast,
    tmp_path: Path,
    calls: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(examples(), tokenizer, tmp_path)
    monkeypatch.setattr("tokenizers.__version__", "999")
    make(examples(), tokenizer, tmp_path)

    assert calls == [6, 6]


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def lie(file: Path) -> None:
    file.write_text(json.dumps({"bytes": {}}))


DAMAGE = [
    ("input_ids.npy", shorten),
    ("offsets.npy", shorten),
    ("label.npy", shorten),
    ("cut.npy", Path.unlink),
    ("tokens.json", Path.unlink),
    ("tokens.json", lambda file: file.write_text("{")),
    ("tokens.json", lambda file: file.write_text("[]")),
    ("tokens.json", lambda file: file.write_bytes(b"\xff\xfe")),
    ("tokens.json", lie),
    ("lengths.npy", lambda file: file.write_bytes(b"x" * file.stat().st_size)),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_entry_is_told_and_made_again(
    name: str,
    damage: Callable[[Path], object],
    tokenizer: BertTokenizerFast,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = make(examples(), tokenizer, tmp_path).folder
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    damage(folder / name)
    with pytest.raises(BrokenEntryError):
        TokenizedSplit(folder)

    with caplog.at_level(logging.WARNING):
        make(examples(), tokenizer, tmp_path)

    assert "damaged" in caplog.text
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole


def test_an_entry_with_other_rows_than_the_data_is_made_again(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    make(examples(), tokenizer, tmp_path)

    assert len(make(examples(SENTENCES[:4]), tokenizer, tmp_path)) == 4


def test_two_portions_are_in_the_making_at_once_and_stay_in_order(
    tokenizer: BertTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_is_done = threading.Event()

    def last_comes_first(*arguments: object) -> Encoded:
        if arguments[1] == SENTENCES[:1]:
            assert second_is_done.wait(timeout=60)
        encoded = encode(*arguments)  # type: ignore[arg-type]
        if arguments[1] == SENTENCES[1:2]:
            second_is_done.set()
        return encoded

    monkeypatch.setattr(tokens, "encode", last_comes_first)
    split = make(examples(), tokenizer, tmp_path, batch_rows=1)

    expected = encode(tokenizer, SENTENCES, None, POLICY).input_ids
    assert [ids.tolist() for ids in split.__getitems__(range(6)).input_ids] == expected


def test_what_fails_in_the_middle_leaves_nothing(
    tokenizer: BertTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_later(*arguments: object) -> Encoded:
        if "hated" in arguments[1][0]:  # type: ignore[index]
            raise KeyboardInterrupt
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tokens, "encode", fails_later)
    with pytest.raises(KeyboardInterrupt):
        make(examples(), tokenizer, tmp_path, batch_rows=1)

    assert [path for path in (tmp_path / "tokens").iterdir() if path.is_dir()] == []


def test_a_full_disk_is_the_machines_fault(
    tokenizer: BertTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens._GrowingArray, "append", full)
    with pytest.raises(MachineError, match="the disk is full"):
        make(examples(), tokenizer, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_the_machines_fault(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="can't be written"):
        make(examples(), tokenizer, tmp_path)


def test_a_file_in_place_of_the_cache_is_the_machines_fault(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(MachineError, match="can't be written"):
        make(examples(), tokenizer, tmp_path / "cache")


def test_a_policy_without_room_is_an_input_error_and_leaves_no_entry(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        make(examples(), tokenizer, tmp_path, policy=LengthPolicy(2, "keep_head"))

    assert [path for path in (tmp_path / "tokens").iterdir() if path.is_dir()] == []


PROGRAM = textwrap.dedent("""
    import sys
    from pathlib import Path
    import datasets
    from transformers import AutoTokenizer
    from tests.tiny import SENTENCES
    from textmill.data import tokens
    from textmill.encoding import LengthPolicy

    encode, made = tokens.encode, []
    tokens.encode = lambda *arguments: (made.append(1), encode(*arguments))[1]
    texts = SENTENCES * 2000
    examples = datasets.Dataset.from_dict({"text": texts, "label": [0] * len(texts)})
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    print("ready", flush=True)
    input()
    split = tokens.tokenize_split(
        examples, tokenizer, LengthPolicy(12), fingerprint="f", cache=Path(sys.argv[2])
    )
    print(len(made), len(split), int(split.lengths.sum()))
""")


def test_two_processes_at_once_tokenize_once(tiny_encoder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tiny_encoder), str(tmp_path)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    found = []
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        found.append([int(number) for number in process.communicate()[0].split()])
        assert process.returncode == 0

    assert sorted(calls for calls, *_ in found) == [0, 3]
    assert found[0][1:] == found[1][1:]
    assert found[0][1] == 12_000


def test_a_split_is_sent_as_the_name_of_its_folder(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    split = make(examples(), tokenizer, tmp_path)

    sent = pickle.dumps(split)

    assert len(sent) < 500
    arrived = pickle.loads(sent)  # noqa: S301
    assert arrived.__getitems__([1]).input_ids[0].tolist() == (
        split.__getitems__([1]).input_ids[0].tolist()
    )


def test_token_ids_are_mapped_and_cannot_be_changed_by_accident(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    split = make(examples(), tokenizer, tmp_path)

    (ids,) = split.__getitems__([0]).input_ids
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 7


def test_no_setting_of_the_environment_or_the_tokenizer_is_changed(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    before = dict(os.environ), tokenizer.backend_tokenizer.to_str()

    make(examples(), tokenizer, tmp_path)

    assert (dict(os.environ), tokenizer.backend_tokenizer.to_str()) == before


def test_memory_does_not_grow_with_the_rows(tokenizer: BertTokenizerFast, tmp_path: Path) -> None:
    def peak(batches: int) -> int:
        split = examples(SENTENCES * (50 * batches))
        tracemalloc.start()
        make(split, tokenizer, tmp_path, fingerprint=str(batches), batch_rows=300)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(1)
    assert peak(20) < 1.5 * peak(2)
