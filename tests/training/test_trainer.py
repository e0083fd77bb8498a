"""One step of training, and the state between two."""

import dataclasses
import math

import numpy as np
import pytest
import tiny_runs

from minidiff import backend
from minidiff.data import Dataset
from minidiff.diffusion import simple_loss
from minidiff.random import Generator
from minidiff.training import Trainer


def bits(trainer):
    """All numbers that a step changes."""
    return {**trainer.state().tensors, **{name: np.frombuffer(repr(state).encode(), np.uint8)
                                          for name, state in trainer.state().generators.items()}}


def assert_same_bits(one, two):
    one, two = bits(one), bits(two)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_a_tiny_data_set_is_learned_by_heart():
    """Two images, no dropout: the loss falls far below 1, the loss of a model that always answers 0, and the averaged model is as good."""
    data = tiny_runs.dataset(count=2)
    config = tiny_runs.config(batch_size=16, learning_rate=1e-2, lr_schedule="constant", total_steps=None, flip=0.0, context_dropout=0.0,
                              ema_decay=0.95, weight_decay=0.0)
    config = dataclasses.replace(config, unet=dataclasses.replace(config.unet, dropout=0.0))
    trainer = Trainer(config, data)
    losses = [float(trainer.step()[0]) for _ in range(100)]
    assert np.mean(losses[:5]) > 0.8
    assert np.mean(losses[-10:]) < 0.35 * np.mean(losses[:5])
    noise = Generator(0).standard_normal((40, 1, 8, 8))
    t = np.arange(40) % 50
    x_start = data.floats(np.arange(40) % 2)
    model = trainer.ema_model()
    loss = simple_loss(lambda x, t: model(x, t, data.labels[np.arange(40) % 2]), trainer.schedule, x_start, t, noise)
    assert loss.item() < 0.35 * np.mean(losses[:5])


