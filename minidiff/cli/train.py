"""`minidiff train`: train a model on images, or go on with a run."""

import argparse
import shlex
from pathlib import Path

from .arguments import add_length, amount, count, seed, with_length
from .session import check_fixed, session

SUMMARY = "train a model on images, or go on with a run"
EXAMPLES = """\
  minidiff train --data fashion-mnist-mini --out runs/mini --minutes 10
  minidiff train --data photos --out runs/photos --preset course --epochs 20 --device cuda
  minidiff train --data emoji --clip runs/clip --out runs/emoji --epochs 500
  minidiff train --resume runs/mini --minutes 10
"""
# Options that are fields of TrainConfig; a run that is resumed keeps its own
SETTINGS = ("batch_size", "learning_rate", "seed")
PRESET = "ddpm"
CONDITIONS = ("class", "embedding", "caption")
# Fields of a configuration that --data and --condition decide
FROM_DATA = ("data", "class_names", "sample_size", "in_channels", "out_channels", "num_classes", "context_features", "cross_attention_dim")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff train`."""
    parser.description += (
        "\n\nWrites a new run folder: config.json, metrics.jsonl (a line a step) and model.safetensors (a\n"
        "checkpoint, saved every minute). Ctrl-C saves one too and says how to go on. A run that was stopped\n"
        "and resumed ends like one that was not, bit for bit.")
    what = parser.add_argument_group("what to train")
    what.add_argument("--data", metavar="SRC",
                      help="fashion-mnist-mini or emoji (they come with minidiff), a folder of IDX files, a folder with a sub-folder "
                           "of images for each class or with captions in a metadata.jsonl, or an .npz file")
    what.add_argument("--out", metavar="RUN", type=Path, help="the new run folder")
    what.add_argument("--resume", metavar="RUN", type=Path, help="go on with this run instead; --data only if its data has moved")
    what.add_argument("--preset", metavar="NAME", help=f"the network: ddpm or course (default: {PRESET})")
    what.add_argument("--condition", choices=CONDITIONS,
                      help="what it is told: the class, CLIP's embedding of the picture, a caption (default: class; with --clip caption)")
    what.add_argument("--clip", metavar="RUN", help="the CLIP for embeddings and captions, from minidiff clip train")
    what.add_argument("--config", metavar="FILE", type=Path,
                      help="all other settings, or some of them, as JSON, as in the config.json of a run")
    what.add_argument("--batch-size", type=count, metavar="N", help="images a step (default: 64)")
    what.add_argument("--learning-rate", type=amount, metavar="R", help="of AdamW (default: 0.001)")
    what.add_argument("--seed", type=seed, metavar="N", help="of all random numbers (default: 0)")
    add_length(parser)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    a = arguments
    training, trainer = resumed(a) if a.resume is not None else begun(a)
    return session(a, "train", training, trainer, f"draw from it with:\n  minidiff sample {shlex.quote(str(training.path))}")


def begun(a: argparse.Namespace):
    """A new run and its trainer."""
    from minidiff.data import load
    from minidiff.training import Run, Trainer
    from minidiff.training.contrastive import ENCODER, export_clip, read_embedder
    from minidiff.training.run import check_new

    if a.data is None or a.out is None:
        raise ValueError("minidiff train needs --data SRC and --out RUN, or --resume RUN")
    condition = a.condition or ("class" if a.clip is None else "caption")
    if (condition == "class") != (a.clip is None):
        raise ValueError(f"minidiff train --condition {condition}: " + (
            "classes need no --clip" if condition == "class" else "embeddings and captions need a CLIP: give --clip RUN"))
    check_new(a.out)
    dataset, embedder = load(a.data), None if a.clip is None else read_embedder(a.clip, a.device)
    told = {}  # how the network is told what to draw; classes come from the data
    if condition == "embedding":
        told = {"context_features": embedder.features}
    if condition == "caption":
        told = {"cross_attention_dim": embedder.clip.config.text.width}
    config = with_length(a, wanted(a, dataset, told), len(dataset))
    trainer = Trainer(config, dataset, a.device, embedder)
    return Run.create(a.out, config, None if a.clip is None else lambda folder: export_clip(a.clip, folder / ENCODER)), trainer


def wanted(a: argparse.Namespace, dataset, told: dict):
    """The configuration that --preset, --config, the options and the data ask for. told: what --condition decides of the network."""
    from minidiff.data.source import source_name
    from minidiff.models import preset
    from minidiff.training import TrainConfig
    from minidiff.training.config import square_images

    settings = {} if a.config is None else read_settings(a.config)
    channels, size = square_images(dataset)
    unet = {**preset(a.preset or PRESET).to_json(), **settings.pop("unet", {}),
            "sample_size": size, "in_channels": channels, "out_channels": channels, **told}
    settings.update({name: getattr(a, name) for name in SETTINGS if getattr(a, name) is not None})
    if a.steps is not None or a.epochs is not None:
        settings["total_steps"] = 1  # any number, so that a learning rate that falls is not refused; `with_length` puts the right one
    try:
        config = TrainConfig.from_json({**settings, "unet": unet})  # which names what is wrong
    except ValueError as error:
        raise (error if a.config is None else ValueError(f"{a.config}: cannot be used: {error}")) from None
    return TrainConfig.for_dataset(dataset, config.unet, data=source_name(a.data), **settings)


def read_settings(path: Path) -> dict:
    """The settings in a file, as JSON, without those that --data and --condition decide. Raises OSError, and ValueError for other files."""
    import json

    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or not isinstance(settings.get("unet", {}), dict):
            raise ValueError("expected a JSON object with settings, and in it unet, if it is there, as an object, too")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be used: {error}") from None
    settings = {name: value for name, value in settings.items() if name not in FROM_DATA}
    if "unet" in settings:
        settings["unet"] = {name: value for name, value in settings["unet"].items() if name not in FROM_DATA}
    return settings


def resumed(a: argparse.Namespace):
    """A run that exists, and its trainer where the last checkpoint was taken."""
    from minidiff.data import load
    from minidiff.training import Run, Trainer, read_embedder
    from minidiff.training.condition import reads_words

    check_fixed(a, "out", "preset", "condition", "clip", "config", *SETTINGS)
    training = Run.open(a.resume)
    embedder = read_embedder(training.path, a.device) if reads_words(training.config.unet) else None
    trainer = Trainer(training.config, load(a.data or training.config.data), a.device, embedder)
    training.restore(trainer)
    return training, trainer
