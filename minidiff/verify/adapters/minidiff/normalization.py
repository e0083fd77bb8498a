"""The norms of the suite in minidiff."""

from __future__ import annotations

from minidiff import functional as F
from minidiff.verify.adapters import by_names


def running_statistics(inputs, settings):
    """`F.running_statistics`, which returns them."""
    return dict(zip(("running_mean", "running_var"), F.running_statistics(**inputs, **settings)))


OPERATIONS = {name: by_names(getattr(F, name)) for name in (
    "group_norm", "layer_norm", "instance_norm", "batch_norm", "rms_norm", "normalize", "cosine_similarity")}
OPERATIONS["running_statistics"] = running_statistics
