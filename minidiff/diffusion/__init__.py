"""The mathematics of diffusion, one short function a formula.

Nothing here knows a network: a model is a callable `(x, t) -> array`. Formulas use only arithmetic on what they are
given, so one function serves NumPy and CuPy arrays, Tensors, and the arrays of PyTorch and JAX. Times are 0-based: `t`
here is `t + 1` in the papers, and "alpha-bar before the first step" is 1. Reading order:

    arrays             the few things that arithmetic does not say, for arrays of any library
    process            x_t = alpha(t) x_0 + sigma(t) eps: what every forward process is; a walk's way through it
    schedules          processes of T steps, and every table that follows from their betas
    betas              the families of schedules that people train with
    continuous         processes in continuous time
    lookup             how a float64 number meets a float32 batch
    forward            adding noise: one step, and all steps at once
    posterior          one step back, when the clean data is known
    parameterization   epsilon, sample, v_prediction, score, flow_prediction: five names for one prediction
    variance           the variance of a step back: fixed, or said by the model
    backward           one step back, as a model takes it
    gaussians          what two Gaussians have to do with each other: densities, divergences, bins of pixels
    thresholding       keeping the predicted data in range
    bound              the variational bound, in bits per dimension
    losses             what a model is trained on
    weighting          how much the errors of each time count
    preconditioning    EDM's denoiser around a network
    score_matching     fitting a score without knowing the density
    flow_matching      training the velocity of a path
    importance         which times to train at
    spacing            which times of a schedule a sampler visits
    sigmas             the same as noise levels: Karras et al.'s list and others
    samplers/          from noise to data: one walk, families of coefficients
    sde                the same as a stochastic differential equation, forwards and backwards
    likelihood         how probable the model finds an image
    guidance/          steering a sampler by a condition
    editing/           inpainting, SDEdit, inversion: what a model can do with data that is already there
    exact/             data so simple that the perfect model is known
"""

from minidiff.diffusion import (
    backward,
    betas,
    bound,
    continuous,
    editing,
    exact,
    flow_matching,
    forward,
    gaussians,
    guidance,
    importance,
    likelihood,
    lookup,
    losses,
    parameterization,
    posterior,
    preconditioning,
    process,
    samplers,
    schedules,
    score_matching,
    sde,
    sigmas,
    spacing,
    thresholding,
    variance,
    weighting,
)
from minidiff.diffusion.backward import *
from minidiff.diffusion.betas import *
from minidiff.diffusion.bound import *
from minidiff.diffusion.continuous import *
from minidiff.diffusion.editing import *
from minidiff.diffusion.exact import *
from minidiff.diffusion.flow_matching import *
from minidiff.diffusion.forward import *
from minidiff.diffusion.gaussians import *
from minidiff.diffusion.guidance import *
from minidiff.diffusion.importance import *
from minidiff.diffusion.likelihood import *
from minidiff.diffusion.lookup import *
from minidiff.diffusion.losses import *
from minidiff.diffusion.parameterization import *
from minidiff.diffusion.posterior import *
from minidiff.diffusion.preconditioning import *
from minidiff.diffusion.process import *
from minidiff.diffusion.samplers import *
from minidiff.diffusion.schedules import *
from minidiff.diffusion.score_matching import *
from minidiff.diffusion.sde import *
from minidiff.diffusion.sigmas import *
from minidiff.diffusion.spacing import *
from minidiff.diffusion.thresholding import *
from minidiff.diffusion.variance import *
from minidiff.diffusion.weighting import *

_FILES = (process, schedules, betas, continuous, lookup, forward, posterior, parameterization, variance, backward, gaussians,
          thresholding, bound, losses, weighting, preconditioning, score_matching, flow_matching, importance, spacing, sigmas, samplers,
          sde, likelihood, guidance, editing, exact)
__all__ = [name for file in _FILES for name in file.__all__]
