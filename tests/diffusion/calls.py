"""One call of every public function of the room, for arrays of any library: what `tests/devices` and `tests/peers` run.

A call is named after the function it shows, with what is particular about it after a comma. NumPy's answer is the reference; every other
library must give the same numbers, in its own arrays and in the dtype that went in. What brings numbers to the host on purpose says so
with `OnHost`. A public name without a call fails `test_every_public_function_has_a_call`, unless `EXCEPTIONS` says why it has none.
"""

import functools
import sys
from typing import NamedTuple

import numpy as np

from minidiff import autograd, diffusion
from minidiff import diffusion as d
from minidiff.backend import to_array
from minidiff.diffusion import DECODERS, EDM, PREDICTION_TYPES, SAMPLERS, VARIANCE_TYPES
from minidiff.diffusion.arrays import apply, is_tensor, log_softmax, log_sum_exp, where
from minidiff.diffusion.lookup import signal_and_noise

S = d.make_schedule("linear", 20, beta_end=0.2)
LINE, VP = d.StraightLine(), d.VariancePreserving()
SHAPE = (3, 2, 4)
MEANS = np.linspace(-0.4, 0.6, 16).reshape(2, 2, 4)
MIXTURE = d.Mixture([0.4, 0.6], MEANS, [0.9, 0.7])
TURN = np.linalg.qr(np.vander(np.linspace(-1, 1, 4)))[0]
EXACT = {
    "Gaussian": d.Gaussian(MEANS[0], 0.8),
    "Mixture": MIXTURE,
    "Points": d.Points(MEANS),
}


class OnHost(NamedTuple):
    """An answer that is on the host by design, whatever the library of the question."""

    values: object


def tanh(x, t=None):
    """A model that does not look at the time."""
    return apply("tanh", x)


def twice(x, t=None):
    """Twice the channels, for a model that learns its variance."""
    return apply("tanh", x)[:, [0, 1, 0, 1]]


def conditional(x, t, context):
    """A model that knows its context, an embedding."""
    return x * context / (1 + x * x)


def vjp_of(x, **options):
    """The vector-Jacobian product of x's library, for the functions that take one."""
    root = type(x).__module__.partition(".")[0]
    if root == "torch":
        return functools.partial(sys.modules["torch"].autograd.functional.vjp, **options)
    if root in ("jax", "jaxlib"):
        return _jax_vjp
    return functools.partial(autograd.vjp, **options)


def _jax_vjp(function, x, v):
    value, back = sys.modules["jax"].vjp(function, x)
    return value, back(v)[0]


def beside(x, answer):
    """What minidiff's autograd answers about a plain array is a Tensor: its array."""
    return answer if is_tensor(x) else to_array(answer)


# -- formulas: two arrays alike, (3, 2, 4), and times of S, one or (3,). No number comes to the host, and JAX can trace them ------------


def weighted(weight):
    """The loss with a weight of the times: what weights are for."""
    return lambda a, b, t: d.simple_loss(tanh, S, a, t, b, "epsilon", weight(t))


