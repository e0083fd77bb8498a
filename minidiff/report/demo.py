"""The whole way once: real images, training, drawing, a judge, pictures and a page that shows it all.

`DEMO` says what is computed, `run_demo` does it. Stands on `minidiff.training`; `demo_page.py` writes the page.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from minidiff.backend import to_numpy
from minidiff.data import Dataset, load, to_uint8
from minidiff.diffusion import q_sample
from minidiff.models import Classifier, UNetConfig, preset
from minidiff.random import Generator
from minidiff.training import Bar, Run, TrainConfig, Trainer, train, train_classifier

from .demo_page import demo_page
from .loss_curve import curve
from .page import save_page
from .pictures import forward_strip, grid, reverse_strip, save_png
from .samples import draw_with_bar
from .verdict import Verdict, judge

EXAMPLES = 4        # images shown in the forward and in the reverse strip
COLUMNS = 10        # times shown there
STREAM = 1000       # the random numbers of drawing are (seed, 1000), which training does not use


@dataclass(frozen=True)
class Demo:
    """What the demo computes.

    data: what `minidiff.data.load` takes; it needs a training and a test split. unet: the network (size, channels and
    classes are taken from the data). training: fields of `TrainConfig`, total_steps among them. samplers: options of
    `training.draw` for each sampler, steps among them, under the name that it has in the pictures. guidance: see there.
    shown, judged: images of each class in samples.png, and for the judge's verdict (the shown ones are the first of
    them). classifier_epochs: how long the judge learns.
    """

    unet: UNetConfig
    training: Mapping[str, Any]
    samplers: Mapping[str, Mapping[str, Any]]
    guidance: float
    shown: int
    judged: int
    classifier_epochs: int
    data: str = "fashion-mnist-mini"


# What fits into five minutes on two cores, the installation included. 28 x 28 pixels enter as 14 x 14 patches of 2 x 2, because at full
# resolution the same network works on four times as many; no mirroring, because all shoes of Fashion-MNIST point the same way;
# v-prediction, because with it the shapes were clean after fewer steps.
DEMO = Demo(
    unet=preset("ddpm", patch_size=2, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, attention_levels=(),
                attention_head_dim=32, upsample="transposed"),
    training={"total_steps": 1600, "batch_size": 32, "learning_rate": 2e-3, "lr_schedule": "cosine", "warmup_steps": 50,
              "ema_decay": 0.995, "flip": 0.0, "prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2"},
    samplers={"DDPM": {"sampler": "ddpm", "steps": 60}, "DDIM": {"sampler": "ddim", "steps": 25}},
    guidance=2.0,
    shown=8,
    judged=10,
    classifier_epochs=5,
)


def run_demo(path: str | Path, demo: Demo, *, seed: int = 0, device: str = "cpu", progress: bool = True,
             say: Callable[[str], None] = print) -> Verdict | None:
    """Train, draw, judge and report into a new run folder.

    path: the folder. demo: what to compute. seed: the same seed gives the same run on one device. device: where the
    networks compute. progress: whether there are bars on stderr. say: takes a line of text at each stage.
    Returns the verdict, or None when training was interrupted (a checkpoint has been saved, the run can be resumed).
    Raises FileExistsError if the folder exists, DeviceError, TrainingDiverged, and what reading data and writing files raise.
    """
    clock = Stopwatch()
    dataset, held_out = load(demo.data, "train"), load(demo.data, "test")
    config = TrainConfig.for_dataset(dataset, demo.unet, data=demo.data, seed=seed, **demo.training)
    trainer = Trainer(config, dataset, device)
    run = Run.create(path, config)
    say(f"training a U-Net of {trainer.model.count_parameters():,} parameters on {len(dataset):,} images, {config.total_steps:,} steps")
    with clock("training the U-Net"):
        if train(run, trainer, progress=Bar() if progress else None).interrupted:
            return None

    say(f"drawing {demo.judged} images of each class with each sampler, guidance scale {demo.guidance:g}")
    drawn, film = _draw(run, demo, Generator((seed, STREAM), device), device, clock, progress)
    say(f"training a classifier on the same {len(dataset):,} real images, as a judge")
    with clock("training the classifier"):
        classifier = _train_classifier(dataset, seed, demo.classifier_epochs, device, progress)
    verdict = judge(classifier, {"held-out real images": held_out}
                    | {f"{name} samples": images for name, images in drawn.items()})

    pictures = _pictures(run, demo, dataset, drawn, film, Generator((seed, STREAM + 1)))
    for target, picture in pictures.items():
        save_png(picture, target)
    save_page(demo_page(run, trainer.model.count_parameters(), demo, pictures, verdict, clock.seconds), run.report_path)
    return verdict


class Stopwatch:
    """How long each stage took. seconds: name of the stage -> seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure what is inside the `with`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start


