"""The file of k-diffusion's samplers and the one of its schedules, without what the rest of the package imports for training and images.

And what both sides are asked to sample: a model that is not linear, along a list of sigmas.
"""

import importlib
import importlib.util
import sys
import types
from functools import cache

import pytest

SIGMAS = [14.0, 6.0, 2.5, 0.8, 0.2, 0.03]


def denoise(x, sigma):
    """A model that is not linear, in PyTorch; sigma: a number or (N,)."""
    import torch

    sigma = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return torch.tanh(x / (1 + sigma)) / (1 + 0.1 * sigma)


@cache
def load(name):
    """The module `k_diffusion.<name>`, sampling or external. Skips the test if k-diffusion is not installed.

    Importing the package itself would import all of it. So, while the file is read, an empty package stands in its place, its utilities are
    the only one that these files call, and two libraries (a Brownian tree, an ODE solver) are empty: no test calls what uses them.
    """
    package = importlib.util.find_spec("k_diffusion")
    if package is None:
        pytest.skip("needs k-diffusion: pip install --no-deps k-diffusion")
    alone, utils, ode, _ = stand_ins = [types.ModuleType(key) for key in ("k_diffusion", "k_diffusion.utils", "torchdiffeq", "torchsde")]
    alone.__path__, alone.utils, ode.odeint = list(package.submodule_search_locations), utils, None
    utils.append_dims = lambda x, ndim: x.reshape(*x.shape, *[1] * (ndim - x.ndim))
    ours = {"k_diffusion.sampling", "k_diffusion.external", *(module.__name__ for module in stand_ins)}
    before = {key: sys.modules.pop(key) for key in ours if key in sys.modules}
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        return importlib.import_module(f"k_diffusion.{name}")
    finally:
        for key in ours:
            sys.modules.pop(key, None)
        sys.modules.update(before)
