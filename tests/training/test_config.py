"""`TrainConfig` as JSON, and what it refuses."""

import contextlib
import dataclasses
import json
import math

import numpy as np
import pytest
from tiny_runs import config, dataset

from minidiff.data import Dataset
from minidiff.models import UNetConfig
from minidiff.training import TrainConfig


def test_a_configuration_survives_json():
    """Through text and back, every field changed from its default."""
    changed = config(seed=9, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", learning_rate=0.5, weight_decay=0.2,
                     clip_norm=None, ema_decay=0.9, context_dropout=0.3, dtype="float64", data="some/folder")
    default = TrainConfig(unet=UNetConfig())
    assert all(getattr(changed, field.name) != getattr(default, field.name) for field in dataclasses.fields(changed))
    again = TrainConfig.from_json(json.loads(json.dumps(changed.to_json())))
    assert again == changed
    assert again.to_json() == changed.to_json() == json.loads(json.dumps(changed.to_json()))


def test_the_data_decide_the_shape_of_the_network():
    """Size, channels, classes; another network comes out for other images."""
    images = np.zeros((4, 3, 16, 16), np.uint8)
    c = TrainConfig.for_dataset(Dataset(images, np.array([0, 1, 0, 1]), ("cat", "dog")), UNetConfig())
    assert (c.unet.sample_size, c.unet.in_channels, c.unet.out_channels, c.unet.num_classes) == (16, 3, 3, 2)
    assert c.class_names == ("cat", "dog")
    with pytest.raises(ValueError, match="16 x 12"):
        TrainConfig.for_dataset(Dataset(images[:, :, :, :12], np.zeros(4, np.int64), ("cat",)), UNetConfig())


@pytest.mark.parametrize("change, message", [
    ({"colour": "red"}, "unknown settings: colour; known are data, class_names"),
    ({"unet": {"depth": 3}}, "unknown unet settings: depth"),
    ({"unet": 7}, "JSON object"),
    ({"unet": {"block": "transformer"}}, "block='transformer'"),
    ({"unet": {"block_out_channels": 5}}, "unet settings"),
    ({"unet": {"norm_num_groups": 0}}, "norm_num_groups=0; expected at least 1"),
])
def test_settings_that_do_not_exist_are_named(change, message):
    """In the configuration and in the network's."""
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_json({**config().to_json(), **change})


@pytest.mark.parametrize("field", dataclasses.fields(UNetConfig), ids=lambda field: field.name)
def test_every_setting_of_the_network_is_of_its_kind(field):
    """Whatever JSON can say in the place of a number, a word, a list or a choice: it is refused by name, or it is of the right kind."""
    right = {"int": (3,), "float": (3, 0.5), "str": ("x",), "bool": (True,), "None": (None,), "tuple[int, ...]": ([], [3])}
    of_kind = [repr(value) for kind in field.type.split(" | ") for value in right[kind]]
    for value in (3, 0.5, "x", True, None, [], [3], [0.5], [None], {}, {"a": 1}):
        settings = {**config().to_json(), "unet": {**config().to_json()["unet"], field.name: value}}
        if repr(value) in of_kind:
            with contextlib.suppress(ValueError):
                TrainConfig.from_json(settings)
        else:
            with pytest.raises(ValueError, match=f"TrainConfig: wrong kind of value in the unet settings: {field.name}="):
                TrainConfig.from_json(settings)


def test_settings_without_a_network_are_refused():
    """And so is what is no object at all."""
    settings = config().to_json()
    del settings["unet"]
    with pytest.raises(ValueError, match="lack unet"):
        TrainConfig.from_json(settings)
    with pytest.raises(ValueError, match="JSON object"):
        TrainConfig.from_json([1, 2])


@pytest.mark.parametrize("name, value", [
    ("beta_schedule", "geometric"), ("beta_schedule", ["linear"]), ("prediction_type", "noise"), ("lr_schedule", "step"),
    ("dtype", "float16"), ("batch_size", 0), ("batch_size", 2.5), ("batch_size", True), ("num_train_timesteps", 0), ("warmup_steps", -1),
    ("seed", -1), ("seed", 2**32), ("total_steps", 0), ("total_steps", None), ("learning_rate", 0), ("learning_rate", math.nan),
    ("learning_rate", "fast"), ("weight_decay", -0.1), ("clip_norm", 0), ("ema_decay", 1.5), ("context_dropout", -0.1), ("flip", 2),
    ("class_names", ("only one",)),
])
def test_a_value_that_cannot_be_is_refused_by_name(name, value):
    """One at a time; total_steps is missing for the cosine of the tiny configuration."""
    with pytest.raises(ValueError, match="class names" if name == "class_names" else name):
        dataclasses.replace(config(), **{name: value})


def test_a_model_without_classes_has_no_class_names():
    """num_classes None goes with ()."""
    unet = dataclasses.replace(config().unet, num_classes=None)
    assert dataclasses.replace(config(), unet=unet, class_names=()).class_names == ()
    assert dataset().class_names == config().class_names
