"""Langevin dynamics: on Gaussian data every step is affine, so what it settles on is known exactly, bias and all.

Where the step size depends on norms (Song's rule) the walk is not affine; but in many dimensions the norms are certain, |z| = sqrt(D) and
|score| = sqrt(D) times its standard deviation. A single sample with orthogonal vectors for x and each noise has just these norms: its
squared length is the variance that a walk in infinitely many dimensions has.
"""

from itertools import pairwise

import numpy as np
import pytest

from minidiff import tensor
from minidiff.diffusion import (
    DDIM,
    DDPM,
    EDM,
    REVERSE_DIFFUSION,
    AnnealedLangevin,
    Gaussian,
    LangevinCorrector,
    ReverseDiffusion,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    langevin_dynamics,
    langevin_step,
    langevin_step_size,
    make_schedule,
    path,
    predictor_corrector,
    sample,
)
from minidiff.random import Generator

STD = 0.6
DATA = Gaussian(0.0, STD)


def variance(level):
    return (level.alpha * STD) ** 2 + level.sigma**2


# -- unadjusted Langevin dynamics ------------------------------------------------------------------------------------


def test_the_stationary_variance_is_known_and_biased():
    """V / (1 - eps / (2 V)): the exact variance after 400 steps from far away, a row of the batch for the start and for each noise."""
    for eps, v in ((0.01, 0.36), (0.2, 0.36), (0.5, 0.36), (1.0, 4.0)):
        rows = np.eye(402)
        rows[1] *= 5
        end = langevin_dynamics(lambda x, v=v: (0.3 - x) / v, rows[1][:, None], eps, 400, noise=[row[:, None] for row in rows[2:]])[:, 0]
        kept = (1 - eps / v) ** 400
        assert end[0] == pytest.approx(0.3 * (1 - kept))
        stationary = v / (1 - eps / (2 * v))
        assert ((end - end[0]) ** 2).sum() == pytest.approx(stationary + kept**2 * (25 - stationary), rel=1e-9)


def test_a_step_is_the_printed_line():
    """x + eps s + sqrt(2 eps) z, with one step size, and with one for each sample."""
    x, s, z = np.random.default_rng().standard_normal((3, 4, 2))
    for eps in (0.3, np.array([0.1, 0.2, 0.0, 4.0]).reshape(4, 1)):
        np.testing.assert_allclose(langevin_step(x, s, eps, z), x + eps * s + np.sqrt(2 * np.asarray(eps)) * z, rtol=1e-14)
    assert langevin_step(*(a.astype(np.float32) for a in (x, s)), 0.3, z.astype(np.float32)).dtype == np.float32


def test_drawn_and_given_noise_agree_and_the_callback_sees_each_step():
    """The generator's own numbers, handed over as arrays."""
    x, drawing, seen = np.ones((3, 2)), Generator(5), []
    given = [drawing.standard_normal((3, 2), "float64") for _ in range(4)]
    got = langevin_dynamics(lambda x: -x, x, 0.1, 4, generator=Generator(5), callback=lambda k, x: seen.append((k, x)))
    np.testing.assert_array_equal(got, langevin_dynamics(lambda x: -x, x, 0.1, 4, noise=given))
    assert [k for k, _ in seen] == [0, 1, 2, 3] and seen[0][1] is x