FORMULAS = {
    # forward.py, lookup.py, continuous.py
    "q_step": lambda a, b, t: d.q_step(S, a, t, b),
    "q_sample": lambda a, b, t: d.q_sample(S, a, t, b),
    "StraightLine": lambda a, b, t: d.q_sample(LINE, a, t / 20, b),
    "VariancePreserving": lambda a, b, t: d.q_sample(VP, a, t / 20, b),
    "SubVariancePreserving": lambda a, b, t: d.q_sample(d.SubVariancePreserving(), a, t / 20, b),
    "VarianceExploding": lambda a, b, t: d.q_sample(d.VarianceExploding(), a, t / 20, b),
    "Cosine": lambda a, b, t: d.q_sample(d.Cosine(), a, t / 20, b),
    "q_mean_variance": lambda a, b, t: (*d.q_mean_variance(S, a, t), sum(d.q_mean_variance(S, a, t), b)),
    "q_sample_between": lambda a, b, t: d.q_sample_between(S, a, t / 2, t / 2 + 9, b),
    "q_mean_variance_between": lambda a, b, t: (b, *d.q_mean_variance_between(S, a, t / 2, t / 2 + 9)),
    "extract": lambda a, b, t: d.extract(S.snr, t, like=a) * a + b,
    "signal_and_noise": lambda a, b, t: (*d.signal_and_noise(S, t, like=a), a + b),
    # posterior.py, parameterization.py, variance.py, backward.py
    "q_posterior_mean_variance": lambda a, b, t: d.q_posterior_mean_variance(S, a, b, t),
    "q_posterior_mean_from_epsilon": lambda a, b, t: d.q_posterior_mean_from_epsilon(S, a, t, b),
    "q_posterior_mean_variance_between": lambda a, b, t: d.q_posterior_mean_variance_between(S, a, b, t / 2 + 9, t / 2, 0.7),
    "predict_start_from_noise": lambda a, b, t: d.predict_start_from_noise(S, a, t, b),
    "predict_noise_from_start": lambda a, b, t: d.predict_noise_from_start(S, a, t, b),
    "predict_v": lambda a, b, t: d.predict_v(S, a, t, b),
    "predict_start_from_v": lambda a, b, t: d.predict_start_from_v(S, a, t, b),
    "predict_noise_from_v": lambda a, b, t: d.predict_noise_from_v(S, a, t, b),
    "predict_start_and_noise": lambda a, b, t: d.predict_start_and_noise(S, "v_prediction", a, b, t),
    **{f"convert, {start} to {end}": functools.partial(lambda a, b, t, start, end: d.convert(a, b, S, t, start, end), start=start, end=end)
       for start, end in zip(PREDICTION_TYPES, PREDICTION_TYPES[1:] + PREDICTION_TYPES[:1])},
    **{f"training_target, {kind}": functools.partial(lambda a, b, t, kind: d.training_target(S, kind, a, b, t) + a + b, kind=kind)
       for kind in PREDICTION_TYPES},
    **{f"{name}, columns": functools.partial(lambda a, b, t, weights: mixed(a, b, weights("v_prediction", *signal_and_noise(S, t, like=a))),
                                             weights=weights)
       for name, weights in {"weights_of_start": d.weights_of_start, "weights_of_noise": d.weights_of_noise,
                             "weights_between": functools.partial(d.weights_between, "score")}.items()},
    "weight_of_score": lambda a, b, t: a + b * d.weight_of_score("flow_prediction", *signal_and_noise(S, t, like=a)),
    "learned_log_variance": lambda a, b, t: b + d.learned_log_variance("learned_range", a, -3.0, d.extract(np.log(S.betas), t, like=a)),
    **{f"p_mean_variance, {kind}": functools.partial(
        lambda a, b, t, kind: d.p_mean_variance(S, twice(a) if kind.startswith("learned") else a, b, t, "v_prediction", kind,
                                                clip_denoised=True), kind=kind)
       for kind in VARIANCE_TYPES},
    "p_mean_variance, thresholded": lambda a, b, t: d.p_mean_variance(S, a, b, t, denoised_fn=d.dynamic_threshold, min_variance=1e-20),
    # gaussians.py, thresholding.py, bound.py
    "normal_log_prob": lambda a, b, t: d.normal_log_prob(a, b, 0.3),
    "normal_log_prob, arrays": lambda a, b, t: d.normal_log_prob(a, *d.q_mean_variance(S, b, t)[::2]),
    "normal_kl": lambda a, b, t: d.normal_kl(a, b, 0.3 * b, 0.1 * a),
    "normal_kl, to a number": lambda a, b, t: d.normal_kl(a, b, 0.0, 0.0),
    "normal_kl, numbers": lambda a, b, t: d.normal_kl(a, 0.2, b, 0.5),
    "prior_kl": lambda a, b, t: d.prior_kl(S, a) + d.sum_flat(b),
    "sum_flat": lambda a, b, t: d.sum_flat(a * b),
    "nats_to_bits_per_dim": lambda a, b, t: d.nats_to_bits_per_dim(d.sum_flat(a), 8) + d.sum_flat(b),
    "discretized_gaussian_log_likelihood": lambda a, b, t: d.discretized_gaussian_log_likelihood(a.clip(-1, 1), b, 0.3 * a - 2),
    "discretized_gaussian_log_likelihood, one scale": lambda a, b, t: d.discretized_gaussian_log_likelihood(a.clip(-1, 1), b, -2.0),
    "discretized_gaussian_log_likelihood, approximate": lambda a, b, t: d.discretized_gaussian_log_likelihood(
        a.clip(-1, 1), a.clip(-1, 1) + 0.02 * b, 0.1 * a - 3, True),  # near the mean: far out its digits cancel
    "dynamic_threshold": lambda a, b, t: (d.dynamic_threshold(a, 0.7), d.dynamic_threshold(3 * b, 0.7, 2.0)),
    "static_threshold": lambda a, b, t: (d.static_threshold(a, 0.5), d.static_threshold(b)),
    "log_sum_exp": lambda a, b, t: log_sum_exp(a + 100 * b, 1),
    "log_softmax": lambda a, b, t: log_softmax(a + 100 * b, 1),
    "where": lambda a, b, t: where(a > b, a, b),
    **{f"vb_terms_bpd, {decoder}": functools.partial(
        lambda a, b, t, decoder: d.vb_terms_bpd(S, a.clip(-1, 1) + 0.02 * tanh(b), a.clip(-1, 1), b, t, "sample", decoder=decoder),
        decoder=decoder)
       for decoder in DECODERS},
    # losses.py, weighting.py, preconditioning.py, score_matching.py, flow_matching.py, importance.py
    "simple_loss": lambda a, b, t: d.simple_loss(tanh, S, a, t, b, "v_prediction"),
    "training_losses": lambda a, b, t: d.training_losses(tanh, S, a, t, b, "flow_prediction"),
    "hybrid_loss": lambda a, b, t: d.hybrid_loss(twice, S, a.clip(-1, 1), t, b, "v_prediction"),
    "hybrid_terms": lambda a, b, t: d.hybrid_terms(twice, S, a.clip(-1, 1), t, b, "v_prediction"),
    "min_snr_weight": weighted(lambda t: d.min_snr_weight(S, t)),
    "truncated_snr_weight": weighted(lambda t: d.truncated_snr_weight(S, t)),
    "p2_weight": weighted(lambda t: d.p2_weight(S, t)),
    "edm_weight": weighted(lambda t: d.edm_weight(S, t, "epsilon")),
    "kl_weight": weighted(lambda t: d.kl_weight(S, t)),
    "same_loss_weight": weighted(lambda t: d.same_loss_weight(S, t, "v_prediction", "epsilon")),
    "snr_difference_weight": weighted(lambda t: d.snr_difference_weight(S, t / 2 + 9, t / 2)),
    "weight_from_start": weighted(lambda t: d.weight_from_start(1.0, S, t, "epsilon")),
    "velocity_weight": weighted(lambda t: d.velocity_weight(VP, t / 20 + 0.01)),
    "importance_weights": weighted(lambda t: d.importance_weights(d.uniform_probabilities(20), t)),
    "edm_precondition": lambda a, b, t: d.edm_precondition(tanh)(a, t + 0.1) + b,
    "denoising_score_matching": lambda a, b, t: d.denoising_score_matching(tanh, S, a, t, b),
    "implicit_score_matching": lambda a, b, t: beside(a, d.implicit_score_matching(tanh, a + b, vjp=vjp_of(a, create_graph=True))),
    "sliced_score_matching": lambda a, b, t: beside(a, d.sliced_score_matching(tanh, a, b, vjp=vjp_of(a, create_graph=True))),
    "sliced_score_matching, plain": lambda a, b, t: beside(a, d.sliced_score_matching(tanh, a, b, False, vjp=vjp_of(a, create_graph=True))),
    "conditional_velocity": lambda a, b, t: d.conditional_velocity(VP, a, t / 20 + 0.01, b),
    "flow_matching_loss": lambda a, b, t: d.flow_matching_loss(tanh, a, t / 20, b),
    "flow_matching_loss, weighted": lambda a, b, t: d.flow_matching_loss(
        tanh, a, t / 20 + 0.01, b, VP, d.velocity_weight(VP, t / 20 + 0.01)),
    # sde.py, likelihood.py, samplers/langevin.py
    "drift_and_diffusion": lambda a, b, t: (b, *d.drift_and_diffusion(VP, a, t / 20)),
    "marginal_prob": lambda a, b, t: (b, *d.marginal_prob(VP, a, t / 20)),
    "prior_sampling": lambda a, b, t: b + d.prior_sampling(VP, a),
    "prior_logp": lambda a, b, t: d.sum_flat(b) + d.prior_logp(EDM, a, 3.0),
    "reverse_drift": lambda a, b, t: d.reverse_drift(VP, a, t / 20, b, 0.5),
    "probability_flow_velocity": lambda a, b, t: d.probability_flow_velocity(VP, a, t / 20, b),
    "bits_per_dim": lambda a, b, t: d.bits_per_dim(d.sum_flat(a * b), 8),
    "langevin_step": lambda a, b, t: d.langevin_step(a, tanh(a), 0.1, b),
    "langevin_step, a size for each": lambda a, b, t: d.langevin_step(a, b, d.extract(S.betas, t, like=a) + 0 * a[:, :1, :1], b),
    # guidance/, editing/, exact/
    "rescale_guidance": lambda a, b, t: d.rescale_guidance(a, b, 0.7),
    "classifier_guidance": lambda a, b, t: d.classifier_guidance(tanh, S, lambda x, t: b - x, 1.5, "v_prediction")(a, np.full(3, t)),
    "classifier_free_guidance": lambda a, b, t: d.classifier_free_guidance(
        conditional, to_array(b), 3.0, np.full((2, 4), 0.5), 0.7)(a, np.full(3, t)),
    "guidance_interval": lambda a, b, t: d.guidance_interval(tanh, lambda x, t: b - x, S, 0.3, 1.0)(a, np.full(3, t)),
    "log_prob_of_start": lambda a, b, t: d.log_prob_of_start(lambda start: d.sum_flat((start - b) * b), tanh, S)(a, np.full(3, t)),
    "outpainting_canvas": lambda a, b, t: (*d.outpainting_canvas(a, [(1, 0), (0, 2)]), a + b),
    **{f"{kind}, {what}": functools.partial(lambda a, b, t, data, what: b + getattr(data, what)(a, 0.8, 0.6), data=data, what=what)
       for kind, data in EXACT.items() for what in ("start", "score")},
    **{f"{kind}, log_prob": functools.partial(lambda a, b, t, data: d.sum_flat(b) + data.log_prob(a, *signal_and_noise(S, t, like=a)),
                                              data=data)
       for kind, data in EXACT.items()},
    **{f"{kind}, log_responsibilities": functools.partial(
        lambda a, b, t, data: data.log_responsibilities(a, *signal_and_noise(S, t, like=a)), data=data)
       for kind, data in list(EXACT.items())[1:]},
    "Rotated": lambda a, b, t: (b, *(getattr(turned, what)(a[:, 0], 0.8, 0.6) for what in ("start", "score", "log_prob"))),
    **{f"{kind}, model of {prediction_type}": functools.partial(
        lambda a, b, t, data, prediction_type: b + data.model(S, prediction_type)(a, t), data=data, prediction_type=prediction_type)
       for kind, data in EXACT.items() for prediction_type in PREDICTION_TYPES},
    "Gaussian, transport": lambda a, b, t: EXACT["Gaussian"].transport(a, 0.3 + 0 * b, VP.level(0.7), VP.level(0.2), 0.5),
    "Gaussian, flow": lambda a, b, t: b + EXACT["Gaussian"].flow(a, VP.level(0.7), VP.level(0.2)),
}
turned = d.Rotated(d.Gaussian(0.2, [0.5, 0.7, 0.9, 1.1]), TURN)


