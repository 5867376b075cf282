"""The command line: `prism COMMAND ...`, or `python -m prism_core COMMAND ...`.

Each command is a module of `prism_core.cli` with `HELP`, `add_options(parser)` and `run(args)`; a
new one is added to `COMMANDS`. Modules import the heavy libraries inside `run`, so that help and
bad input answer at once. Results go to stdout and everything else to stderr. Exit status: 0 done,
1 failed, 2 bad input (one line on stderr), 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from prism_core import __version__
from prism_core.cli import (
    ablate,
    compare,
    fidelity,
    models,
    personas,
    rl,
    route,
    schema,
    stability,
    store,
    study,
    train,
)
from prism_core.cli.output import one_line
from prism_core.errors import CancelledError, PrismError, RemoteError, StorageError

COMMANDS = (
    *(compare, models, personas, train, route, ablate, study, rl, stability, fidelity),
    *(store, schema),
)
"""Every command's module, in the order of the help."""

FAILED, BAD_INPUT, STOPPED = 1, 2, 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        line = one_line(message)
        self.exit(BAD_INPUT, f"prism: {line}{'' if line.endswith('.') else '.'}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="prism",
        description="See, measure and improve what personas do to a language model.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser
    )
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        own = subparsers.add_parser(name, help=command.HELP, allow_abbrev=False)
        own.set_defaults(run=command.run)
        command.add_options(own)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    _quieten()
    try:
        args = build_parser().parse_args(arguments)
        args.run(args)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return _say("stopped.", STOPPED)
    except CancelledError as error:
        return _say(str(error), STOPPED)
    except (RemoteError, StorageError) as error:
        return _say(str(error), FAILED)
    except PrismError as error:
        return _say(str(error), BAD_INPUT)
    except BrokenPipeError:
        # The reader has gone (`... | head`); Python would complain about it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _say(message: str, status: int) -> int:
    print(f"prism: {one_line(message)}", file=sys.stderr)
    return status


def _quieten() -> None:
    """Keep libraries' bars and notices away, and the output in UTF-8 on every platform."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
