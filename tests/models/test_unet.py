"""The U-Net: what goes in, what comes out, what is refused. Its values are compared with diffusers' in `tests/peers`."""

import json

import numpy as np
import pytest

from minidiff import functional as F
from minidiff import no_grad
from minidiff.models import PRESETS, Classifier, UNet, UNetConfig, preset
from minidiff.random import Generator

SMALL = {
    "ddpm": {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 8, "num_classes": 3},
    "course": {"block_out_channels": (8, 16), "norm_num_groups": 4, "sample_size": 8, "num_classes": 3, "hidden_features": 8},
}
VARIANTS = {
    "ddpm": ("ddpm", {}),
    "course": ("course", {}),
    "patches": ("ddpm", {"patch_size": 2, "middle_attention": False}),
    "adaptive group norm": ("ddpm", {"conditioning": "scale_shift", "downsample_padding": 0}),
    "rearrange and transposed": ("ddpm", {"downsample": "rearrange", "upsample": "transposed"}),
    "no classes": ("ddpm", {"num_classes": None}),
    "course without classes": ("course", {"num_classes": None}),
    "resnet blocks, skips by stage": ("course", {"block": "resnet", "conditioning": "add", "middle": "resnet", "attention_head_dim": 4}),
}


def small(name, **changes):
    """A small U-Net of a variant, with weights drawn afresh, and its configuration."""
    base, settings = VARIANTS[name]
    config = preset(base, **{**SMALL[base], **settings, **changes})
    return UNet(config, generator=Generator(7)).to(dtype="float64"), config


def inputs(config, n=3):
    """Noise, times and labels that fit."""
    rng = np.random.default_rng()
    x = rng.normal(size=(n, config.in_channels, config.sample_size, config.sample_size))
    labels = None if config.num_classes is None else rng.integers(0, config.num_classes + 1, n)
    return x, rng.integers(0, 1000, n), labels


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_keeps_the_shape_and_reaches_every_parameter(name):
    """Output like the input, and a gradient for each parameter."""
    net, config = small(name)
    x, t, labels = inputs(config)
    out = net(x, t, labels)
    assert out.shape == x.shape and out.dtype == np.float64
    F.sum(out * out).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not np.abs(p.grad.data).max() > 0]
    assert without == []


@pytest.mark.parametrize("name", VARIANTS)
def test_an_image_is_answered_the_same_alone_and_in_a_batch(name):
    """Nothing leaks between the samples of a batch."""
    net, config = small(name)
    x, t, labels = inputs(config)
    with no_grad():
        whole = net(x, t, labels).numpy()
        for i in range(len(x)):
            one = net(x[i:i + 1], t[i:i + 1], None if labels is None else labels[i:i + 1]).numpy()
            np.testing.assert_allclose(one[0], whole[i], rtol=0, atol=1e-12 * np.abs(whole).max())


@pytest.mark.parametrize("name", ["ddpm", "course", "adaptive group norm"])
def test_time_and_class_change_the_answer_and_no_class_is_the_null_label(name):
    """The answer depends on both; context=None is the label num_classes for all."""
    net, config = small(name)
    x, _, _ = inputs(config)
    with no_grad():
        answer = lambda t, labels: net(x, t, labels).numpy()
        assert np.abs(answer(5, np.array([0, 1, 2])) - answer(900, np.array([0, 1, 2]))).max() > 1e-4
        assert np.abs(answer(5, np.array([0, 1, 2])) - answer(5, np.array([1, 1, 2])))[0].max() > 1e-4
        np.testing.assert_array_equal(answer(5, np.array([0, 1, 2]))[1:], answer(5, np.array([1, 1, 2]))[1:])
        np.testing.assert_array_equal(answer(5, None), answer(np.full(3, 5), np.full(3, config.null_label)))


def test_the_presets_have_the_sizes_of_the_originals():
    """Counted by hand from the layers would be this code again: the numbers are torch's, from the peers' twins."""
    counts = {name: UNet(preset(name, num_classes=10), generator=Generator(0)).count_parameters() for name in PRESETS}
    assert counts == {"ddpm": 3_693_121, "course": 2_547_457}


def test_other_image_sizes_pass_through_a_fully_convolutional_network():
    """Not square, and larger than sample_size; the dense middle of the course's U-Net refuses them."""
    net, _ = small("ddpm")
    assert net(np.zeros((1, 1, 8, 12)), 3).shape == (1, 1, 8, 12)


def test_configurations_survive_json():
    """Out and in again."""
    for config in PRESETS.values():
        assert UNetConfig(**json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(("changes", "message"), [
    ({"block": "dense"}, "block='dense'; expected one of resnet, conv"),
    ({"conditioning": "film"}, "conditioning='film'"),
    ({"norm_num_groups": 0}, "norm_num_groups=0; expected at least 1"),
    ({"norm_num_groups": 5}, r"norm_num_groups=5 does not divide the channels \[8, 16\]"),
    ({"attention_levels": (2,)}, r"attention_levels \(2,\); the levels are 0 to 1"),
    ({"sample_size": 9}, "sample_size 9 cannot be cut into patches of 1 and then halved 1 times"),
    ({"patch_size": 3}, "sample_size 8 cannot be cut into patches of 3"),
    ({"layers_per_block": 0}, "at least one"),
    ({"block": "conv"}, "conv blocks have no attention"),
    ({"conditioning": "multiply_add"}, "resnet blocks are told the time inside"),
])
def test_configurations_that_do_not_fit_together_are_refused(changes, message):
    """By name, when they are made."""
    with pytest.raises(ValueError, match=message):
        preset("ddpm", **{**SMALL["ddpm"], **changes})


def test_unknown_presets_are_refused_with_the_known_ones():
    """The message lists them."""
    with pytest.raises(ValueError, match="unknown U-Net preset 'adm'; expected one of ddpm, course"):
        preset("adm")


@pytest.mark.parametrize(("x", "labels", "message"), [
    ((2, 3, 8, 8), None, r"expected an input \(N, 1, H, W\), got shape \(2, 3, 8, 8\)"),
    ((2, 1, 8, 8), [0, 4], "labels from 0 to 4; the classes are 0 to 2, and 3 for no class"),
    ((2, 1, 8, 8), [0.0, 1.0], "expected 2 integer labels"),
    ((2, 1, 8, 8), [0, 1, 2], "expected 2 integer labels"),
])
def test_inputs_that_do_not_fit_are_refused(x, labels, message):
    """At the door, with what was expected."""
    net, _ = small("ddpm")
    with pytest.raises(ValueError, match=message):
        net(np.zeros(x), 0, labels)


def test_a_model_without_classes_refuses_labels():
    """And has no null label."""
    net, config = small("no classes")
    with pytest.raises(ValueError, match="no classes"):
        net(np.zeros((1, 1, 8, 8)), 0, [0])
    with pytest.raises(ValueError, match="no classes"):
        _ = config.null_label


def test_the_classifier_scores_every_class():
    """Shapes, and gradients for all parameters; sizes that cannot be halved twice are refused."""
    net = Classifier(5, sample_size=8, width=4, generator=Generator(0))
    out = net(np.random.default_rng().normal(size=(3, 1, 8, 8)).astype(np.float32))
    F.cross_entropy(out, np.array([0, 4, 2])).backward()
    assert out.shape == (3, 5) and all(p.grad is not None for p in net.parameters())
    with pytest.raises(ValueError, match="sample_size 10 must be divisible by 4"):
        Classifier(5, sample_size=10)
