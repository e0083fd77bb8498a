"""The worked examples of courses on diffusion models, as numbers: whoever follows one finds the same here.

The examples are those of NVIDIA's course "Generative AI with Diffusion Models" (parts 1 to 3), worked out by hand.
"""

import math
from fractions import Fraction

import numpy as np
import pytest

from minidiff import functional as F
from minidiff import nn
from minidiff.diffusion import (
    DDPM,
    Gaussian,
    make_schedule,
    q_posterior_mean_from_epsilon,
    q_posterior_mean_variance,
    q_sample,
    q_step,
    sample,
)

IMAGE = np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])[None, None]
QUARTERS = np.full((1, 1, 2, 2), 0.25)


# -- part 1: from U-Nets to diffusion ---------------------------------------------------------------------------------


def test_a_kernel_of_quarters_averages_the_checkered_image_to_one_half():
    """Every 2 x 2 window holds two ones."""
    assert (F.conv2d(IMAGE, QUARTERS) == 0.5).all() and F.conv2d(IMAGE, QUARTERS).shape == (1, 1, 2, 2)


def zeros_between(image, stride):
    """Upscaling by hand: stride - 1 zeros between neighbours."""
    n = image.shape[-1]
    wide = np.zeros((1, 1, (n - 1) * stride + 1, (n - 1) * stride + 1))
    wide[..., ::stride, ::stride] = image
    return wide


def test_transposed_convolution_is_inserting_zeros_and_then_convolving():
    """Stride 2 makes 5 x 5, stride 3 makes 7 x 7; with the quarters, the numbers of the course; padding crops."""
    assert zeros_between(IMAGE, 2).shape[-1] == 5 and zeros_between(IMAGE, 3).shape[-1] == 7
    expected = [[0.25, 0, 0, 0.25], [0, 0.25, 0.25, 0], [0, 0.25, 0.25, 0], [0.25, 0, 0, 0.25]]
    assert (F.conv2d(zeros_between(IMAGE, 2), QUARTERS) == expected).all()
    full = F.conv2d(zeros_between(IMAGE, 2), QUARTERS, padding=1)                          # the kernel's every touch
    assert (F.conv_transpose2d(IMAGE, QUARTERS, stride=2) == full).all() and full.shape[-1] == 6
    assert (F.conv_transpose2d(IMAGE, QUARTERS, stride=2, padding=1) == full[..., 1:-1, 1:-1]).all()
    assert (F.conv_transpose2d(IMAGE, QUARTERS, stride=2, padding=1) == expected).all()
    assert (F.conv_transpose2d(IMAGE, QUARTERS, stride=2, padding=2) == full[..., 2:-2, 2:-2]).all()


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_output_padding_adds_zeros_at_the_bottom_and_at_the_right(extra):
    """0, 1, 2 rows and columns (stride 3, so that 2 is allowed)."""
    plain = F.conv_transpose2d(IMAGE, QUARTERS, stride=3)
    padded = F.conv_transpose2d(IMAGE, QUARTERS, stride=3, output_padding=extra)
    assert padded.shape[-1] == plain.shape[-1] + extra
    assert (padded[..., :8, :8] == plain).all() and (padded[..., 8:, :] == 0).all() and (padded[..., 8:] == 0).all()


def test_resizing_by_neighbours_lines_and_cubics():
    """Two pixels to four: repeated; mixed by quarters; overshooting as a cubic does."""
    row = np.array([[[[0.0, 1.0]]]])
    size = (1, 4)
    assert (F.interpolate(row, size, mode="nearest") == [0, 0, 1, 1]).all()
    assert (F.interpolate(row, size, mode="bilinear") == [0, 0.25, 0.75, 1]).all()
    cubic = F.interpolate(row, size, mode="bicubic")[0, 0, 0]
    assert cubic[0] < 0 < cubic[1] < cubic[2] < 1 < cubic[3] and np.allclose(cubic + cubic[::-1], 1)


