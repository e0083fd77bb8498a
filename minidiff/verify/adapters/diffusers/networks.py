"""`UNet2DModel`, alone and in a walk of a scheduler; the average of weights and the learning rate of diffusers' training scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.func import functional_call

from minidiff.verify.adapters.common import learning_rates, refuse
from minidiff.verify.adapters.diffusers.samplers import ancestral, steps
from minidiff.verify.adapters.diffusers.schedules import LIBRARY
from minidiff.verify.adapters.minidiff.samplers import arrays
from minidiff.verify.adapters.torch.networks import weights

FIXED = {"patch_size": 1, "up_layers_per_block": None, "block": "resnet", "downsample": "conv", "upsample": "nearest", "skips": "block",
         "middle": "resnet", "time_features": None, "time_scale": 1.0, "max_period": 10000.0}
"""What `UNet2DModel` cannot be set to otherwise."""


def model_of(c: Mapping[str, Any]) -> torch.nn.Module:
    """The `UNet2DModel` of these settings."""
    refuse(LIBRARY, {f"UNet2DModel with {name} {c[name]}": c[name] != value for name, value in FIXED.items()})
    kinds = ["Attn" * (level in c["attention_levels"]) for level in range(len(c["block_out_channels"]))]
    same = ("sample_size", "in_channels", "out_channels", "block_out_channels", "layers_per_block", "attention_head_dim", "norm_num_groups",
            "norm_eps", "downsample_padding", "flip_sin_to_cos", "freq_shift")
    return diffusers.UNet2DModel(
        **{name: c[name] for name in same}, act_fn=c["activation"], add_attention=c["middle_attention"],
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds], up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        attn_norm_num_groups=c["norm_num_groups"],  # left out, the middle's attention has no norm with scale_shift, unlike all others
        resnet_time_scale_shift={"add": "default"}.get(c["conditioning"], c["conditioning"]),
        num_class_embeds=None if c["num_classes"] is None else c["num_classes"] + 1).eval()


def unet_of(inputs: Mapping[str, Any], c: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    """The function (x, t) -> answer of the `UNet2DModel` with these settings. It is told time_scale t, whole or not."""
    model, parameters, scale = model_of({**c, "time_scale": 1.0}), weights(inputs), c["time_scale"]
    return lambda x, t: functional_call(model, parameters, (x, scale * torch.as_tensor(t, dtype=x.dtype, device=x.device))).sample


def unet(inputs, settings):
    return functional_call(model_of(settings), weights(inputs), (inputs["x"], inputs["t"], inputs.get("labels"))).sample


def small_unet_trajectory(inputs, settings):
    """x after the step `state`, and at the end."""
    predict = unet_of(inputs, settings["network"])
    scheduler, options = ancestral(settings, settings["timesteps"], settings["eta"], "fixed_small", settings["clip_denoised"],
                                   settings["set_alpha_to_one"])
    states = [x for _, _, x in steps(scheduler, inputs["x"], predict, arrays(inputs, "noise"), **options)]
    return {"state": states[settings["state"] + 1], "output": states[-1]}


def ema(inputs, settings):
    """A new average; or, where the first step is a later one, an average that is resumed there."""
    parameter = torch.nn.Parameter(inputs["initial"])
    average = EMAModel([parameter], decay=settings["decay"])
    if settings["first_step"] > 1:
        average.load_state_dict({**average.state_dict(), "optimization_step": settings["first_step"]})
    states = []
    for values in arrays(inputs, "parameters"):
        average.step([torch.nn.Parameter(values)])
        states.append(average.shadow_params[0].clone())
    return {"after_first": states[0], "after_last": states[-1]}


OPERATIONS = {"unet": unet, "small_unet_trajectory": small_unet_trajectory, "ema": ema, "learning_rate_at": learning_rates(get_scheduler)}