# -- annealed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("denoise", [False, True])
def test_annealed_langevin_is_algorithm_1(denoise):
    """Song & Ermon 2019, Algorithm 1, as a plain loop over levels and steps, with a score network's answer."""
    sigmas, epsilon, steps = [5.0, 1.0, 0.3, 0.1], 5e-3, 3
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((2, 3)), list(rng.standard_normal((12, 2, 3)))
    score = DATA.model(EDM, "score")
    expected, remaining = x, iter(noise)
    for sigma in sigmas:
        alpha = epsilon * sigma**2 / sigmas[-1] ** 2
        for _ in range(steps):
            expected = expected + alpha / 2 * score(expected, sigma) + np.sqrt(alpha) * next(remaining)
    if denoise:
        expected = expected + sigmas[-1] ** 2 * score(expected, sigmas[-1])
    got = sample(score, EDM, x, sigmas, AnnealedLangevin(epsilon, steps, denoise), noise=noise, prediction_type="score")
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_annealing_is_the_same_walk_in_every_process():
    """In x / alpha, sigma / alpha: the data that come out of variance preserving levels and a straight line are those of their sigmas."""
    rng, log_snrs = np.random.default_rng(), np.array([-5.0, -2.0, 1.0, 4.0])
    x, noise = rng.standard_normal((2, 3)), list(rng.standard_normal((20, 2, 3)))
    ends = []
    for process in (EDM, VariancePreserving(), StraightLine()):
        times = process.time_of(log_snrs)
        begin = float(process.alpha(times[0])) * x
        for sampler in (AnnealedLangevin(1e-3, 5), AnnealedLangevin(1e-3, 5, denoise=False)):
            ends.append(sample(DATA.model(process), process, begin, times, sampler, noise=noise))
    for got in ends[2:]:
        assert any(np.allclose(got, expected, rtol=1e-9, atol=1e-12) for expected in ends[:2])
    np.testing.assert_allclose(ends[2::2], [ends[0]] * 2, rtol=1e-9)
    np.testing.assert_allclose(ends[3::2], [ends[1]] * 2, rtol=1e-9)


def test_annealed_langevin_cannot_begin_in_pure_noise():
    """alpha = 0 has no sigma / alpha: refused by name, not by a division."""
    line = StraightLine()
    with pytest.raises(ValueError, match=r"sample: this sampler divides by alpha = 0 at time 1.0"):
        sample(DATA.model(line, "sample"), line, np.ones((1, 2)), [1.0, 0.5], AnnealedLangevin(steps=2), generator=Generator(0),
               prediction_type="sample")


def test_annealed_langevin_arrives_at_the_known_variance():
    """Many steps a level: the exact variance is ULA's stationary one at the last level, whatever the start was."""
    sigmas, rate, steps = [3.0, 1.0, 0.3, 0.1], 0.3, 200
    draws = AnnealedLangevin(rate * 0.01, steps).plan(path(EDM, sigmas)).draws
    assert draws == 800
    rows = np.eye(1 + draws)
    end = sample(DATA.model(EDM), EDM, 50 * rows[0][:, None], sigmas, AnnealedLangevin(rate * 0.01, steps, denoise=False),
                 noise=[row[:, None] for row in rows[1:]])
    found = 2500.0
    for sigma in sigmas:
        v, eps = STD**2 + sigma**2, rate * sigma**2 / 2
        stationary = v / (1 - eps / (2 * v))
        found = stationary + (1 - eps / v) ** (2 * steps) * (found - stationary)
    assert (end**2).sum() == pytest.approx(found, rel=1e-9)
    assert found == pytest.approx(stationary, rel=0.1)


