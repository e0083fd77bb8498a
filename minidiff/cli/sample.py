"""`minidiff sample`: draw images from a trained run."""

import argparse
from pathlib import Path

from .arguments import count, place_of, seed

SUMMARY = "draw images from a trained run"
EXAMPLES = """\
  minidiff sample runs/demo
  minidiff sample runs/demo --sampler ddim --steps 50 --guidance 3 --classes "Bag,Ankle boot" --n 16
  minidiff sample runs/demo --sampler dpmpp_2m --steps 15
  minidiff sample runs/demo --classes 0,1,2 --seed 5 --out drawn
  minidiff sample runs/emoji --prompt "red heart" --guidance 4 --negative broken
"""
PRIOR_STREAM = 2001     # and so has a prior
SEED_STREAM = 2000      # (seed, 2000): with the seed of training, drawing still has random numbers of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff sample`."""
    parser.description += (
        "\n\nWrites a new folder with one PNG for each image, and all of them, a row for each class or prompt, in grid.png.")
    parser.add_argument("path", metavar="RUN", type=Path, help="the folder of a run, made by minidiff train or demo")
    parser.add_argument("--sampler", default="ddpm",
                        help="ddpm (fresh noise at every step), ddim (fewer steps, no fresh noise), dpmpp_2m (fewer still), or another "
                             "name that minidiff compare-samplers lists (default: ddpm)")
    parser.add_argument("--steps", type=count, metavar="N", help="steps from noise to image (default: all for ddpm, 50 for others)")
    parser.add_argument("--eta", type=float, metavar="E", help="share of fresh noise, 0 to 1 (default: 1 for ddpm, 0 for ddim)")
    parser.add_argument("--guidance", type=float, default=2.0, metavar="S",
                        help="scale of classifier-free guidance: 1 is none, more is more typical (default: 2)")
    parser.add_argument("--classes", metavar="LIST", help="names or numbers, separated by commas (default: all)")
    parser.add_argument("--prompt", metavar="TEXT", action="append", default=[],
                        help="what to draw, in words, for a model that was trained with --clip (again for more)")
    parser.add_argument("--negative", metavar="TEXT", help="what not to draw: guidance leads away from it")
    parser.add_argument("--prior", metavar="RUN", type=Path,
                        help="for a model that is told embeddings: a prior from minidiff clip prior makes them of the prompts")
    parser.add_argument("--n", type=count, default=8, metavar="N", help="images for each class or prompt (default: 8)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default: 0)")
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="the new folder (default: RUN/samples, RUN/samples-2, ...)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.random import Generator
    from minidiff.report import check_free, write_samples
    from minidiff.training import Run
    from minidiff.training.condition import reads_words

    a = arguments
    trained = Run.open(a.path)
    folder = a.out or place_of(a.path, "samples")
    check_free(folder)
    rows, null_context = (_sentences if reads_words(trained.config.unet) else _classes)(a, trained)
    folder = write_samples(
        trained, trained.load_model(a.device), rows, a.n, folder, generator=Generator((a.seed, SEED_STREAM), a.device),
        sampler=a.sampler, steps=a.steps, eta=a.eta, guidance=a.guidance, null_context=null_context)
    print(f"{len(list(folder.iterdir())) - 1} images and grid.png in {folder}")
    return 0


def _classes(a: argparse.Namespace, trained):
    """A row for each class that was asked for, or one of nothing in particular; guidance leads away from no class."""
    import numpy as np

    from minidiff.report import Row, class_rows
    from minidiff.training import labels_of

    names = trained.class_names
    for option in ("prompt", "negative", "prior"):
        if getattr(a, option) not in (None, []):
            raise ValueError(f"--{option}: {a.path} does not understand words"
                             + (f"; choose with --classes from {', '.join(names)}" if names else ""))
    if not names:
        if a.classes is not None:
            raise ValueError(f"--classes {a.classes}: {a.path} has no classes")
        return [Row()], None
    return class_rows(np.arange(len(names)) if a.classes is None else labels_of(a.classes.split(","), names), names), None


def _sentences(a: argparse.Namespace, trained):
    """A row for each prompt, or one of nothing in particular; and what guidance leads away from."""
    from minidiff.report import Row, prompt_rows
    from minidiff.training import contexts_of, read_embedder
    from minidiff.training.condition import null_context_of

    if a.classes is not None:
        raise ValueError(f"--classes {a.classes}: {a.path} has no classes; say with --prompt what to draw")
    if a.negative is not None and (not a.prompt or a.guidance == 1 or not a.negative.strip()):
        raise ValueError("--negative: guidance leads from it to the prompt, so it needs words, a --prompt and a --guidance other than 1")
    unet, embedder = trained.config.unet, read_embedder(trained.path, a.device)
    nothing = null_context_of(unet, embedder) if a.negative is None else contexts_of(unet, [a.negative], embedder)[0]
    if a.prior is not None and (unet.context_features is None or not a.prompt):
        raise ValueError(f"--prior {a.prior}: it makes embeddings of prompts, so it needs a --prompt, and a model that was trained with "
                         "--condition embedding")
    if not a.prompt:
        return [Row()], nothing
    return prompt_rows(a.prompt, contexts_of(unet, a.prompt, embedder) if a.prior is None else _imagined(a, embedder)), nothing


def _imagined(a: argparse.Namespace, embedder):
    """The embeddings of pictures that a prior makes of the prompts."""
    from minidiff.random import Generator
    from minidiff.training import PriorTrainConfig, Run, imagine

    prior = Run.open(a.prior, PriorTrainConfig)
    if prior.config.prior.features != embedder.features:
        raise ValueError(f"--prior {a.prior}: it makes embeddings of {prior.config.prior.features} numbers, this model is told "
                         f"{embedder.features}; train a prior for its CLIP")
    generator = Generator((a.seed, PRIOR_STREAM), a.device)
    return imagine(prior.load_model(a.device), prior.schedule(), embedder, a.prompt, generator=generator, guidance=a.guidance)
