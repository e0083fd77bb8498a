"""The file of k-diffusion's samplers and the one of its schedules, without what the rest of the package imports for training and images.

And what both sides are asked to sample: a model that is not linear, along a list of sigmas.
"""

import pytest

k_diffusion = pytest.importorskip("minidiff.verify.adapters.k_diffusion", reason="needs PyTorch", exc_type=ImportError)

SIGMAS = [14.0, 6.0, 2.5, 0.8, 0.2, 0.03]


def denoise(x, sigma):
    """A model that is not linear, in PyTorch; sigma: a number or (N,)."""
    import torch

    sigma = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return torch.tanh(x / (1 + sigma)) / (1 + 0.1 * sigma)


def load(name):
    """The module `k_diffusion.<name>`, sampling or external, as the adapter has it. Skips the test if k-diffusion is not installed."""
    try:
        return k_diffusion.load(name)
    except ImportError:
        pytest.skip("needs k-diffusion: pip install --no-deps k-diffusion")
