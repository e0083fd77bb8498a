"""The solved equations of Gaussian data, against solvers that know no solution: scipy's, mpmath's, Bayes' rule, small steps."""

import math

import numpy as np
import pytest
from diffusion_laws import MP, bayes
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.stats import norm

from minidiff.autograd import tensor
from minidiff.diffusion import CLEAN, DDPM, Ancestral, Gaussian, Level, StraightLine, make_schedule, path, sample

RNG = np.random.default_rng()
numbers, stds, etas = st.floats(-3, 3), st.floats(0.01, 3), st.floats(0, 3)


@st.composite
def levels(draw, count=2):
    """Levels of one process, the noisiest first: alpha falls and sigma grows (variance preserving, exploding, or neither)."""
    alpha = sorted(draw(st.lists(st.floats(0.05, 1), min_size=count, max_size=count)))
    sigma = sorted(draw(st.lists(st.floats(0.01, 3), min_size=count, max_size=count)), reverse=True)
    return [Level(math.nan, a, s) for a, s in zip(alpha, sigma)]


# A process with formulas that 50 digits can follow: alpha = exp(-t^2 / 2), sigma = 1/10 + t: f = -t, g^2 = 2 sigma + 2 t sigma^2.


def alpha(t):
    return MP.exp(-t * t / 2)


def sigma(t):
    return MP.mpf("0.1") + t


def rates(t):
    """f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2."""
    return -t, 2 * sigma(t) + 2 * t * sigma(t) ** 2


def level(t):
    return Level(float(t), float(alpha(MP.mpf(t))), float(sigma(MP.mpf(t))))


@pytest.mark.parametrize("eta, mean, std", [(0, 0.4, 0.7), (0.3, -1.0, 0.4), (1, 0.4, 0.7), (2, 0.4, 1.5)])
def test_transport_solves_the_moment_equations(eta, mean, std):
    """d mean / dt and d variance / dt of the reverse SDE, by Taylor series of high order from t = 1.5 down to 0.25."""
    def slope(u, y):  # u = 1.5 - t runs forwards
        t = MP.mpf("1.5") - u
        f, g2 = rates(t)
        v = (alpha(t) * std) ** 2 + sigma(t) ** 2
        rate = f + (1 + MP.mpf(eta) ** 2) / 2 * g2 / v
        return [-(f * y[0] + (1 + MP.mpf(eta) ** 2) / 2 * g2 * (y[0] - alpha(t) * mean) / v), -2 * rate * y[1] + MP.mpf(eta) ** 2 * g2]

    with MP.workdps(20):
        exact = MP.odefun(slope, 0, [MP.mpf("0.9"), MP.mpf("0.2")], tol=MP.mpf(10) ** -14)(MP.mpf("1.25"))
    got = Gaussian(mean, std).transport(0.9, 0.2, level(1.5), level(0.25), eta)
    assert float(got[0]) == pytest.approx(float(exact[0]), rel=1e-12)
    assert float(got[1]) == pytest.approx(float(exact[1]), rel=1e-12)


