"""Which machine this is, and what it can do at best: how fast it multiplies matrices and how fast it moves memory."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from minidiff import backend
from minidiff.version import __version__

from .item import wall_clock


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(threads: int, with_torch: bool) -> dict[str, Any]:
    """Processor, cores, threads, versions, date; load: how many programs wanted to run in the last minute."""
    torch_version = None
    if with_torch:
        import torch

        torch_version = torch.__version__
    blas = [f"{info['internal_api']} {info['version']}" for info in threadpool_info() if info["user_api"] == "blas"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(), "cores": cores, "threads": threads, "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(), "python": platform.python_version(), "minidiff": __version__, "numpy": np.__version__,
        "blas": ", ".join(dict.fromkeys(blas)), "torch": torch_version,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}


def limits(quick: bool = False, repetitions: int = 8) -> dict[str, float]:
    """What hardly a program passes: GFLOP/s of a large float32 matrix product, GB/s of a copy (read and write); the best of several."""
    n = 256 if quick else 3072
    a, b, c = (np.ones((n, n), np.float32) for _ in range(3))
    product = min(wall_clock(lambda: np.matmul(a, b, out=c)) for _ in range(repetitions))

    pieces = 64
    source = np.ones((pieces, 2**12 if quick else 2**20), np.float32)
    target = np.zeros_like(source)
    copy = min(wall_clock(lambda: backend.parallel(lambda i: np.copyto(target[i], source[i]), pieces)) for _ in range(repetitions))
    return {"sgemm_gflops": 2 * n**3 / product / 1e9, "copy_gbytes_per_s": 2 * source.nbytes / copy / 1e9}
