"""Ordinary command-line arguments, for the verbs that take no overrides."""

from __future__ import annotations

import argparse
from typing import NoReturn

from textmill.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """Tells wrong arguments like any other wrong input."""

    def error(self, message: str) -> NoReturn:
        """Ends the command.

        Raises:
            InputError: Always.
        """
        raise InputError(message, hint=f"see {self.prog} --help")


def positive(text: str) -> int:
    """A number of at least 1, for the ``type`` of an argument."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number
