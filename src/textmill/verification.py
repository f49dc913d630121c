"""Whether a bundle is what was trained: whole, unchanged, and the same in all of its forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from textmill.bundle import (
    INFO_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Bundle,
    Golden,
    find_bundle,
    plain_tokenizer,
    read_bundle,
    read_golden,
    sha256_of,
)
from textmill.errors import InputError, TextmillError
from textmill.forms.choosing import RUNTIMES, FormName
from textmill.predictor import Predictor
from textmill.scoring import Scores

# How far a golden probability may be off: what other processors and batches change is a tenth.
TOLERANCE = 1e-4
# The same for coarser numbers, beyond what the proof of the form found: a rounding that differs
# moves a score by more.
COARSE_TOLERANCES: Mapping[FormName, float] = {"int8": 0.05, "bf16": 0.02}

# What each form can't be checked without.
_NEEDED = {f"form {form}": package for form, package in RUNTIMES.items()}

# Looks at a part of a bundle, and tells what is wrong with it, if anything.
_Look = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold of a bundle.

    Args:
        part: The part of the bundle.
        told: What was found.
        holds: Whether it holds; None where it couldn't be checked here.
    """

    part: str
    told: str
    holds: bool | None


def verify(path: str | Path) -> list[Check]:
    """Checks a bundle's files against each other, and replays its golden texts in every form.

    Args:
        path: The bundle's folder, the folder of a run, or ``latest``.

    Raises:
        InputError: There is no such folder.
    """
    folder = find_bundle(path)
    try:
        bundle = read_bundle(folder)
    except TextmillError as error:
        return [Check("bundle", problem, holds=False) for problem in error.problems]
    checks = _checks_of_files(bundle)
    checks += [(f"form {form}", partial(_form, bundle, form)) for form in bundle.forms]
    return [_made(part, check) for part, check in checks]


def verify_quickly(predictor: Predictor) -> None:
    """Makes sure, before a bundle is put to use, that it is what was trained.

    It is all that `verify` checks, but only in the form that is in use.

    Raises:
        InputError: It isn't; every difference is told.
    """
    bundle = predictor.bundle
    looks: list[tuple[str, _Look]] = [
        *_checks_of_files(bundle),
        (f"form {predictor.form}", partial(_golden, predictor)),
    ]
    where = str(bundle.folder)
    problems = [
        InputError(f"{check.part}: {check.told}", where=where, hint=f"see textmill verify {where}")
        for check in (_made(part, look) for part, look in looks)
        if check.holds is False
    ]
    if problems:
        raise InputError.all_of(problems)


def golden_problem(bundle: Bundle, form: FormName, golden: Golden, scores: Scores) -> str | None:
    """What is wrong with the scores that a form gave for the bundle's golden texts, if anything.

    Args:
        bundle: The bundle.
        form: The form.
        golden: The golden texts, with what they must be given.
        scores: What they were given, ``[texts, labels]``.
    """
    apart = float(np.abs(scores - golden.scores).max(initial=0.0))
    limit = TOLERANCE
    if form in COARSE_TOLERANCES:
        limit = COARSE_TOLERANCES[form] + bundle.info.forms[form].figures["golden_difference"]
    # Written so that a score that is no number is wrong, too.
    if not apart <= limit:
        return f"golden scores differ by up to {apart:.2g} (allowed: {limit:.2g})"
    return None


def _checks_of_files(bundle: Bundle) -> list[tuple[str, _Look]]:
    """Those that compute no score."""
    return [
        ("weights", partial(_unchanged, bundle.folder / WEIGHTS_FILE, bundle, "weights")),
        ("tokenizer", partial(_tokenizer, bundle)),
        ("labels", partial(_labels, bundle)),
        ("thresholds", partial(_thresholds, bundle)),
    ]


def _made(part: str, look: _Look) -> Check:
    needed = _NEEDED.get(part)
    if needed is not None and find_spec(needed) is None:
        return Check(part, f"not checked, {needed} is not installed", holds=None)
    try:
        problem = look()
    except TextmillError as error:
        problem = "; ".join(error.problems)
    return Check(part, problem or "as it must be", holds=problem is None)


def _unchanged(path: Path, bundle: Bundle, name: str) -> str | None:
    if sha256_of(path) == bundle.info.fingerprints.get(name):
        return None
    return f"{path.name} isn't the file that {INFO_FILE} names"


def _tokenizer(bundle: Bundle) -> str | None:
    """Its file is the one that was written, and the model has an embedding for each token."""
    changed = _unchanged(bundle.folder / TOKENIZER_FILE, bundle, "tokenizer")
    if changed is not None:
        return changed
    tokenizer = plain_tokenizer(bundle.folder, token_types=False)
    known, embedded = tokenizer.backend.get_vocab_size(), bundle.vocabulary
    if embedded is not None and known > embedded:
        return f"it knows {known:,} tokens, and the model {embedded:,}"
    return None


def _labels(bundle: Bundle) -> str | None:
    """The golden scores, and with them the labels, are in the model's order."""
    read_golden(bundle)
    return None


def _thresholds(bundle: Bundle) -> str | None:
    """What the golden scores decide is what they decided when they were written."""
    golden = read_golden(bundle)
    decided = bundle.decide(golden.scores)
    if golden.labels is None or decided == golden.labels:
        return None
    different = sum(one != other for one, other in zip(decided, golden.labels, strict=True))
    return f"{different} of {len(decided)} golden texts get another label by them"


def _form(bundle: Bundle, form: FormName) -> str | None:
    return _golden(Predictor(bundle, bundle.scorer(form=form), form))


def _golden(predictor: Predictor) -> str | None:
    golden = read_golden(predictor.bundle)
    scores = predictor.probabilities(golden.texts)
    return golden_problem(predictor.bundle, predictor.form, golden, scores)
