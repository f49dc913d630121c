"""Runs the real command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def textmill(*arguments: str, cwd: Path) -> str:
    """What ``textmill`` prints on standard output; fails with all it printed if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "textmill", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"textmill {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