def test_the_flow_solves_the_probability_flow_ode():
    """scipy's DOP853 on dx/dt = f x - g^2 / 2 score, tolerance 1e-12; and its divergence, integrated, is the log-determinant."""
    data, x = Gaussian([0.4, -1.0], [0.7, 0.1]), RNG.standard_normal((1, 2))

    def slope(t, y):
        f, g2 = (float(one) for one in rates(MP.mpf(t)))
        at = level(t)
        point = y[:2][None]
        variance = (at.alpha * data.std) ** 2 + at.sigma**2
        divergence = (f + g2 / 2 / variance).sum()  # of f x + g^2 / 2 (x - alpha m) / v, by hand
        return np.append((f * point - g2 / 2 * data.score(point, at.alpha, at.sigma))[0], divergence)

    solved = solve_ivp(slope, (1.5, 0.25), np.append(x[0], 0.0), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(data.flow(x, level(1.5), level(0.25))[0], solved[:2], rtol=1e-9)
    assert data.flow_log_determinant((2,), level(1.5), level(0.25)) == pytest.approx(solved[2], rel=1e-9)


@given(numbers, stds, levels(), numbers)
def test_the_flow_moves_density_and_quantiles_along(mean, std, ts, x):
    """log q_s(x_s) = log q_t(x_t) - log-determinant; on a line the flow keeps quantiles: z_s = z_t."""
    t, s = ts
    data, x = Gaussian(mean, std), np.array([x])
    there = data.flow(x, t, s)
    log_t, log_s = data.log_prob(x, t.alpha, t.sigma), data.log_prob(there, s.alpha, s.sigma)
    np.testing.assert_allclose(log_s, log_t - data.flow_log_determinant((), t, s), rtol=1e-9, atol=1e-9)
    z = [(y - at.alpha * mean) / math.hypot(at.alpha * std, at.sigma) for y, at in ((x, t), (there, s))]
    np.testing.assert_allclose(z[1], z[0], rtol=1e-9, atol=1e-9 + 1e-14 / min(std, s.sigma))


@given(numbers, stds, levels(), numbers)
def test_the_reverse_transition_is_bayes_rule(mean, std, ts, x):
    """q(x_s | x_t) ~ q(x_s) q(x_t | x_s), precisions added in 50 digits."""
    t, s = ts
    m, q_s = MP.mpf(s.alpha) * mean, (MP.mpf(s.alpha) * MP.mpf(std)) ** 2 + MP.mpf(s.sigma) ** 2
    r = MP.mpf(t.alpha) / MP.mpf(s.alpha)
    step = MP.mpf(t.sigma) ** 2 - (r * MP.mpf(s.sigma)) ** 2
    got_mean, got_variance = Gaussian(mean, std).transport(x, 0.0, t, s)
    if step == 0:
        assert got_variance == 0
        return
    precision = 1 / q_s + r * r / step
    lost = 2e-16 * t.sigma**2 / float(step)  # the levels are float64: so exactly do they say how much noise lies between them
    assert float(got_mean) == pytest.approx(float((m / q_s + r * x / step) / precision), rel=1e-12 + 10 * lost, abs=1e-12 + 10 * lost)
    assert float(got_variance) == pytest.approx(float(1 / precision), rel=1e-12 + 10 * lost)


@given(st.floats(-4, -0.5), st.floats(-4, -0.5), numbers, stds, numbers)
def test_the_reverse_transition_averages_the_posterior(log_s, log_t, mean, std, x):
    """q(x_s | x_t) is q(x_s | x_t, x_0), Ho et al.'s posterior, averaged over q(x_0 | x_t): total mean and total variance, 50 digits."""
    abar_s = 1 - MP.mpf(10.0**log_s)
    abar_t = abar_s * (1 - MP.mpf(10.0**log_t))
    t, s = (Level(math.nan, float(MP.sqrt(abar)), float(MP.sqrt(1 - abar))) for abar in (abar_t, abar_s))
    v_t = abar_t * MP.mpf(std) ** 2 + 1 - abar_t
    x_0 = mean + MP.sqrt(abar_t) * MP.mpf(std) ** 2 / v_t * (x - MP.sqrt(abar_t) * mean)
    var_0 = MP.mpf(std) ** 2 * (1 - abar_t) / v_t
    center, posterior_variance = bayes(x_0, MP.mpf(x), abar_s, abar_t)
    slope = bayes(x_0 + 1, MP.mpf(x), abar_s, abar_t)[0] - center
    got = Gaussian(mean, std).transport(x, 0.0, t, s)
    assert float(got[0]) == pytest.approx(float(center), rel=1e-9, abs=1e-9)
    assert float(got[1]) == pytest.approx(float(posterior_variance + slope**2 * var_0), rel=1e-9)


@given(numbers, stds, levels(), etas)
def test_every_eta_carries_the_density_to_the_density(mean, std, ts, eta):
    """q_t in, q_s out, whatever the noise; for eta = 1 this says that q(x_s | x_t), integrated over q_t, is q_s."""
    t, s = ts
    moments = [(at.alpha * mean, (at.alpha * std) ** 2 + at.sigma**2) for at in (t, s)]
    np.testing.assert_allclose(Gaussian(mean, std).transport(*moments[0], t, s, eta), moments[1], rtol=1e-12, atol=1e-12)


@given(numbers, stds, levels(3), etas, numbers, st.floats(0, 2))
def test_two_transports_are_one(mean, std, ts, eta, m, v):
    """t to s to u equals t to u, from any start: there is one equation behind all steps."""
    t, s, u = ts
    data = Gaussian(mean, std)
    np.testing.assert_allclose(
        data.transport(*data.transport(m, v, t, s, eta), s, u, eta), data.transport(m, v, t, u, eta), rtol=1e-11, atol=1e-11
    )


def moments_of_a_walk(sampler, data, process, times, mean, variance):
    """What the rows of a plan make of N(mean, variance), when the model answers a x + b: the last step, to the data, left out."""
    for move in sampler.plan(path(process, times)).moves[:-1]:
        row, at = move.settle, move.level
        b = data.start(np.zeros(1), at.alpha, at.sigma)[0]
        a = data.start(np.ones(1), at.alpha, at.sigma)[0] - b
        mean = row.x * mean + row.predictions[0] * (a * mean + b)
        variance = (row.x + row.predictions[0] * a) ** 2 * variance + row.noise**2
    return mean, variance


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_many_small_steps_of_the_samplers_converge_to_it(eta):
    """The moments of `Ancestral(eta)` approach: twice as many steps, half the error."""
    data, process = Gaussian(0.3, 0.5), StraightLine()
    exact = data.transport(0.7, 0.05, process.level(0.9), process.level(0.1), eta)
    errors = abs(np.array([
        np.subtract(moments_of_a_walk(Ancestral(eta), data, process, np.linspace(0.9, 0.1, count + 1), 0.7, 0.05), exact)
        for count in (100, 200, 400)
    ]))
    assert errors[-1].max() < 3e-3
    seen = errors[0] > 1e-12
    np.testing.assert_allclose((errors[:-1] / errors[1:])[:, seen], 2, atol=0.1)


@given(numbers, stds, levels(), numbers)
def test_one_step_of_ddpm_has_the_exact_mean_and_too_little_variance(mean, std, ts, x):
    """E[x_s | x_t] is linear in E[x_0 | x_t], so any one step of DDPM has it right; what is missing is the variance of x_0 given x_t."""
    (t, s), data = ts, Gaussian(mean, std)
    h = s.half_log_snr - t.half_log_snr
    row = DDPM.row(t, s, h)
    exact_mean, exact_variance = data.transport(x, 0.0, t, s)
    assert row.x * x + row.predictions[0] * data.start(np.array([x]), t.alpha, t.sigma)[0] == pytest.approx(exact_mean, rel=1e-9, abs=1e-9)
    unknown = 1 / (1 / std**2 + (t.alpha / t.sigma) ** 2)  # the variance of x_0, known with precision 1 / std^2 before x_t is seen
    assert row.noise**2 + row.predictions[0] ** 2 * unknown == pytest.approx(exact_variance, rel=1e-9, abs=1e-15)


def test_a_walk_that_begins_elsewhere_forgets_it():
    """x_T ~ N(0, 1) in the place of q_T: eta = 1 forgets the difference by sqrt(c), the ODE keeps it in standard deviations for ever."""
    data, (t, s) = Gaussian(2.0, 0.5), (make_schedule("linear", 1000).level(k) for k in (999, 0))
    for eta, worst in ((0.0, 1.0), (1.0, 1e-2)):
        mean, _ = data.transport(0.0, 1.0, t, s, eta)
        shift = abs(mean - s.alpha * 2.0) / math.hypot(s.alpha * 0.5, s.sigma) / abs(t.alpha * 2.0)
        assert 0.99 * worst < shift <= worst * 1.001 if eta == 0 else shift < worst


@given(st.floats(-16, 0), st.floats(-8, 0), st.floats(0.01, 3), st.floats(0.01, 1))
def test_transport_keeps_its_digits(log_alpha, log_sigma, std, eta):
    """From almost pure noise, or by almost nothing: the variance of the fresh noise and the memory of the start, 50 digits."""
    t, s = Level(0.0, 10.0**log_alpha, 1.0), Level(0.0, 1.0, 10.0**log_sigma)
    v_t, v_s = ((MP.mpf(at.alpha) * MP.mpf(std)) ** 2 + MP.mpf(at.sigma) ** 2 for at in (t, s))
    c = (MP.mpf(t.alpha) / MP.mpf(s.alpha)) ** 2 * v_s / v_t
    memory = MP.sqrt(v_s / v_t) * c ** (MP.mpf(eta) ** 2 / 2)
    noise = v_s * (1 - c ** (MP.mpf(eta) ** 2))
    data = Gaussian(0.0, std)
    assert float(data.transport(1.0, 0.0, t, s, eta)[0]) == pytest.approx(float(memory), rel=1e-13, abs=0)
    if t.alpha * s.sigma < 0.99:
        assert float(data.transport(1.0, 0.0, t, s, eta)[1]) == pytest.approx(float(noise), rel=1e-12, abs=0)


# -- ends and kinds of arrays ----------------------------------------------------------------------------------------


def test_the_ends():
    """To the data itself, from nothing but noise, data without width, and no step at all."""
    data, x = Gaussian([0.3, -1.0], [0.5, 0.0]), RNG.standard_normal((3, 2))
    t, nothing = Level(0.0, 0.6, 0.8), Level(0.0, 0.0, 1.0)
    for eta in (0, 0.5, 1, 3):
        mean, variance = data.transport(x, 0.0, t, CLEAN, eta)
        np.testing.assert_array_equal(mean[:, 1], -1.0)
        assert variance[1] == 0 and np.isfinite(variance).all()
        mean, variance = data.transport(x, 0.0, nothing, CLEAN, eta)
        if eta:  # q(x_0 | x_T) = q(x_0): x_T says nothing
            np.testing.assert_array_equal(mean, np.broadcast_to(data.mean, x.shape))
            np.testing.assert_allclose(variance, data.std**2, rtol=1e-15)
        else:
            np.testing.assert_allclose(mean, data.mean + data.std * x, rtol=1e-15)
        mean, variance = data.transport(x, 0.5, t, t, eta)
        np.testing.assert_allclose(mean, x, rtol=1e-14)
        np.testing.assert_allclose(variance, 0.5, rtol=1e-14)
    assert data.flow_log_determinant((2,), t, CLEAN) == -math.inf
    assert data.flow_log_determinant((3, 2), nothing, t) == pytest.approx(3 * (math.log(0.09 + 0.64) + math.log(0.64)) / 2)


def test_transport_keeps_the_kind_of_array():
    """float32 stays; a Tensor keeps its graph; images broadcast; x is not written to."""
    data, (t, s) = Gaussian(RNG.standard_normal((2, 3)), 0.5), (Level(0.0, 0.6, 0.8), Level(0.0, 0.8, 0.6))
    x = RNG.standard_normal((4, 2, 3)).astype(np.float32)
    before = x.copy()
    mean, variance = data.transport(x, abs(x), t, s, 0.5)
    assert mean.dtype == variance.dtype == np.float32
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(mean, data.transport(x.astype(np.float64), 0.0, t, s, 0.5)[0], rtol=1e-4, atol=1e-6)
    leaf = tensor(x, requires_grad=True)
    data.flow(leaf, t, s).sum().backward()
    slope = math.sqrt((0.64 * 0.25 + 0.36) / (0.36 * 0.25 + 0.64))
    np.testing.assert_allclose(leaf.grad.numpy(), np.full(x.shape, slope), rtol=1e-6)


def test_wrong_ways_are_refused():
    """Towards more noise, a negative eta, and from a place without density."""
    t, s = Level(0.0, 0.6, 0.8), Level(0.0, 0.8, 0.6)
    with pytest.raises(ValueError, match="Gaussian: expected a level s with less noise than t"):
        Gaussian().flow(np.zeros(1), s, t)
    with pytest.raises(ValueError, match=r"Gaussian\.transport: expected eta of at least 0, got -1"):
        Gaussian().transport(0.0, 1.0, t, s, -1.0)
    with pytest.raises(ValueError, match="data of std 0 has no density"):
        Gaussian(0.0, 0.0).flow(np.zeros(1), CLEAN, CLEAN)


def test_samplers_converge_to_the_flow_of_a_gaussian():
    """DDIM, carried out by the walk, against the closed solution: the error halves with the step."""
    data, process, x = Gaussian([0.4, -0.5], [0.7, 0.2]), StraightLine(), norm.ppf(np.linspace(0.05, 0.95, 14)).reshape(7, 2)
    exact = data.flow(x, process.level(0.95), CLEAN)
    errors = [
        abs(sample(data.model(process, "sample"), process, x, np.linspace(0.95, 0, n + 1)[:-1], Ancestral(0.0), prediction_type="sample")
            - exact).max()
        for n in (50, 100, 200)
    ]
    assert errors[-1] < 0.02
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 2, atol=0.3)
