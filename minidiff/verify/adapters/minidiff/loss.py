"""The losses of the suite in minidiff."""

from __future__ import annotations

from minidiff import functional as F
from minidiff.verify.adapters import by_names

LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "nll_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "kl_div",
)

OPERATIONS = {name: by_names(getattr(F, name)) for name in LOSSES}
