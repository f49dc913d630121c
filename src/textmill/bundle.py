"""The bundle: a standard Hugging Face model folder, and what Textmill adds to it.

Anything that opens such folders opens a bundle. ``textmill.json`` holds what they have no place
for (`BundleInfo`); ``golden.jsonl`` holds inputs with the scores that the model must give for them.
The label names are in ``config.json`` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from textmill.encoding import LengthPolicy, Overflow, Padding, PlainTokenizer
from textmill.errors import InputError, MachineError
from textmill.forms.choosing import OTHER_FORMS, FormName
from textmill.forms.graph_form import graph_scorer
from textmill.labels import Labels
from textmill.safe_write import replace_file, replace_folder
from textmill.scoring import Scorer, Scores, Texts, decide
from textmill.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FORMAT_VERSION = 1

INFO_FILE = "textmill.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
GOLDEN_FILE = "golden.jsonl"
ONNX_FOLDER = "onnx"
NEEDED_FILES = (INFO_FILE, CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)

LATEST = "latest"
LATEST_RUN = Path("runs/latest")

# More than any model has: transformers then writes one file of weights, never several.
ONE_SHARD = "100TB"


@dataclass(frozen=True, slots=True)
class FormRecord:
    """A form of the model beside torch's, which has passed its proof.

    Args:
        file: Its place in the bundle.
        sha256: Of that file, in hexadecimal.
        figures: What the proof has found, as `textmill.proof` names it.
        versions: Of the packages that made it.
    """

    file: str
    sha256: str
    figures: Mapping[str, float]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What ``textmill.json`` holds.

    Args:
        text_columns: The columns that held the text in training: one, or two for pairs.
        multi_label: Whether a text may have any number of labels.
        max_length: The most tokens of a text, special tokens included.
        overflow: What stays of a longer text.
        thresholds: The probability from which each label holds; None for 0.5 each, and for the
            most probable label where there is just one.
        fingerprints: From what made the bundle (data, encoder, ...) to its SHA-256; also of the
            ``weights`` and the ``tokenizer``.
        textmill_version: The version that wrote the bundle.
        format_version: The version of the format of bundles.
        forms: The forms beside torch's: ``onnx``, ``int8``, ``bf16``.
        padding: How the texts of these are padded; None without any.
    """

    text_columns: tuple[str, ...]
    multi_label: bool
    max_length: int
    overflow: Overflow
    thresholds: tuple[float, ...] | None
    fingerprints: Mapping[str, str]
    textmill_version: str = __version__
    format_version: int = FORMAT_VERSION
    forms: Mapping[FormName, FormRecord] = field(default_factory=dict)
    padding: Padding | None = None


_INFO = TypeAdapter(BundleInfo)


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """What ``golden.jsonl`` holds.

    Args:
        texts: Texts, or pairs of texts.
        scores: The probabilities that the model must give for them, ``[texts, labels]``.
        labels: The labels that these stand for; None from a Textmill that didn't write them.
    """

    texts: Texts
    scores: Scores
    labels: list[str | list[str]] | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that has been found complete and consistent; its weights are not loaded yet."""

    folder: Path
    info: BundleInfo
    labels: Labels

    @property
    def policy(self) -> LengthPolicy:
        """What happens to long texts, as in training."""
        return LengthPolicy(self.info.max_length, self.info.overflow)

    @property
    def forms(self) -> tuple[FormName, ...]:
        """The forms that its model has."""
        return ("torch", *(form for form in OTHER_FORMS if form in self.info.forms))

    def fingerprint(self) -> str:
        """A SHA-256 over all files that decide what the bundle predicts, in hexadecimal."""
        hashes = [sha256_of(self.folder / name) for name in NEEDED_FILES]
        return hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    @property
    def vocabulary(self) -> int | None:
        """The number of tokens that the model has embeddings for; None if it doesn't say."""
        size = _read_json(self.folder, CONFIG_FILE).get("vocab_size")
        return size if isinstance(size, int) else None

    def decide(self, probabilities: Scores) -> list[str | list[str]]:
        """The labels that probabilities, ``[texts, labels]``, stand for.

        See `textmill.scoring.decide`.
        """
        names, thresholds = self.labels.names, self.info.thresholds
        limits = None if thresholds is None else np.array(thresholds, dtype=np.float32)
        decided = decide(probabilities, self.labels, limits).tolist()
        if not self.labels.multi_label:
            return [names[index] for index in decided]
        return [[name for name, holds in zip(names, row, strict=True) if holds] for row in decided]

    def scorer(self, device: str = "cpu", form: FormName = "torch") -> Scorer:
        """Loads the model and its tokenizer, from the folder alone.

        Args:
            device: Where torch computes; the other forms are for the CPU.
            form: A form that the bundle has.

        Raises:
            InputError: The files don't fit together, or there is no such device.
        """
        if form != "torch":
            return self._graph_scorer(form)
        from textmill.forms.torch_form import torch_scorer

        network, tokenizer = load_network(self)
        multi_label = self.info.multi_label
        return torch_scorer(network, tokenizer, self.policy, multi_label=multi_label, device=device)

    def _graph_scorer(self, form: FormName) -> Scorer:
        record, padding = self.info.forms[form], self.info.padding
        path = self.folder / record.file
        if padding is None:
            raise _broken(self.folder / INFO_FILE, f"padding: not given for the form {form!r}")
        if sha256_of(path) != record.sha256:
            raise _broken(path, "the file isn't the one that passed its proof")
        return graph_scorer(
            form,
            path,
            len(self.labels),
            plain_tokenizer(self.folder, token_types=padding.token_types),
            padding,
            self.policy,
            multi_label=self.info.multi_label,
        )


