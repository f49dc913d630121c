"""``textmill verify``: checks that a bundle is what was trained, in all of its forms.

Only what parsing the arguments needs is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from textmill.arguments import ArgumentParser

_RESULTS = {True: "same", False: "DIFFERENT", None: "-"}


def main(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit status: 1 if anything is different.

    Raises:
        InputError: There is no such bundle, or the service refuses to answer.
        MachineError: The service can't be reached.
    """
    parser = ArgumentParser(
        prog="textmill verify",
        description="Checks the hashes of a bundle's weights and tokenizer, the order of its "
        "labels and its thresholds, and replays its golden texts in every form that it has, and "
        "through a running service. Ends with status 1 if anything is different.",
        epilog="The service's API key is taken from TEXTMILL_API_KEYS, the first if there are "
        "several.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle or a run, or 'latest'")
    parser.add_argument("--url", help="address of a service that is to answer as the bundle does")
    options = parser.parse_args(argv)
    from textmill.terminal import console, table_of
    from textmill.verification import verify

    checks = verify(options.bundle)
    if options.url is not None:
        from textmill.service_verification import verify_service

        key = os.environ.get("TEXTMILL_API_KEYS", "").partition(",")[0].strip()
        checks += verify_service(options.bundle, options.url, key)
    rows = [(check.part, _RESULTS[check.holds], check.told) for check in checks]
    console().print(table_of({"Part": "left", "Result": "left", "Found": "left"}, rows))
    return int(any(check.holds is False for check in checks))
