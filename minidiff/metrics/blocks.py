"""Tables with a row for each of N things and a column for each of M, worked on a few rows at a time: N x M numbers need never be held.

Stands on `backend.parallel`. Read `neighbours` next.
"""

from __future__ import annotations

from collections.abc import Callable

from minidiff.backend import parallel

BLOCK = 1 << 20
"""Numbers of a table that are held at a time, by each thread: 8 MB."""


def each_block(work: Callable[[slice], None], rows: int, columns: int) -> None:
    """Call work(slice) for pieces of the rows that together are all rows, spread over the threads. The pieces depend on the sizes alone."""
    step = max(1, BLOCK // columns)
    parallel(lambda i: work(slice(i * step, min(rows, (i + 1) * step))), -(-rows // step))
