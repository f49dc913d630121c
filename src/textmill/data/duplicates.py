"""Finding equal texts among many, by 8-byte digests instead of the texts themselves.

Two different texts among ten million have the same digest with a chance of three in a million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 8

# In place of a group's digest, for a row that belongs to no group.
NO_GROUP = 0

Digests = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]


def text_digest(text: str, pair: str | None = None) -> bytes:
    """The digest of a text, or of a text and its pair.

    Raises:
        UnicodeEncodeError: The text holds half of a surrogate pair.
    """
    whole = text if pair is None else f"{len(text)}:{text}{pair}"
    return hashlib.blake2b(whole.encode(), digest_size=DIGEST_BYTES).digest()


def digest_array(digests: Iterable[bytes]) -> Digests:
    """Digests as numbers, the same on every machine."""
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def conflicting(texts: Digests, labels: Codes) -> Mask:
    """Which rows have the text of another row with a different label."""
    order = np.lexsort((labels, texts))
    text, label = texts[order], labels[order]
    first = np.r_[True, text[1:] != text[:-1]][: len(text)]
    group = np.cumsum(first) - 1
    differs = np.r_[False, (label[1:] != label[:-1]) & ~first[1:]][: len(text)]
    mask = np.zeros(len(texts), dtype=bool)
    mask[order] = np.bincount(group, weights=differs, minlength=1)[group] > 0
    return mask


def repeated(texts: Digests, labels: Codes) -> Mask:
    """Which rows have both the text and the label of an earlier row."""
    order = np.lexsort((labels, texts))  # stable: equal rows stay in their order
    text, label = texts[order], labels[order]
    mask = np.zeros(len(texts), dtype=bool)
    mask[order[1:]] = (text[1:] == text[:-1]) & (label[1:] == label[:-1])
    return mask
