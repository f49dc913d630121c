"""What is kept of a search's trials on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable

from textmill.runs import Run


def thin_out(ended: Iterable[tuple[int, Run]], best: Collection[int]) -> None:
    """Removes what ended trials need no more.

    Their checkpoints go, which would only serve to go on with them, and so do the bundles of all
    but the best. Configurations, metrics, predictions and records stay.

    Args:
        ended: The numbers of trials that have ended, and their runs.
        best: The numbers of the best ones.
    """
    for number, run in ended:
        shutil.rmtree(run.last_checkpoint.parent, ignore_errors=True)
        if number not in best:
            shutil.rmtree(run.bundle, ignore_errors=True)
