"""OpenAI's algorithms, as in their public guided-diffusion, written down a second time and naively, beside ours.

Their repository is no package that could be installed, so what it computes is `Guided` here: tables of plain products, one posterior, its
samplers and its bound, in NumPy and float64. Needs no PyTorch, but belongs to the peers.
"""

import math

import numpy as np
import pytest

from minidiff.diffusion import (
    Ancestral,
    Gaussian,
    calc_bpd_loop,
    ddim_inversion,
    discretized_gaussian_log_likelihood,
    make_schedule,
    p_mean_variance,
    respace,
    sample,
    timesteps,
)

pytestmark = pytest.mark.peers

PREDICTS = {"EPSILON": "epsilon", "START_X": "sample"}
VARIANCES = {"FIXED_SMALL": "fixed_small", "FIXED_LARGE": "fixed_large", "LEARNED": "learned", "LEARNED_RANGE": "learned_range"}
ROUNDING = {"rtol": 1e-9, "atol": 1e-9}


def model(x, t):
    """Bounded and bent; t: (N,)."""
    return 0.7 * x + 0.4 * np.tanh(2 * x - np.reshape(t, (-1,) + (1,) * (x.ndim - 1)) / 50)


def with_variance(x, t):
    """The same, and what it says of the variance."""
    return np.concatenate([model(x, t), np.tanh(x - 0.3)], 1)


def normal(*shape):
    return np.random.default_rng().standard_normal(shape)


class Guided:
    """A diffusion of some of the steps of another; the model is told the times of the full one."""

    def __init__(self, betas, use=None, predicts="EPSILON", variance="FIXED_SMALL", clip=True):
        cumulative = np.cumprod(1 - np.asarray(betas))
        self.times = sorted(range(len(betas)) if use is None else use)
        self.abar = cumulative[self.times]
        self.abar_prev, self.abar_next = np.append(1.0, self.abar[:-1]), np.append(self.abar[1:], 0.0)
        self.betas = 1 - self.abar / self.abar_prev
        self.small = self.betas * (1 - self.abar_prev) / (1 - self.abar)
        self.log_small = np.log(np.append(self.small[1], self.small[1:]))
        self.predicts, self.variance, self.clip = predicts, variance, clip

    def posterior_mean(self, start, x, t):
        of_start, of_x = self.betas[t] * np.sqrt(self.abar_prev[t]), (1 - self.abar_prev[t]) * np.sqrt(1 - self.betas[t])
        return (of_start * start + of_x * x) / (1 - self.abar[t])

    def step(self, model, x, t):
        """(mean, log variance, x_0) of the step back from x at step t."""
        answer = model(x, np.full(len(x), self.times[t]))
        if self.variance.startswith("LEARNED"):
            answer, said = np.split(answer, 2, 1)
        if self.variance == "FIXED_SMALL":
            log_variance = self.log_small[t]
        elif self.variance == "FIXED_LARGE":
            log_variance = np.log(np.append(self.small[1], self.betas[1:]))[t]
        elif self.variance == "LEARNED":
            log_variance = said
        else:
            share = (said + 1) / 2
            log_variance = share * np.log(self.betas[t]) + (1 - share) * self.log_small[t]
        start = answer if self.predicts == "START_X" else x / np.sqrt(self.abar[t]) - np.sqrt(1 / self.abar[t] - 1) * answer
        start = np.clip(start, -1, 1) if self.clip else start
        return self.posterior_mean(start, x, t), log_variance + 0 * x, start

    def epsilon(self, x, t, start):
        return (x / np.sqrt(self.abar[t]) - start) / np.sqrt(1 / self.abar[t] - 1)

    def p_sample_loop(self, model, x, noise):
        for t in reversed(range(len(self.times))):
            mean, log_variance, _ = self.step(model, x, t)
            x = mean + (t > 0) * np.exp(log_variance / 2) * noise[t]
        return x

    def ddim_sample_loop(self, model, x, noise, eta):
        for t in reversed(range(len(self.times))):
            start = self.step(model, x, t)[2]
            eps = self.epsilon(x, t, start)
            sigma = eta * np.sqrt((1 - self.abar_prev[t]) / (1 - self.abar[t])) * np.sqrt(1 - self.abar[t] / self.abar_prev[t])
            x = np.sqrt(self.abar_prev[t]) * start + np.sqrt(1 - self.abar_prev[t] - sigma**2) * eps + (t > 0) * sigma * noise[t]
        return x

    def ddim_reverse_loop(self, model, x, steps):
        for t in range(steps):
            start = self.step(model, x, t)[2]
            eps = self.epsilon(x, t, start)
            x = np.sqrt(self.abar_next[t]) * start + np.sqrt(1 - self.abar_next[t]) * eps
        return x

    def calc_bpd_loop(self, model, start, noise):
        """The terms of the bound, from the last time to the first as theirs; the decoder's bin by tanh."""
        flat, columns = tuple(range(1, start.ndim)), {"vb": [], "xstart_mse": [], "mse": []}
        for t in reversed(range(len(self.times))):
            x = np.sqrt(self.abar[t]) * start + np.sqrt(1 - self.abar[t]) * noise[t]
            mean, log_variance, predicted = self.step(model, x, t)
            if t == 0:
                term = -log_bin(start, mean, log_variance / 2)
            else:
                term = kl(self.posterior_mean(start, x, t), self.log_small[t], mean, log_variance)
            columns["vb"].append(term.mean(flat) / math.log(2))
            columns["xstart_mse"].append(((predicted - start) ** 2).mean(flat))
            columns["mse"].append(((self.epsilon(x, t, predicted) - noise[t]) ** 2).mean(flat))
        prior = kl(np.sqrt(self.abar[-1]) * start, np.log(1 - self.abar[-1]), 0.0, 0.0).mean(flat) / math.log(2)
        columns = {name: np.stack(values, 1) for name, values in columns.items()}
        return columns | {"prior_bpd": prior, "total_bpd": prior + columns["vb"].sum(1)}


