"""``textmill verify``: checks that a bundle is what was trained, in all of its forms.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence

from textmill.arguments import ArgumentParser

_RESULTS = {True: "same", False: "DIFFERENT", None: "-"}


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status: 1 if anything is different.

    Raises:
        InputError: There is no such bundle.
    """
    parser = ArgumentParser(
        prog="textmill verify",
        description="Checks the hashes of a bundle's weights and tokenizer, the order of its "
        "labels and its thresholds, and replays its golden texts in every form that it has. Ends "
        "with status 1 if anything is different.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle or a run, or 'latest'")
    options = parser.parse_args(argv)
    from textmill.terminal import console, table_of
    from textmill.verification import verify

    checks = verify(options.bundle)
    rows = [(check.part, _RESULTS[check.holds], check.told) for check in checks]
    console().print(table_of({"Part": "left", "Result": "left", "Found": "left"}, rows))
    return int(any(check.holds is False for check in checks))