class Film:
    """A callback of `draw` that keeps x_t and the predicted x_0 of a few images, at every step."""

    def __init__(self, chosen: list[int]) -> None:
        self.chosen = chosen
        self.times: list[int] = []
        self.noisy: list[np.ndarray] = []
        self.predicted: list[np.ndarray] = []

    def __call__(self, i: int, t: int, x: Any, x_start: Any) -> None:
        """Take a frame, at step i."""
        self.times.append(t)
        self.noisy.append(to_uint8(to_numpy(x[self.chosen])))
        self.predicted.append(to_uint8(to_numpy(x_start[self.chosen])))

    def strip(self, columns: int) -> Image.Image:
        """Evenly chosen frames, the first and the last among them, as a `reverse_strip`."""
        shown = np.unique(np.linspace(0, len(self.times) - 1, columns).round().astype(int))
        times = [self.times[i] for i in shown]
        return reverse_strip(np.stack(self.noisy)[shown], np.stack(self.predicted)[shown], times, scale=3)


def _draw(
    run: Run, demo: Demo, generator: Generator, device: str, clock: Stopwatch, progress: bool,
) -> tuple[dict[str, Dataset], Film]:
    """The images of each sampler, all classes in turn, and the film of the first sampler."""
    model = run.load_model(device)
    labels = np.tile(np.arange(len(run.class_names)), demo.judged)      # so the image of class k is number k
    film = Film(_some_classes(run))
    drawn = {}
    for name, options in demo.samplers.items():
        with clock(f"drawing {len(labels)} images, {name}"):
            images = draw_with_bar(run, model, labels, name, generator=generator, guidance=demo.guidance,
                                   watch=None if drawn else film, progress=progress, **options)
        drawn[name] = Dataset(images, labels, run.class_names)
    return drawn, film


def _train_classifier(dataset: Dataset, seed: int, epochs: int, device: str, progress: bool) -> Classifier:
    with tqdm(desc="classifier", total=100, unit="%", disable=not progress, dynamic_ncols=True,
              bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
        return train_classifier(dataset, seed, epochs, device, lambda done: bar.update(round(100 * done) - bar.n))


def _pictures(
    run: Run, demo: Demo, dataset: Dataset, drawn: dict[str, Dataset], film: Film, generator: Generator,
) -> dict[Path, Image.Image]:
    """File -> picture."""
    shown = [a_set.images.reshape(demo.judged, len(run.class_names), *a_set.images.shape[1:])[:demo.shown].swapaxes(0, 1)
             for a_set in drawn.values()]
    names = [f"{name}, {options['steps']} steps" for name, options in demo.samplers.items()]
    metrics = run.metrics()
    return {
        run.samples_path: grid(np.concatenate(shown, axis=1), run.class_names, names),
        run.forward_path: _forward(run, dataset, generator),
        run.reverse_path: film.strip(COLUMNS),
        run.loss_path: curve([line["step"] for line in metrics], [line["loss"] for line in metrics]),
    }


def _forward(run: Run, dataset: Dataset, generator: Generator) -> Image.Image:
    """The first image of some classes on its way to noise; the times are dense at the start, where it still can be seen."""
    x_start = dataset.floats([int(np.argmax(dataset.labels == k)) for k in _some_classes(run)])
    last = run.config.num_train_timesteps - 1
    times = np.unique((np.linspace(0, 1, COLUMNS)[1:] ** 2 * last).round().astype(int)).tolist()
    noisy = [q_sample(run.schedule(), x_start, t, generator.standard_normal(x_start.shape)) for t in times]
    return forward_strip(np.stack([to_uint8(x) for x in [x_start, *noisy]]), [None, *times], scale=3)


def _some_classes(run: Run) -> list[int]:
    """A few classes, evenly chosen: neighbours often look alike."""
    return np.unique(np.linspace(0, len(run.class_names) - 1, EXAMPLES).round().astype(int)).tolist()
