"""The page of the demo: what was computed, what came out, and how to go on."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from minidiff.training import Run

from . import page as p
from .environment import devices, versions
from .verdict import Verdict

if TYPE_CHECKING:
    from .demo import Demo


# what a network is asked for, by prediction_type
PREDICTED = {
    "epsilon": "the noise ε in it",
    "sample": "the clean image x0 behind it",
    "v_prediction": "v = √ᾱ ε − √(1 − ᾱ) x0, which holds both the noise ε and the clean image x0",
}


def demo_page(run: Run, parameters: int, demo: Demo, pictures: Mapping[Path, Image.Image], verdict: Verdict,
              seconds: Mapping[str, float]) -> str:
    """The HTML of report.html.

    parameters: how many numbers the network has learned. pictures: those of the run, by the path of their file. verdict: the
    classifier's. seconds: name of a stage -> how long it took.
    """
    config = run.config
    return p.page(
        f"minidiff: {run.path.name}",
        f"A diffusion model learned from {demo.data} to draw {len(run.class_names)} classes of images from noise. "
        "This page shows what it draws, how that works, and what an independent judge thinks of it.",
        p.figures({f"of {name} recognized": f"{100 * share:.1f} %" for name, share in verdict.overall.items()}
                  | {"parameters": f"{parameters:,}", "from the first step to this page": duration(sum(seconds.values()))}),
        p.section("Samples", _picture(
            pictures, run.samples_path, "Drawn images, a row for each class",
            f"A row for each class, drawn with classifier-free guidance of scale {demo.guidance:g}; nothing is picked. DDPM adds fresh "
            "noise at every step, DDIM none: from its starting noise on, its way is fixed.")),
        p.section("Forward: images dissolve into noise", _picture(
            pictures, run.forward_path, "Real images that become noise from left to right",
            f"Real images after t + 1 of {config.num_train_timesteps} steps of added noise. The network learns to tell, from "
            f"such an image and the time t, {PREDICTED[config.prediction_type]}.")),
        p.section("Reverse: noise becomes images", _picture(
            pictures, run.reverse_path, "Noise that becomes images from left to right",
            f"Four of the samples on their way ({next(iter(demo.samplers))}). Upper rows: the image at time t. Lower rows: the clean "
            "image that the network then predicts, blurred at first, because from noise alone many images are possible.")),
        p.section("Loss", _picture(
            pictures, run.loss_path, "The loss over the training steps",
            f"The mean squared error of {PREDICTED[config.prediction_type]} on the images of each training step. It scatters "
            "with the times that are drawn: a little noise is hard to tell from an image, a lot is easy.", scale=2 / 3)),
        p.section("The classifier's verdict", p.paragraph(
            "A small convolutional network, trained with the same library on the same real images, never on drawn ones, names "
            "the class of each image. What it makes of held-out real images is the measure: drawn images are typical when they "
            "are recognized about as often. Far fewer, and they are poor; far more, and they are clichés, which strong guidance "
            "does."),
            _verdict_table(run, verdict)),
        p.section("What this run is", p.table(settings(run, demo, parameters))),
        p.section("Timings", p.table(timings(run, seconds))),
        p.section("Versions", p.table(versions() | {"devices": "; ".join(devices())})),
        p.section("How to go on", *_how_to_go_on(run)),
        footer=f"Written by minidiff on {datetime.datetime.now().astimezone():%Y-%m-%d at %H:%M %Z}. "
               "This file is complete in itself: it needs no network.",
    )


def _picture(pictures: Mapping[Path, Image.Image], path: Path, alt: str, caption: str, scale: float = 1.0) -> str:
    return p.picture(pictures[path], alt, f"{caption} ({path.name})", scale)


def _verdict_table(run: Run, verdict: Verdict) -> str:
    rows = {name: [per_class[k] for per_class in verdict.per_class.values()] for k, name in enumerate(run.class_names)}
    return p.shares(["class", *verdict.overall], rows, total=("all", list(verdict.overall.values())))


def settings(run: Run, demo: Demo, parameters: int) -> dict[str, str]:
    """What decides the result, for the reader; config.json has all of it."""
    c = run.config
    return {
        "data": f"{c.data}, {c.unet.sample_size} × {c.unet.sample_size} pixels, {len(c.class_names)} classes",
        "network": f"U-Net, {parameters:,} parameters, channels {', '.join(map(str, c.unet.block_out_channels))}, "
                   f"{c.unet.block} blocks, {c.unet.layers_per_block} a level",
        "forward process": f"{c.num_train_timesteps:,} steps, {c.beta_schedule} schedule; the network predicts {c.prediction_type}",
        "training": f"{c.total_steps:,} steps of {c.batch_size} images, AdamW, learning rate {c.learning_rate:g} ({c.lr_schedule}, "
                    f"{c.warmup_steps} steps of warm-up), weight average with decay {c.ema_decay:g}",
        "guidance": f"scale {demo.guidance:g}; in training {100 * c.context_dropout:g} % of the labels are dropped",
        "samplers": "; ".join(f"{name} in {options['steps']} steps" for name, options in demo.samplers.items()),
        "seed": str(c.seed),
    }


def timings(run: Run, seconds: Mapping[str, float]) -> dict[str, str]:
    """How long each stage took, and how fast training was."""
    session = run.timing()[-1]
    speed = f"{session['images_per_second']:,.0f} images per second on {session['device']}, {session['threads']} threads"
    return {stage: duration(taken) for stage, taken in seconds.items()} | {"training speed": speed}


def duration(seconds: float) -> str:
    """12.3 s, or 4 min 05 s."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"


def _how_to_go_on(run: Run) -> list[str]:
    path = shlex.quote(str(run.path))
    ways = {
        f"Draw more of one class, {run.class_names[-1]}:":
            f"minidiff sample {path} --classes {shlex.quote(run.class_names[-1])} --n 16 --sampler ddim --steps 50 --guidance 3",
        "Draw with all steps of DDPM, the slow and original way:": f"minidiff sample {path} --sampler ddpm",
        "Train on images of your own, in a folder with a sub-folder for each class:":
            "minidiff train --data FOLDER --out runs/mine --minutes 30",
    }
    return [piece for text, line in ways.items() for piece in (p.paragraph(text), p.command(line))]
