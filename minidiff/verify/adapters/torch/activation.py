"""The activations of the suite in PyTorch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from minidiff.verify.adapters import by_names

OPERATIONS = {name: by_names(getattr(F, name)) for name in (
    "relu", "leaky_relu", "silu", "gelu", "softplus", "logsigmoid", "softmax", "log_softmax")}
OPERATIONS |= {name: by_names(getattr(torch, name)) for name in ("sigmoid", "tanh", "logsumexp")}
