"""`minidiff data`: get a data set."""

import argparse
from pathlib import Path

SUMMARY = "download a data set"
EXAMPLES = """\
  minidiff data fashion-mnist data/fashion-mnist
  minidiff train --data data/fashion-mnist --out runs/full --epochs 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff data`."""
    parser.description += (
        "\n\nDownloads the official files of Fashion-MNIST (70,000 images of 28 x 28, 31 MB), and checks their\nSHA-256. What is there "
        "already is kept; a broken download goes on where it stopped.")
    parser.add_argument("set", choices=["fashion-mnist"], metavar="SET", help="fashion-mnist")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to; it is made if it is not there")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff import data

    for name, result in data.download_fashion_mnist(arguments.folder).items():
        print(f"{result:>10}  {arguments.folder / name}")
    return 0
