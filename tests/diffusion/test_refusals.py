"""Bad input is refused at the door, by name: one clear error of ours, never a traceback from the depths, a warning or a wrong number.

Each table is a family of mistakes; each test says what every function that takes such an argument does about them. What else a single
function refuses is tested beside it.
"""

import math

import numpy as np
import pytest
from calls import FORMULAS, WALKS, arrays, parts, tanh

from minidiff import diffusion as d
from minidiff.random import Generator

pytestmark = pytest.mark.filterwarnings("error")

S = d.make_schedule("linear", 20)
ZERO = d.make_schedule("linear", 20, rescale_betas_zero_snr=True)
VP, LINE, EDM = d.VariancePreserving(), d.StraightLine(), d.EDM
X, N = np.ones((3, 2)), np.zeros((3, 2))
TIMES = [19, 10, 3]
NAN, INF = math.nan, math.inf
OURS = ("expected", "unknown", "outside", "got", "choose from")
"""One of these words is in every message of ours, and in none of Python's or NumPy's that these mistakes could lead to."""


def zeros(x, t=None):
    """A model that always says 0."""
    return 0 * x


def refused(call, *kinds, words=OURS):
    """The message of the error; it is one of ours."""
    with pytest.raises(kinds or (ValueError, TypeError, FloatingPointError)) as caught:
        call()
    message = str(caught.value)
    assert any(word in message for word in words), f"not an error of ours: {caught.value!r}"
    assert "unsupported operand" not in message and "ufunc" not in message
    return message


# -- formulas: a process, two arrays and times --------------------------------------------------------------------------------------------

STEPWISE = {
    "q_step": lambda s, a, b, t: d.q_step(s, a, t, b),
    "q_posterior_mean_variance": lambda s, a, b, t: d.q_posterior_mean_variance(s, a, b, t),
    "q_posterior_mean_from_epsilon": lambda s, a, b, t: d.q_posterior_mean_from_epsilon(s, a, t, b),
    "predict_start_from_noise": lambda s, a, b, t: d.predict_start_from_noise(s, a, t, b),
    "predict_noise_from_start": lambda s, a, b, t: d.predict_noise_from_start(s, a, t, b),
    "predict_v": lambda s, a, b, t: d.predict_v(s, a, t, b),
    "predict_start_from_v": lambda s, a, b, t: d.predict_start_from_v(s, a, t, b),
    "predict_noise_from_v": lambda s, a, b, t: d.predict_noise_from_v(s, a, t, b),
    "p_mean_variance": lambda s, a, b, t: d.p_mean_variance(s, a, b, t),
    "vb_terms_bpd": lambda s, a, b, t: d.vb_terms_bpd(s, a, a, b, t),
    "hybrid_loss": lambda s, a, b, t: d.hybrid_loss(lambda x, t: np.concatenate([x, x], 1), s, a, t, b),
}
"""Functions of a Schedule alone: its steps."""
ANY_PROCESS = {
    "q_sample": lambda s, a, b, t: d.q_sample(s, a, t, b),
    "q_sample_between": lambda s, a, b, t: d.q_sample_between(s, a, 1, t, b),
    "q_posterior_mean_variance_between": lambda s, a, b, t: d.q_posterior_mean_variance_between(s, a, b, t, 1),
    "convert": lambda s, a, b, t: d.convert(a, b, s, t, "epsilon", "sample"),
    "predict_start_and_noise": lambda s, a, b, t: d.predict_start_and_noise(s, "epsilon", a, b, t),
    "training_target": lambda s, a, b, t: d.training_target(s, "v_prediction", a, b, t),
    "simple_loss": lambda s, a, b, t: d.simple_loss(zeros, s, a, t, b),
    "training_losses": lambda s, a, b, t: d.training_losses(zeros, s, a, t, b),
    "denoising_score_matching": lambda s, a, b, t: d.denoising_score_matching(zeros, s, a, t, b),
}
ONE_ARRAY = {
    "q_mean_variance": lambda s, a, b, t: d.q_mean_variance(s, a, t),
    "q_mean_variance_between": lambda s, a, b, t: d.q_mean_variance_between(s, a, 1, t),
    "signal_and_noise": lambda s, a, b, t: d.signal_and_noise(s, t, like=a),
    "marginal_prob": lambda s, a, b, t: d.marginal_prob(s, a, t),
    "score_function": lambda s, a, b, t: d.score_function(zeros, s)(a, t),
    "ExactData.model": lambda s, a, b, t: d.Gaussian().model(s)(a, t),
    "classifier_guidance": lambda s, a, b, t: d.classifier_guidance(zeros, s, zeros)(a, t),
    "guidance_interval": lambda s, a, b, t: d.guidance_interval(zeros, zeros, s, 0.0, 1.0)(a, t),
    "log_prob_of_start": lambda s, a, b, t: d.log_prob_of_start(tanh, zeros, s)(a, t),
}
NO_ARRAY = {
    "min_snr_weight": lambda s, a, b, t: d.min_snr_weight(s, t),
    "kl_weight": lambda s, a, b, t: d.kl_weight(s, t),
    "same_loss_weight": lambda s, a, b, t: d.same_loss_weight(s, t, "sample", "epsilon"),
    "snr_difference_weight": lambda s, a, b, t: d.snr_difference_weight(s, t, 0),
    "extract": lambda s, a, b, t: d.extract(S.betas, t, like=X),
}
GUIDES = ("ExactData.model", "classifier_guidance", "guidance_interval", "log_prob_of_start")  # their times may be of any library
EVERY = {**STEPWISE, **ANY_PROCESS, **ONE_ARRAY, **NO_ARRAY}

BAD_TIMES = {"negative": -1, "T": 20, "NaN": NAN, "infinite": INF, "none": None, "a word": "3", "true": True,
             "truths": np.array([True] * 3),
             "two dimensions": np.array([[3, 3]]), "far out for one": np.array([3, 3, 20])}


@pytest.mark.parametrize(("name", "times"), [
    (name, times) for name in EVERY for times in BAD_TIMES
    if (name, times) != ("guidance_interval", "true")  # which leaves times to the model, and True is 1
])
def test_times_that_are_none(name, times):
    """Outside of the process, no numbers, or not one for each; every function says which and what is right."""
    refused(lambda: EVERY[name](S, X, N, BAD_TIMES[times]))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in NO_ARRAY])
def test_a_number_of_times_that_is_not_the_batch_s(name):
    """Two equal times for a batch of three would pass for one time unnoticed."""
    refused(lambda: EVERY[name](S, X, N, np.array([3, 3])), ValueError)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in GUIDES])
def test_times_of_another_library(name):
    """Times live on the host: the error says how to bring them there."""

    class Foreign:
        """Something like a tensor of another library."""

    message = refused(lambda: EVERY[name](S, X, N, Foreign()), TypeError)
    assert "convert it first" in message


