"""The command line: one file per group of commands. Commands call the same scenarios as HTTP.

Exit status: 0 ok, 1 refused by the domain, 2 wrong usage, 3 database or service out of reach.
"""

import gc
import sys


def main() -> None:
    """Run the command line; without the extra `server` say what is missing."""
    gc.disable()  # a tenth of the start went into looking for garbage while modules are read
    try:
        from denizen.cli.commands import app  # noqa: PLC0415  # typer belongs to an extra
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("denizen"):
            raise
        sys.stderr.write(f"{error.name} is missing: pip install 'denizen[server]'\n")
        raise SystemExit(3) from None
    gc.freeze()  # modules stay until the end, where they would be looked through once more
    gc.enable()
    app()
