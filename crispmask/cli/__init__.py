"""The command `crispmask`: finds the command, runs it, turns errors into one line."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from crispmask.errors import ConfigError, CrispmaskError
from crispmask.suggest import did_you_mean
from crispmask.version import __version__

Command = Callable[[Sequence[str], str], int]
"""Takes the words after its name and how it was called; returns the exit code."""

COMMANDS = {
    "train": "train a model on a YOLO-format dataset",
    "val": "COCO mask and box metrics of a checkpoint, at native resolution",
    "predict": "draw and save the instances found in images, URLs, videos or streams",
    "export": "write a graph that ends in final boxes, scores, labels and masks",
    "benchmark": "latency, memory and mAP of a model in every form this machine can run",
    "push": "put a trained model with a model card on the Hugging Face Hub",
    "compare": "train several models with one recipe and score them with one evaluator",
    "check": "report every problem of a dataset, and write a repaired copy",
    "convert": "a YOLO-format dataset to COCO files, or back",
    "models": "the table of models",
    "sample": "write the built-in sample dataset",
}

HELP = """\
usage: {prog} COMMAND [flags]

Train SOLOv2 and RTMDet-Ins instance segmentation on YOLO-format datasets.

commands:
{commands}

{prog} COMMAND --help lists the flags of a command; a flag is --name value or name=value.
--traceback shows where an error came from, --version the version.
"""


def main(argv: Sequence[str] | None = None, prog: str = "crispmask") -> int:
    """Runs a command.

    Args:
        argv: words after the program's name; those of this process if None.
        prog: how the program was called, for help and errors.

    Returns:
        Exit code: 0 done, 1 a check found errors, 2 bad usage or input, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    show_traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        code = _run(words, prog)
        sys.stdout.flush()  # here, where a full disk or a closed pipe is told in words
        return code
    except CrispmaskError as error:
        return _fail(str(error), show_traceback)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not _takes_output("\n"):
            return 1  # nobody reads on, as behind `| head`
        if error.filename is None:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise  # nothing the user named: a fault of ours
            _takes_output("")
            return _fail(f"{error.strerror}: free some space and try again", show_traceback)
        return _fail(f"{error.filename}: {error.strerror}", show_traceback)
    except ModuleNotFoundError as error:
        package = (error.name or "crispmask").split(".")[0].replace("_", "-")
        if package == "crispmask":
            raise
        message = f"this needs {package}, which is not installed: pip install {package}"
        return _fail(message, show_traceback)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:  # after --help
        return stop.code if isinstance(stop.code, int) else 0


def _run(words: Sequence[str], prog: str) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        rows = (f"  {name:<11}{summary}" for name, summary in COMMANDS.items())
        print(HELP.format(prog=prog, commands="\n".join(rows)), end="")
        return 0 if words else 2
    name, rest = words[0], words[1:]
    if name in ("-V", "--version", "version"):
        print(f"crispmask {__version__}")
        return 0
    called = prog if prog == "train.py" else f"{prog} {name}"
    return find_command(name)(rest, called)


def find_command(name: str) -> Command:
    """The function behind a command. Only its module is imported: the others need seconds."""
    match name:
        case "train":
            from crispmask.cli.train import train as command
        case "val":
            from crispmask.cli.val import val as command
        case "predict":
            from crispmask.cli.predict import predict as command
        case "export":
            from crispmask.cli.export import export as command
        case "benchmark":
            from crispmask.cli.benchmark import benchmark as command
        case "push":
            from crispmask.cli.push import push as command
        case "compare":
            from crispmask.cli.compare import compare as command
        case "check":
            from crispmask.cli.check import check as command
        case "convert":
            from crispmask.cli.convert import convert as command
        case "models":
            from crispmask.cli.models import models as command
        case "sample":
            from crispmask.cli.sample import sample as command
        case _:
            raise ConfigError(
                f"unknown command {name!r}, not one of {', '.join(COMMANDS)}"
                + did_you_mean(name, COMMANDS)
            )
    return command


def _takes_output(text: str) -> bool:
    """Whether standard output takes a text and what waits for it; if not, it is dropped.

    Else Python would fail over it once more as it ends. Without a buffer nothing waits.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return False
    return True


def _fail(message: str, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2
