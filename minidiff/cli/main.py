"""From a command line to an exit status: 0 done, 2 bad input (one line on stderr says what), 130 stopped by Ctrl-C.

Only errors that bad input or the outer world can cause are caught; a defect of minidiff itself still shows where it is.
"""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from . import bench, clip, compare_samplers, data, demo, evaluate, info, sample, toy, train, verify

COMMANDS = {    # each module has SUMMARY, EXAMPLES, add_arguments(parser) and run(arguments) -> exit status
    "demo": demo,
    "train": train,
    "sample": sample,
    "clip": clip,
    "evaluate": evaluate,
    "toy": toy,
    "compare-samplers": compare_samplers,
    "data": data,
    "info": info,
    "bench": bench,
    "verify": verify,
}
BAD_INPUT, INTERRUPTED = 2, 130
SAID = 3     # warnings; a data set may have thousands of captions that are too long


class UsageError(ValueError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """argparse, with help that keeps its line breaks and errors that are raised."""

    def __init__(self, **options) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str):
        """Raise a UsageError where argparse would print its usage and exit."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. argv: the words after `minidiff`; None takes those of this process. Returns the exit status.

    Raises SystemExit(0) after --help and --version, as argparse does.
    """
    parser = make_parser()
    try:
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help()
            return 0
        with warnings_in_one_line():
            return COMMANDS[arguments.command].run(arguments)
    except KeyboardInterrupt:
        print("minidiff: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads the output has seen enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not isinstance(error, _expected()):
            raise
        print(f"minidiff: error: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT


def make_parser() -> Parser:
    """The command with all its sub-commands."""
    parser = Parser(prog="minidiff", description="Diffusion models from scratch, on NumPy and CuPy.",
                    epilog="Begin with: minidiff demo\nEach command explains itself: minidiff COMMAND --help")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", parser_class=Parser)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.SUMMARY, description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
                                          epilog=f"examples:\n{command.EXAMPLES}")
        command.add_arguments(subparser)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None) -> None:
        from minidiff import __version__

        print(f"minidiff {__version__}")
        parser.exit()


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Say the warnings of minidiff itself on stderr, without the place in the code; the first SAID of them, then how many there were."""
    count = 0
    with warnings.catch_warnings():
        ordinary = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None) -> None:
            nonlocal count
            if not category.__module__.startswith("minidiff."):
                ordinary(message, category, filename, lineno, file, line)
                return
            count += 1
            if count <= SAID:
                print(f"minidiff: warning: {one_line(message)}", file=sys.stderr)

        warnings.showwarning = show
        yield
    if count > SAID:
        print(f"minidiff: warning: {count - SAID} more of this kind", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """What an error says, on one line. An error of the system is told as "file: reason"."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


def _expected() -> tuple[type[BaseException], ...]:
    """What bad input or the outer world can cause. Looked up only when something went wrong."""
    from minidiff.backend import DeviceError
    from minidiff.report.plots import PlotsMissing
    from minidiff.training import TrainingDiverged

    return ValueError, OSError, DeviceError, TrainingDiverged, FloatingPointError, PlotsMissing
