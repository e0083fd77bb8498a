"""The result of a benchmark, as a Markdown table for people and as JSON for machines."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .item import Item
from .sides import Ours, Torch
from .timing import Times


@dataclass(frozen=True)
class Row:
    """What was measured of one item: for each side its times and its peak memory (growth and whole process, bytes)."""

    item: Item
    times: dict[str, Times]
    memory: dict[str, dict[str, int]]

    @property
    def ratio(self) -> float | None:
        """Our median time over PyTorch's: less than 1 is faster."""
        return self.times[Ours.name].median / self.times[Torch.name].median if Torch.name in self.times else None

    @property
    def memory_ratio(self) -> float | None:
        """Our peak memory over PyTorch's; None where theirs is too small to be told from a few pages."""
        growth = [self.memory.get(side, {}).get("growth", 0) for side in (Ours.name, Torch.name)]
        return growth[0] / growth[1] if growth[1] > 2**23 else None

    def rate(self, limits: dict[str, float]) -> tuple[float, str, float | None] | None:
        """(value, unit, fraction of what the machine can do) of our side."""
        seconds, item = self.times[Ours.name].median, self.item
        if item.flop is not None:
            value = item.flop / seconds / 1e9
            return value, "GFLOP/s", value / limits["sgemm_gflops"]
        if item.bytes is not None:
            value = item.bytes / seconds / 1e9
            return value, "GB/s", value / limits["copy_gbytes_per_s"]
        return (item.images / seconds, "images/s", None) if item.images is not None else None

    def to_json(self, limits: dict[str, float]) -> dict[str, Any]:
        """Everything, as JSON values; times are those of one part."""
        rate = self.rate(limits)
        return {
            "name": self.item.name, "ratio": self.ratio, "memory_ratio": self.memory_ratio,
            "rate": None if rate is None else {"value": rate[0], "unit": rate[1], "fraction_of_limit": rate[2]},
            "sides": {side: {**times.to_json(), "memory": self.memory.get(side)} for side, times in self.times.items()}}


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    raise AssertionError


def _bytes(memory: dict[str, int] | None) -> str:
    return "" if memory is None else f"{memory['growth'] / 2**20:.0f} MiB"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


@dataclass(frozen=True)
class Report:
    """The rows, the machine they were measured on, what it can do at best, and whether sizes were tiny (quick)."""

    machine: dict[str, Any]
    limits: dict[str, float]
    quick: bool
    rows: list[Row]

    def markdown(self) -> str:
        """The machine in a line, the limits in a line, the table."""
        m, torch = self.machine, self.machine["torch"]
        versions = [f"Python {m['python']}", f"minidiff {m['minidiff']}", f"NumPy {m['numpy']} ({m['blas']})"]
        versions += [f"PyTorch {torch}"] if torch else []
        lines = [f"{m['processor']}, {m['cores']} cores, {m['threads']} threads; {', '.join(versions)}; {m['date']}.", "",
                 f"At best: matrix product {self.limits['sgemm_gflops']:.0f} GFLOP/s (float32), "
                 f"memory {self.limits['copy_gbytes_per_s']:.1f} GB/s (copy, read and write)."]
        if self.quick:
            lines += ["", "**Quick run at tiny sizes: it shows that everything works, its figures mean nothing.**"]
        if (m["load"] or 0.0) > 0.5:
            lines += ["", f"**The machine was busy when the run began (load {m['load']:.1f}): the figures are not to be trusted.** "
                          "Another program on the same cores costs the two sides different amounts."]
        if not torch:
            lines += ["", "PyTorch is not installed, so there is nothing to compare with: `pip install 'minidiff[peers]'`."]
        header = ["item", "minidiff", "PyTorch", "ratio", "rate (of the best)", "peak memory", "PyTorch", "ratio", "repetitions"]
        columns = [0, 1, 2, 3, 4, 5, 6, 7, 8] if torch else [0, 1, 4, 5, 8]
        body = [header, ["---"] + ["---:"] * (len(header) - 1)] + [self._cells(row) for row in self.rows]
        lines += ["", *("| " + " | ".join(cells[i] for i in columns) + " |" for cells in body)]
        return "\n".join(lines) + "\n"

    def _cells(self, row: Row) -> list[str]:
        rate = row.rate(self.limits)
        shown = "" if rate is None else f"{rate[0]:.3g} {rate[1]}" + ("" if rate[2] is None else f" ({rate[2]:.0%})")
        theirs = row.times.get(Torch.name)
        return [row.item.name, _time(row.times[Ours.name].median), "" if theirs is None else _time(theirs.median), _ratio(row.ratio), shown,
                _bytes(row.memory.get(Ours.name)), _bytes(row.memory.get(Torch.name)), _ratio(row.memory_ratio),
                " + ".join(str(len(times.seconds)) for times in row.times.values())]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        rows = [row.to_json(self.limits) for row in self.rows]
        return {"machine": self.machine, "limits": self.limits, "quick": self.quick, "rows": rows}

    def write_json(self, path: str | Path) -> None:
        """Write `to_json` to a new file. Raises as `check_free` does."""
        check_free(path)
        part = Path(f"{path}.part")
        part.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        os.replace(part, path)


def check_free(path: str | Path) -> None:
    """Whether a file can be written there, asked before the work: FileExistsError if it exists, FileNotFoundError without its folder."""
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists; choose another name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; make it first")