BAD_ARRAYS = {"none": None, "a list": [1.0, 2.0, 3.0], "integers": X.astype(int), "pixels": X.astype(np.uint8), "truths": X > 0,
              "complex": X * 1j, "a word": "x"}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
@pytest.mark.parametrize("name", {**STEPWISE, **ANY_PROCESS, **ONE_ARRAY})
def test_what_is_no_batch_of_floats(name, kind):
    """Integer images above all: their noised versions would be rounded, or upcast."""
    x = BAD_ARRAYS[kind]
    if name == "training_target" and kind in ("none", "a list", "a word"):
        x = X.astype(int)
    refused(lambda: EVERY[name](S, x, x, 3))


BATCHES = {
    "sample": lambda x: d.sample(zeros, S, x, TIMES, d.DDIM),
    "sdedit": lambda x: d.sdedit(zeros, S, x, TIMES, 0.7, generator=Generator(0)),
    "sdedit, strength 0": lambda x: d.sdedit(zeros, S, x, TIMES, 0.0),
    "inpaint": lambda x: d.inpaint(zeros, S, x, TIMES, x, 1, generator=Generator(0)),
    "outpainting_canvas": lambda x: d.outpainting_canvas(x, [(1, 1)]),
    "ddim_inversion": lambda x: d.ddim_inversion(zeros, S, x, TIMES),
    "reconstruction_error": lambda x: d.reconstruction_error(zeros, S, x, TIMES),
    "predictor_corrector": lambda x: d.predictor_corrector(tanh, S, x, TIMES, generator=Generator(0)),
    "langevin_dynamics": lambda x: d.langevin_dynamics(zeros, x, 0.1, 1, generator=Generator(0)),
    "langevin_step_size": lambda x: d.langevin_step_size(x, x, 0.1),
    "euler_maruyama": lambda x: d.euler_maruyama(d.forward_sde(VP), x, [0.1, 0.2], generator=Generator(0)),
    "probability_flow": lambda x: d.probability_flow(zeros, VP, x, 0.9, 0.1),
    "log_likelihood": lambda x: d.log_likelihood(zeros, VP, x, 0.1, 0.9),
    "divergence": lambda x: d.divergence(tanh, x),
    "hutchinson_probes": lambda x: d.hutchinson_probes(x, 2, Generator(0)),
    "prior_kl": lambda x: d.prior_kl(S, x),
    "prior_logp": lambda x: d.prior_logp(S, x),
    "dynamic_threshold": lambda x: d.dynamic_threshold(x),
    "static_threshold": lambda x: d.static_threshold(x),
    "implicit_score_matching": lambda x: d.implicit_score_matching(tanh, x),
    "sliced_score_matching": lambda x: d.sliced_score_matching(tanh, x, x),
    "flow_matching_loss": lambda x: d.flow_matching_loss(zeros, x, 0.5, x),
    "calc_bpd_loop": lambda x: d.calc_bpd_loop(zeros, S, x, generator=Generator(0)),
    "edm_precondition": lambda x: d.edm_precondition(zeros)(x, 1.0),
    "classifier_free_guidance": lambda x: d.classifier_free_guidance(zeros, np.arange(3), 2.0, 4)(x, np.array([3] * 3)),
    "rescale_guidance": lambda x: d.rescale_guidance(x, x, 0.5),
    "log_prob_gradient": lambda x: d.log_prob_gradient(lambda x, t: tanh(x))(x, np.array([3] * 3)),
    "Gaussian": lambda x: d.Gaussian().score(x, 0.8, 0.6),
    "Mixture": lambda x: d.Mixture([1.0], [[0.0, 0.0]], 1.0).log_prob(x, 0.8, 0.6),
    "Points": lambda x: d.Points([[0.0, 0.0]]).start(x, 0.8, 0.6),
    "Rotated": lambda x: d.Rotated(d.Gaussian([0.0, 0.0]), np.eye(2)).start(x, 0.8, 0.6),
}
"""Functions of one batch."""


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_an_array_of_floats(name):
    """Not nothing, a list, a number, integers: the error begins with a name and says what shape and kind are wanted."""
    for x in (None, [[1.0, 2.0]] * 3, 1.0, np.float64(1.0), np.array(1.0), X.astype(int), X > 0, X * 1j, "x"):
        message = refused(lambda x=x: BATCHES[name](x))
        assert "of shape (N, ...)" in message or "floating-point" in message or "data has shape" in message, message


WITH_MODEL = ["simple_loss", "training_losses", "denoising_score_matching", "hybrid_loss", "score_function", "ExactData.model",
              "classifier_guidance", "guidance_interval", "log_prob_of_start"]


@pytest.mark.parametrize("x", [1.0, np.float64(1.0), np.array(1.0)], ids=["a number", "NumPy's number", "no dimensions"])
@pytest.mark.parametrize("name", WITH_MODEL)
def test_no_dimensions_no_batch(name, x):
    """Formulas are elementwise and take a number; a model is asked about a batch."""
    refused(lambda: EVERY[name](S, x, 0 * x, 3))


@pytest.mark.parametrize("name", {**STEPWISE, **ANY_PROCESS})
def test_arrays_that_are_not_alike(name):
    """Of another shape, which would broadcast; of another dtype, which would upcast; nothing, a number, a list in the place of one."""
    for other in (N[:, :1], N[:1], N.astype(np.float32), None, 0.0, N.tolist()):
        refused(lambda other=other: EVERY[name](S, X, other, 3))


@pytest.mark.parametrize("name", STEPWISE)
def test_steps_belong_to_a_schedule(name):
    """Continuous processes, betas and nothing have none: the error says what has."""
    for other in (VP, LINE, S.betas, None, "linear"):
        message = refused(lambda other=other: EVERY[name](other, X, N, 1), TypeError)
        assert "expected a Schedule" in message and "make_schedule" in message


@pytest.mark.parametrize("name", [name for name in EVERY if name != "extract"])
def test_what_is_no_process(name):
    """Betas or a name in the place of a process."""
    for other in (S.betas, None, "linear"):
        message = refused(lambda other=other: EVERY[name](other, X, N, 3), TypeError)
        assert "expected a process" in message or "expected a Schedule" in message
        assert len(message) < 200  # an array is named, not printed