# -- predictor -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [VariancePreserving(), SubVariancePreserving(), VarianceExploding(), make_schedule()], ids=repr)
def test_reverse_diffusion_is_song_s_discretization(process):
    """(2 - a) x + b^2 score + b z with the transition's a and b; for betas (2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z."""
    times = [999, 400, 399, 0] if process.last_time == 999 else [1.0, 0.4, 0.39, 0.1]
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((2, 3)), list(rng.standard_normal((3, 2, 3)))
    score = DATA.model(process, "score")
    got, states = None, []
    got = sample(score, process, x, times, REVERSE_DIFFUSION, noise=noise, prediction_type="score",
                 arrived=lambda i, level, x: states.append(x) or x)
    for (t, s), z, reached in zip(pairwise(times), noise, states):
        a = process.alpha(t) / process.alpha(s)
        b = np.sqrt(process.sigma(t) ** 2 - a**2 * process.sigma(s) ** 2)
        if (t, s) == (400, 399):
            assert a == pytest.approx(np.sqrt(1 - process.betas[400])) and b == pytest.approx(np.sqrt(process.betas[400]))
        x = (2 - a) * x + b**2 * score(x, t) + b * z
        np.testing.assert_allclose(reached, x, rtol=1e-7)
    a, sigma = process.alpha(times[-1]), process.sigma(times[-1])
    np.testing.assert_allclose(got, (2 - a) * x + sigma**2 * score(x, times[-1]), rtol=1e-7)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_reverse_diffusion_keeps_the_marginals_to_first_order(eta):
    """Exact variances of its end on Gaussian data: the error times the number of steps tends to a constant."""
    process, per_step = VariancePreserving(), []
    for n in (80, 160):
        states, rows = {}, np.eye(n + 1)[..., None]
        sample(DATA.model(process), process, np.sqrt(variance(process.level(1.0))) * rows[0], np.linspace(1, 0.1, n + 1),
               ReverseDiffusion(eta), noise=list(rows[1:]) if eta else [], arrived=lambda i, level, x, at=states: at.setdefault(i, x))
        per_step.append(((states[n - 1] ** 2).sum() - variance(process.level(0.1))) * n)
    assert abs(per_step[1]) > 1e-3
    assert per_step[1] == pytest.approx(per_step[0], rel=0.1)


# -- corrector -------------------------------------------------------------------------------------------------------


def test_the_step_size_makes_the_ratio():
    """|eps s| / |sqrt(2 eps) z| = snr sqrt(alpha) for each sample; over the batch, with the means of the norms, as Song's code has it."""
    s, z = np.random.default_rng().standard_normal((2, 5, 3, 2))
    eps = langevin_step_size(s, z, 0.16, alpha=0.9)
    assert eps.shape == (5, 1, 1)
    size = lambda a: np.sqrt((a**2).sum(axis=(1, 2)))
    np.testing.assert_allclose(size(eps * s) / size(np.sqrt(2 * eps) * z), 0.16 * np.sqrt(0.9))
    together = langevin_step_size(s, z, 0.16, batch_mean=True)
    np.testing.assert_allclose(together, 2 * (0.16 * size(z).mean() / size(s).mean()) ** 2)
    assert together.shape == (1, 1, 1)
    assert langevin_step_size(s.astype(np.float32), z.astype(np.float32), 0.16).dtype == np.float32
    np.testing.assert_allclose(langevin_step_size(tensor(s), tensor(z), 0.16, batch_mean=True).numpy(), together)


def corrected_variance(v, eps, target):
    """Of x (1 - eps / target) + sqrt(2 eps) z."""
    return v * (1 - eps / target) ** 2 + 2 * eps


@pytest.mark.parametrize("process", [VariancePreserving(), VarianceExploding(), make_schedule()], ids=["vp", "ve", "schedule"])
@pytest.mark.parametrize("predictor", [REVERSE_DIFFUSION, DDPM, DDIM], ids=["reverse_diffusion", "ddpm", "ddim"])
def test_predictor_and_corrector_take_turns_as_in_the_paper(process, predictor):
    """Algorithms 2 and 3 as a plain loop, with the predictor's steps taken one by one, alpha_i = 1 - beta of the step after."""
    times = [999, 600, 200, 10] if process.last_time == 999 else [1.0, 0.6, 0.2, 0.01]
    rng = np.random.default_rng()
    x, corrector = rng.standard_normal((2, 3)), LangevinCorrector(0.2, 2)
    score, walk = DATA.model(process, "score"), path(process, times)
    draws = predictor.plan(walk).draws
    noise, corrector_noise = list(rng.standard_normal((draws, 2, 3))), list(rng.standard_normal((6, 2, 3)))
    got = predictor_corrector(score, process, x, times, predictor, corrector, noise=noise, corrector_noise=corrector_noise,
                              prediction_type="score")
    start_model, left = DATA.model(process, "sample"), iter(corrector_noise)
    for i, move in enumerate(predictor.plan(walk).moves):
        told = start_model(x, times[i])
        told = told if predictor.plan(walk).predicts == "sample" else (x - process.alpha(times[i]) * told) / process.sigma(times[i])
        row = move.settle
        x = row.x * x + row.predictions[0] * told + (row.noise * noise[i] if row.noise else 0)
        if i < 3:
            after = walk.levels[i + 2].alpha
            for _ in range(2):
                s, z = score(x, times[i + 1]), next(left)
                alpha = (process.alpha(times[i + 1]) / after) ** 2
                eps = np.array([[2 * alpha * (0.2 * np.linalg.norm(b) / np.linalg.norm(a)) ** 2] for a, b in zip(s, z)])
                x = x + eps * s + np.sqrt(2 * eps) * z
    np.testing.assert_allclose(got, x, rtol=1e-8)


