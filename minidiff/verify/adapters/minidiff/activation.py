"""The activations of the suite in minidiff."""

from __future__ import annotations

from minidiff import functional as F
from minidiff.verify.adapters import by_names

OPERATIONS = {name: by_names(getattr(F, name)) for name in (
    "relu", "leaky_relu", "silu", "gelu", "quick_gelu", "sigmoid", "tanh", "softplus", "logsigmoid", "softmax", "log_softmax", "logsumexp")}
