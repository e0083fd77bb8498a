"""`minidiff sample`: draw images from a trained run."""

import argparse
from pathlib import Path

from .arguments import count, seed

SUMMARY = "draw images from a trained run"
EXAMPLES = """\
  minidiff sample runs/demo
  minidiff sample runs/demo --sampler ddim --steps 50 --guidance 3 --classes "Bag,Ankle boot" --n 16
  minidiff sample runs/demo --sampler dpmpp_2m --steps 15
  minidiff sample runs/demo --classes 0,1,2 --seed 5 --out drawn
"""
SEED_STREAM = 2000      # (seed, 2000): with the seed of training, drawing still has random numbers of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff sample`."""
    parser.description += "\n\nWrites a new folder with one PNG for each image, and all of them, a row for each class, in grid.png."
    parser.add_argument("path", metavar="RUN", type=Path, help="the folder of a run, made by minidiff train or demo")
    parser.add_argument("--sampler", default="ddpm",
                        help="ddpm (fresh noise at every step), ddim (fewer steps, no fresh noise), dpmpp_2m (fewer still), or another "
                             "name that minidiff compare-samplers lists (default: ddpm)")
    parser.add_argument("--steps", type=count, metavar="N", help="steps from noise to image (default: all for ddpm, 50 for others)")
    parser.add_argument("--eta", type=float, metavar="E", help="share of fresh noise, 0 to 1 (default: 1 for ddpm, 0 for ddim)")
    parser.add_argument("--guidance", type=float, default=2.0, metavar="S",
                        help="scale of classifier-free guidance: 1 is none, more is more typical (default: 2)")
    parser.add_argument("--classes", metavar="LIST", help="names or numbers, separated by commas (default: all)")
    parser.add_argument("--n", type=count, default=8, metavar="N", help="images for each class (default: 8)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default: 0)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="the new folder (default: RUN/samples, RUN/samples-2, ...)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    import numpy as np

    from minidiff.random import Generator
    from minidiff.report import free_name, write_samples
    from minidiff.training import Run, labels_of

    a = arguments
    trained = Run.open(a.path)
    if a.classes is not None:
        classes = labels_of(a.classes.split(","), trained.class_names)
    else:
        classes = np.arange(len(trained.class_names)) if trained.class_names else None
    folder = write_samples(
        trained, trained.load_model(a.device), classes, a.n, a.out or free_name(a.path / "samples"),
        generator=Generator((a.seed, SEED_STREAM), a.device), sampler=a.sampler, steps=a.steps, eta=a.eta, guidance=a.guidance)
    print(f"{len(list(folder.iterdir())) - 1} images and grid.png in {folder}")
    return 0