def length(process, times, corrector, predictor=REVERSE_DIFFUSION):
    """The variance of what comes out in infinitely many dimensions: the squared length of one sample with orthogonal noises."""
    walk = path(process, times)
    draws = predictor.plan(walk).draws
    corrections = corrector.steps * (len(times) - 1) if corrector else 0
    rows = np.eye(1 + draws + corrections)[:, None]
    x = np.sqrt(variance(walk.levels[0])) * rows[0]
    model, noise = DATA.model(process), list(rows[1:1 + draws])
    if corrector is None:
        return (sample(model, process, x, times, predictor, noise=noise) ** 2).sum()
    end = predictor_corrector(model, process, x, times, predictor, corrector, noise=noise, corrector_noise=list(rows[1 + draws:]))
    return (end**2).sum()


def test_the_corrector_pulls_towards_its_own_stationary_variance():
    """Each step's variance by hand from ULA's recursion, eps = 2 alpha snr^2 target^2 / v because |score|^2 = v / target^2."""
    process, times, corrector = VariancePreserving(), [1.0, 0.5, 0.2, 0.05], LangevinCorrector(0.3, 3)
    walk = path(process, times)
    v = variance(walk.levels[0])
    for i, (move, s) in enumerate(zip(REVERSE_DIFFUSION.plan(walk).moves, walk.levels[1:])):
        t, row = walk.levels[i], move.settle
        v = (row.x + row.predictions[0] * t.sigma / variance(t)) ** 2 * v + row.noise**2
        if s.sigma > 0:
            alpha = (s.alpha / walk.levels[i + 2].alpha) ** 2
            for _ in range(3):
                v = corrected_variance(v, 2 * alpha * 0.3**2 * variance(s) ** 2 / v, variance(s))
    assert length(process, times, corrector) == pytest.approx(v, rel=1e-10)


@pytest.mark.parametrize("process", [VariancePreserving(), VarianceExploding()], ids=["vp", "ve"])
def test_the_corrector_reduces_the_predictor_s_error(process):
    """Exact variances on Gaussian data: a coarse predictor is off by more than with a corrector, and more corrections help more."""
    times = np.linspace(1.0, 0.02, 20)
    errors = [abs(length(process, times, corrector) / STD**2 - 1)
              for corrector in (None, LangevinCorrector(0.1, 1), LangevinCorrector(0.1, 5), LangevinCorrector(0.1, 20))]
    assert errors[0] > 0.01
    assert errors[1] < errors[0] and errors[2] < errors[1] and errors[3] < errors[0] / 2, errors


