"""What the comparisons with diffusers' schedulers share: a model, walks, and their tables and noise replaced by ours.

Their tables are float32. So a scheduler walks twice: with its own tables, where the two differ by what float32 loses, and with ours in
their place, in float64, where nothing is left but rounding. That proves the cause. Where a difference is left even then, the wrong variant
that makes it is in the test.
"""

import numpy as np
import pytest

from minidiff.diffusion import make_schedule

torch = pytest.importorskip("torch")

T = 1000
BETAS = {"num_train_timesteps": T, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULE = make_schedule(**BETAS)
ROUNDING = {"rtol": 1e-9, "atol": 1e-9}
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}


def model(x, t):
    """Bounded and bent, for arrays of NumPy and of PyTorch."""
    tanh, t = (np.tanh, float(np.asarray(t).flat[0])) if isinstance(x, np.ndarray) else (torch.tanh, float(t))
    return 0.7 * x + 0.4 * tanh(2 * x - t / 500)


def with_variance(x, t):
    """The same and, in as many channels again, what it says of the variance, in [-1, 1]."""
    join, tanh = (np.concatenate, np.tanh) if isinstance(x, np.ndarray) else (torch.cat, torch.tanh)
    return join([model(x, t), tanh(x - 0.3)], 1)


def normal(*shape):
    return np.random.default_rng().standard_normal(shape)


def in_float64(scheduler, schedule=SCHEDULE, last=1.0):
    """Our tables in the place of a scheduler's own; last: abar after the last step."""
    scheduler.alphas_cumprod = torch.tensor(schedule.alphas_cumprod)
    scheduler.one = scheduler.final_alpha_cumprod = scheduler.initial_alpha_cumprod = torch.tensor(last, dtype=torch.float64)


def drawing(monkeypatch, scheduler, noise):
    """Let a scheduler draw these arrays one after the other."""
    draws = iter(torch.from_numpy(np.asarray(noise)))
    monkeypatch.setattr(f"{type(scheduler).__module__}.randn_tensor", lambda *args, **kwargs: next(draws), raising=False)


def walked(scheduler, x, model=model, **options):
    """The walk of a scheduler, as its pipelines walk."""
    x = torch.from_numpy(np.asarray(x))
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, **options).prev_sample
    return x.numpy()
