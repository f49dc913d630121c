"""The model card of a bundle: what the model is for, what it was made from, how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from textmill.labels import Labels
from textmill.version import __version__


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a model card tells.

    Args:
        name: The run's name.
        encoder: Name of the pretrained encoder.
        data: Name of the data set.
        labels: The labels, in order.
        counts: Examples in each split.
        max_length: Tokens that the model sees of a text.
        overflow: What stays of a longer text.
        share_cut: Share of the training texts that were longer.
        seed: The run's seed.
    """

    name: str
    encoder: str
    data: str
    labels: Labels
    counts: Mapping[str, int]
    max_length: int
    overflow: str
    share_cut: float
    seed: int


def model_card(facts: CardFacts, results: Sequence[str]) -> str:
    """The card, in Markdown with the front matter that the Hugging Face hub reads.

    Args:
        facts: What the model is.
        results: Sentences on how good it is.
    """
    header = yaml.safe_dump(
        {
            "library_name": "transformers",
            "pipeline_tag": "text-classification",
            "tags": ["textmill", "text-classification"],
        },
        sort_keys=False,
    )
    kind = "any number of labels" if facts.labels.multi_label else "exactly one label"
    splits = ", ".join(f"{count:,} {split}" for split, count in facts.counts.items())
    return f"""---
{header}---

# {facts.name}

A text classifier: {facts.encoder}, fine-tuned on `{facts.data}` with Textmill {__version__}. It
gives a text {kind} of {len(facts.labels)}: {", ".join(f"`{name}`" for name in facts.labels.names)}.

## Use

```sh
textmill predict FOLDER "a text"
```

```python
from transformers import pipeline

classifier = pipeline("text-classification", model="FOLDER")
classifier("a text")
```

## Data

{splits} examples. The model sees {facts.max_length} tokens of a text ({facts.overflow});
{facts.share_cut:.1%} of the training texts were longer.

## Results

{_bullets(results)}

## Limits

The model has learned from one data set. On texts of another kind, judge it first:
`textmill evaluate bundle=FOLDER data=...`. Its scores are the network's own probabilities and may
be more confident than they should be.

Made with seed {facts.seed}; the run's folder has the configuration, the environment and every
prediction.
"""


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences) or "- not judged yet"
