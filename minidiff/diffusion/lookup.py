"""Where the tables meet the data: numbers that belong to times, cast and shaped to multiply a batch.

`extract` and `signal_and_noise` are used by every formula of this room; the checks of times that the formulas share
stand beside them. Stands on `arrays` and `process`. Read `forward` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import is_foreign
from minidiff.diffusion.arrays import check_batch, column, is_floating, namespace
from minidiff.diffusion.process import Process, check_process

__all__ = ["extract", "signal_and_noise"]


def check_times(t: Any, num_train_timesteps: int) -> int | np.ndarray:
    """`t` as an int or as a (N,) int64 host array, every entry in [0, num_train_timesteps).

    t: an int, or (N,) integers as a NumPy array or list. Raises TypeError for what is not integer or not on the host,
    ValueError for another shape or a time outside the schedule.
    """
    times = _on_host(t)
    if times.dtype.kind not in "iu":
        raise TypeError(f"times are integers 0 ... T-1: expected an integer dtype, got {times.dtype}")
    outside = (times < 0) | (times >= num_train_timesteps)
    if outside.any():
        raise ValueError(
            f"time {times[outside].flat[0]} is outside the schedule: expected 0 ... {num_train_timesteps - 1} "
            f"(T = {num_train_timesteps}; times are 0-based)"
        )
    return times.astype(np.int64) if times.ndim else int(times)


def _on_host(t: Any) -> np.ndarray:
    """Times as a NumPy array of no or one dimension."""
    if not isinstance(t, (int, float, np.number, np.ndarray, list, tuple)) or isinstance(t, bool):
        raise TypeError(
            f"times live on the host: expected a number or a NumPy array, got {type(t).__module__}."
            f"{type(t).__name__}; convert it first (int(t), backend.to_numpy(t))"
        )
    times = np.asarray(t)
    if times.ndim > 1:
        raise ValueError(f"expected one time, or one for each of the batch, shape (N,); got shape {times.shape}")
    return times


def extract(table: np.ndarray, t: Any, like: Any) -> Any:
    """The entries of a table at the times t, ready to multiply `like`.

    table: (T,) float64 on the host. t: an int, or (N,) host integers, in [0, T). like: (N, ...) floats of any library.
    For an int, returns a Python float: it multiplies any array without changing its dtype. For (N,) times, returns
    (N, 1, ..., 1) in the dtype, array library and device of `like`. Both give the same bits in the product.
    Raises TypeError for times that are not host integers and for a `like` that is not floating-point, ValueError for
    times outside the table or a number of times that is not N.
    """
    times = check_times(t, len(table))
    return to_multiply(table[times], like)


def to_multiply(values: Any, like: Any) -> Any:
    """Host numbers, one or (N,), as factors of the batch `like` (N, ...): a Python float, or (N, 1, ..., 1) in its dtype and library.

    Raises TypeError for a `like` that is not floating-point, ValueError for a number of values that is not N.
    """
    if not hasattr(like, "shape") and not isinstance(like, (int, float)):
        raise TypeError(f"expected an array of floating-point data, got a {type(like).__module__}.{type(like).__name__}")
    if not is_floating(like):
        raise TypeError(
            f"expected floating-point data, got dtype {like.dtype}; convert images to floats in [-1, 1] first"
        )
    values = np.asarray(values)
    if values.ndim == 0:
        return float(values)
    shape = tuple(getattr(like, "shape", ()))
    if values.ndim > 1 or values.shape != shape[:1]:
        got = f"{len(values)} times" if values.ndim == 1 else f"numbers of shape {values.shape}"
        raise ValueError(f"got {got} for data of shape {shape}: expected one for each of the batch, or one number")
    return column(values, like)


def times_within(process: Process, t: Any) -> np.ndarray:
    """Times of a process as a host array of no or one dimension, integers for a schedule's integers, each within the process.

    Raises TypeError for what is no number or not on the host, ValueError for another shape or a time outside.
    """
    check_process("process", process)
    times = _on_host(t)
    if times.dtype.kind not in "iuf":
        raise TypeError(f"times are numbers: expected integers or floats, got {times.dtype}")
    outside = ~((process.first_time <= times) & (times <= process.last_time) & np.isfinite(times))  # NaN too
    if outside.any():
        raise ValueError(
            f"time {times[outside].flat[0]} is outside the process: expected {process.first_time} ... {process.last_time}"
        )
    return times


def end_of(where: str, process: Process, t: float | None) -> float:
    """T, the one time at which sampling starts: t, or for None the last time of the process.

    Raises ValueError for a process without a last time (`EDM`) if none is given, and for several times; as `times_within`.
    """
    check_process(where, process)
    if t is None:
        if not np.isfinite(process.last_time):
            raise ValueError(f"{where}: this process has no last time; give the time t at which the walk begins")
        return process.last_time
    times = times_within(process, t)
    if times.ndim:
        raise ValueError(f"{where}: expected one time, got shape {times.shape}")
    return times.item()


def signal_and_noise(process: Process, t: Any, like: Any) -> tuple[Any, Any]:
    """(alpha, sigma) of a process at the times t, ready to multiply `like`: x_t = alpha x_0 + sigma eps.

    t: a number, or (N,) numbers on the host. Returns floats, or (N, 1, ..., 1) as `extract` does. Raises as `times_within`
    and `to_multiply`.
    """
    times = times_within(process, t)
    return to_multiply(process.alpha(times), like), to_multiply(process.sigma(times), like)


def model_times(t: Any, x: Any) -> Any:
    """The times as a model receives them: (N,), one number repeated for the whole batch x (N, ...).

    For NumPy and CuPy arrays and Tensors they are on the host, int64 or float64. A model of another library gets them as an array of that
    library on x's device, integers (its own default kind) or x's dtype: what a PyTorch network expects.
    """
    check_batch("model", x)
    times = np.asarray(t)
    times = times.astype(np.int64 if times.dtype.kind in "iu" else np.float64)
    times = np.full(x.shape[0], times) if times.ndim == 0 else times
    if not is_foreign(x):
        return times
    xp = namespace(x)
    return xp.asarray(times, dtype=None if times.dtype.kind == "i" else x.dtype, device=getattr(x, "device", None))
