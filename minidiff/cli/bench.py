"""`minidiff bench`: how fast and how large, beside PyTorch."""

import argparse
import sys
from pathlib import Path

SUMMARY = "measure time and memory, beside PyTorch if it is installed"
EXAMPLES = """\
  minidiff bench                        everything: several minutes on an otherwise idle machine
  minidiff bench --only "training step"
  minidiff bench --json figures.json
  OMP_NUM_THREADS=1 minidiff bench --only conv2d
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff bench`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a new file, as JSON")
    parser.add_argument("--only", metavar="NAME", help="only the items whose name begins so, such as conv2d or 'training step'")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything works, the figures mean nothing")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff import bench

    if arguments.json is not None:
        bench.check_free(arguments.json)
    report = bench.run(arguments.only, arguments.quick, progress=lambda name: print(f"measuring {name}", file=sys.stderr))
    print(report.markdown(), end="")
    if arguments.json is not None:
        report.write_json(arguments.json)
    return 0
