"""Samplers: from noise back to data, by a walk through a list of noise levels. Reading order:

    plan        what all samplers have in common: linear combinations of what the model says
    walk        the loop that carries a plan out
    pieces      the same in one pass over the memory, for large NumPy arrays
    ancestral   DDPM, DDIM and what lies between
    karras      Euler and Heun with churn: EDM's Algorithm 2
    multistep   DPM-Solver, DPM-Solver++ and its SDE: polynomials through the last predictions
    unipc       the same, and a corrector
    pseudo      PNDM and PLMS: classical methods with DDIM's step
    singlestep  DPM-Solver-2, -3, DPM-Solver++(2S), their ancestral forms: several calls a step
    adaptive    the probability-flow ODE to a tolerance, by scipy, in both directions
    langevin    Langevin dynamics, annealed, and as corrector of another sampler
    members     all samplers by name
"""

from minidiff.diffusion.samplers import (
    adaptive,
    ancestral,
    karras,
    langevin,
    members,
    multistep,
    plan,
    pseudo,
    singlestep,
    unipc,
    walk,
)
from minidiff.diffusion.samplers.adaptive import *
from minidiff.diffusion.samplers.ancestral import *
from minidiff.diffusion.samplers.karras import *
from minidiff.diffusion.samplers.langevin import *
from minidiff.diffusion.samplers.members import *
from minidiff.diffusion.samplers.multistep import *
from minidiff.diffusion.samplers.plan import *
from minidiff.diffusion.samplers.pseudo import *
from minidiff.diffusion.samplers.singlestep import *
from minidiff.diffusion.samplers.unipc import *
from minidiff.diffusion.samplers.walk import *

_FILES = (plan, walk, ancestral, karras, multistep, unipc, pseudo, singlestep, adaptive, langevin, members)
__all__ = [name for file in _FILES for name in file.__all__]
