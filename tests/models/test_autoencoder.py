"""The autoencoder: what goes in, what comes out, what is refused. Its values are compared with diffusers' in `tests/peers`."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff import gradient, no_grad, tensor
from minidiff.models import AutoencoderConfig, AutoencoderKL, DiagonalGaussian
from minidiff.models.autoencoder import LOG_VARIANCES
from minidiff.models.blocks import ResnetBlock
from minidiff.random import Generator

SMALL = {"block_out_channels": (4, 6), "norm_num_groups": 2, "latent_channels": 2}
VARIANTS = {
    "two levels": {},
    "one level": {"block_out_channels": (6,), "latent_channels": 1},
    "three levels, in colours": {"block_out_channels": (4, 6, 4), "in_channels": 3, "latent_channels": 3},
    "two layers, one group": {"layers_per_block": 2, "norm_num_groups": 1},
    "no attention": {"middle_attention": False},
    "no convolutions of one pixel": {"use_quant_conv": False, "use_post_quant_conv": False},
}


def small(name="two levels", dtype="float64", **changes):
    """A small autoencoder of a variant, with weights drawn afresh."""
    return AutoencoderKL(AutoencoderConfig(**{**SMALL, **VARIANTS[name], **changes})).to(dtype=dtype)


def images(network, n=2, rows=2, columns=3):
    """Noise as images whose latents have this many rows and columns."""
    patch = network.config.patch
    return np.random.default_rng().standard_normal((n, network.config.in_channels, rows * patch, columns * patch))


def noise_like(posterior):
    return np.random.default_rng().standard_normal(posterior.mean.shape)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_comes_back_to_the_image_and_reaches_every_parameter(name):
    """One latent pixel for each patch; an image like the input; a gradient for each parameter."""
    network = small(name)
    x = images(network)
    posterior = network.encode(x)
    assert posterior.mean.shape == posterior.logvar.shape == (2, network.config.latent_channels, 2, 3)
    assert network(x)[0].shape == x.shape and network(x)[0].dtype == np.float64
    network.loss(x, noise_like(posterior)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not np.abs(p.grad.data).max() > 0] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_an_image_is_coded_the_same_alone_and_in_a_batch(name):
    """Nothing leaks between the samples of a batch."""
    network = small(name)
    x = images(network, 3)
    with no_grad():
        whole, posterior = network(x)
        for i in range(3):
            out, one = network(x[i:i + 1])
            for found, expected in ((out, whole), (one.mean, posterior.mean), (one.logvar, posterior.logvar)):
                np.testing.assert_allclose(found.numpy()[0], expected.numpy()[i], rtol=0, atol=1e-12 * np.abs(expected.numpy()).max())


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_of_the_loss_are_finite_differences(name):
    """Along a random direction of length 1 of the image, and along one of all parameters together."""
    network = small(name)
    rng, x = np.random.default_rng(), images(network)
    noise, parameters = noise_like(network.encode(x)), list(network.parameters())
    image = tensor(x, requires_grad=True)
    slopes = gradient(network.loss(image, noise, kl_weight=0.5), [image, *parameters])

    def difference(directions, h=1e-5):
        """The loss along (image, parameters), from one side to the other."""
        before, ends = [p.data for p in parameters], []
        for step in (h, -h):
            for p, start, v in zip(parameters, before, directions[1:]):
                p.data = start + step * v
            ends.append(network.loss(x + step * directions[0], noise, kl_weight=0.5).item())
        for p, start in zip(parameters, before):
            p.data = start
        return (ends[0] - ends[1]) / (2 * h)

    size = np.sqrt(sum((g.numpy() ** 2).sum() for g in slopes))
    for moves_image in (0, 1):
        directions = [(moves_image == (i == 0)) * rng.standard_normal(g.shape) for i, g in enumerate(slopes)]
        length = np.sqrt(sum((v**2).sum() for v in directions))
        along = sum((g.numpy() * v).sum() for g, v in zip(slopes, directions)) / length
        with no_grad():
            assert abs(along - difference([v / length for v in directions])) < 1e-7 * size


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-30, 20)), min_size=1, max_size=4))
def test_the_divergence_is_the_integral_of_a_log_ratio(numbers):
    """E_q[log q(z) - log N(z; 0, 1)] by Gauss-Hermite quadrature, which is exact for a parabola; summed over each sample."""
    mean, logvar = (np.array(part).reshape(1, -1, 1, 1) for part in zip(*numbers))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    expected = 0.0
    for m, l in numbers:
        z = m + np.exp(l / 2) * nodes
        expected += weights @ (z * z / 2 - nodes * nodes / 2 - l / 2) / weights.sum()
    size = 1 + np.sum(mean**2 + np.exp(logvar) + np.abs(logvar))
    found = DiagonalGaussian(tensor(mean), tensor(logvar)).kl().numpy()
    assert found.shape == (1,) and abs(found[0] - expected) < 1e-12 * size


def test_samples_have_the_mean_and_the_variance_that_are_said():
    """20,000 draws of each number, within 5 standard errors; the mode is the mean."""
    n = 20_000
    mean, logvar = np.array([[[[0.5]], [[-40.0]], [[3.0]]]]), np.array([[[[-4.0]], [[2.0]], [[0.25]]]])
    wide = DiagonalGaussian(*(tensor(np.repeat(part, n, axis=0)) for part in (mean, logvar)))
    z = wide.sample(generator=Generator(np.random.SeedSequence().entropy)).numpy()
    std = np.exp(logvar / 2)
    assert np.all(np.abs(z.mean(axis=0) - mean[0]) < 5 * std[0] / np.sqrt(n))
    assert np.all(np.abs(z.var(axis=0) / std[0] ** 2 - 1) < 5 * np.sqrt(2 / n))
    assert wide.mode() is wide.mean


def test_a_generator_draws_the_noise_that_can_be_given():
    """The same seed, the same z; the noise enters as mean + std noise."""
    network = small(dtype="float32")
    x = images(network).astype(np.float32)
    posterior = network.encode(x)
    eps = Generator(5).standard_normal(posterior.mean.shape, np.float32)
    np.testing.assert_array_equal(posterior.sample(eps).numpy(), posterior.sample(generator=Generator(5)).numpy())
    np.testing.assert_array_equal(network(x, eps)[0].numpy(), network(x, generator=Generator(5))[0].numpy())
    assert network.loss(x, eps).item() == network.loss(x, generator=Generator(5)).item()
    np.testing.assert_allclose(posterior.sample(eps).numpy(), posterior.mean.numpy() + posterior.std.numpy() * eps, rtol=1e-6)


def test_moments_are_means_and_then_clamped_log_variances():
    """Beyond the bounds a log variance is the bound, and has no gradient."""
    moments = tensor(np.array([7.0, -8.0, -31.0, 21.0, -29.0, 19.0])[[0, 1, 1, 2, 3, 5]].reshape(1, 6, 1, 1), requires_grad=True)
    gaussian = DiagonalGaussian.of(moments)
    np.testing.assert_array_equal(gaussian.mean.numpy().ravel(), [7.0, -8.0, -8.0])
    np.testing.assert_array_equal(gaussian.logvar.numpy().ravel(), [*LOG_VARIANCES, 19.0])
    (slope,) = gradient(F.sum(gaussian.std), [moments])
    np.testing.assert_allclose(slope.numpy().ravel(), [0, 0, 0, 0, 0, np.exp(9.5) / 2])


def test_with_weight_one_the_loss_is_the_negative_evidence_lower_bound():
    """But for the constant of the decoder's Gaussian: -log N(x; x', I) + KL, each by another way; the weight multiplies the divergence."""
    from scipy.stats import norm

    network = small()
    x = images(network, 3)
    noise = noise_like(network.encode(x))
    out, posterior = network(x, noise)
    mean, std = posterior.mean.numpy(), posterior.std.numpy()
    likelihood = norm.logpdf(x, out.numpy()).sum(axis=(1, 2, 3)) + x[0].size / 2 * np.log(2 * np.pi)
    divergence = -np.log(std).sum(axis=(1, 2, 3)) - 0.5 * (1 - std**2 - mean**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(network.loss(x, noise).item(), (divergence - likelihood).mean(), rtol=1e-12)
    np.testing.assert_allclose(network.loss(x, noise, kl_weight=1e-6).item(), (1e-6 * divergence - likelihood).mean(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaled_latents_have_mean_zero_and_variance_one(dtype):
    """With the mean and 1 / std of the latents as shift and factor; unscaling undoes it, and the dtype stays."""
    z = np.random.default_rng().normal(3.0, 7.0, (5, 2, 6, 4)).astype(dtype)
    network = small(shift_factor=float(z.mean()), scaling_factor=float(1 / z.std()))
    scaled = network.scale(z)
    assert scaled.dtype == z.dtype and abs(scaled.mean()) < 1e-4 and abs(scaled.std() - 1) < 1e-4
    np.testing.assert_allclose(network.unscale(scaled), z, atol=20 * np.finfo(dtype).eps * np.abs(z).max())


def test_a_block_that_is_told_nothing_is_one_whose_projection_is_zero():
    """And has no parameters for it."""
    options = {"groups": 2, "eps": 1e-6, "activation": "silu"}
    told = ResnetBlock(4, 6, 5, **options, generator=Generator(0)).to(dtype="float64")
    untold = ResnetBlock(4, 6, None, **options, generator=Generator(1)).to(dtype="float64")
    state = {name: value for name, value in told.state_dict().items() if not name.startswith("time_emb_proj")}
    untold.load_state_dict(state)
    for parameter in told.time_emb_proj.parameters():
        parameter.data = 0 * parameter.data
    x, emb = np.random.default_rng().standard_normal((2, 4, 5, 3)), np.random.default_rng().standard_normal((2, 5))
    np.testing.assert_array_equal(untold(x).numpy(), told(x, emb).numpy())


def test_configurations_survive_json():
    """Out and in again."""
    for changes in VARIANTS.values():
        config = AutoencoderConfig(**{**SMALL, **changes, "scaling_factor": 0.18215})
        assert AutoencoderConfig(**json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(("changes", "message"), [
    ({"block_out_channels": ()}, r"block_out_channels=\(\); expected the channels of each level"),
    ({"block_out_channels": 8}, "block_out_channels=8; expected the channels of each level"),
    ({"block_out_channels": "48"}, "block_out_channels='48'; expected the channels of each level"),
    ({"block_out_channels": (4, 0)}, r"block_out_channels=\(4, 0\); expected whole numbers of at least 1"),
    ({"latent_channels": 2.0}, "latent_channels=2.0; expected whole numbers of at least 1"),
    ({"layers_per_block": 0}, "layers_per_block=0; expected whole numbers"),
    ({"in_channels": True}, "in_channels=True; expected whole numbers"),
    ({"norm_num_groups": 4}, r"norm_num_groups=4 does not divide the channels \[6\]"),
    ({"middle_attention": 1}, "middle_attention=1; expected true or false"),
    ({"use_quant_conv": None}, "use_quant_conv=None; expected true or false"),
    ({"scaling_factor": 0.0}, "scaling_factor=0.0; expected a number above 0"),
    ({"scaling_factor": "0.18"}, "scaling_factor='0.18'; expected a finite number"),
    ({"shift_factor": float("nan")}, "shift_factor=nan; expected a finite number"),
])
def test_configurations_that_cannot_be_are_refused(changes, message):
    """By name, when they are made."""
    with pytest.raises(ValueError, match=f"AutoencoderConfig: {message}"):
        AutoencoderConfig(**{**SMALL, **changes})


@pytest.mark.parametrize(("call", "message"), [
    (lambda net: net.encode(np.zeros((2, 3, 4, 6))), r"encode: expected an input \(N, 1, H, W\), got shape \(2, 3, 4, 6\)"),
    (lambda net: net.encode(np.zeros((1, 4, 6))), r"encode: expected an input \(N, 1, H, W\), got shape \(1, 4, 6\)"),
    (lambda net: net.encode(np.zeros((2, 1, 0, 6))), r"encode: expected an input \(N, 1, H, W\), got shape \(2, 1, 0, 6\)"),
    (lambda net: net.encode(np.zeros((2, 1, 4, 7))), r"height and width \(4, 7\) are not divisible by 2; pad or crop them"),
    (lambda net: net.loss(np.zeros((2, 1, 5, 6))), r"height and width \(5, 6\) are not divisible by 2; pad or crop them"),
    (lambda net: net.decode(np.zeros((2, 4, 4, 6))), r"decode: expected an input \(N, 2, H, W\), got shape \(2, 4, 4, 6\)"),
    (lambda net: net.loss(np.zeros((2, 1, 4, 6))), "DiagonalGaussian.sample: fresh noise is drawn 1 times; give a generator"),
    (lambda net: net(np.zeros((2, 1, 4, 6)), np.zeros((2, 2, 2, 3)), generator=Generator(0)), "expected either a generator or noise"),
    (lambda net: net(np.zeros((2, 1, 4, 6)), np.zeros((1, 2, 2, 3))), r"expected noise to have the shape of x, \(2, 2, 2, 3\)"),
])
def test_inputs_that_do_not_fit_are_refused(call, message):
    """At the door, with what was expected."""
    with pytest.raises(ValueError, match=message):
        call(small())


def test_noise_of_another_dtype_and_generators_that_are_none_are_refused():
    """TypeError, before anything is decoded."""
    with pytest.raises(TypeError, match="expected noise to have the dtype of x, float64, got float32"):
        small()(np.zeros((2, 1, 4, 6)), np.zeros((2, 2, 2, 3), np.float32))
    with pytest.raises(TypeError, match="expected a generator with the method standard_normal"):
        small()(np.zeros((2, 1, 4, 6)), generator=7)
