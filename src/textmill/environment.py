"""What a run ran on: the code, the packages and the machine."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "textmill",
    "datasets",
    "lightning",
    "numpy",
    "peft",
    "pyarrow",
    "scikit-learn",
    "tokenizers",
    "torch",
    "torchmetrics",
    "transformers",
)


def describe_environment() -> dict[str, Any]:
    """Folder, code, package versions and machine, as plain containers for a run's manifest."""
    return {
        "folder": str(Path.cwd()),
        "git": git_state(Path.cwd()),
        "source": source_hash(),
        "packages": package_versions(),
        "machine": machine(),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit checked out in ``folder`` and whether files differ from it; None without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))}


def source_hash() -> str:
    """A SHA-256 over Textmill's own files, which tells versions apart that have no number yet."""
    package = Path(__file__).parent
    hashed = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".yaml")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        hashed.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return hashed.hexdigest()


def package_versions() -> dict[str, str]:
    """Version of Python and of each installed package that results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """Processor, the instructions and threads used of it, memory in bytes, and accelerators."""
    import torch

    accelerators = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processor": _processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "accelerators": accelerators,
    }


def peak_memory() -> int:
    """The most memory used so far, in bytes: of the GPU where there is one, else of the process."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@functools.cache
def has_bfloat16() -> bool:
    """Whether bfloat16 is computed by the hardware: by the GPU, or by the processor's own unit."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return processor_has_bfloat16()


def processor_has_bfloat16() -> bool:
    """Whether the processor has a unit of its own for bfloat16."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(_cpu_flags())


def usable_cores() -> int:
    """The processor cores that this process may use: those of its container, not of the machine."""
    from joblib import cpu_count

    return int(cpu_count())


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the user's own git
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _cpu_flags() -> set[str]:
    """The processor's features by the names of /proc/cpuinfo; empty where that file isn't."""
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def _processor_name() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