def kl(mean1, log1, mean2, log2):
    return (log2 - log1 - 1 + np.exp(log1 - log2) + (mean1 - mean2) ** 2 * np.exp(-log2)) / 2


def log_bin(x, mean, log_scale):
    """Phi by tanh, the outermost bins open, nothing below 1e-12."""
    def phi(z):
        return (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2

    above, below = (phi((x - mean + side / 255) * np.exp(-log_scale)) for side in (1, -1))
    return np.log(np.maximum(np.where(x < -0.999, above, np.where(x > 0.999, 1 - below, above - below)), 1e-12))


def space_timesteps(T, counts):
    """Steps of T in sections: "10,15,20" of each third so many, evenly by a float stride; "ddimN": the first whole stride that gives N."""
    if counts.startswith("ddim"):
        return next((list(range(0, T, i)) for i in range(1, T) if len(range(0, T, i)) == int(counts[4:])), None)
    counts, start, chosen = [int(count) for count in counts.split(",")], 0, []
    for i, count in enumerate(counts):
        size = T // len(counts) + (i < T % len(counts))
        place = 0.0
        for _ in range(count):
            chosen.append(start + round(place))
            place += (size - 1) / (count - 1) if count > 1 else 1
        start += size
    return chosen


SCHEDULE = make_schedule("linear", 100, beta_start=1e-3, beta_end=0.2)
LINEAR = np.linspace(1e-3, 0.2, 100)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("variance", VARIANCES)
def test_p_mean_variance_is_theirs_at_every_time(variance, predicts, clip):
    """Mean, log variance and x_0; the log variance at time 0 is that of time 1."""
    guided, x = Guided(LINEAR, None, predicts, variance, clip), normal(3, 2, 4)
    asked = with_variance if variance.startswith("LEARNED") else model
    for t in range(100):
        mean, log_variance, start = guided.step(asked, x, t)
        ours = p_mean_variance(SCHEDULE, asked(x, np.full(3, t)), x, t, PREDICTS[predicts], VARIANCES[variance], clip_denoised=clip)
        np.testing.assert_allclose(ours.mean, mean, **ROUNDING)
        np.testing.assert_allclose(ours.log_variance + 0 * x, log_variance, **ROUNDING)
        np.testing.assert_allclose(ours.pred_xstart, start, **ROUNDING)


@pytest.mark.parametrize("counts", ["ddim25", "25", "10,5,20"])
@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("variance", VARIANCES)
def test_p_sample_loop_of_fewer_steps_is_theirs(variance, predicts, counts):
    """The same noise; every variance, of the steps that are left."""
    use = space_timesteps(100, counts)
    asked = with_variance if variance.startswith("LEARNED") else model
    x, noise = normal(3, 2, 4), normal(len(use), 3, 2, 4)
    theirs = Guided(LINEAR, use, predicts, variance).p_sample_loop(asked, x, noise)
    ours = sample(asked, SCHEDULE, x, sorted(use, reverse=True), Ancestral(1.0, VARIANCES[variance]), noise=list(noise[:0:-1]),
                  prediction_type=PREDICTS[predicts], clip_denoised=True)
    np.testing.assert_allclose(ours, theirs, **ROUNDING)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_sample_loop_is_theirs(clip, eta):
    """Clipped, it derives eps again, as we do and diffusers' scheduler does not."""
    use, x, noise = space_timesteps(100, "ddim20"), normal(3, 2, 4), normal(20, 3, 2, 4)
    theirs = Guided(LINEAR, use, clip=clip).ddim_sample_loop(model, x, noise, eta)
    options = {"noise": list(noise[:0:-1])} if eta else {}
    ours = sample(model, SCHEDULE, x, use[::-1], Ancestral(eta), clip_denoised=clip, **options)
    np.testing.assert_allclose(ours, theirs, **ROUNDING)


def test_ddim_reverse_takes_the_data_for_a_slightly_noisy_x():
    """Theirs begins at abar_0 as if x_0 were x at time 0, ours at clean data; set_alpha_to_one=False begins where theirs does."""
    x = 0.5 * normal(3, 2, 4)
    theirs = Guided(LINEAR, clip=False).ddim_reverse_loop(model, x, 99)
    ours = ddim_inversion(model, SCHEDULE, x, range(99, 0, -1), set_alpha_to_one=False)
    np.testing.assert_allclose(ours, theirs, **ROUNDING)
    assert abs(ddim_inversion(model, SCHEDULE, x, range(99, -1, -1)) - theirs).max() > 1e-3


def test_their_last_reverse_step_leaves_only_the_noise():
    """abar after the last is 0 there: one more step gives eps itself. Ours ends at the noise level of the last time."""
    guided, x = Guided(LINEAR, clip=False), 0.5 * normal(3, 2, 4)
    before = guided.ddim_reverse_loop(model, x, 99)
    np.testing.assert_allclose(guided.ddim_reverse_loop(model, x, 100), model(before, np.full(3, 99)), **ROUNDING)


@pytest.mark.parametrize("variance", VARIANCES)
def test_calc_bpd_loop_is_theirs(variance):
    """Every term, with the decoder by tanh; columns stand in the order of the times here, the last first there."""
    start = np.random.default_rng().integers(0, 256, (3, 2, 4)) / 127.5 - 1
    noise, asked = normal(100, 3, 2, 4), with_variance if variance.startswith("LEARNED") else model
    theirs = Guided(LINEAR, variance=variance).calc_bpd_loop(asked, start, noise)
    ours = calc_bpd_loop(asked, SCHEDULE, start, noise=list(noise), variance_type=VARIANCES[variance], clip_denoised=True,
                         decoder="discretized_gaussian_approximate")
    for name in ("vb", "xstart_mse", "mse"):
        np.testing.assert_allclose(getattr(ours, name)[:, ::-1], theirs[name], rtol=1e-7, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(ours.prior_bpd, theirs["prior_bpd"], rtol=1e-9)
    np.testing.assert_allclose(ours.total_bpd, theirs["total_bpd"], rtol=1e-7)


def test_the_bound_of_fewer_steps_is_theirs():
    """Of the respaced process, with a model that is told the times of the full one."""
    use, start, noise = space_timesteps(100, "10,5,20"), np.zeros((2, 1, 3)), normal(35, 2, 1, 3)
    theirs = Guided(LINEAR, use).calc_bpd_loop(model, start, noise)
    told = lambda x, t: model(x, np.array(use)[t])
    ours = calc_bpd_loop(told, respace(SCHEDULE, use[::-1]), start, noise=list(noise), clip_denoised=True,
                         decoder="discretized_gaussian_approximate")
    np.testing.assert_allclose(ours.total_bpd, theirs["total_bpd"], rtol=1e-7)


def test_their_bin_is_up_to_4e_4_off_and_never_below_1e_12():
    """The probability of a grey level by tanh beside the exact one, at the width of the last step of Ho et al.'s schedule."""
    x = np.linspace(-1, 1, 256)
    theirs, exact = log_bin(x, 0.1, -4.9), discretized_gaussian_log_likelihood(x, np.full(256, 0.1), -4.9)
    assert 1e-6 < abs(np.exp(theirs) - np.exp(exact)).max() < 4e-4
    assert theirs.min() == np.log(1e-12) and exact.min() < -1000


def test_respaced_tables_are_theirs():
    """abar is picked, beta is formed anew; theirs by a difference, 1 - abar / abar_prev, which costs digits."""
    use = space_timesteps(100, "10,5,20")
    theirs, ours = Guided(LINEAR, use), respace(SCHEDULE, use[::-1])
    np.testing.assert_allclose(ours.alphas_cumprod, theirs.abar, rtol=1e-11)
    np.testing.assert_allclose(ours.betas, theirs.betas, rtol=1e-11)
    np.testing.assert_allclose(ours.posterior_variance[1:], theirs.small[1:], rtol=1e-11)
    np.testing.assert_allclose(ours.posterior_log_variance_clipped, theirs.log_small, rtol=1e-11)


# -- which steps, for every N ----------------------------------------------------------------------------------------------


def test_ddimN_exists_for_62_lengths_and_is_leading_for_15():
    """Of 1000 N: the whole stride i with ceil(1000 / i) = N. Where T // N is that stride, it is our "leading"."""
    lists = {N: space_timesteps(1000, f"ddim{N}") for N in range(1, 1001)}
    exist = [N for N, chosen in lists.items() if chosen is not None]
    leading = [N for N in exist if lists[N][::-1] == timesteps(1000, N, "leading").tolist()]
    assert (len(exist), len(leading)) == (62, 15)
    assert 50 in leading and 334 in exist and 334 not in leading and 300 not in exist


def test_a_single_section_is_linspace_but_for_one_step_and_rounded_halves():
    """Of 1000 N all but N = 1, [0] there, and those whose float stride has come out beside an exact half."""
    same = halves = 0
    for N in range(2, 1001):
        theirs, ours = np.array(space_timesteps(1000, str(N))[::-1]), timesteps(1000, N, "linspace")
        same += (theirs == ours).all()
        if (theirs != ours).any():
            halves += 1
            exact_half = 2 * 999 * np.arange(N - 1, -1, -1) % (2 * (N - 1)) == N - 1
            assert (abs(theirs - ours) == exact_half)[theirs != ours].all()
    assert space_timesteps(1000, "1") == [0] and timesteps(1000, 1, "linspace").tolist() == [999]
    assert (same, halves) == (716, 283)


def test_sections_are_linspace_of_each_part():
    """300 steps in thirds of 10, 34, 12: lists of ours one after the other. (15 or 20 of a hundred meet halves.)"""
    parts = [start + timesteps(100, count, "linspace")[::-1] for start, count in ((0, 10), (100, 34), (200, 12))]
    assert space_timesteps(300, "10,34,12") == np.concatenate(parts).tolist()


def test_their_samplers_keep_gaussian_data():
    """The oracle itself, once, against the truth: DDPM's 100 steps of a perfect model, mean and std within the method's own error."""
    data = Gaussian(0.2, 0.5)
    perfect = data.model(SCHEDULE)
    guided = Guided(LINEAR, clip=False)
    units = np.concatenate([np.ones((1, 1)), np.zeros((100, 1))])  # each output is affine in the start and each draw
    mean = guided.p_sample_loop(perfect, np.zeros((1, 1)), np.zeros((100, 1, 1)))
    draws = np.stack([np.eye(101)[1 + t][:, None] for t in range(100)])
    spread = guided.p_sample_loop(perfect, units, draws) - mean
    assert mean.item() == pytest.approx(0.2, abs=0.01) and np.linalg.norm(spread) == pytest.approx(0.5, rel=0.08)
