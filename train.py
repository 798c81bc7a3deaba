"""Trains a model: `crispmask train` for a clone, with the same flags."""

from __future__ import annotations

import sys

from crispmask.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]], prog="train.py"))