@pytest.mark.parametrize("count, batch_size", [(24, 10), (7, 3), (5, 12), (6, 6)])
def test_every_epoch_shows_every_image_once_in_an_order_of_its_own(count, batch_size):
    """The batches of many steps, end to end, cut into epochs: permutations, and not the same ones."""
    trainer = Trainer(tiny_runs.config(batch_size=batch_size), tiny_runs.dataset(count))
    seen = np.concatenate([trainer._indices(step) for step in range(60)])
    assert len(seen) == 60 * batch_size
    epochs = seen[:len(seen) // count * count].reshape(-1, count)
    assert (np.sort(epochs, axis=1) == np.arange(count)).all()
    assert len({tuple(order) for order in epochs.tolist()}) > len(epochs) // 4  # the fewest images have 120 orders for 144 epochs


def test_epochs_are_counted_in_whole_passes():
    """24 images, 10 a step: the third step ends the first epoch."""
    trainer = tiny_runs.trainer()
    epochs = [trainer.epoch]
    for _ in range(5):
        trainer.step()
        epochs.append(trainer.epoch)
    assert epochs == [0, 0, 0, 1, 1, 2]
    assert trainer.steps_per_epoch == 2.4


def test_a_trainer_that_takes_up_the_state_of_another_computes_the_same_bits():
    """Stopped after 1, 3 and 4 steps (an epoch ends within a batch), with dropout, flips and dropped labels."""
    whole = tiny_runs.trainer()
    states = [whole.state()]
    for _ in range(6):
        whole.step()
        states.append(whole.state())
    for stop in (1, 3, 4):
        resumed = tiny_runs.trainer()
        resumed.step()  # it may have gone astray before
        resumed.load_state(states[stop])
        for _ in range(6 - stop):
            resumed.step()
        assert_same_bits(whole, resumed)


def test_a_state_is_not_changed_by_the_steps_that_follow():
    """It is a copy."""
    trainer = tiny_runs.trainer()
    state = trainer.state()
    before = {name: array.copy() for name, array in state.tensors.items()}
    trainer.step()
    for name, array in state.tensors.items():
        np.testing.assert_array_equal(array, before[name])


def test_one_thread_or_two_give_the_same_bits():
    """Three steps of each."""
    trainers = []
    try:
        for threads in (1, 2):
            backend.set_threads(threads)
            trainers.append(tiny_runs.trainer())
            for _ in range(3):
                trainers[-1].step()
    finally:
        backend.set_threads(None)
    assert_same_bits(*trainers)


def test_another_seed_gives_other_weights_and_the_same_seed_the_same():
    """After one step."""
    one, same, other = (tiny_runs.trainer(seed=seed) for seed in (1, 1, 2))
    for trainer in (one, same, other):
        trainer.step()
    assert_same_bits(one, same)
    assert not np.array_equal(one.parameters.data, other.parameters.data)


def batches(steps=200, **settings):
    """(images, labels, originals, original labels) of many batches."""
    trainer = tiny_runs.trainer(**settings)
    for step in range(steps):
        indices = trainer._indices(step)
        images, labels = trainer._batch(indices)
        yield images, labels, trainer.dataset.floats(indices), trainer.dataset.labels[indices]


def test_images_are_mirrored_and_labels_dropped_as_often_as_asked():
    """2000 images, each with its own coin: the counts are within 6 standard deviations (false alarm 4e-9); nothing else happens."""
    mirrored = dropped = total = 0
    for images, labels, originals, true_labels in batches(flip=0.3, context_dropout=0.2):
        kept = (images == originals).all(axis=(1, 2, 3))
        assert np.array_equal(images[~kept], originals[~kept][..., ::-1])
        assert ((labels == true_labels) | (labels == 3)).all()
        mirrored, dropped, total = mirrored + (~kept).sum(), dropped + (labels == 3).sum(), total + len(labels)
    for count, share in ((mirrored, 0.3), (dropped, 0.2)):
        assert abs(count - share * total) < 6 * math.sqrt(total * share * (1 - share))


def test_without_flips_and_drops_the_data_come_as_they_are():
    """In the dtype of the configuration."""
    for images, labels, originals, true_labels in batches(3, flip=0.0, context_dropout=0.0, dtype="float64"):
        np.testing.assert_array_equal(images, originals)
        np.testing.assert_array_equal(labels, true_labels)
        assert images.dtype == np.float64


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_model_takes_a_step(prediction_type, dtype):
    """Finite loss and gradient, weights of the dtype asked for, and changed."""
    trainer = tiny_runs.trainer(prediction_type=prediction_type, dtype=dtype)
    before = trainer.parameters.data.copy()
    loss, length = trainer.step()
    assert math.isfinite(loss) and length > 0 and loss.dtype == dtype
    assert trainer.parameters.data.dtype == trainer.ema.data.dtype == dtype
    assert (trainer.parameters.data != before).mean() > 0.9


def test_a_model_without_classes_trains():
    """No label reaches it."""
    config = tiny_runs.config()
    config = dataclasses.replace(config, unet=dataclasses.replace(config.unet, num_classes=None), class_names=())
    assert math.isfinite(Trainer(config, tiny_runs.dataset()).step()[0])


def test_the_gradient_is_clipped_before_the_weights_see_it():
    """A tiny clip_norm: m after one step is 0.1 of a gradient of that length."""
    trainer = tiny_runs.trainer(clip_norm=1e-3)
    _, length = trainer.step()
    assert length > 0.01
    assert np.linalg.norm(trainer.optimizer.first_moment) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_the_averaged_model_is_the_average_and_not_the_model():
    """Its weights are those of ema.data, in a model of its own in evaluation mode."""
    trainer = tiny_runs.trainer()
    trainer.step()
    model = trainer.ema_model()
    for name, view in trainer.parameters.views(trainer.ema.data).items():
        np.testing.assert_array_equal(model.state_dict()[name], view)
    before = trainer.parameters.data.copy()
    model.conv_out.weight.data[...] = 0
    np.testing.assert_array_equal(trainer.parameters.data, before)
    assert not model.training


def test_data_of_another_shape_or_other_classes_are_refused():
    """Both are named."""
    with pytest.raises(ValueError, match=r"\(1, 8, 8\), the data has \(1, 16, 16\)"):
        Trainer(tiny_runs.config(), tiny_runs.dataset(size=16))
    data = tiny_runs.dataset()
    with pytest.raises(ValueError, match="dots, bars, rings; the data has dots, bars, squares"):
        Trainer(tiny_runs.config(), Dataset(data.images, data.labels, ("dots", "bars", "squares")))


def test_a_device_that_is_not_there_is_refused():
    """By the backend's own error."""
    with pytest.raises(backend.DeviceError, match="tpu"):
        Trainer(tiny_runs.config(), tiny_runs.dataset(), device="tpu")
