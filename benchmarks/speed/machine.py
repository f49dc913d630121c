"""What the machine gives: the speed of a matrix product, and the memory a process took."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

# Rows and columns of the matrices: large enough for each kind of device to show what it can.
SIZE, SIZE_ON_GPU = 2048, 8192
REPEATS = 12
WARM_UP = 3


def product_flops() -> dict[str, float]:
    """Floating-point operations a second of a square matrix product, by precision.

    The median of some products, in as many threads as torch has now; in bfloat16 only where the
    hardware computes it.
    """
    import torch

    from textmill.environment import has_bfloat16

    precisions = [torch.float32, *([torch.bfloat16] if has_bfloat16() else [])]
    return {str(one).removeprefix("torch."): _product_flops(one) for one in precisions}


def wait_for_device() -> None:
    """Waits until a GPU has computed what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def own_memory() -> int | None:
    """Bytes of this process that are not mapped from files; None where the system doesn't tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kibibytes = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), None)
    return None if kibibytes is None else 1024 * int(kibibytes)


def _product_flops(dtype: object) -> float:
    import torch

    cuda = torch.cuda.is_available()
    size = SIZE_ON_GPU if cuda else SIZE
    left, right = (
        torch.randn(size, size, device="cuda" if cuda else "cpu").to(dtype) for _ in range(2)
    )
    seconds = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        left @ right
        wait_for_device()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[WARM_UP:])
