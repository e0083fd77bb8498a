"""`minidiff clip`: train a CLIP on pictures and their captions, and use it."""

import argparse
import dataclasses
import shlex
from pathlib import Path

from .arguments import add_length, amount, count, seed, with_length
from .session import check_fixed, session

SUMMARY = "learn which sentence belongs to which picture, and search with it"
EXAMPLES = """\
  minidiff clip train --data emoji --out runs/clip --steps 2000
  minidiff clip search "smiling cat" --clip runs/clip
  minidiff clip search "a red heart" --clip runs/clip --split test
  minidiff clip embed --clip runs/clip --text "a red heart" --data emoji --out vectors.safetensors
  minidiff clip prior --clip runs/clip --data emoji --out runs/prior --steps 2000
"""
SETTINGS = ("batch_size", "learning_rate", "seed")  # options that are fields of ContrastiveConfig
VOCABULARY = 2000
PICTURES = "emoji"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff clip` and its sub-commands."""
    commands = parser.add_subparsers(title="commands", dest="way", metavar="COMMAND", required=True)
    train = commands.add_parser("train", help="train a CLIP, or go on with a run")
    train.add_argument("--data", metavar="SRC", help="emoji (comes with minidiff), or any pictures with captions, or with classes, whose "
                                                     "names then become captions")
    train.add_argument("--out", metavar="RUN", type=Path, help="the new run folder")
    train.add_argument("--resume", metavar="RUN", type=Path, help="go on with this run instead")
    train.add_argument("--image", choices=("conv", "vit"), help="the image encoder: convolutions, or a vision transformer (default: conv)")
    train.add_argument("--vocabulary", type=count, metavar="N", help=f"tokens, learned from the captions (default: {VOCABULARY})")
    train.add_argument("--batch-size", type=count, metavar="N", help="pictures a step (default: 128)")
    train.add_argument("--learning-rate", type=amount, metavar="R", help="of AdamW (default: 0.001)")
    train.add_argument("--seed", type=seed, metavar="N", help="of all random numbers (default: 0)")
    add_length(train)
    prior = commands.add_parser("prior", help="train the step from a sentence to the embedding of its picture, or go on with a run")
    prior.add_argument("--clip", metavar="RUN", help="the folder that minidiff clip train made")
    prior.add_argument("--data", metavar="SRC", help=f"pictures with captions, such as {PICTURES}")
    prior.add_argument("--out", metavar="RUN", type=Path, help="the new run folder")
    prior.add_argument("--resume", metavar="RUN", type=Path, help="go on with this run instead")
    prior.add_argument("--batch-size", type=count, metavar="N", help="pictures a step (default: 128)")
    prior.add_argument("--learning-rate", type=amount, metavar="R", help="of AdamW (default: 0.001)")
    prior.add_argument("--seed", type=seed, metavar="N", help="of all random numbers (default: 0)")
    add_length(prior)
    search = commands.add_parser("search", help="draw the pictures that fit a sentence best")
    search.add_argument("text", metavar="TEXT", help="what to look for, such as \"smiling cat\"")
    search.add_argument("--data", metavar="SRC", default=PICTURES, help=f"the pictures (default: {PICTURES})")
    search.add_argument("--n", type=count, default=16, metavar="N", help="how many (default: 16)")
    search.add_argument("--out", metavar="FILE", type=Path, help="the new picture (default: search.png, search-2.png, ...)")
    embed = commands.add_parser("embed", help="write the vectors of sentences and pictures as safetensors")
    embed.add_argument("--text", metavar="TEXT", action="append", default=[], help="a sentence (again for more)")
    embed.add_argument("--data", metavar="SRC", help="the pictures; none without")
    embed.add_argument("--out", metavar="FILE", type=Path, required=True, help="the new file, with text and image, a row each")
    for command in (search, embed):
        command.add_argument("--clip", metavar="RUN", required=True, help="the folder that minidiff clip train made")
        command.add_argument("--split", default="train", help="which part of the data: train or test (default: train)")
    for command in commands.choices.values():
        command.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    return {"train": _train, "prior": _prior, "search": _search, "embed": _embed}[arguments.way](arguments)


def _train(a: argparse.Namespace) -> int:
    run, learner = _resumed(a) if a.resume is not None else _begun(a)
    search = shlex.join(["minidiff", "clip", "search", "smiling cat", "--clip", str(run.path), "--data", run.config.data])
    return session(a, "clip train", run, learner, f"search with it:\n  {search}")


def _prior(a: argparse.Namespace) -> int:
    from minidiff.data import load
    from minidiff.data.source import source_name
    from minidiff.models import PriorConfig
    from minidiff.training import PriorLearner, PriorTrainConfig, Run, read_embedder
    from minidiff.training.contrastive import ENCODER, export_clip
    from minidiff.training.run import check_new

    if a.resume is not None:
        check_fixed(a, "out", "clip", *SETTINGS)
        run = Run.open(a.resume, PriorTrainConfig)
        learner = PriorLearner(run.config, load(a.data or run.config.data), read_embedder(run.path, a.device), a.device)
        run.restore(learner)
    else:
        if a.clip is None or a.data is None or a.out is None:
            raise ValueError("minidiff clip prior needs --clip RUN, --data SRC and --out RUN, or --resume RUN")
        check_new(a.out)
        dataset, embedder = load(a.data), read_embedder(a.clip, a.device)
        settings = {"batch_size": 128, **{name: getattr(a, name) for name in SETTINGS if getattr(a, name) is not None}}
        config = PriorTrainConfig(
            prior=PriorConfig(embedder.features), images=dataset.images.shape[1:], data=source_name(a.data), **settings)
        config = _falling(with_length(a, config, len(dataset)))
        learner = PriorLearner(config, dataset, embedder, a.device)
        run = Run.create(a.out, config, lambda folder: export_clip(a.clip, folder / ENCODER))
    sample = shlex.join(["minidiff", "sample", "RUN", "--prompt", "smiling cat", "--prior", str(run.path)])
    return session(a, "clip prior", run, learner, f"draw with it from a RUN of minidiff train --condition embedding:\n  {sample}")


def _falling(config):
    """A learning rate that falls to 0 at the end, if it is known when that is."""
    return config if config.total_steps is None else dataclasses.replace(config, lr_schedule="cosine")


def _begun(a: argparse.Namespace):
    """A new run and its learner."""
    from minidiff.data import load
    from minidiff.data.source import source_name
    from minidiff.training.contrastive import SMALL, ContrastiveConfig, ContrastiveLearner, create_clip_run, small_clip, train_tokenizer
    from minidiff.training.run import check_new

    if a.data is None or a.out is None:
        raise ValueError("minidiff clip train needs --data SRC and --out RUN, or --resume RUN")
    check_new(a.out)
    dataset = load(a.data)
    tokenizer = train_tokenizer(dataset, a.vocabulary or VOCABULARY)
    settings = {**SMALL, **{name: getattr(a, name) for name in SETTINGS if getattr(a, name) is not None}}
    config = ContrastiveConfig.for_dataset(dataset, small_clip(a.image or "conv"), tokenizer, data=source_name(a.data), **settings)
    config = _falling(with_length(a, config, len(dataset)))
    learner = ContrastiveLearner(config, dataset, tokenizer, a.device)
    return create_clip_run(a.out, config, tokenizer), learner


def _resumed(a: argparse.Namespace):
    """A run that exists, and its learner where the last checkpoint was taken."""
    from minidiff.data import load
    from minidiff.training import Run
    from minidiff.training.contrastive import ContrastiveConfig, ContrastiveLearner
    from minidiff.training.embedder import read_tokenizer

    check_fixed(a, "out", "image", "vocabulary", *SETTINGS)
    run = Run.open(a.resume, ContrastiveConfig)
    learner = ContrastiveLearner(run.config, load(a.data or run.config.data), read_tokenizer(run.path), a.device)
    run.restore(learner)
    return run, learner


def _search(a: argparse.Namespace) -> int:
    from minidiff.data import captions_of, load
    from minidiff.metrics import cosine_similarity
    from minidiff.report import captioned, check_free, free_name, save_png
    from minidiff.training import read_embedder

    if not a.text.strip():
        raise ValueError("minidiff clip search: an empty text says nothing; say what to look for")
    out = a.out or free_name("search.png")
    check_free(out)
    embedder, dataset = read_embedder(a.clip, a.device), load(a.data, a.split)
    scores = cosine_similarity(embedder.images(dataset.images), embedder.texts([a.text]))[:, 0]
    best = scores.argsort()[::-1][: a.n]
    save_png(captioned(dataset.images[best], [f"{scores[i]:.2f}" for i in best]), out)
    captions = captions_of(dataset)
    for i in best.tolist():
        print(f"{scores[i]:6.3f}  {captions[i][0]}")
    print(f"drawn in {out}")
    return 0


def _embed(a: argparse.Namespace) -> int:
    from safetensors.numpy import save

    from minidiff.data import load
    from minidiff.report import check_free, write_new
    from minidiff.training import read_embedder

    if not a.text and a.data is None:
        raise ValueError("minidiff clip embed: of what? Give --text, --data, or both")
    check_free(a.out)
    embedder = read_embedder(a.clip, a.device)
    vectors = {}
    if a.text:
        vectors["text"] = embedder.texts(a.text)
    if a.data is not None:
        vectors["image"] = embedder.images(load(a.data, a.split).images)
    write_new(a.out, save(vectors))
    print(", ".join(f"{len(rows)} of {name}s" for name, rows in vectors.items()) + f", {embedder.features} numbers each, in {a.out}")
    return 0
