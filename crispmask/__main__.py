"""`python -m crispmask`, the same as `crispmask`."""

from __future__ import annotations

import sys

from crispmask.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m crispmask"))
