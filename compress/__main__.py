"""`compress` and `python -m compress`: the command line, where its packages are installed."""

from __future__ import annotations

import sys

from compress.config.errors import UserError
from compress.system.packages import SWEEP, require


def main() -> None:
    """Runs the command line; without the packages of a sweep, one line says what installs them."""
    try:
        require("compress", "sweep", *SWEEP)
    except UserError as error:
        sys.exit(str(error))
    from compress.cli import main as run

    run()


if __name__ == "__main__":
    main()
