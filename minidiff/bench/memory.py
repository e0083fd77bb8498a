"""Peak memory, the same way for both sides: each in a fresh process, from the outside.

The process first takes the step at a batch of 1, so that libraries, code and thread pools are there; what it holds then is the
baseline. Then it builds the step at full size and takes it a few times. The growth of the peak over the baseline is what the
step needs: weights, moments of the optimizer, activations, temporaries. Run as a program it is that process.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from minidiff import backend

from .items import items
from .sides import same_threads

STEPS = 3


def _resident() -> tuple[int, int] | None:
    """(resident bytes now, their peak); None where the system does not tell.

    Linux counts both for each program; getrusage's peak would begin with that of the program that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
        return kilobytes["VmRSS"] * 1024, kilobytes["VmHWM"] * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak, peak


def peak_memory(item_name: str, side: str, threads: int, quick: bool) -> dict[str, int] | None:
    """{"growth": bytes that the step needs, "process": bytes of the whole process}, or None where the system does not tell."""
    result = subprocess.run(
        [sys.executable, "-m", "minidiff.bench.memory", item_name, side, str(threads), str(int(quick))], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"bench: measuring the memory of {item_name} ({side}) failed: {result.stderr.strip()[-500:]}")
    return json.loads(result.stdout)


def _measure(item_name: str, side: str, threads: int, quick: bool) -> dict[str, Any] | None:
    item = next(item for item in items(quick) if item.name == item_name)
    backend.keep_freed_memory()
    with same_threads(threads, [side]):
        item.build(side, 1)()
        gc.collect()
        before = _resident()
        step = item.build(side, item.batch)
        for _ in range(STEPS):
            step()
        after = _resident()
    return None if before is None or after is None else {"growth": max(0, after[1] - before[0]), "process": after[1]}


if __name__ == "__main__":
    name, side, threads, quick = sys.argv[1:]
    backend.set_threads(int(threads))
    print(json.dumps(_measure(name, side, int(threads), quick == "1")))
