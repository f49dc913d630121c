"""Which of a bundle's forms is used.

Only the standard library is imported here, so that help is instant.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from textmill.errors import InputError

FormName = Literal["torch", "onnx", "int8", "bf16"]
FormChoice = Literal["auto", "torch", "onnx", "int8", "bf16"]
FORM_CHOICES: tuple[FormChoice, ...] = get_args(FormChoice)

OTHER_FORMS: tuple[FormName, ...] = ("onnx", "int8", "bf16")
# What must be asked for to have each form.
PRECISIONS = {"onnx": "float32", "int8": "int8", "bf16": "bf16"}
# The package that computes each.
RUNTIMES: dict[FormName, str] = {
    "torch": "torch",
    "onnx": "onnxruntime",
    "int8": "onnxruntime",
    "bf16": "openvino",
}

# On a processor, the fastest first for single texts and short ones. In batches of longer ones, bf16
# is faster than int8.
_FASTEST: tuple[FormName, ...] = ("int8", "bf16", "onnx")
# What Linux calls accelerators: NVIDIA's, AMD's, and those of a Windows machine that it runs in.
_ACCELERATORS = ("nvidia[0-9]*", "kfd", "dxg")


def choose_form(choice: FormChoice, present: Collection[str], device: str, where: str) -> FormName:
    """The form to use: as chosen, or for ``auto`` the fastest that is there and fits the device.

    Args:
        choice: What was asked for.
        present: The forms beside torch that the bundle has.
        device: The device that was asked for: ``cpu``, ``cuda``, ``auto``, ...
        where: The bundle, for messages.

    Raises:
        InputError: The bundle doesn't have the form, it doesn't fit the device, or what it needs
            isn't installed.
    """
    if choice == "auto":
        return _fastest(present, device, where)
    if choice == "torch":
        return choice
    if choice not in present:
        raise InputError(
            f"the bundle has no form {choice!r}",
            where=where,
            hint=f"make it: textmill export {where} --precision {PRECISIONS[choice]}",
        )
    if device not in ("auto", "cpu"):
        raise InputError(
            f"the form {choice!r} is for the processor, not for {device}",
            where=where,
            hint="choose --device cpu or --form torch",
        )
    return choice


def _fastest(present: Collection[str], device: str, where: str) -> FormName:
    form = next((form for form in _FASTEST if form in present and _is_fast(form)), None)
    if find_spec("torch") is not None:
        return form if form is not None and _is_processor(device) else "torch"
    if form is not None:
        return form
    if present:
        return next(form for form in OTHER_FORMS if form in present)
    raise InputError(
        "the bundle has no form that works without torch",
        where=where,
        hint="pip install 'textmill[train]', or where that is: textmill export BUNDLE",
    )


def _is_fast(form: FormName) -> bool:
    """Whether a form can be computed here, and the processor has what it is fast by."""
    if find_spec(RUNTIMES[form]) is None:
        return False
    from textmill.environment import processor_has_bfloat16

    return form != "bf16" or processor_has_bfloat16()


def _is_processor(device: str) -> bool:
    """Whether a device is the CPU; torch, which takes seconds to import, is asked only if it must.

    Raises:
        InputError: There is no such device.
    """
    if device == "cpu" or (device == "auto" and not _may_have_accelerator()):
        return True
    from textmill.forms.torch_form import resolve_device

    return resolve_device(device).type == "cpu"


def _may_have_accelerator() -> bool:
    if sys.platform != "linux":
        return True
    return any(True for name in _ACCELERATORS for _ in Path("/dev").glob(name))