def mixed(a, b, weights):
    """A mixture of two arrays."""
    return weights[0] * a + weights[1] * b


# -- walks: two arrays alike and 40 more as noise. Whether the answers of the model are finite comes to the host -------------------------

TIMES = [19, 13, 6, 1]
MODEL = MIXTURE.model(S)


def walk(a, z, sampler, process=S, times=TIMES, **options):
    """A walk with noise from the list."""
    return d.sample(options.pop("model", MODEL), process, a, times, sampler,
                    noise=z[:sampler.plan(d.path(process, times)).draws], **options)


def guided_walk(gradient_at):
    return lambda a, b, z: walk(a, z, d.DDPM, shift_mean=d.shifted_mean(lambda x, t: b - x, 0.3, gradient_at, TIMES))


def recorded(a, b, z):
    record = d.trajectory(MODEL, S, a, TIMES, d.DDPM, noise=z[:3])
    return OnHost(record.times), record.states, record.predictions


WALKS = {
    **{f"sample, {name}": functools.partial(lambda a, b, z, sampler: walk(a, z, sampler), sampler=sampler)
       for name, sampler in SAMPLERS.items()},
    **{f"sample, {kind}": functools.partial(
        lambda a, b, z, kind: walk(a, z, d.DDPM, model=MIXTURE.model(S, kind), prediction_type=kind), kind=kind)
       for kind in PREDICTION_TYPES},
    "sample, clipped": lambda a, b, z: walk(a, z, d.DDIM, clip_denoised=True),
    "sample, thresholded": lambda a, b, z: walk(a, z, d.DDIM, denoised_fn=d.dynamic_threshold, rederive_epsilon=False),
    "sample, replaced": lambda a, b, z: walk(a, z, d.HEUN, arrived=lambda step, level, x: (x + b) / 2),
    "sample, learned": lambda a, b, z: walk(a, z, d.Ancestral(1.0, "learned_range"), model=twice),
    "sample, sigmas": lambda a, b, z: walk(a, z, d.HEUN, EDM, [9.0, 3.0, 1.0], model=MIXTURE.model(EDM)),
    "member": lambda a, b, z: walk(a, z, d.member("ddim"), set_alpha_to_one=False),
    "Ancestral": lambda a, b, z: walk(a, z, d.Ancestral(0.4)),
    "Karras": lambda a, b, z: walk(a, z, d.Karras(2, s_churn=2.0, s_noise=1.01)),
    "Multistep": lambda a, b, z: walk(a, z, d.Multistep(3, eta=0.5, lower_order_final=True)),
    "UniPC": lambda a, b, z: walk(a, z, d.UniPC(3, "epsilon", "bh1")),
    "Pseudo": lambda a, b, z: walk(a, z, d.Pseudo(True), times=[16, 12, 8, 4, 0]),
    "SingleStep": lambda a, b, z: walk(a, z, d.SingleStep((0.4,), "epsilon", 0.6)),
    "ReverseDiffusion": lambda a, b, z: walk(a, z, d.ReverseDiffusion(0.5)),
    "AnnealedLangevin": lambda a, b, z: walk(a, z, d.AnnealedLangevin(1e-2, 2)),
    "Inversion": lambda a, b, z: walk(a, z, d.Inversion("end", 1)),
    "trajectory": recorded,
    "predictor_corrector": lambda a, b, z: d.predictor_corrector(MODEL, S, a, TIMES, noise=z[:3], corrector_noise=z[3:6]),
    "LangevinCorrector": lambda a, b, z: d.predictor_corrector(
        MODEL, S, a, TIMES, d.DDPM, d.LangevinCorrector(0.1, 2, batch_mean=True), noise=z[:3], corrector_noise=z[3:9]),
    "langevin_step_size": lambda a, b, z: d.langevin_step_size(a, b, 0.2),
    "langevin_dynamics": lambda a, b, z: d.langevin_dynamics(lambda x: b - x, a, 0.1, 3, noise=z[:3]),
    "score_function": lambda a, b, z: d.score_function(MODEL, S)(a, np.array([3, 9, 12])),
    "euler_maruyama": lambda a, b, z: d.euler_maruyama(d.forward_sde(VP), a, [0.1, 0.4, 0.7], noise=z[:2]),
    "forward_sde": lambda a, b, z: d.forward_sde(VP).drift(a, 0.4),
    "reverse_sde": lambda a, b, z: d.euler_maruyama(
        d.reverse_sde(MIXTURE.model(VP), VP, eta=0.7), a, [0.9, 0.6, 0.3], noise=z[:1], denoise=True),
    "SDE": lambda a, b, z: d.euler_maruyama(d.SDE(lambda x, t: b - t * x, lambda t: t), a, [0.1, 0.4], noise=z[:1]),
    "AngularFlow": lambda a, b, z: d.AngularFlow(MODEL, S).velocity(a, S.level(7)),
    "probability_flow": lambda a, b, z: d.probability_flow(MODEL, S, a, 19, 1, rtol=1e-3, atol=1e-3)[0],
    "log_likelihood": lambda a, b, z: likelihood(d.log_likelihood(
        smooth, VP, a, 0.05, 1.0, probes=z[:2], vjp=vjp_of(a), rtol=1e-2, atol=1e-2)),
    "divergence": lambda a, b, z: OnHost(d.divergence(tanh, a, vjp=vjp_of(a))),
    "uniform_dequantization": lambda a, b, z: d.uniform_dequantization(np.arange(24).reshape(SHAPE), abs(tanh(a)) * 0.99),
    "calc_bpd_loop": lambda a, b, z: d.calc_bpd_loop(tanh, S, a.clip(-1, 1), noise=z[:20], prediction_type="sample"),
    "LossHistory": lambda a, b, z: OnHost(
        d.LossHistory.empty(20, 2).updated([3, 9, 12], d.training_losses(tanh, S, a, [3, 9, 12], b)).losses),
    "shifted_mean": guided_walk("x_t"),
    "shifted_mean, at the mean": guided_walk("mean"),
    "classifier_guidance": lambda a, b, z: walk(a, z, d.DDPM, model=d.classifier_guidance(MODEL, S, lambda x, t: b - x, 0.5)),
    "classifier_free_guidance": lambda a, b, z: walk(
        a, z, d.DDIM, model=d.classifier_free_guidance(conditional, to_array(b), 3.0, [[0.5] * 4] * 2), prediction_type="sample"),
    "guidance_interval": lambda a, b, z: walk(
        a, z, d.DDIM, model=d.guidance_interval(EXACT["Gaussian"].model(S, "score"), MIXTURE.model(S, "score"), S, 0.3, 1.0),
        prediction_type="score"),
    "inpaint": lambda a, b, z: d.inpaint(MODEL, S, a, TIMES, b, [1.0, 0.0, 0.5, 1.0], noise=z[:6]),
    "inpaint, mask of the library": lambda a, b, z: d.inpaint(MODEL, S, a, TIMES, b, (tanh(b) + 1) / 2, d.HEUN, noise=z[:3]),
    "inpaint, with jumps": lambda a, b, z: d.inpaint(
        MODEL, S, a, TIMES, b, np.array([True, False, False, True]), jump_n_sample=2, noise=z[:15]),
    "sdedit": lambda a, b, z: d.sdedit(MODEL, S, a, TIMES, 0.5, noise=z[:2]),
    "ddim_inversion": lambda a, b, z: d.ddim_inversion(MODEL, S, a, TIMES, corrections=1),
    "reconstruction_error": lambda a, b, z: d.reconstruction_error(MODEL, S, a, TIMES),
    "counterfactual": lambda a, b, z: d.counterfactual(MODEL, EXACT["Gaussian"].model(S), S, a, TIMES),
}