def test_coin_flips_become_a_bell():
    """Pr(2 heads of 4) = 6/16; de Moivre and Laplace: sqrt(n) times the distance from the normal density falls; Stirling."""
    assert Fraction(math.comb(4, 2), 2**4) == Fraction(6, 16)

    def worst(n):
        mu, sigma = n / 2, math.sqrt(n) / 2
        density = lambda k: math.exp(-((k - mu) / sigma) ** 2 / 2) / math.sqrt(2 * math.pi)
        return max(abs(math.comb(n, k) / 2**n * sigma - density(k)) for k in range(n + 1))

    assert worst(1000) < worst(100) / 9 < worst(10) / 81 * 1.5
    stirling = lambda n: math.sqrt(2 * math.pi * n) * (n / math.e) ** n
    assert all(1 < math.factorial(n) / stirling(n) < math.exp(1 / (12 * n)) for n in range(1, 100))


# -- part 2: denoising diffusion probabilistic models ---------------------------------------------------------------------


def test_ten_linear_betas():
    """0.0001, 0.00231, 0.00452, 0.00673, ..., 0.02."""
    betas = [round(beta, 5) for beta in make_schedule("linear", 10).betas.tolist()]
    assert betas == [0.0001, 0.00231, 0.00452, 0.00673, 0.00894, 0.01116, 0.01337, 0.01558, 0.01779, 0.02]


def test_skipping_ahead_is_what_ten_single_steps_do():
    """The single steps' noises, weighted as composing Gaussians says, make the same picture; and the limit is N(0, 1)."""
    schedule, rng = make_schedule("linear", 10), np.random.default_rng()
    x_start, noises = rng.standard_normal((5, 3)), rng.standard_normal((10, 5, 3))
    x, together = x_start, np.zeros_like(x_start)
    for t in range(10):
        x = q_step(schedule, x, t, noises[t])
        rest = math.prod(math.sqrt(1 - beta) for beta in schedule.betas[t + 1:])
        together += math.sqrt(schedule.betas[t]) * rest * noises[t]
    variance = 1 - math.prod(1 - beta for beta in schedule.betas)
    np.testing.assert_allclose(q_sample(schedule, x_start, 9, together / math.sqrt(variance)), x, atol=1e-13)
    long = make_schedule("linear", 1000)
    assert long.sqrt_alphas_cumprod[-1] < 0.0065 and abs(long.one_minus_alphas_cumprod[-1] - 1) < 5e-5


def test_the_posterior_mean_of_the_course_in_both_forms():
    """With x_0 and with epsilon, on the numbers of T = 10, t = 3 (the course's t), by hand."""
    schedule = make_schedule("linear", 10)
    b = [0.0001 + k * (0.02 - 0.0001) / 9 for k in range(10)]
    abar = [math.prod(1 - beta for beta in b[:k + 1]) for k in range(10)]
    x_start, epsilon, t = np.array([[0.8]]), np.array([[-1.3]]), 3
    x_t = math.sqrt(abar[t]) * x_start + math.sqrt(1 - abar[t]) * epsilon
    mean = (math.sqrt(abar[t - 1]) * b[t] / (1 - abar[t]) * x_start
            + math.sqrt(1 - b[t]) * (1 - abar[t - 1]) / (1 - abar[t]) * x_t)
    variance = (1 - abar[t - 1]) / (1 - abar[t]) * b[t]
    ours, our_variance, _ = q_posterior_mean_variance(schedule, x_start, x_t, t)
    np.testing.assert_allclose([ours.item(), our_variance], [mean.item(), variance], rtol=1e-12)
    np.testing.assert_allclose(q_posterior_mean_from_epsilon(schedule, x_t, t, epsilon), mean, rtol=1e-12)
    np.testing.assert_allclose((x_t - b[t] / math.sqrt(1 - abar[t]) * epsilon) / math.sqrt(1 - b[t]), mean, rtol=1e-12)


def test_ancestral_sampling_is_the_courses_loop_with_no_noise_at_the_last_step():
    """Algorithm 2, written as in the course, against `sample`."""
    schedule, rng = make_schedule("linear", 10), np.random.default_rng()
    model = Gaussian(0.2, 0.7).model(schedule)
    x_T, z = rng.standard_normal((6, 2)), rng.standard_normal((9, 6, 2))
    x = x_T
    for step, t in enumerate(range(9, -1, -1)):
        a, abar, b = schedule.alphas[t], schedule.alphas_cumprod[t], schedule.betas[t]
        x = (x - b / math.sqrt(1 - abar) * model(x, t)) / math.sqrt(a)
        if t > 0:
            x = x + math.sqrt((1 - schedule.alphas_cumprod[t - 1]) / (1 - abar) * b) * z[step]
    np.testing.assert_allclose(sample(model, schedule, x_T, range(9, -1, -1), DDPM, noise=list(z)), x, atol=1e-12)


