"""Benchmarks: how long things take and how much memory they need, beside PyTorch in the same minutes on the same threads.

    sides.py       the two libraries as the items see them
    item.py        what an item is
    operations.py  single operations
    items.py       all that is measured: those, training and sampling steps of the U-Net presets, a node of the graph, the import
    torch_unet.py  the presets in PyTorch
    timing.py      A B A B
    memory.py      peak memory, each side in a fresh process
    machine.py     which machine, and what it can do at best
    report.py      the result: a Markdown table, JSON
    benchmark.py   all of it together

Stands on everything up to `minidiff.training`; nothing in minidiff needs it but the command `minidiff bench`. Works without
PyTorch, and then measures minidiff alone.

    report = run(only="conv2d", progress=print)
    print(report.markdown())
"""

from .benchmark import run
from .report import Report, check_free

__all__ = ["Report", "check_free", "run"]
