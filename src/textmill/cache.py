"""The cache folder: unpacked assets and tokenized data, safe to delete at any time."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder named by ``TEXTMILL_CACHE``, or the user's cache folder for Textmill."""
    return Path(os.environ.get("TEXTMILL_CACHE") or platformdirs.user_cache_dir("textmill"))