# -- part 3: optimizations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel, even", [(3, False), (2, True)])
def test_the_checkerboard_problem_is_uneven_overlap(kernel, even):
    """How often the transposed convolution touches each pixel inside: kernel 3, stride 2 unevenly; kernel 2, stride 2 once each."""
    touches = F.conv_transpose2d(np.ones((1, 1, 6, 6)), np.ones((1, 1, kernel, kernel)), stride=2)[0, 0, 2:-2, 2:-2]
    assert (touches.min() == touches.max()) == even
    assert set(np.unique(touches)) == ({1} if even else {1, 2, 4})


def test_batch_instance_group_and_layer_normalization_are_one_family():
    """They differ only in what the mean is taken over: (N, H, W), (H, W), a group's (c, H, W), all of (C, H, W)."""
    x = np.random.default_rng().standard_normal((4, 6, 3, 5)) * 3 + 1
    standard = lambda axes: (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.batch_norm(x, None, None, training=True), standard((0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(F.group_norm(x, 6), standard((2, 3)), atol=1e-12)            # group size 1: instance norm
    np.testing.assert_allclose(F.instance_norm(x), standard((2, 3)), atol=1e-12)
    np.testing.assert_allclose(F.group_norm(x, 1), standard((1, 2, 3)), atol=1e-12)         # one group: layer norm
    np.testing.assert_allclose(F.layer_norm(x, (6, 3, 5)), standard((1, 2, 3)), atol=1e-12)
    for groups in (3, 2):                                                                   # group sizes 2 and 3
        parts = x.reshape(4, groups, 6 // groups, 3, 5)
        mean, var = parts.mean((2, 3, 4), keepdims=True), parts.var((2, 3, 4), keepdims=True)
        np.testing.assert_allclose(F.group_norm(x, groups), ((parts - mean) / np.sqrt(var + 1e-5)).reshape(x.shape), atol=1e-12)


def test_gelu_beside_relu():
    """x Phi(x): 0 at 0, 0.8413 at 1, -0.1587 at -1; far out it is ReLU."""
    np.testing.assert_allclose(F.gelu(np.array([0.0, 1.0, -1.0])), [0, 0.8413447, -0.1586553], atol=5e-8)
    far = np.array([-9.0, 9.0])
    np.testing.assert_allclose(F.gelu(far), F.relu(far), atol=1e-15)


def test_rearrange_pooling_and_its_order():
    """1 ... 16 in a 4 x 4 image -> channels [1,3,9,11], [2,4,10,12], [5,7,13,15], [6,8,14,16]; (p1 h) is something else."""
    image = np.arange(1.0, 17).reshape(1, 4, 4)
    pooled = F.rearrange(image, "c (h p1) (w p2) -> (c p1 p2) h w", p1=2, p2=2)
    assert pooled.reshape(4, 4).tolist() == [[1, 3, 9, 11], [2, 4, 10, 12], [5, 7, 13, 15], [6, 8, 14, 16]]
    other = F.rearrange(image, "c (p1 h) (p2 w) -> (c p1 p2) h w", p1=2, p2=2)
    assert other.reshape(4, 4).tolist() == [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]


def test_time_as_points_on_circles_that_turn_at_different_speeds():
    """Sinusoidal embeddings: every pair (sin, cos) lies on the unit circle, the first turns fastest, no two times of 1,000 coincide."""
    times = np.arange(1000)
    e = np.asarray(F.timestep_embedding(times, 8), np.float64)
    np.testing.assert_allclose((e[:, :4] ** 2 + e[:, 4:] ** 2), 1, atol=1e-5)
    speed = np.abs(np.diff(e, axis=0)).max(axis=0)
    assert (np.diff(speed[:4]) < 0).all()
    distances = np.abs(e[:, None] - e[None]).max(axis=2) + np.eye(1000)
    assert distances.min() > 1e-3


def test_a_residual_block_begins_as_the_identity_plus_something_small():
    """x + f(x) with f's last layer 0 is x: a deep network of such blocks passes everything on."""
    block = nn.Conv2d(3, 3, 3, padding=1)
    block.weight.data[...] = 0
    block.bias.data[...] = 0
    x = np.random.default_rng().standard_normal((2, 3, 5, 5)).astype(np.float32)
    assert (x + block(x).numpy() == x).all()
