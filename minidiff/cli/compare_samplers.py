"""`minidiff compare-samplers`: error against work, on problems with a known answer."""

import argparse
from pathlib import Path

from .arguments import count

SUMMARY = "draw the error of every sampler against its work, on problems with a known answer"
EXAMPLES = """\
  minidiff compare-samplers
  minidiff compare-samplers --samplers ddim,heun,dpmpp_2m --calls 512
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff compare-samplers`."""
    parser.description += (
        "\n\nWrites into a new folder: compare-samplers.png, error against calls of the model; .txt, the order with which\n"
        "each error falls; .json, all numbers. Needs matplotlib: pip install 'minidiff[plots]'.")
    parser.add_argument("--samplers", metavar="LIST", help="names, separated by commas (default: all)")
    parser.add_argument("--calls", type=count, default=256, metavar="N", help="calls of the model, at most (default: 256)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the new folder (default: compare-samplers, compare-samplers-2, ...)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.report import compare_samplers as report
    from minidiff.report import free_name
    from minidiff.report.plots import pyplot

    a = arguments
    pyplot()  # what is missing is said before anything is computed
    folder = a.out or free_name(Path("compare-samplers"))
    if folder.exists():
        raise FileExistsError(f"{folder}: exists already; choose another --out")
    names = [name.strip() for name in a.samplers.split(",")] if a.samplers else None
    curves = report.compare(names, a.calls)
    paths = report.write_comparison(folder, curves)
    print(report.table(curves))
    for path in paths:
        print(path)
    return 0
