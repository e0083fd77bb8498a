"""EDM's four coefficients from the principles they follow from, and the denoiser that they make of a network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import tensor
from minidiff.diffusion import (
    EDM,
    HEUN,
    Gaussian,
    edm_precondition,
    edm_preconditioning,
    edm_weight,
    lognormal_sigmas,
    sample,
    simple_loss,
)

sizes, spreads = st.floats(1e-3, 1e3), st.floats(0.1, 2)
rng = np.random.default_rng()


def signs(sigma, sigma_data):
    """Data +-sigma_data and noise +-sigma: all first and second moments of the Gaussians, in four points."""
    x_start = sigma_data * np.array([1.0, 1, -1, -1])
    return x_start, x_start + sigma * np.array([1.0, -1, 1, -1])


@given(sizes, spreads)
def test_the_coefficients_make_inputs_and_targets_of_variance_one(sigma, sigma_data):
    """c_in x has variance 1; (x_0 - c_skip x) / c_out too; and c_skip is the regression of x_0 on x, which makes c_out least."""
    x_start, x = signs(sigma, sigma_data)
    c_skip, c_out, c_in, _ = edm_preconditioning(sigma, sigma_data)
    assert ((c_in * x) ** 2).mean() == pytest.approx(1, rel=1e-12)
    assert (((x_start - c_skip * x) / c_out) ** 2).mean() == pytest.approx(1, rel=1e-9)
    assert c_skip == pytest.approx((x * x_start).mean() / (x * x).mean(), rel=1e-12)


@given(sizes)
def test_c_noise_is_a_quarter_of_the_log(sigma):
    """exp(4 c_noise) is sigma again."""
    assert np.exp(4 * edm_preconditioning(sigma).c_noise) == pytest.approx(sigma, rel=1e-13)


@given(spreads)
def test_a_network_of_zeros_is_the_perfect_denoiser_of_gaussian_data(sigma_data):
    """D = c_skip x is E[x_0 | x] for N(0, sigma_data^2): what is left for the network is what is not Gaussian. Samples have that spread."""
    denoiser = edm_precondition(lambda x, c_noise: 0 * x, sigma_data)
    x, sigmas = rng.standard_normal((4, 3)), np.array([0.01, 0.5, 3.0, 80.0])
    np.testing.assert_allclose(denoiser(x, sigmas), Gaussian(0.0, sigma_data).start(x, 1.0, sigmas.reshape(-1, 1)), rtol=1e-12)
    walked = sample(denoiser, EDM, 80 * np.ones((1, 1)), np.geomspace(80, 1e-3, 200), HEUN, prediction_type="sample")
    assert walked.item() == pytest.approx(sigma_data * 80 / np.hypot(80, sigma_data), rel=2e-3)


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_edms_loss_weighs_the_network_evenly(sigma_data):
    """lambda ||D - x_0||^2 is ||F - (x_0 - c_skip x) / c_out||^2: Karras et al., Eq. 8, each term formed anew."""
    x_start, noise, sigmas = rng.standard_normal((4, 3, 2)), rng.standard_normal((4, 3, 2)), np.array([0.01, 0.5, 3.0, 80.0])
    seen = []

    def network(x, c_noise):
        seen.append((x, c_noise))
        return np.sin(x) + c_noise.reshape(-1, 1, 1)

    weight = edm_weight(EDM, sigmas, "sample", sigma_data)
    loss = simple_loss(edm_precondition(network, sigma_data), EDM, x_start, sigmas, noise, "sample", weight)
    s = sigmas.reshape(-1, 1, 1)
    x, total = x_start + s * noise, s**2 + sigma_data**2
    target = (x_start - sigma_data**2 / total * x) * np.sqrt(total) / (s * sigma_data)
    ((got_x, got_noise),) = seen
    np.testing.assert_allclose(got_x, x / np.sqrt(total), rtol=1e-13)
    np.testing.assert_allclose(got_noise, np.log(sigmas) / 4, rtol=1e-13)
    assert loss == pytest.approx(((np.sin(got_x) + got_noise.reshape(-1, 1, 1) - target) ** 2).mean(), rel=1e-9)


@pytest.mark.parametrize("sigma", [0.7, [0.7, 2.0]], ids=["one", "each"])
def test_a_denoiser_keeps_the_dtype_and_is_differentiable(sigma):
    """float32 in, float32 out; the network is called with (N,) float64; a Tensor's gradient passes."""
    x = rng.standard_normal((2, 3)).astype(np.float32)
    times = []
    D = edm_precondition(lambda x, c: times.append(c) or 2 * x)
    assert D(x, sigma).dtype == np.float32 and times[0].shape == (2,) and times[0].dtype == np.float64
    k = tensor(np.array(2.0), requires_grad=True)
    out = edm_precondition(lambda x, c: k * x)(tensor(x.astype(np.float64)), sigma)
    out.sum().backward()
    c = edm_preconditioning(sigma)
    assert k.grad.item() == pytest.approx((np.reshape(c.c_out * c.c_in, (-1, 1)) * x).sum(), rel=1e-6)


def test_sigmas_for_training_are_lognormal():
    """exp(-1.2 + 1.2 z) of the generator's own z."""

    class Known:
        def standard_normal(self, shape, dtype):
            assert shape == (5,) and dtype == "float64"
            return np.array([-2.0, -1, 0, 1, 2])

    np.testing.assert_allclose(np.log(lognormal_sigmas(5, Known())), [-3.6, -2.4, -1.2, 0.0, 1.2], atol=1e-14)
    np.testing.assert_allclose(np.log(lognormal_sigmas(5, Known(), P_mean=0.0, P_std=1.0)), [-2, -1, 0, 1, 2], atol=1e-14)


def test_clean_data_is_refused():
    """sigma = 0 has no c_noise."""
    with pytest.raises(ValueError, match="edm_preconditioning: expected sigma > 0, got 0"):
        edm_precondition(lambda x, c: x)(np.zeros((2, 1)), [1.0, 0.0])
