"""The norms of the suite in PyTorch."""

from __future__ import annotations

from torch.nn import functional as F

from minidiff.verify.adapters import by_names


def running_statistics(inputs, settings):
    """PyTorch writes them into its arguments, beside the output."""
    x, mean, var = (inputs[name] for name in ("input", "running_mean", "running_var"))
    if settings["each_sample"]:
        F.instance_norm(x, mean, var, use_input_stats=True, momentum=settings["momentum"])
    else:
        F.batch_norm(x, mean, var, training=True, momentum=settings["momentum"])
    return {"running_mean": mean, "running_var": var}


OPERATIONS = {name: by_names(getattr(F, name)) for name in (
    "group_norm", "layer_norm", "instance_norm", "batch_norm", "rms_norm", "normalize", "cosine_similarity")}
OPERATIONS["running_statistics"] = running_statistics
