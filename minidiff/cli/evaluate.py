"""`minidiff evaluate`: what a trained model is worth, in figures with their intervals."""

import argparse
from pathlib import Path

from .arguments import count, place_of, seed

SUMMARY = "measure how good a trained model is"
EXAMPLES = """\
  minidiff evaluate runs/demo
  minidiff evaluate runs/mnist --n 2000 --guidance 2
  minidiff evaluate runs/emoji --judge runs/another-clip
  minidiff evaluate runs/clip
"""
SEED_STREAM = 3000      # (seed, 3000): random numbers of its own, whatever the seeds of training and sampling
SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff evaluate`."""
    parser.description += (
        "\n\nA diffusion model draws; an independent classifier, trained on the real training images, says what it\n"
        "recognizes; and the drawn images are compared with the real test images, which no model has seen. A CLIP\n"
        "finds captions and pictures that it has not seen. Writes a new folder with evaluation.json and pictures.")
    parser.add_argument("path", metavar="RUN", type=Path, help="the folder of a run of minidiff train, demo or clip train")
    parser.add_argument("--data", metavar="SRC", help="the data it was trained on, with a test split (default: as the run says)")
    parser.add_argument("--n", type=count, default=1000, metavar="N", help="images to draw (default: 1000)")
    parser.add_argument("--sampler", default="dpmpp_2m", help="as for minidiff sample (default: dpmpp_2m)")
    parser.add_argument("--steps", type=count, default=20, metavar="N", help="steps from noise to image (default: 20)")
    parser.add_argument("--guidance", type=float, default=1.0, metavar="S", help="scale of classifier-free guidance (default: 1, none)")
    parser.add_argument("--judge", metavar="RUN", type=Path, help="for a model of texts: a CLIP that it was not trained with")
    parser.add_argument("--epochs", type=count, default=8, metavar="N", help="of the classifier (default: 8)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default: 0)")
    parser.add_argument("--out", metavar="DIR", type=Path,
                        help="the new folder (default: RUN/evaluation, RUN/evaluation-2, ...)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.data import load
    from minidiff.report import check_free, table_text, write_evaluation
    from minidiff.training import Run, TrainConfig
    from minidiff.training.contrastive import ContrastiveConfig
    from minidiff.training.learner import check_fits
    from minidiff.training.run import kind_of

    a = arguments
    kinds = {"unet": (TrainConfig, _images), "clip": (ContrastiveConfig, _clip)}
    config, evaluate = kinds.get(kind_of(a.path), kinds["unet"])
    trained = Run.open(a.path, config)
    out = a.out or place_of(a.path, "evaluation")
    check_free(out)
    data = a.data or trained.config.data
    train, test = load(data), load(data, "test")
    for part in (train, test):
        check_fits(trained.config, part)
    about, table, pictures = evaluate(a, trained, train, test)
    write_evaluation(out, {"run": str(a.path), "data": data, **about}, table, pictures)
    print(table_text(table))
    print(f"written to {out}")
    return 0


def _clip(a: argparse.Namespace, trained, train, test):
    """How well it finds texts and pictures."""
    from minidiff.training import read_embedder
    from minidiff.training.evaluation import evaluate_clip

    return {"test_images": len(test)}, evaluate_clip(read_embedder(trained.path, a.device), train, test), {}


def _images(a: argparse.Namespace, trained, train, test):
    """Draw, and judge what was drawn."""
    import numpy as np
    from tqdm import tqdm

    from minidiff.random import Generator
    from minidiff.report import draw_with_bar, grid
    from minidiff.training import train_classifier
    from minidiff.training.evaluation import check_sets, evaluate_images, evaluate_prompts

    check_sets(a.n, train, test)
    judge = _judge(a, trained.config.unet, test)
    labels, prompts, context, nothing = _asked(a, trained, test)
    generator = Generator((a.seed, SEED_STREAM), a.device)
    samples = draw_with_bar(trained, trained.load_model(a.device), context, "drawing", count=None if context is not None else a.n,
                            generator=generator, sampler=a.sampler, steps=a.steps, guidance=a.guidance, null_context=nothing)
    with tqdm(desc="training the classifier", total=1.0, bar_format="{desc}: {percentage:3.0f}%|{bar}|") as bar:
        classifier = train_classifier(train, a.seed, a.epochs, a.device, lambda fraction: bar.update(fraction - bar.n))
    on_host = Generator((a.seed, SEED_STREAM + 1))
    with tqdm(desc="comparing", total=1.0, bar_format="{desc}: {percentage:3.0f}%|{bar}|") as bar:
        table, nearest = evaluate_images(samples, labels, train, test, classifier, on_host, lambda fraction: bar.update(fraction - bar.n))
    if judge is not None:
        table |= evaluate_prompts(samples[: len(test)], prompts[: len(test)], judge, on_host, test.images[: len(samples)])
    closest = nearest.distances.argsort()[:SHOWN]
    pairs = np.stack([samples[closest], train.images[nearest.indices[closest]]])
    pictures = {"nearest": grid(pairs, ["drawn", "nearest training image"]),
                "samples": grid(samples[: len(samples) // 10 * 10][:100].reshape(-1, 10, *samples.shape[1:]))}
    about = {"samples": a.n, "test_images": len(test), "training_images": len(train), "sampler": a.sampler, "steps": a.steps,
             "guidance": a.guidance, "seed": a.seed, "classifier_epochs": a.epochs}
    return about, table, pictures


def _judge(a: argparse.Namespace, unet, test):
    """The CLIP that says whether a picture shows what its prompt says; None without --judge."""
    from minidiff.training import read_embedder
    from minidiff.training.condition import reads_words

    if a.judge is None:
        return None
    if not reads_words(unet):
        raise ValueError(f"--judge {a.judge}: it says whether pictures show what their prompts say, but {a.path} was not told any words")
    judge = read_embedder(a.judge, a.device)
    judge.images(test.images[:1])  # which refuses pictures of another size, before anything is drawn
    return judge


def _asked(a: argparse.Namespace, trained, test):
    """(labels, prompts, context, null_context) of the images to draw: the classes in turn, the test images' first captions, or nothing."""
    import numpy as np

    from minidiff.data import captions_of
    from minidiff.training import contexts_of, read_embedder
    from minidiff.training.condition import null_context_of, reads_words

    unet, numbers = trained.config.unet, np.arange(a.n)
    if reads_words(unet):
        embedder, captions = read_embedder(trained.path, a.device), captions_of(test)
        prompts = [captions[i][0] for i in (numbers % len(test)).tolist()]
        return None, prompts, contexts_of(unet, prompts, embedder), null_context_of(unet, embedder)
    labels = None if unet.num_classes is None else numbers % unet.num_classes
    return labels, None, labels, None