def write_bundle(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    labels: Labels,
    policy: LengthPolicy,
    text_columns: Sequence[str],
    fingerprints: Mapping[str, str],
    golden_texts: Texts,
    card: str,
    thresholds: Sequence[float] | None = None,
) -> None:
    """Writes a bundle, whole or not at all; one that stands there already is replaced.

    Args:
        folder: The bundle's place.
        model: The trained classifier, with one output for each label.
        tokenizer: Its tokenizer.
        labels: The labels, in the order of the outputs.
        policy: What happens to long texts.
        text_columns: The columns that held the text in training.
        fingerprints: From what made the model (data, encoder, ...) to its SHA-256.
        golden_texts: Inputs to score with the finished bundle, for ``golden.jsonl``.
        card: The model card, in Markdown.
        thresholds: The probability from which each label holds; see `BundleInfo`.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    if model.config.num_labels != len(labels):
        raise ValueError(f"{model.config.num_labels} outputs for {len(labels)} labels")
    info = BundleInfo(
        text_columns=tuple(text_columns),
        multi_label=labels.multi_label,
        max_length=policy.max_length,
        overflow=policy.overflow,
        thresholds=None if thresholds is None else tuple(thresholds),
        fingerprints=dict(fingerprints),
    )
    with replace_folder(folder) as temporary:
        _write_model(temporary, model, labels)
        _write_tokenizer(temporary, tokenizer, policy)
        _write_info(temporary, info)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        _write_golden(temporary, golden_texts)


def read_bundle(path: str | Path) -> Bundle:
    """Finds a bundle and checks it without loading its weights.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest``; see `find_bundle`.

    Raises:
        InputError: There is no bundle, a file is missing or broken, a newer Textmill made it, or
            its files contradict each other.
    """
    folder = find_bundle(path)
    missing = [name for name in NEEDED_FILES if not (folder / name).is_file()]
    if missing:
        raise _broken(folder, f"the bundle lacks {', '.join(missing)}")
    info = _read_info(folder)
    labels = _read_labels(folder, info)
    _check_weights(folder)
    return Bundle(folder, info, labels)


def load_network(bundle: Bundle) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Loads the network, in float32, and its tokenizer.

    Raises:
        InputError: The files don't fit together.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from textmill.first_token import compute_first_token_only
    from textmill.quiet import quiet_transformers

    folder = bundle.folder
    try:
        with quiet_transformers():
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise _broken(folder, f"transformers can't load the bundle ({reason})") from error
    if loading["missing_keys"]:
        names = ", ".join(sorted(loading["missing_keys"])[:3])
        raise _broken(folder / WEIGHTS_FILE, f"weights are missing ({names})")
    compute_first_token_only(model)
    return model, tokenizer


def read_golden(bundle: Bundle) -> Golden:
    """Reads the golden texts of a bundle.

    Raises:
        InputError: There are none, or they are those of other labels.
    """
    path, names = bundle.folder / GOLDEN_FILE, bundle.labels.names
    try:
        entries = [json.loads(line) for line in path.read_bytes().splitlines()]
        if any(tuple(entry["scores"]) != names for entry in entries):
            raise _broken(path, "the golden scores are of other labels, or in another order")
        texts = [text if isinstance(text := one["text"], str) else tuple(text) for one in entries]
        rows = [list(entry["scores"].values()) for entry in entries]
        scores = np.array(rows, dtype=np.float32).reshape(len(rows), len(names))
        known = all("label" in entry for entry in entries)
        labels = [entry["label"] for entry in entries] if known else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path, "the golden texts can't be read") from error
    return Golden(cast("Texts", texts), scores, labels)


def plain_tokenizer(folder: Path, *, token_types: bool) -> PlainTokenizer:
    """The tokenizer of a bundle, without transformers.

    Args:
        folder: The bundle's.
        token_types: Whether the model takes ``token_type_ids``.

    Raises:
        InputError: Its files are broken.
    """
    settings = _read_json(folder, TOKENIZER_CONFIG_FILE)
    mask = settings.get("mask_token")
    try:
        content = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
        return PlainTokenizer.of(
            content,
            token_types=token_types,
            split_special_tokens=bool(settings.get("split_special_tokens")),
            # Older versions of transformers write an object.
            mask_token=mask.get("content") if isinstance(mask, dict) else mask,
        )
    except Exception as error:  # the tokenizers library raises no class of its own
        reason = str(error).strip().partition("\n")[0]
        raise _broken(folder / TOKENIZER_FILE, f"not a tokenizer ({reason})") from error


def write_forms(
    bundle: Bundle, padding: Padding, made: Mapping[FormName, tuple[Path, FormRecord]]
) -> Bundle:
    """Adds forms to a bundle; those that it had go.

    The record is the last that is written: a file that it doesn't name is no part of the bundle.

    Args:
        bundle: The bundle.
        padding: How texts are padded for the forms.
        made: The file of each form, on the bundle's file system, which is moved, and its record;
            forms may share one.

    Returns:
        The bundle as it is now.

    Raises:
        MachineError: The disk is full, or the folder can't be written.
    """
    folder = bundle.folder
    _rewrite_info(folder, replace(bundle.info, forms={}, padding=None))
    for record in bundle.info.forms.values():
        (folder / record.file).unlink(missing_ok=True)
    (folder / ONNX_FOLDER).mkdir(exist_ok=True)
    for path, name in {(path, record.file) for path, record in made.values()}:
        path.replace(folder / name)
    records = {name: record for name, (_, record) in made.items()}
    info = replace(bundle.info, forms=records, padding=padding)
    _rewrite_info(folder, info)
    return replace(bundle, info=info)


def find_bundle(path: str | Path) -> Path:
    """The folder of a bundle: as named, or the ``model`` folder of the run that is named.

    ``latest`` stands for the newest finished run under ``runs`` in the working folder.

    Raises:
        InputError: There is no such folder.
    """
    if str(path) == LATEST and not LATEST_RUN.is_dir():
        raise InputError(
            "there is no finished run yet", where=str(LATEST_RUN), hint="start one: textmill train"
        )
    folder = LATEST_RUN if str(path) == LATEST else Path(path)
    if not folder.is_dir():
        raise InputError(
            "a bundle is a folder, and this is a file" if folder.exists() else "no such bundle",
            where=str(folder),
            hint="give the folder of a bundle or a run, or train one: textmill train",
        )
    inside = folder / "model"
    return inside if inside.is_dir() and not (folder / INFO_FILE).exists() else folder


def _write_model(folder: Path, model: PreTrainedModel, labels: Labels) -> None:
    from textmill.quiet import quiet_transformers

    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size=ONE_SHARD)
    # transformers leaves the weights to their owner alone; they follow the folder's mode instead.
    (folder / WEIGHTS_FILE).chmod(folder.stat().st_mode & 0o666)
    _update_json(
        folder / CONFIG_FILE,
        id2label={str(index): name for index, name in labels.id2label.items()},
        label2id=labels.label2id,
        problem_type=labels.problem_type,
    )


def _write_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerFast, policy: LengthPolicy
) -> None:
    from textmill.quiet import quiet_transformers

    with quiet_transformers():
        tokenizer.save_pretrained(folder)
    _update_json(
        folder / TOKENIZER_CONFIG_FILE,
        model_max_length=policy.max_length,
        truncation_side="left" if policy.overflow == "keep_tail" else "right",
    )


def _write_info(folder: Path, info: BundleInfo) -> None:
    files = {"weights": WEIGHTS_FILE, "tokenizer": TOKENIZER_FILE}
    own = {name: sha256_of(folder / file) for name, file in files.items()}
    complete = replace(info, fingerprints={**info.fingerprints, **own})
    (folder / INFO_FILE).write_bytes(_INFO.dump_json(complete, indent=2) + b"\n")


def _rewrite_info(folder: Path, info: BundleInfo) -> None:
    with replace_file(folder / INFO_FILE) as temporary:
        temporary.write_bytes(_INFO.dump_json(info, indent=2) + b"\n")


def _write_golden(folder: Path, texts: Texts) -> None:
    bundle = read_bundle(folder)
    probabilities = bundle.scorer().probabilities(texts)
    names, labels = bundle.labels.names, bundle.decide(probabilities)
    entries = (
        {"text": text, "label": label, "scores": dict(zip(names, row, strict=True))}
        for text, label, row in zip(texts, labels, probabilities.tolist(), strict=True)
    )
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    (folder / GOLDEN_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _read_info(folder: Path) -> BundleInfo:
    values = _read_json(folder, INFO_FILE)
    version = values.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise InputError(
            f"the bundle was made by a newer Textmill (format {version}, known: {FORMAT_VERSION})",
            where=str(folder),
            hint="upgrade: pip install --upgrade textmill",
        )
    try:
        return _INFO.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise _broken(folder / INFO_FILE, f"{key}: {first['msg']}") from error


def _read_labels(folder: Path, info: BundleInfo) -> Labels:
    """The label names from ``config.json``, the one place that has them."""
    config = _read_json(folder, CONFIG_FILE)
    id2label = config.get("id2label")
    if not isinstance(id2label, dict) or set(id2label) != set(map(str, range(len(id2label)))):
        raise _broken(folder / CONFIG_FILE, "id2label does not name the labels 0, 1, ...")
    labels = Labels(
        tuple(str(id2label[str(index)]) for index in range(len(id2label))), info.multi_label
    )
    if config.get("label2id") != labels.label2id:
        raise _broken(folder / CONFIG_FILE, "label2id contradicts id2label")
    if config.get("problem_type") != labels.problem_type:
        raise _broken(folder, f"problem_type in {CONFIG_FILE} contradicts {INFO_FILE}")
    if info.thresholds is not None and len(info.thresholds) != len(labels):
        raise _broken(folder, f"{len(info.thresholds)} thresholds for {len(labels)} labels")
    return labels


def _check_weights(folder: Path) -> None:
    """Reads the header, which knows how long the file must be; a cut-off file is found here."""
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="numpy"):
            pass
    except SafetensorError as error:
        raise _broken(
            folder / WEIGHTS_FILE, f"the weights are cut off or broken ({error})"
        ) from error
    except OSError as error:
        raise _unreadable(folder / WEIGHTS_FILE, error) from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads((folder / name).read_bytes())
    except OSError as error:
        raise _unreadable(folder / name, error) from error
    except ValueError as error:
        raise _broken(folder / name, f"not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise _broken(folder / name, "not a JSON object")
    return values


def _update_json(path: Path, **values: object) -> None:
    updated = {**json.loads(path.read_bytes()), **values}
    path.write_text(json.dumps(updated, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _broken(where: Path, what: str) -> InputError:
    return InputError(what, where=str(where), hint="copy the bundle anew, or train one")


def _unreadable(where: Path, error: OSError) -> MachineError:
    return MachineError(
        f"can't be read ({error.strerror})", where=str(where), hint="check its permissions"
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