def smooth(x, t):
    """A model that every library can differentiate: times go in as they come."""
    return x * 0.6 + 0.1 * apply("tanh", x)


def likelihood(result):
    return OnHost(result.log_prob), result.latent


# -- derivatives by minidiff's own autograd: for arrays of minidiff's devices and Tensors -------------------------------------------------

OWN_DERIVATIVES = {
    "log_prob_gradient": lambda a, b, t: d.log_prob_gradient(lambda x, t: -(x * x).sum() / 2)(a, t) + b,
}


# -- draws: what a generator of the device gives -----------------------------------------------------------------------------------------

DRAWS = {
    "draw_times": lambda generator, x: OnHost(d.draw_times(np.arange(20) / 190, 5, generator)),
    "lognormal_sigmas": lambda generator, x: OnHost(d.lognormal_sigmas(5, generator)),
    "bernoulli_drop": lambda generator, x: OnHost(d.bernoulli_drop([1, 2, 3], 0, 0.5, generator)),
    "hutchinson_probes": lambda generator, x: d.hutchinson_probes(x, 2, generator),
    "hutchinson_probes, gaussian": lambda generator, x: d.hutchinson_probes(x, 2, generator, "gaussian"),
    "Gaussian": lambda generator, x: EXACT["Gaussian"].sample(3, generator),
    "Mixture": lambda generator, x: MIXTURE.sample(3, generator),
    "Points": lambda generator, x: OnHost(EXACT["Points"].sample(3, generator)),
    "Rotated": lambda generator, x: turned.sample(3, generator),
    "sample": lambda generator, x: d.sample(MODEL, S, x, TIMES, generator=generator),
    "sample, sde": lambda generator, x: d.sample(MODEL, S, x, TIMES, d.DPMPP_2M_SDE, generator=generator),
    "inpaint": lambda generator, x: d.inpaint(MODEL, S, x, TIMES, x, [1, 0, 0, 1], jump_n_sample=2, generator=generator),
    "sdedit": lambda generator, x: d.sdedit(MODEL, S, x, TIMES, 0.5, generator=generator),
    "predictor_corrector": lambda generator, x: d.predictor_corrector(MODEL, S, x, TIMES, generator=generator),
    "euler_maruyama": lambda generator, x: d.euler_maruyama(d.forward_sde(VP), x, [0.1, 0.4], generator=generator),
    "langevin_dynamics": lambda generator, x: d.langevin_dynamics(lambda x: -x, x, 0.1, 3, generator=generator),
    "calc_bpd_loop": lambda generator, x: d.calc_bpd_loop(tanh, S, x.clip(-1, 1), generator=generator, prediction_type="sample"),
}


