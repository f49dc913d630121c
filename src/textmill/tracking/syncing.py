"""Uploads a run to Weights & Biases after it was recorded offline."""

from __future__ import annotations

from textmill.errors import InputError, MachineError
from textmill.runs import Run
from textmill.tracking.uploading import Upload, is_uploaded


def sync_run(run: Run) -> list[str]:
    """Uploads what W&B has recorded of a run and not uploaded yet.

    Returns:
        What was done, in sentences.

    Raises:
        InputError: W&B has recorded nothing of it.
        MachineError: The server can't be reached, refuses the login, or has not taken everything.
    """
    folder = run.folder / "wandb"
    records = sorted({file.parent for file in folder.glob("*run-*/*.wandb")})
    if not records:
        raise InputError(
            "W&B has recorded nothing of the run",
            where=str(run.folder),
            hint="train with tracking=wandb",
        )
    waiting = [record for record in records if not is_uploaded(record)]
    if not waiting:
        return [f"all that W&B has recorded of {run.folder} is uploaded already"]
    try:
        addresses = Upload(folder, waiting, live=False).wait(None)
    except MachineError as error:
        raise MachineError(
            f"W&B has not taken the run ({error})",
            where=str(run.folder),
            hint="make sure that the server can be reached and wandb login was done, and try again",
        ) from error
    return [f"{run.folder} is uploaded to {address}" for address in addresses]