def test_the_last_level_is_corrected_if_noise_is_left_there():
    """set_alpha_to_one=False ends at the schedule's first time, with alpha_i = 1 - beta_0; the data itself is never corrected."""
    process, times = make_schedule(), [900, 300]
    x, asked, states = np.ones((1, 2)), [], []
    model = lambda x, t: asked.append(int(t[0])) or DATA.model(process)(x, t)
    noise = list(np.random.default_rng().standard_normal((4, 1, 2)))
    predictor_corrector(model, process, x, times, noise=noise[:1], corrector_noise=noise[:1])
    assert asked == [900, 300, 300]
    asked.clear()
    got = predictor_corrector(model, process, x, times, noise=noise[:2], corrector_noise=noise[2:], set_alpha_to_one=False,
                              callback=lambda i, t, x, start: states.append(x))
    assert asked == [900, 300, 300, 0]
    before = sample(model, process, states[1], [300], REVERSE_DIFFUSION, noise=noise[1:2], set_alpha_to_one=False)
    slope = DATA.model(process, "score")(before, 0)
    eps = langevin_step_size(slope, noise[3], 0.16, alpha=1 - process.betas[0])
    np.testing.assert_allclose(got, langevin_step(before, slope, eps, noise[3]), rtol=1e-9)


def test_a_generator_serves_both():
    """Predictor and corrector draw from one stream, in the order of the walk."""
    process, times, x, drawing = VariancePreserving(), [1.0, 0.5, 0.1], np.ones((2, 3)), Generator(7)
    drawn = [drawing.standard_normal((2, 3), "float64") for _ in range(4)]
    model = DATA.model(process)
    got = predictor_corrector(model, process, x, times, generator=Generator(7))
    np.testing.assert_array_equal(got, predictor_corrector(model, process, x, times, noise=drawn[::2], corrector_noise=drawn[1::2]))
    x32 = x.astype(np.float32)
    assert predictor_corrector(model, process, x32, times, generator=Generator(7)).dtype == np.float32


def test_bad_input_is_refused_by_name():
    """Each with the function's name, what came, and what to do."""
    process, x = VariancePreserving(), np.ones((2, 3))
    model = DATA.model(process)
    for make, words in (
        (lambda: AnnealedLangevin(0.0), "AnnealedLangevin: expected a finite step_size > 0, got 0.0"),
        (lambda: AnnealedLangevin(1e-5, 0), "AnnealedLangevin: expected steps of at least 1, got 0"),
        (lambda: AnnealedLangevin(0.1).plan(path(EDM, [1.0, 0.1])), "AnnealedLangevin: step_size 0.1 is 10 times sigma"),
        (lambda: LangevinCorrector(0.0), "LangevinCorrector: expected a finite snr > 0, got 0.0"),
        (lambda: LangevinCorrector(0.1, 0), "LangevinCorrector: expected steps of at least 1, got 0"),
        (lambda: ReverseDiffusion(-0.5), "ReverseDiffusion: expected eta >= 0, got -0.5"),
        (lambda: langevin_dynamics(lambda x: x, x, 0.0, 3, generator=Generator(0)), "langevin_dynamics: expected a finite step_size > 0"),
        (lambda: langevin_dynamics(lambda x: x, x, 0.1, 3), "langevin_dynamics: fresh noise is drawn 3 times"),
        (lambda: langevin_dynamics(lambda x: x, x, 0.1, 3, noise=[x]), "langevin_dynamics: expected 3 arrays of noise"),
        (lambda: langevin_step(x, x[:, :1], 0.1, x), "langevin_step: expected score to have the shape of x"),
        (lambda: predictor_corrector(model, process, x, [1.0, 0.5]), "predictor_corrector: corrector: fresh noise is drawn 1 times"),
        (lambda: predictor_corrector(model, process, x, [1.0, 0.5], noise=[x]), "predictor_corrector: corrector: fresh noise is drawn 1"),
        (lambda: predictor_corrector(model, process, x, [1.0, 0.5], prediction_type="e", generator=Generator(0)), "unknown predict"),
    ):
        with pytest.raises(ValueError, match=words.replace(".", r"\.")):
            make()
    with pytest.raises(FloatingPointError, match="langevin_dynamics: the score is NaN or infinite at step 0"):
        langevin_dynamics(lambda x: x * np.nan, x, 0.1, 3, generator=Generator(0))
    with pytest.raises(FloatingPointError, match="langevin_step_size: the score of a sample is 0 or NaN"):
        langevin_step_size(np.array([[1.0], [0.0]]), np.ones((2, 1)), 0.1)
