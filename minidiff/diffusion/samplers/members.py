"""Samplers by name.

Names are diffusers' and k-diffusion's where they have one. Stands on every family of this folder.
"""

from __future__ import annotations

from minidiff.diffusion.samplers.ancestral import DDIM, DDPM, DDPM_LARGE
from minidiff.diffusion.samplers.karras import EULER, HEUN
from minidiff.diffusion.samplers.multistep import DPM_SOLVER_2M, DPM_SOLVER_3M, DPMPP_2M, DPMPP_2M_SDE, DPMPP_3M, DPMPP_3M_SDE
from minidiff.diffusion.samplers.plan import Sampler
from minidiff.diffusion.samplers.pseudo import PLMS, PNDM
from minidiff.diffusion.samplers.singlestep import (
    DPM_2_ANCESTRAL,
    DPM_SOLVER_1,
    DPM_SOLVER_2,
    DPM_SOLVER_3,
    DPMPP_2S,
    DPMPP_2S_ANCESTRAL,
    DPMPP_3S,
    DPMPP_SDE,
)
from minidiff.diffusion.samplers.unipc import UNIPC

__all__ = ["SAMPLERS", "member"]

SAMPLERS: dict[str, Sampler] = {
    "ddpm": DDPM,
    "ddpm_large": DDPM_LARGE,
    "ddim": DDIM,
    "euler": EULER,
    "heun": HEUN,
    "dpm_solver_1": DPM_SOLVER_1,
    "dpm_solver_2": DPM_SOLVER_2,
    "dpm_solver_3": DPM_SOLVER_3,
    "dpm_2_ancestral": DPM_2_ANCESTRAL,
    "dpmpp_2s": DPMPP_2S,
    "dpmpp_3s": DPMPP_3S,
    "dpmpp_2s_ancestral": DPMPP_2S_ANCESTRAL,
    "dpmpp_sde": DPMPP_SDE,
    "dpm_solver_2m": DPM_SOLVER_2M,
    "dpm_solver_3m": DPM_SOLVER_3M,
    "dpmpp_2m": DPMPP_2M,
    "dpmpp_3m": DPMPP_3M,
    "dpmpp_2m_sde": DPMPP_2M_SDE,
    "dpmpp_3m_sde": DPMPP_3M_SDE,
    "unipc": UNIPC,
    "pndm": PNDM,
    "plms": PLMS,
}


def member(name: str) -> Sampler:
    """The sampler of this name. Raises ValueError that lists the names for an unknown one."""
    if name not in tuple(SAMPLERS):
        raise ValueError(f"member: unknown sampler {name!r}; choose from {', '.join(SAMPLERS)}")
    return SAMPLERS[name]