# -- where the noise, or the data, is all there is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["epsilon", "score"])
def test_pure_noise_says_nothing_of_the_data(kind):
    """Zero terminal SNR: predictions of the noise are refused at the last time, at all doors, and nothing is divided by 0."""
    at_end = {
        "convert": lambda: d.convert(X, X, ZERO, 19, kind, "sample"),
        "one of a batch": lambda: d.convert(X, X, ZERO, np.array([3, 19, 3]), kind, "v_prediction"),
        "predict_start_and_noise": lambda: d.predict_start_and_noise(ZERO, kind, X, X, 19),
        "p_mean_variance": lambda: d.p_mean_variance(ZERO, X, X, 19, kind),
        "score_function": lambda: d.score_function(zeros, ZERO, kind)(X, 19),
        "sample": lambda: d.sample(zeros, ZERO, X, TIMES, d.DDIM, prediction_type=kind),
        "calc_bpd_loop": lambda: d.calc_bpd_loop(zeros, ZERO, X, noise=[N] * 20, prediction_type=kind),
        "log_prob_of_start": lambda: d.log_prob_of_start(tanh, zeros, ZERO, kind)(X, np.array([19] * 3)),
        "weights_of_start": lambda: d.weights_of_start(kind, 0.0, 1.0),
        "probability_flow": lambda: d.probability_flow(zeros, LINE, X, 1.0, 0.1, prediction_type=kind),
        "AngularFlow": lambda: d.AngularFlow(zeros, LINE, kind).velocity(X, LINE.level(1.0)),
    }
    for call in at_end.values():
        refused(call, ValueError, words=["nothing is left", "alpha", "does not give"])
    refused(lambda: d.predict_start_from_noise(ZERO, X, 19, X), ValueError, words=["nothing is left"])
    refused(lambda: d.q_posterior_mean_from_epsilon(ZERO, X, 19, X), ValueError, words=["zero terminal SNR"])


def test_clean_data_says_nothing_of_the_noise():
    """sigma = 0: the score is infinite, and a predicted x_0 tells no eps."""
    for kind in ("sample", "score"):
        for call in (lambda kind=kind: d.convert(X, X, EDM, 0.0, kind, "epsilon"), lambda kind=kind: d.weights_of_noise(kind, 1.0, 0.0),
                     lambda kind=kind: d.probability_flow(zeros, EDM, X, 0.0, 1.0, prediction_type=kind),
                     lambda kind=kind: d.log_prob_of_start(tanh, zeros, EDM, "score")(X, np.zeros(3)),
                     lambda: d.training_target(EDM, "score", X, N, 0.0), lambda: d.score_function(zeros, EDM)(X, 0.0)):
            refused(call, ValueError, words=["sigma"])
    refused(lambda: d.prior_logp(EDM, X, 0.0), ValueError, words=["no noise"])
    refused(lambda: d.Points([[0.0, 0.0]]).start(X, 1.0, 0.0), ValueError, words=["sigma > 0"])
    refused(lambda: d.snr_difference_weight(EDM, 1.0, 0.0), ValueError, words=["infinite"])


def test_the_score_of_wide_data_without_noise_exists():
    """A Gaussian's own score at sigma = 0, by every route, is that of its density; guidance of a score there is the gradient itself."""
    data, x = d.Gaussian(0.3, 0.5), np.array([[1.0, 2.0]])
    expected = (0.3 - x) / 0.25
    np.testing.assert_allclose(data.model(EDM, "score")(x, 0.0), expected)
    np.testing.assert_allclose(data.model(EDM, "score")(np.vstack([x, x]), np.array([0.0, 1e-9]))[0], expected[0])
    np.testing.assert_array_equal(d.classifier_guidance(zeros, EDM, tanh, 2.0, "score")(x, np.zeros(1)), 2 * np.tanh(x))


def test_the_weight_of_the_step_out_of_pure_noise_is_its_limit():
    """SNR_t = 0: all of SNR_s, where SNR_t (exp(2 h) - 1) is 0 times infinity."""
    assert d.snr_difference_weight(ZERO, 19, 10, "sample") == pytest.approx(ZERO.snr[10] / 2, rel=1e-12)
    for t, s in ((7, 3), (19, 18)):
        assert d.snr_difference_weight(S, t, s, "sample") == pytest.approx((S.snr[s] - S.snr[t]) / 2, rel=1e-9)


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
@pytest.mark.parametrize("times", [[5, 0], [0]])
def test_a_last_step_of_length_0_moves_nothing(variance_type, times):
    """set_alpha_to_one=False and a list that ends at the first time: the last step learns a variance that multiplies no noise."""
    noise = [N] * d.DDPM.plan(d.path(S, times, False)).draws
    states = []
    found = d.sample(lambda x, t: np.concatenate([zeros(x), x], 1), S, X, times, d.Ancestral(1.0, variance_type), noise=noise,
                     set_alpha_to_one=False, callback=lambda step, t, x, start: states.append(x))
    np.testing.assert_allclose(found, states[-1], rtol=1e-15)


# -- lists of times and of sigmas ---------------------------------------------------------------------------------------------------------

BAD_LISTS = {"empty": [], "a duplicate": [3, 3], "ascending": [1, 3], "negative": [-1], "T": [20], "NaN": [5, NAN], "infinite": [INF],
             "none": None, "a number": 3, "a word": "ab", "nested": [[3]], "truths": [True], "a set": {19, 3}, "an iterator": iter([19, 3])}
WALKERS = {
    "path": lambda times, g: d.path(S, times),
    "respace": lambda times, g: d.respace(S, times),
    "sample": lambda times, g: d.sample(zeros, S, X, times, generator=g),
    "trajectory": lambda times, g: d.trajectory(zeros, S, X, times, generator=g),
    "sdedit": lambda times, g: d.sdedit(zeros, S, X, times, 0.6, generator=g),
    "inpaint": lambda times, g: d.inpaint(zeros, S, X, times, X, 1, generator=g),
    "ddim_inversion": lambda times, g: d.ddim_inversion(zeros, S, X, times),
    "reconstruction_error": lambda times, g: d.reconstruction_error(zeros, S, X, times),
    "counterfactual": lambda times, g: d.counterfactual(zeros, zeros, S, X, times),
    "predictor_corrector": lambda times, g: d.predictor_corrector(tanh, S, X, times, generator=g),
    "sampler_law": lambda times, g: d.sampler_law(d.DDIM, S, times, d.Gaussian([0.0])),
}


@pytest.mark.parametrize("kind", BAD_LISTS)
@pytest.mark.parametrize("name", WALKERS)
def test_lists_of_times_that_are_none(name, kind):
    """Not strictly decreasing, outside, no numbers; no noise has been drawn when the error comes."""
    generator = Generator(3)
    before = generator.get_state()
    refused(lambda: WALKERS[name](BAD_LISTS[kind], generator))
    assert generator.get_state() == before


def test_times_between_the_steps_have_no_betas():
    """respace makes a Schedule, so it takes integers; a walk may visit times in between."""
    assert "integer" in refused(lambda: d.respace(S, [3.5, 1.0]), TypeError)
    assert d.path(S, [3.5, 1.0]).levels[0].time == 3.5


@pytest.mark.parametrize("kind", BAD_LISTS)
def test_lists_of_sigmas_that_are_none(kind):
    """For a schedule and for EDM; and sigmas that the process never has."""
    if kind not in ("a duplicate", "T", "a number", "negative"):
        refused(lambda: d.times_of_sigmas(EDM, BAD_LISTS[kind]))
    refused(lambda: d.times_of_sigmas(S, BAD_LISTS[kind]))
    for sigmas in ([2.0, -1.0], [2.0, 2.0], [2.0, 1.0, 0.0, 0.0], [0.0]):
        refused(lambda sigmas=sigmas: d.times_of_sigmas(EDM, sigmas), ValueError)
    for sigmas in ([1e9, 1.0], [0.3, 1e-9]):
        assert "this process has" in refused(lambda sigmas=sigmas: d.times_of_sigmas(S, sigmas), ValueError)


