"""Data so simple that the perfect model is known: an oracle for samplers, and a way to play without training. Reading order:

    data        what every exactly known distribution offers
    gaussian    Gaussian data, and the exact solution of its probability-flow ODE
    mixture     mixtures of Gaussians: several modes, and the exact classifier between them
    points      a finite data set: the perfect denoiser memorizes
    rotated     any of these, turned: correlated coordinates
    law         the exact distribution of a sampler's output, without drawing
"""

from minidiff.diffusion.exact import (
    data,
    gaussian,
    law,
    mixture,
    points,
    rotated,
)
from minidiff.diffusion.exact.data import *
from minidiff.diffusion.exact.gaussian import *
from minidiff.diffusion.exact.law import *
from minidiff.diffusion.exact.mixture import *
from minidiff.diffusion.exact.points import *
from minidiff.diffusion.exact.rotated import *

_FILES = (data, gaussian, mixture, points, rotated, law)
__all__ = [name for file in _FILES for name in file.__all__]
