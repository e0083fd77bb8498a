"""Every drawn image is shown under the name of the class that it was drawn for.

A stand-in for `training.draw` paints each image in the brightness of its label, so that a mix-up can be seen.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from minidiff.data import Dataset
from minidiff.models import preset
from minidiff.random import Generator
from minidiff.report import demo, samples
from minidiff.training import Run, TrainConfig

NAMES = ("zero", "one/two", "three", "four", "five")
UNET = preset("ddpm", block_out_channels=(8, 8), layers_per_block=1, attention_levels=(), norm_num_groups=4)


def brightness(label):
    """Pixel values that are far apart, and none of them black or white."""
    return 40 + 40 * int(label)


def painted(model, schedule, labels, *, callback, steps, **options):
    """As `draw`: every image in the brightness of its label, at every step of the walk."""
    images = np.stack([np.full((1, 8, 8), brightness(label) / 127.5 - 1, np.float32) for label in labels])
    for i in range(steps):
        callback(i, steps - 1 - i, images, images)
    return images


@pytest.fixture
def dataset():
    """Ten images of each class, in the same brightness."""
    labels = np.arange(50) % 5
    return Dataset(np.stack([np.full((1, 8, 8), brightness(label), np.uint8) for label in labels]), labels, NAMES)


def test_files_and_rows_have_the_class_that_they_are_named_after(dataset, tmp_path, monkeypatch):
    """Three of five classes, out of order, two images each: the brightness of file and row tells."""
    monkeypatch.setattr(samples, "draw", painted)
    run = Run.create(tmp_path / "run", TrainConfig.for_dataset(dataset, UNET))
    rows = samples.class_rows(np.array([3, 0, 1]), NAMES)
    out = samples.write_samples(run, None, rows, 2, tmp_path / "out", generator=Generator(0), progress=False, steps=2)
    for stem, label in (("3-four", 3), ("0-zero", 0), ("1-one-two", 1)):
        for i in range(2):
            assert np.unique(np.asarray(Image.open(out / f"{stem}-{i:03d}.png"))).tolist() == [brightness(label)]
    assert rows_of(out / "grid.png") == [3, 0, 1]


def test_files_and_rows_have_the_sentence_that_they_were_drawn_for(dataset, tmp_path, monkeypatch):
    """Three prompts, told as the labels that `painted` paints; the files begin with their number and what of the words a name can have."""
    monkeypatch.setattr(samples, "draw", painted)
    run = Run.create(tmp_path / "run", TrainConfig.for_dataset(dataset, UNET))
    prompts = ["a red/green heart!", "été", "???"]
    rows = samples.prompt_rows(prompts, np.array([3, 0, 1]))
    assert [row.name for row in rows] == prompts
    out = samples.write_samples(run, None, rows, 4, tmp_path / "out", generator=Generator(0), progress=False, steps=2)
    for stem, label in (("0-a-red-green-heart", 3), ("1-été", 0), ("2-image", 1)):
        assert np.unique(np.asarray(Image.open(out / f"{stem}-003.png"))).tolist() == [brightness(label)]
    assert rows_of(out / "grid.png") == [3, 0, 1] and len(list(out.iterdir())) == 3 * 4 + 1


@given(st.text(min_size=1).filter(str.strip))
@example("靴" * 300)
def test_any_sentence_can_be_a_row(prompt):
    """Its files have names that every system can have."""
    (row,) = samples.prompt_rows([prompt], np.zeros((1, 4)))
    assert row.name == prompt and len(f"{row.stem}-0000.png".encode()) < 255
    assert not set(row.stem) & set("/\\:*?\"<>|\0 \n") and row.stem.startswith("0-") and len(row.stem) > 2


@pytest.mark.parametrize("prompts", [[""], ["a heart", " \n "]])
def test_an_empty_sentence_is_refused(prompts):
    """It would draw nothing in particular, which is drawn without one."""
    with pytest.raises(ValueError, match="an empty prompt says nothing; leave it out to draw nothing in particular"):
        samples.prompt_rows(prompts, np.zeros((len(prompts), 4)))


def test_nothing_in_particular_is_a_row_without_a_name(dataset, tmp_path, monkeypatch):
    """`draw` is told how many, and nothing else."""
    seen = {}

    def counted(model, schedule, context, *, count, **options):
        seen.update(context=context, count=count)
        return np.zeros((count, 1, 8, 8), np.float32)

    monkeypatch.setattr(samples, "draw", counted)
    run = Run.create(tmp_path / "run", TrainConfig.for_dataset(dataset, UNET))
    out = samples.write_samples(run, None, [samples.Row()], 3, tmp_path / "out", generator=Generator(0), progress=False, steps=2)
    assert seen == {"context": None, "count": 3}
    assert sorted(path.name for path in out.iterdir()) == ["grid.png", *(f"sample-{i:03d}.png" for i in range(3))]


@pytest.mark.parametrize("n, error, message", [(0, ValueError, "at least 1 image"), (1, FileExistsError, "exists already")])
def test_what_cannot_be_written_is_refused_before_it_is_drawn(n, error, message, dataset, tmp_path, monkeypatch):
    """The stand-in for `draw` would say so."""
    monkeypatch.setattr(samples, "draw", lambda *arguments, **options: pytest.fail("drawn"))
    run = Run.create(tmp_path / "run", TrainConfig.for_dataset(dataset, UNET))
    with pytest.raises(error, match=message):
        samples.write_samples(run, None, [samples.Row()], n, tmp_path / "out" if n < 1 else run.path, generator=Generator(0))


def test_nothing_is_left_of_samples_that_could_not_be_written(dataset, tmp_path, monkeypatch):
    """The second of three pictures fails."""
    saved = []

    def failing(picture, path):
        saved.append(path)
        if len(saved) == 2:
            raise OSError("no space left")
        path.write_bytes(b"")

    monkeypatch.setattr(samples, "draw", painted)
    monkeypatch.setattr(samples, "save_png", failing)
    run = Run.create(tmp_path / "run", TrainConfig.for_dataset(dataset, UNET))
    with pytest.raises(OSError, match="no space left"):
        samples.write_samples(run, None, samples.class_rows(np.array([1, 2]), NAMES), 1, tmp_path / "out", generator=Generator(0),
                              progress=False, steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_class_is_asked_for_once():
    """n says how many."""
    with pytest.raises(ValueError, match=r"twice in 1, 3, 1; name each once, n says how many images"):
        samples.class_rows(np.array([1, 3, 1]), NAMES)


def test_the_demo_shows_every_class_in_its_row_and_judges_it_as_such(dataset, tmp_path, monkeypatch):
    """The rows of samples.png by their brightness; and a judge who knows brightness recognizes all."""
    monkeypatch.setattr(samples, "draw", painted)
    monkeypatch.setattr(demo, "load", lambda source, split: dataset)
    shown_to_the_judge = {}
    monkeypatch.setattr(demo, "judge", lambda classifier, sets: shown_to_the_judge.update(sets) or verdict_of(sets))
    settings = demo.Demo(data="painted", unet=UNET, training={"total_steps": 2, "batch_size": 2, "num_train_timesteps": 20},
                         samplers={"DDPM": {"sampler": "ddpm", "steps": 4}, "DDIM": {"sampler": "ddim", "steps": 3}},
                         guidance=2.0, shown=2, judged=3, classifier_epochs=1)
    demo.run_demo(tmp_path / "run", settings, progress=False, say=lambda line: None)
    assert rows_of(tmp_path / "run" / "samples.png") == [0, 1, 2, 3, 4]
    assert list(shown_to_the_judge) == ["held-out real images", "DDPM samples", "DDIM samples"]
    for images in shown_to_the_judge.values():
        assert images.images[:, 0, 0, 0].tolist() == [brightness(label) for label in images.labels]


def rows_of(path):
    """The labels of a grid's rows from top to bottom, told by their brightness; each line of pixels has at most one."""
    found = []
    for line in np.asarray(Image.open(path).convert("L")):
        labels = [label for label in range(5) if (line == brightness(label)).mean() > 0.2]      # letters are smaller
        assert len(labels) <= 1
        found += [label for label in labels if found[-1:] != [label]]
    return found


def verdict_of(sets):
    """Everything is recognized."""
    return demo.Verdict({name: 1.0 for name in sets}, {name: np.ones(5) for name in sets})
