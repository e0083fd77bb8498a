"""The losses of the suite in PyTorch."""

from __future__ import annotations

import warnings

from torch.nn import functional as F

from minidiff.verify.adapters import by_names

LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "nll_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
)


def kl_div(inputs, settings):
    """Its reduction "mean" divides by all elements, as the suite says; PyTorch warns each time that it will one day be "batchmean"."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "reduction: 'mean' divides the total loss", UserWarning)
        return F.kl_div(**inputs, **settings)


OPERATIONS = {**{name: by_names(getattr(F, name)) for name in LOSSES}, "kl_div": kl_div}