@pytest.mark.parametrize("times", [[], [0.1], [0.2, 0.1], [0.1, 0.1], [0.1, NAN], [0.1, INF], [-0.1, 0.1], None, ["a"], [[0.1,
    0.2]]], ids=str)
def test_times_of_an_sde(times):
    """At least two, finite, strictly in the direction of the SDE, inside of the process; the other direction for the way back."""
    generator = Generator(3)
    before = generator.get_state()
    refused(lambda: d.euler_maruyama(d.forward_sde(VP), X, times, generator=generator))
    if times != [0.2, 0.1]:
        refused(lambda: d.euler_maruyama(d.reverse_sde(zeros, VP), X, times, generator=generator))
    assert generator.get_state() == before


# -- models -------------------------------------------------------------------------------------------------------------------------------

BAD_ANSWERS = {
    "another shape": lambda x: x[:, :1],
    "another batch": lambda x: x[:1],
    "another dtype": lambda x: x.astype(np.float32) if isinstance(x, np.ndarray) else x.data.astype(np.float32),
    "a number": lambda x: 0.0,
    "nothing": lambda x: None,
    "a list": lambda x: [[0.0, 0.0]] * 3,
    "a tuple": lambda x: (x, x),
    "a dictionary": lambda x: {"sample": x},
    "a word": lambda x: "x",
    "NaN": lambda x: x * NAN,
    "infinity": lambda x: 0 * x + INF,
}
LABELS = np.arange(3)
ASKERS = {
    "sample": lambda f: d.sample(f, S, X, TIMES, d.DDIM),
    "sample, learned": lambda f: d.sample(f, S, X, TIMES, d.Ancestral(1.0, "learned"), noise=[N, N]),
    "sample, denoised_fn": lambda f: d.sample(zeros, S, X, TIMES, d.DDIM, denoised_fn=lambda x: f(x, 0)),
    "sample, arrived": lambda f: d.sample(zeros, S, X, TIMES, d.DDIM, arrived=lambda step, level, x: f(x, 0)),
    "sample, shift_mean": lambda f: d.sample(zeros, S, X, TIMES, noise=[N, N], shift_mean=d.shifted_mean(f)),
    "sdedit": lambda f: d.sdedit(f, S, X, TIMES, 0.7, noise=[N, N]),
    "inpaint": lambda f: d.inpaint(f, S, X, TIMES, X, 1, noise=[N] * 4),
    "predictor_corrector": lambda f: d.predictor_corrector(f, S, X, TIMES, noise=[N, N], corrector_noise=[N, N]),
    "simple_loss": lambda f: d.simple_loss(f, S, X, 3, N),
    "hybrid_loss": lambda f: d.hybrid_loss(f, S, X, 3, N),
    "flow_matching_loss": lambda f: d.flow_matching_loss(f, X, 0.3, N),
    "calc_bpd_loop": lambda f: d.calc_bpd_loop(f, S, X, noise=[N] * 20),
    "score_function": lambda f: d.score_function(f, S)(X, 3),
    "euler_maruyama": lambda f: d.euler_maruyama(d.SDE(f, lambda t: 0.0), X, [0.1, 0.2]),
    "reverse_sde": lambda f: d.euler_maruyama(d.reverse_sde(f, VP), X, [0.3, 0.2], noise=[N]),
    "langevin_dynamics": lambda f: d.langevin_dynamics(lambda x: f(x, 0), X, 0.1, 1, noise=[N]),
    "probability_flow": lambda f: d.probability_flow(f, VP, X, 0.9, 0.1),
    "log_likelihood": lambda f: d.log_likelihood(f, VP, X, 0.1, 0.9),
    "divergence": lambda f: d.divergence(lambda x: f(x, 0), X),
    "implicit_score_matching": lambda f: d.implicit_score_matching(lambda x: f(x, 0), X),
    "edm_precondition": lambda f: d.edm_precondition(f)(X, 1.0),
    "classifier_guidance": lambda f: d.classifier_guidance(f, S, zeros)(X, np.array([3] * 3)),
    "classifier_guidance, gradient": lambda f: d.classifier_guidance(zeros, S, f)(X, np.array([3] * 3)),
    "classifier_free_guidance": lambda f: d.classifier_free_guidance(lambda x, t, c: f(x, t), LABELS, 2.0, 4)(X, np.array([3] * 3)),
    "guidance_interval": lambda f: d.sample(d.guidance_interval(f, zeros, S, 0.0, INF), S, X, TIMES, d.DDIM),
    "log_prob_of_start": lambda f: d.log_prob_of_start(tanh, f, S)(X, np.array([3] * 3)),
}
PASS_ON = {"simple_loss", "hybrid_loss", "flow_matching_loss", "edm_precondition", "classifier_guidance", "classifier_guidance, gradient",
           "classifier_free_guidance", "log_prob_of_start", "euler_maruyama", "divergence", "implicit_score_matching", "sample, shift_mean",
           "sample, denoised_fn", "sample, arrived"}
"""Where NaN is looked for by whoever asks next, or is what the caller sees: a loss of NaN."""


@pytest.mark.parametrize("kind", BAD_ANSWERS)
@pytest.mark.parametrize("name", ASKERS)
def test_models_that_misbehave(name, kind):
    """Another shape would broadcast to a wrong result silently, another dtype upcast; NaN is found where it appears."""
    if kind in ("NaN", "infinity") and name in PASS_ON:
        return
    refused(lambda: ASKERS[name](lambda x, t: BAD_ANSWERS[kind](x)), words=[*OURS, "must return", "made of x", "NaN or inf"])


def test_nan_is_found_at_its_step():
    """The error names the step and the time; a guided or shifted walk finds it one call later at the latest."""
    late = lambda x, t: x * (NAN if t[0] == 3 else 1)
    assert "step 2 (time 3)" in refused(lambda: d.sample(late, S, X, TIMES, d.DDIM), FloatingPointError, words=["NaN"])
    assert "time 3" in refused(lambda: d.calc_bpd_loop(late, S, X, noise=[N] * 20), FloatingPointError, words=["NaN"])
    assert "time 3" in refused(lambda: d.score_function(late, S)(X, 3), FloatingPointError, words=["NaN"])


# -- noise and generators -----------------------------------------------------------------------------------------------------------------

