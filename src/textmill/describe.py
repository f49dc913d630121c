"""``textmill data``: fetches, checks and describes a data set."""

from __future__ import annotations

from functools import partial
from json import dumps

import numpy as np
import numpy.typing as npt
from rich.console import Console

from textmill.cache import cache_folder
from textmill.configuration.composing import Composed
from textmill.configuration.schema import TrainConfig
from textmill.data.examples import Examples
from textmill.data.statistics import describe_examples
from textmill.data.tables import data_tables
from textmill.data.tokens import tokenize_split
from textmill.encoding import NO_BOUND, LengthPolicy
from textmill.errors import make_all
from textmill.recipe import Encoder, check_files, check_model, encoder_of, examples_of


def run(composed: Composed[TrainConfig], *, json: bool) -> None:
    """Prints what is in a data set and what is wrong with it.

    Args:
        composed: The configuration; its data set and its model's tokenizer count.
        json: Whether to print JSON instead of tables.

    Raises:
        InputError: The data can't be used as they are; all problems at once.
        MachineError: The data or the model can't be fetched.
    """
    config = composed.config
    make_all([partial(check_files, config.data), partial(check_model, config.model)])
    examples = examples_of(config.data, config.seed)
    encoder = encoder_of(config.model, config.data, examples, seed=config.seed)
    lengths = _token_lengths(examples, encoder)
    description = describe_examples(examples, lengths, encoder.policy.max_length)
    if json:
        print(dumps(description, indent=2, ensure_ascii=False))
        return
    console = Console()
    for table in data_tables(description):
        console.print(table)


def _token_lengths(examples: Examples, encoder: Encoder) -> dict[str, npt.NDArray[np.integer]]:
    """The tokens of each text of each split, before any is cut."""
    whole = LengthPolicy(NO_BOUND)
    return {
        split: tokenize_split(
            dataset,
            encoder.tokenizer,
            whole,
            fingerprint=examples.fingerprints[split],
            cache=cache_folder(),
        ).lengths
        for split, dataset in examples.splits.items()
    }
