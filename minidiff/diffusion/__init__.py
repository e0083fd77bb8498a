"""The mathematics of diffusion, one short function a formula.

Nothing here knows a network: a model is a callable `(x, t) -> array`. Formulas use only arithmetic on what they are
given, so one function serves NumPy arrays, CuPy arrays and Tensors. Times are 0-based: `t` here is `t + 1` in the
papers, and "alpha-bar before the first step" is 1. Reading order:

    schedules          how much noise each step adds, and every table that follows from it
    lookup             how a float64 table meets a float32 batch
    forward            adding noise: one step, and all steps at once
    posterior          one step back, when the clean data is known
    parameterization   epsilon, sample, v_prediction: three names for one prediction
    losses             what a model is trained on
    spacing            which times a sampler visits, and the shorter process that they form
    samplers           DDPM and DDIM, one loop
    guidance           steering a sampler by a condition
    exact              data so simple that the perfect model is known: the oracle of the tests
"""

from minidiff.diffusion.exact import gaussian_denoiser, gaussian_epsilon, gaussian_marginal, mixture_epsilon
from minidiff.diffusion.forward import q_mean_variance, q_sample, q_step
from minidiff.diffusion.guidance import bernoulli_drop, classifier_free_guidance
from minidiff.diffusion.lookup import extract
from minidiff.diffusion.losses import simple_loss
from minidiff.diffusion.parameterization import (
    PREDICTION_TYPES,
    predict_noise_from_start,
    predict_noise_from_v,
    predict_start_and_noise,
    predict_start_from_noise,
    predict_start_from_v,
    predict_v,
    training_target,
)
from minidiff.diffusion.posterior import q_posterior_mean_from_epsilon, q_posterior_mean_variance
from minidiff.diffusion.samplers import DDIM, DDPM, DDPM_LARGE, Ancestral, sample
from minidiff.diffusion.schedules import BETA_SCHEDULES, Schedule, make_schedule
from minidiff.diffusion.spacing import SPACINGS, check_timesteps, respace, timesteps

__all__ = [
    "BETA_SCHEDULES", "DDIM", "DDPM", "DDPM_LARGE", "PREDICTION_TYPES", "SPACINGS", "Ancestral", "Schedule",
    "bernoulli_drop", "check_timesteps", "classifier_free_guidance", "extract", "gaussian_denoiser", "gaussian_epsilon",
    "gaussian_marginal", "make_schedule", "mixture_epsilon", "predict_noise_from_start", "predict_noise_from_v",
    "predict_start_and_noise", "predict_start_from_noise", "predict_start_from_v", "predict_v", "q_mean_variance",
    "q_posterior_mean_from_epsilon", "q_posterior_mean_variance", "q_sample", "q_step", "respace", "sample",
    "simple_loss", "timesteps", "training_target",
]