SOURCES = {
    "sample": (2, lambda **o: d.sample(zeros, S, X, TIMES, **o)),
    "trajectory": (2, lambda **o: d.trajectory(zeros, S, X, TIMES, **o)),
    "sdedit": (2, lambda **o: d.sdedit(zeros, S, X, TIMES, 0.7, **o)),
    "inpaint": (4, lambda **o: d.inpaint(zeros, S, X, TIMES, X, 1, **o)),
    "euler_maruyama": (2, lambda **o: d.euler_maruyama(d.forward_sde(VP), X, [0.1, 0.2, 0.3], **o)),
    "langevin_dynamics": (2, lambda **o: d.langevin_dynamics(zeros, X, 0.1, 2, **o)),
    "calc_bpd_loop": (20, lambda **o: d.calc_bpd_loop(zeros, S, X, **o)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_noise_comes_from_one_source(name):
    """None, two, too many or too few arrays, of another shape or dtype, no arrays; a generator that is none."""
    draws, call = SOURCES[name]
    good = [N] * draws
    refused(lambda: call(), ValueError, words=["give a generator", "a generator or the arrays"])
    assert "both" in refused(lambda: call(generator=Generator(3), noise=good), ValueError)
    for noise in (good[1:], [*good, N], [*good[1:], N[:1]], [*good[1:], N.astype(np.float32)], [*good[1:], N.astype(int)],
        [*good[1:], None],
                  [*good[1:], 0.0], iter(good), "a" * draws):
        refused(lambda noise=noise: call(noise=noise))
    for generator in (3, "seed", object()):
        assert "standard_normal" in refused(lambda generator=generator: call(generator=generator), TypeError)
    call(noise=good)


@pytest.mark.parametrize("call, method", [
    (lambda g: d.draw_times([0.5, 0.5], 3, g), "random"),
    (lambda g: d.bernoulli_drop([1, 2], 0, 0.5, g), "random"),
    (lambda g: d.lognormal_sigmas(3, g), "standard_normal"),
    (lambda g: d.hutchinson_probes(X, 2, g), "integers"),
    (lambda g: d.hutchinson_probes(X, 2, g, "gaussian"), "standard_normal"),
    (lambda g: d.Gaussian().sample(3, g), "standard_normal"),
    (lambda g: d.Mixture([1.0], [[0.0]], 1.0).sample(3, g), "random"),
    (lambda g: d.Points([[0.0]]).sample(3, g), "integers"),
])
def test_what_draws_wants_a_generator(call, method):
    """The error names the method that is missing."""
    for generator in (None, 3):
        assert method in refused(lambda generator=generator: call(generator), TypeError)


def test_a_generator_that_does_not_know_the_dtype_is_named():
    """minidiff's draws float32 and float64; for half precision the noise can be given."""
    x = X.astype(np.float16)
    assert "give the noise as arrays" in refused(lambda: d.sample(zeros, S, x, TIMES, generator=Generator(3)), TypeError, words=["float16"])
    assert d.sample(zeros, S, x, TIMES, noise=[0 * x, 0 * x]).dtype == np.float16


# -- settings: rows of calls that are refused, and a part of the message ------------------------------------------------------------------

SETTINGS = [
    # schedules and betas
    *[(lambda b=b: d.Schedule.from_betas(b), "betas") for b in (
        -0.1, None, [], [[0.1]], [0.1, 0.0], [0.1, 1.0, 0.1], [0.1, NAN], [0.1, -0.1], ["a"], [1j], [10**400])],
    *[(lambda a=a: d.Schedule.from_alphas_cumprod(a), "alphas_cumprod") for a in (
        [0.9, 0.9], [0.5, 0.6], [1.0, 0.5], [0.5, -0.1], [NAN], [], None, [0.5, 1e-310])],
    *[(lambda a=a: d.Schedule.from_log_alphas(a), "log_alphas") for a in ([0.1], [0.0], [NAN], [-800.0])],
    *[(lambda a=a: d.make_schedule(*a), "make_schedule") for a in (
        ("foo",), (None,), (["linear"],), ("linear", 0), ("linear", -3), ("linear", 2.5), ("linear", True), ("linear", None))],
    *[(lambda o=o: d.make_schedule("linear", 10, **o), "") for o in (
        {"beta_start": 0}, {"beta_start": -1}, {"beta_end": 1.5}, {"beta_start": NAN}, {"beta_start": "a"}, {"beta_start": None},
        {"max_beta": 0.5})],
    (lambda: d.make_schedule("scaled_linear", 10, beta_start=-0.1), "scaled_linear: expected beta_start"),
    (lambda: d.make_schedule("squaredcos_cap_v2", 10, max_beta=0), "betas"),
    (lambda: d.make_schedule("linear", 1, rescale_betas_zero_snr=True), "at least 2 steps"),
    *[(lambda p=p: d.rescale_zero_terminal_snr(p), "expected a Schedule") for p in (None, VP)],
    *[(lambda p=p: d.respace(p, [1]), "expected a Schedule") for p in (None, VP)],
    *[(lambda p=p: d.path(p, [1]), "expected a process") for p in (None, S.betas, "linear")],
    *[(lambda p=p: d.sigma_range(p), "expected a process") for p in (None, S.betas)],
    (lambda: d.path(EDM, [0.0]), "clean data"),
    *[(lambda a=a: d.timesteps(*a), "timesteps") for a in (
        (10, 0), (10, 11), (0, 0), (10, 2.0), (10, None), (10, 3, "foo"), (10, 3, None), (10, 3, "leading", 9), (10, 3, "trailing",
        1), (True, 1))],
    *[(lambda f=f, a=a: f(*a), f.__name__) for f in (d.karras_sigmas, d.exponential_sigmas, d.uniform_sigmas) for a in (
        (0,), (-1,), (2.5,), (True,), (3, 0), (3, -1), (3, 2, 1), (3, NAN), (3, 0.1, INF), (3, "a"), (3, None))],
    *[(lambda r=r: d.karras_sigmas(3, rho=r), "karras_sigmas: expected rho") for r in (0, -1, NAN, INF, "a", None)],
    *[(lambda kind=kind, a=a: kind(*a), kind.__name__) for kind, rows in {
        d.VariancePreserving: [(0,), (-1,), (NAN,), (3, 2), (1, INF), ("a",), (None,)],
        d.SubVariancePreserving: [(0,), (3, 2)],
        d.VarianceExploding: [(0,), (NAN,), (60,), (1, INF), ("a",)],
        d.Cosine: [(-1,), (NAN,), (INF,), ("a",)],
        # samplers
        d.Ancestral: [(-0.1,), (1.1,), (NAN,), ("a",), (None,), (0.5, "fixed_large"), (1.0, "foo"), (1.0, None), (0.0, "learned")],
        d.Karras: [(0,), (3,), (None,), ("2",), (2, -1), (2, INF), (2, NAN), (2, "a"), (2, 1, 3, 2), (2, 1, -1), (2, 1, NAN), (2,
        1, 0, 1, -1)],
        d.Multistep: [(0,), (4,), (2.5,), (None,), (2, "v"), (2, "sample", -1), (2, "sample", NAN), (2, "sample", "a"), (2, "epsilon", 1.0),
                      (2, "sample", 0.0, "foo")],
        d.UniPC: [(0,), (4,), (None,), (2, "v"), (2, "sample", "foo")],
        d.SingleStep: [((0,),), ((1.5,),), ((NAN,),), ((0.3, 0.5),), ((0.1, 0.2, 0.3),), ((0.5,), "v"), ((0.5,), "sample", -1),
        (0.5,), (None,),
                       ("ab",), (("a",),), ((0.5,), "sample", NAN), ((0.5,), "sample", "a"), ((0.7,), "sample", 1.0), ((),
                       "sample", 1.0, True)],
        d.ReverseDiffusion: [(-1,), (NAN,), (INF,), ("a",)],
        d.AnnealedLangevin: [(0,), (-1,), (NAN,), (INF,), ("a",), (1e-5, 0), (1e-5, 2.5), (1e-5, None)],
        d.LangevinCorrector: [(0,), (-1,), (NAN,), (INF,), ("a",), (0.1, 0), (0.1, 1.5)],
        d.Inversion: [("middle",), (None,), ("start", -1), ("start", 1.5), ("start", None)],
        # exact data
        d.Gaussian: [(0.0, -1.0), (0.0, NAN), (0.0, INF), (NAN, 1.0), (None, 1.0), (0.0, None)],
        d.Mixture: [([0.5, 0.6], [[0.0], [1.0]], 1.0), ([1.5, -0.5], [[0.0], [1.0]], 1.0), ([NAN, 1.0], [[0.0], [1.0]], 1.0), ([], [], 1.0),
                    ([1.0], [[0.0]], -1.0), ([1.0], [[NAN]], 1.0), ([1.0], [[0.0]], INF), ([1.0], [[0.0]], [1.0, 2.0]), ([1.0], None, 1.0)],
        d.Points: [([],), ([[]],), (3.0,), (None,), ([[NAN]],)],
    }.items() for a in rows],
    *[(lambda m=m: d.Rotated(d.Gaussian([0.0, 0.0]), m), "Rotated") for m in ([[1.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]], 3.0, None)],
    (lambda: d.Rotated(None, np.eye(2)), "Rotated: expected exactly known data"),
    (lambda: d.Rotated(d.Gaussian([0.0] * 3), np.eye(3)).start(X, 1.0, 1.0), "Rotated: the data has shape"),
    *[(lambda name=name: d.member(name), "unknown sampler") for name in ("foo", None, 3, ["ddim"])],
    *[(lambda s=s, f=f: f(s), "expected a sampler") for s in (None, "ddim", 3, d.Ancestral) for f in (
        lambda s: d.sample(zeros, S, X, TIMES, s), lambda s: d.sdedit(zeros, S, X, TIMES, 0.5, s, noise=[N]),
        lambda s: d.inpaint(zeros, S, X, TIMES, X, 1, s, noise=[N]), lambda s: d.sampler_law(s, S, TIMES, d.Gaussian([0.0])),
        lambda s: d.inpaint(zeros, S, X, TIMES, X, 1, s, noise=[N], jump_n_sample=2))],
    (lambda: d.sampler_law(d.DDIM, S, TIMES, d.Mixture([1.0], [[0.0]], 1.0)), "sampler_law: expected Gaussian data"),
    *[(lambda a=a: d.Gaussian().transport(0.0, 1.0, *a), "Gaussian") for a in (
        (S.level(3), S.level(9)), (9, 3), (None, S.level(3)), (S.level(9), S.level(3), -1), (S.level(9), S.level(3), NAN),
        (S.level(9), S.level(3), "a"))],
    # unknown names
    *[(lambda f=f, kind=kind: f(kind), "unknown prediction_type") for kind in ("eps", None, "v") for f in (
        lambda kind: d.sample(zeros, S, X, TIMES, d.DDIM, prediction_type=kind), lambda kind: d.convert(X, X, S, 3, kind, "sample"),
        lambda kind: d.convert(X, X, S, 3, "sample", kind), lambda kind: d.training_target(S, kind, X, N, 3),
        lambda kind: d.simple_loss(zeros, S, X, 3, N, kind), lambda kind: d.p_mean_variance(S, X, X, 3, kind),
        lambda kind: d.score_function(zeros, S, kind), lambda kind: d.reverse_sde(zeros, VP, kind),
        lambda kind: d.Gaussian().model(S, kind),
        lambda kind: d.probability_flow(zeros, VP, X, 1.0, 0.1, prediction_type=kind), lambda kind: d.min_snr_weight(S, 3, kind),
        lambda kind: d.same_loss_weight(S, 3, kind, "sample"), lambda kind: d.classifier_guidance(zeros, S, zeros, 1.0, kind),
        lambda kind: d.log_prob_of_start(tanh, zeros, S, kind), lambda kind: d.weights_between(kind, "sample", 1.0, 1.0),
        lambda kind: d.weights_between("sample", kind, 1.0, 1.0), lambda kind: d.weight_of_score(kind, 1.0, 1.0))],
    *[(lambda o=o: d.vb_terms_bpd(S, X, X, X, 3, **o), "") for o in ({"decoder": "x"}, {"decoder": None}, {"variance_type": "x"})],
    (lambda: d.hybrid_loss(zeros, S, X, 3, N, variance_type="fixed_small"), "expected a learned variance_type"),
    (lambda: d.hybrid_loss(zeros, S, X, 3, N, vlb="mean"), "unknown vlb"),
    (lambda: d.kl_weight(S, 3, variance_type="learned"), "expected a fixed variance_type"),
    (lambda: d.learned_log_variance("fixed_small", X, 0.0, 0.0), "expected a learned variance_type"),
    (lambda: d.p_mean_variance(S, X[:, 0], X[:, 0], 3, variance_type="learned"), "must have channels"),
    # numbers out of range
    *[(lambda v=v: d.p_mean_variance(S, X, X, 0, min_variance=v), "min_variance") for v in (0, -1, NAN, INF, "a")],
    *[(lambda v=v: d.min_snr_weight(S, 3, gamma=v), "min_snr_weight") for v in (0, -1, NAN, "a", None)],
    *[(lambda v=v: d.p2_weight(S, 3, gamma=v), "p2_weight") for v in (-1, NAN, INF, "a")],
    *[(lambda v=v: d.p2_weight(S, 3, k=v), "p2_weight") for v in (0, -1, NAN, INF, "a")],
    *[(lambda v=v, f=f: f(v), "sigma_data") for v in (0, -1, NAN, INF, "a", None) for f in (
        lambda v: d.edm_weight(S, 3, sigma_data=v), lambda v: d.edm_preconditioning(1.0, v), lambda v: d.edm_precondition(zeros, v))],
    *[(lambda v=v: d.edm_preconditioning(v), "expected sigma > 0") for v in (0, -1, NAN, INF, [1.0, -1.0])],
    *[(lambda w=w: d.simple_loss(zeros, S, X, 3, N, weight=w), "one for each of the batch") for w in ([1.0, 2.0], np.ones((3, 1)))],
    *[(lambda v=v: d.dynamic_threshold(X, v), "ratio") for v in (-0.1, 1.1, NAN, "a", None)],
    *[(lambda v=v: d.dynamic_threshold(X, 0.5, v), "max_value") for v in (0.9, NAN, "a", None)],
    *[(lambda v=v: d.static_threshold(X, v), "max_value") for v in (0, -1, NAN, "a", None)],
    *[(lambda v=v: d.q_posterior_mean_variance_between(S, X, N, 5, 2, v), "eta") for v in (-0.1, 1.1, NAN, "a")],
    *[(lambda v=v, f=f: f(v), "eta") for v in (-0.1, NAN, INF, "a", None) for f in (
        lambda v: d.reverse_drift(VP, X, 0.5, X, v), lambda v: d.reverse_sde(zeros, VP, eta=v))],
    *[(lambda v=v: d.langevin_step(X, N, v, N), "langevin_step: expected") for v in (-1, NAN, INF, "a", None)],
    *[(lambda v=v: d.langevin_dynamics(zeros, X, v, 2, noise=[N, N]), "step_size") for v in (0, -1, NAN, INF, "a")],
    *[(lambda v=v: d.langevin_dynamics(zeros, X, 0.1, v, noise=[N, N]), "steps") for v in (0, -1, 1.5, NAN, "a")],
    *[(lambda v=v: d.langevin_step_size(X, X, v), "snr") for v in (0, -1, NAN, INF, "a")],
    (lambda: d.sample(tanh, S, X, TIMES, d.AnnealedLangevin(1.0, 2), generator=Generator(0)), "runs away"),
    *[(lambda v=v: d.uniform_probabilities(v), "num_train_timesteps") for v in (0, -1, 2.5, None)],
    *[(lambda v=v: d.LossHistory.empty(*v), "LossHistory.empty") for v in ((0,), (-1,), (3, 0), (3, 1.5))],
    *[(lambda v=v: d.LossHistory.empty(3).probabilities(v), "uniform_prob") for v in (-0.1, 1.1, NAN, "a")],
    *[(lambda p=p, f=f: f(p), "expected probabilities")
      for p in ([0.5, 0.6], [-0.5, 1.5], [NAN, 1.0], [], None, 1.0, [[1.0]], [0.0, 0.0]) for f in (
        lambda p: d.importance_weights(p, 0), lambda p: d.draw_times(p, 3, Generator(0)))],
    (lambda: d.importance_weights([1.0, 0.0], 1), "probability 0"),
    *[(lambda v=v: d.draw_times([1.0], v, Generator(0)), "count") for v in (-1, 2.5, None)],
    *[(lambda v=v: d.lognormal_sigmas(v, Generator(0)), "count") for v in (-1, 2.5, None)],
    *[(lambda v=v: d.hutchinson_probes(X, v, Generator(0)), "count") for v in (0, -1, 2.5)],
    (lambda: d.hutchinson_probes(X, 2, Generator(0), "uniform"), "unknown kind"),
    *[(lambda v=v: d.bits_per_dim(1.0, v), "dimensions") for v in (0, -1, NAN, "a")],
    *[(lambda v=v: d.bits_per_dim(1.0, 3, v), "width") for v in (0, -1, NAN, INF, "a")],
    *[(lambda a=a: d.transition(S.level(1), S.level(3), a), "h >= 0") for a in (-1.0, NAN)],
    *[(lambda a=a: d.posterior_weights(S.level(1), S.level(3), a), "h >= 0") for a in (-1.0, NAN)],
    # guidance
    *[(lambda v=v, f=f: f(v), "scale") for v in (NAN, INF, "a", None, 1j) for f in (
        lambda v: d.classifier_free_guidance(zeros, LABELS, v, 4), lambda v: d.classifier_guidance(zeros, S, zeros, v),
        lambda v: d.shifted_mean(zeros, v))],
    *[(lambda v=v, f=f: f(v), "guidance_rescale") for v in (-0.1, 1.1, NAN, "a") for f in (
        lambda v: d.rescale_guidance(X, X, v), lambda v: d.classifier_free_guidance(zeros, LABELS, 2.0, 4, v))],
    *[(lambda v=v: d.guidance_scale_from_weight(v), "weight") for v in ("a", None)],
    *[(lambda a=a: d.guidance_interval(zeros, zeros, S, *a), "sigma_")
      for a in ((1, 0), (-1, 1), (NAN, 1), (0, NAN), (1, 1), ("a", 1), (0, None))],
    *[(lambda v=v: d.bernoulli_drop([1, 2], 0, v, Generator(0)), "probability") for v in (-0.1, 1.1, NAN, "a", None)],
    *[(lambda v=v: d.bernoulli_drop(v, 0, 0.5, Generator(0)), "labels") for v in ([1.5], [[1]], 3, None, ["a"], [True])],
    *[(lambda v=v: d.bernoulli_drop(np.array([1], np.uint8), v, 0.5, Generator(0)), "null label") for v in (256, -1, 2.5, "0", None)],
    *[(lambda v=v: d.classifier_free_guidance(zeros, LABELS, 2.0, v), "null label") for v in (4.5, NAN, "a", None, 2**70)],
    *[(lambda v=v: d.classifier_free_guidance(zeros, v, 2.0, 4), "context") for v in (3, None)],
    (lambda: d.classifier_free_guidance(zeros, np.ones((3, 4)), 2.0, np.ones(3)), "null_context"),
    (lambda: d.classifier_free_guidance(zeros, LABELS[:2], 2.0, 4)(X, np.array([3] * 3)), "a batch of 2"),
    *[(lambda t=t: d.classifier_free_guidance(zeros, LABELS, 2.0, 4)(X, t), "times of shape") for t in (3, np.array([3, 3]))],
    (lambda: d.shifted_mean(zeros, 1.0, "start"), "unknown gradient_at"),
    *[(lambda v=v: d.shifted_mean(zeros, 1.0, "mean", v), "times") for v in (None, 3, [], [3, 3], [1, 3], "ab", {3, 1})],
    (lambda: d.classifier_guidance(zeros, ZERO, zeros, 1.0, "sample")(X, np.array([19] * 3)), "zero terminal SNR"),
    (lambda: d.weight_of_score("sample", 0.0, 1.0), "alpha = 0"),
    *[(lambda f=f: d.log_prob_gradient(f)(X, np.array([3] * 3)), "log_prob_gradient") for f in (
        lambda x, t: None, lambda x, t: 0.0, lambda x, t: x.data.sum(), lambda x, t: [x])],
    # editing
    *[(lambda v=v: d.sdedit(zeros, S, X, TIMES, v, noise=[N]), "strength") for v in (-0.1, 1.1, NAN, INF, "a", None)],
    *[(lambda v=v: d.sdedit_times(v, 0.5), "list of times") for v in (3, None, {1, 2}, "ab")],
    *[(lambda m=m: d.inpaint(zeros, S, X, TIMES, X, m, noise=[N] * 4), "mask") for m in (
        -1, 2, NAN, None, [1, 0, 0], np.ones((3, 3)), np.ones((4, 3, 2)), [[NAN, 0]], [])],
    *[(lambda k=k: d.inpaint(zeros, S, X, TIMES, k, 1, noise=[N] * 4), "known") for k in (None, 1.0, X[:1], X.astype(np.float32))],
    *[(lambda a=a: d.repaint_schedule(*a), "repaint_schedule") for a in (
        (0, 1, 1), (3, 0, 2), (3, 5, 2), (3, 1, 0), (3, 1.5, 2), (3, 1, 2.5), (3, None, 2), (3, True, 2))],
    *[(lambda s=s: d.inpaint(zeros, S, X, TIMES, X, 1, s, noise=[N], jump_n_sample=2), "jumps repeat")
      for s in (d.UNIPC, d.DPMPP_2M, d.PLMS)],
    *[(lambda p=p: d.outpainting_canvas(X, p), "padding") for p in (
        [], None, 3, [3], [(1, 2, 3)], [(-1, 2)], [(1.5, 2)], [(1, 2)] * 2, "ab", [(True, 1)])],
    # SDEs, flows, likelihoods
    *[(lambda v=v: d.euler_maruyama(v, X, [0.1, 0.2]), "expected an SDE") for v in (None, VP)],
    *[(lambda v=v: d.euler_maruyama(d.SDE(zeros, lambda t: v), X, [0.1, 0.2], noise=[N]), "diffusion") for v in (-1.0, NAN, INF)],
    (lambda: d.drift_and_diffusion(S, X, 3), "continuous time"),
    (lambda: d.drift_and_diffusion(LINE, X, 1.0), "infinite"),
    (lambda: d.conditional_velocity(S, X, 3, N), "expected a continuous process"),
    (lambda: d.velocity_weight(S, 3), "expected a continuous process"),
    (lambda: d.conditional_velocity(VP, X, 0.0, N), "path_derivatives"),
    *[(lambda f=f, t=t: f(EDM, X, t), "") for t in (None, NAN, -1.0, "a", [1.0, 2.0]) for f in (
        lambda p, x, t: d.prior_kl(p, x, t), lambda p, x, t: d.prior_logp(p, x, t), lambda p, x, t: d.prior_sampling(p, x, t))],
    *[(lambda a=a: d.probability_flow(zeros, VP, X, *a), "") for a in (
        (1.0, 1.0), (NAN, 1.0), (INF, 1.0), (2.0, 0.1), ("a", 0.1), (None, 0.1), ([0.1], 0.2), (-1, 0.1))],
    *[(lambda o=o: d.probability_flow(zeros, VP, X, 0.9, 0.1, **o), "probability flow") for o in (
        {"method": "foo"}, {"method": None}, {"rtol": 0}, {"rtol": NAN}, {"rtol": "a"}, {"atol": 0}, {"atol": NAN}, {"atol": INF},
        {"max_calls": -1}, {"max_calls": "a"}, {"max_calls": 2.5})],
    (lambda: d.probability_flow(zeros, None, X, 0.9, 0.1), "expected a process"),
    (lambda: d.probability_flow(zeros, VP, X * NAN, 0.9, 0.1), "NaN"),
    (lambda: d.log_likelihood(zeros, VP, X, 0.9, 0.1), "start, the time of the data, before end"),
    *[(lambda p=p: d.log_likelihood(zeros, VP, X, 0.1, 0.9, probes=p), "probe") for p in ([], [N[:1]], [N, None])],
    *[(lambda p=p: d.divergence(tanh, X, p), "probe") for p in ([], [N[:1]], [N.astype(np.float32)])],
    *[(lambda p=p: d.log_likelihood(smooth, VP, X, 0.1, 0.9, prior=p), "prior") for p in (lambda z: z, lambda z: None, lambda z: 0.0)],
    *[(lambda k=k: d.uniform_dequantization(k, X / 2), "uniform_dequantization")
      for k in (X, None, X.astype(int) * 300, -X.astype(int), [1])],
    *[(lambda u=u: d.uniform_dequantization(X.astype(int), u), "uniform_dequantization") for u in (
        X, -X / 2, X * NAN, X[:1] / 2, None, 0.5, X.astype(int) * 0)],
]


def smooth(x, t):
    """A model that can be differentiated."""
    return 0.5 * x


@pytest.mark.parametrize("row", range(len(SETTINGS)))
def test_settings_that_are_refused(row):
    """By a ValueError or TypeError of ours, whose words say what is wrong."""
    call, words = SETTINGS[row]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    message = str(caught.value)
    assert words in message, message
    for depths in ("unsupported operand", "ufunc", "not supported between", "has no len", "math domain", "ambiguous", "must be real number",
                   "NoneType' object", "could not broadcast", "cannot reshape"):
        assert depths not in message, message


# -- an empty batch -----------------------------------------------------------------------------------------------------------------------

MEANS = {"simple_loss", "hybrid_loss", "denoising_score_matching", "implicit_score_matching", "sliced_score_matching", "flow_matching_loss",
         "min_snr_weight", "truncated_snr_weight", "p2_weight", "edm_weight", "kl_weight", "same_loss_weight", "snr_difference_weight",
         "weight_from_start", "velocity_weight", "importance_weights"}
"""Losses: the mean of nothing is no number, and is refused."""


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_of_an_empty_batch(name):
    """Work as those of any other: nothing in, nothing out, in the right shape and dtype."""
    a, b = (x[:0] for x in arrays(2, np.float32))
    call = lambda a, b: FORMULAS[name](a, b, 7)
    if name.partition(",")[0] in MEANS:
        assert "at least one number" in refused(lambda: call(a, b), ValueError)
        return
    if name == "classifier_free_guidance" or name == "classifier_guidance" or name in ("guidance_interval", "log_prob_of_start"):
        return  # their times in this table are for a batch of three
    for found, whole in zip(parts(call(a, b)), parts(call(*arrays(2, np.float32))), strict=True):
        if type(whole[0]) is not float:
            shape = whole[0].shape
            assert found[0].shape == (0, *shape[1:]) or name == "outpainting_canvas"
            assert found[0].dtype == np.float32


OF_THREE = {"score_function", "LossHistory", "uniform_dequantization", "classifier_free_guidance"}
"""Walks whose lists in this table are for a batch of three."""


@pytest.mark.parametrize("name", [name for name in WALKS if name not in OF_THREE])
def test_walks_of_an_empty_batch(name):
    """A walk of no images ends; nothing is refused, nothing is NaN."""
    a, b, *z = (x[:0] for x in arrays(42, np.float32))
    for x, _ in parts(WALKS[name](a, b, z)):
        if isinstance(x, np.ndarray):
            assert x.size == 0 and x.shape[:1] == (0,)
