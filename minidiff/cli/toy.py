"""`minidiff toy`: diffusion in the plane, to be watched."""

import argparse
from pathlib import Path

from .arguments import count, seed

SUMMARY = "watch diffusion of points in the plane"
EXAMPLES = """\
  minidiff toy
  minidiff toy two-moons --sampler ddpm --steps 200
  minidiff toy checkerboard --model mlp
  minidiff toy drawing.png --particles 4000
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff toy`."""
    parser.description += (
        "\n\nDraws into a new folder: walk.png and walk.gif, the particles' way from noise to data, and score.png, the\n"
        "score at several times. Needs matplotlib: pip install 'minidiff[plots]'.")
    parser.add_argument("data", nargs="?", default="swiss-roll",
                        help="swiss-roll, two-moons, spiral, checkerboard, gaussians, or a picture's file: its dark pixels "
                             "(default: swiss-roll)")
    parser.add_argument("--model", choices=("exact", "mlp"), default="exact",
                        help="the perfect model of the data, or a small network trained first, in about 20 seconds (default: exact)")
    parser.add_argument("--sampler", default="ddim", metavar="NAME", help="a name that minidiff compare-samplers lists (default: ddim)")
    parser.add_argument("--steps", type=count, default=50, metavar="N", help="steps from noise to data, at most 1000 (default: 50)")
    parser.add_argument("--particles", type=count, default=1000, metavar="N", help="how many points walk (default: 1000)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default: 0)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the new folder (default: toys/DATA, toys/DATA-2, ...)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.diffusion import member
    from minidiff.report import free_name, toy
    from minidiff.report.plots import pyplot

    a = arguments
    pyplot()  # what is missing is said before anything is computed
    sampler = member(a.sampler)
    folder = a.out or free_name(Path("toys", Path(a.data).stem))
    if folder.exists():
        raise FileExistsError(f"{folder}: exists already; choose another --out")
    if a.model == "exact":
        a_toy = toy.exact_toy(a.data, a.seed)
    else:
        a_toy = toy.trained_toy(a.data, a.seed)
    record = toy.walk(a_toy, sampler, a.steps, a.particles, a.seed)
    for path in toy.write_toy(folder, a_toy, record):
        print(path)
    return 0
