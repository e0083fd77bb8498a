"""The experiment that fails: denoise in one step, then generate. `python docs/one_step.py` writes docs/figures/one-step-*.png.

The same U-Net is trained twice, equally long: once to remove noise from half-noised garments, which it learns well, and once for all
amounts of noise, as a diffusion model. Then both get noise alone. About nine minutes on two cores; docs/one-step.md tells the story.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import trange

from minidiff import optim
from minidiff.autograd import no_grad
from minidiff.backend import keep_freed_memory
from minidiff.data import load, to_uint8
from minidiff.diffusion import DDIM, Model, Schedule, make_schedule, q_sample, sample, simple_loss, timesteps
from minidiff.models import UNet, preset
from minidiff.random import Generator
from minidiff.report import grid

FOLDER = Path(__file__).parent / "figures"
UNET = preset("ddpm", patch_size=2, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, attention_levels=(),
              attention_head_dim=32, upsample="transposed")
HALF = Schedule.from_betas([0.5])                           # a forward process of one step: half of the variance becomes noise
MANY = make_schedule("squaredcos_cap_v2", 1000)             # and one of a thousand
SHOWN = 8


def learn(schedule: Schedule, prediction_type: str, steps: int, name: str) -> UNet:
    """A U-Net that removes the noise of this schedule, at times drawn evenly."""
    images, generator = load("fashion-mnist-mini", "train"), Generator(1)
    unet = UNet(UNET, generator=generator)
    optimizer = optim.AdamW(unet.parameters(), lr=2e-3, weight_decay=0.0)
    for step in trange(steps, desc=name):
        x_start = images.floats(generator.integers(0, len(images), 32))
        t = generator.integers(0, schedule.num_train_timesteps, len(x_start))
        noise = generator.standard_normal(x_start.shape)
        loss = simple_loss(unet, schedule, x_start, t, noise, prediction_type)
        loss.backward()
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad()
    return unet.eval()


def denoised(unet: Model, x: np.ndarray) -> np.ndarray:
    """What the network for half-noised garments believes to be under the noise, in one step."""
    return sample(unet, HALF, x, [0], DDIM, prediction_type="sample")


def again_and_again(unet: Model, x: np.ndarray, times: int, generator: Generator) -> list[np.ndarray]:
    """Denoise, put half of the noise back, denoise ...: a way out that suggests itself."""
    results = [denoised(unet, x)]
    for _ in range(times - 1):
        x = q_sample(HALF, results[-1], 0, generator.standard_normal(x.shape))
        results.append(denoised(unet, x))
    return results


def rows(named: dict[str, np.ndarray]) -> Image.Image:
    """A grid with a row for each name."""
    return grid(np.stack([to_uint8(images.clip(-1, 1)) for images in named.values()]), row_names=list(named), scale=2)


def main() -> None:
    """Train both, draw both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1500, help="of training, of each network (default: 1500)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of the pictures (default: docs/figures)")
    arguments = parser.parse_args()
    keep_freed_memory()
    generator = Generator(2)
    clean = load("fashion-mnist-mini", "test").floats(np.arange(SHOWN))
    noise = generator.standard_normal(clean.shape)
    half_noised = q_sample(HALF, clean, 0, noise)

    one_step = learn(HALF, "sample", arguments.steps, "one step ")
    with no_grad():
        worked = {"a garment": clean, "half noise": half_noised, "denoised": denoised(one_step, half_noised)}
        drawn = again_and_again(one_step, noise, 8, generator)
        failed = {"noise alone": noise, "denoised": drawn[0], "twice": drawn[1], "8 times": drawn[-1]}

    diffusion = learn(MANY, "v_prediction", arguments.steps, "all noise")
    with no_grad():
        for count in (1, 2, 5, 50):
            x = sample(diffusion, MANY, noise, timesteps(1000, count), DDIM, prediction_type="v_prediction")
            failed[f"diffusion, {count} step{'s' * (count > 1)}"] = x

    mean = load("fashion-mnist-mini", "train").floats(np.arange(6000)).mean(axis=0)
    print(f"from the mean garment, a pixel: one step of the diffusion model {np.abs(failed['diffusion, 1 step'] - mean).mean():.3f}, "
          f"a garment {np.abs(clean - mean).mean():.3f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, picture in {"one-step-works": rows(worked), "one-step-fails": rows(failed)}.items():
        content = io.BytesIO()
        picture.save(content, "PNG", optimize=True)
        (arguments.out / f"{name}.png").write_bytes(content.getvalue())
        print(arguments.out / f"{name}.png")


if __name__ == "__main__":
    main()
