"""`minidiff demo`: the whole way from images to a trained model, its drawings and a report."""

import argparse
import shlex
from pathlib import Path

from .arguments import seed

SUMMARY = "train on real images, draw new ones and report, all in a few minutes"
EXAMPLES = """\
  minidiff demo
  minidiff demo --out runs/garments --seed 7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff demo`."""
    parser.description += (
        "\n\nTrains a class-conditional U-Net on 6,000 images of garments that come with minidiff (a part of\n"
        "Fashion-MNIST), draws each class with DDPM and with DDIM, asks an independent classifier what it\n"
        "recognizes, and writes pictures, weights, log and report.html into a new run folder.")
    parser.add_argument("--out", metavar="RUN", type=Path, help="the new run folder (default: runs/demo, runs/demo-2, ...)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default: 0)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.report import demo, free_name

    path = arguments.out or free_name(Path("runs", "demo"))
    verdict = demo.run_demo(path, demo.DEMO, seed=arguments.seed, device=arguments.device)
    if verdict is None:
        print(f"stopped; what was learned is saved. Train on with:\n  minidiff train --resume {shlex.quote(str(path))}")
        return 130
    print(f"\n{path}/")
    for file in sorted(path.iterdir()):
        print(f"  {file.name}")
    print(f"Open {path / 'report.html'} in a browser.\nThe classifier recognizes {verdict.sentence()}.")
    return 0