# -- what has no call --------------------------------------------------------------------------------------------------------------------

EXCEPTIONS = {
    "numbers and lists on the host: no array goes in": """
        Schedule respace make_schedule rescale_zero_terminal_snr path transition posterior_weights timesteps exponential_sigmas
        karras_sigmas uniform_sigmas sigma_range times_of_sigmas path_derivatives uniform_probabilities edm_preconditioning
        repaint_schedule sdedit_times guidance_scale_from_weight""",
    "what a class or a protocol demands": "Process ContinuousProcess ExactData Sampler Model",
    "records that other functions return": "Level Path Move Plan Row StepBack Bound HybridTerms Preconditioning Flow Likelihood Trajectory",
    "SciPy's solvers and NumPy's arrays, by name": "integrate sampler_law wasserstein",
}


def covered():
    """The public names that have a call, or a reason for none."""
    calls = {name.partition(",")[0] for name in (*FORMULAS, *WALKS, *OWN_DERIVATIVES, *DRAWS)}
    return calls | {name for names in EXCEPTIONS.values() for name in names.split()}


def functions():
    """The public names that can be called."""
    return {name for name in diffusion.__all__ if callable(getattr(diffusion, name))}


def arrays(count, dtype):
    """Standard normal arrays of SHAPE."""
    return list(np.random.default_rng().standard_normal((count, *SHAPE)).astype(dtype))


def parts(answer):
    """The arrays and numbers of an answer, and for each whether it is on the host by design."""
    if isinstance(answer, OnHost):
        return [(part, True) for part, _ in parts(answer.values)]
    if isinstance(answer, (tuple, list)):
        return [part for one in answer for part in parts(one)]
    return [(answer, False)]
