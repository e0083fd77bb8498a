"""The benchmark measures what it says and reports it well formed. Nothing here depends on how fast the machine is."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minidiff import bench
from minidiff.bench import item, items, machine, operations, report, timing
from minidiff.bench.sides import Ours, Torch
from minidiff.cli import main


@pytest.fixture
def no_torch(monkeypatch):
    """As on a machine without PyTorch."""
    monkeypatch.setattr("minidiff.bench.benchmark.available_sides", lambda: [Ours.name])


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(markdown):
    """Header and rows of the table, each a list of cells."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert set(lines[1]) <= set("| -:")
    return cells(lines[0]), [cells(line) for line in lines[2:]]


def test_a_quick_run_measures_every_item(no_torch, capsys, tmp_path):
    """`bench --quick --json` without PyTorch: a row an item, in the table and in the file; no ratio, and it says why."""
    assert main(["bench", "--quick", "--json", str(tmp_path / "figures.json")]) == 0
    out, err = capsys.readouterr()
    header, rows = table(out)
    names = [one.name for one in items.items(quick=True)]
    assert header == ["item", "minidiff", "rate (of the best)", "peak memory", "repetitions"]
    assert [row[0] for row in rows] == names
    assert all(len(row) == len(header) and row[1] for row in rows)
    assert "not installed" in out and "figures mean nothing" in out
    assert [line.removeprefix("measuring ") for line in err.splitlines()] == names

    found = json.loads((tmp_path / "figures.json").read_text())
    assert [row["name"] for row in found["rows"]] == names
    assert found["machine"]["torch"] is None and found["machine"]["threads"] >= 1
    assert all(value > 0 for value in found["limits"].values())
    for row in found["rows"]:
        ours = row["sides"]["minidiff"]
        assert row["ratio"] is None and list(row["sides"]) == ["minidiff"]
        assert 0 < ours["quartile_low_s"] <= ours["median_s"] <= ours["quartile_high_s"] and ours["repetitions"] >= 2
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.peers
def test_with_torch_there_is_a_ratio(capsys):
    """One item with both sides: the ratio is that of the medians (as printed: to 2 digits)."""
    found = bench.run("group_norm", quick=True).to_json()["rows"]
    assert [list(row["sides"]) for row in found] == [["minidiff", "PyTorch"]]
    ours, theirs = (found[0]["sides"][side]["median_s"] for side in ("minidiff", "PyTorch"))
    assert found[0]["ratio"] == pytest.approx(ours / theirs)


@pytest.mark.peers
def test_both_sides_of_an_operation_compute_the_same():
    """The same drawn inputs on both sides give the same results, so that the same thing is timed (float32, 1e-5)."""
    pytest.importorskip("torch")
    for name in operations.OPERATIONS:
        measured = operations.operation_item(name, (2, 64, 4, 4), backward=False, memory=False)
        ours, theirs = (measured.build(side, measured.batch)() for side in (Ours.name, Torch.name))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=1e-5 * np.abs(theirs.numpy()).max(), err_msg=name)


def test_steps_take_turns_and_the_first_of_each_slice_does_not_count():
    """A log of the calls: A A B B A A B B, and only every second one is among the times."""
    log = []
    clock = iter(range(100))

    def own(step):
        step()
        return next(clock)

    found = timing.in_turn([lambda: log.append("A"), lambda: log.append("B")], rounds=2, slice_seconds=0.0, clock=own)
    assert "".join(log) == "AABBAABB"
    assert [times.seconds for times in found] == [(1, 5), (3, 7)]
    assert found[0].to_json()["repetitions"] == 2 and found[0].median == 3.0


def row(ours=(2.0,), theirs=(1.0,), flop=None, growth=(0, 0)):
    measured = item.Item("x", build=lambda side, batch: lambda: None, flop=flop)
    sides = ("minidiff", "PyTorch")
    return report.Row(measured, {s: timing.Times(t) for s, t in zip(sides, (ours, theirs))},
                      {s: {"growth": g, "process": g} for s, g in zip(sides, growth)})


def test_ratios_are_ours_over_theirs():
    """By hand: medians 2 and 4, 30 and 20 MiB, 10 GFLOP in 2 s of 20 GFLOP/s."""
    found = row((1.0, 2.0, 9.0), (4.0, 4.0, 0.1), flop=1e10, growth=(30 * 2**20, 20 * 2**20))
    assert found.ratio == 0.5 and found.memory_ratio == 1.5
    assert found.rate({"sgemm_gflops": 20.0, "copy_gbytes_per_s": 1.0}) == (5.0, "GFLOP/s", 0.25)
    assert row(growth=(5, 5)).memory_ratio is None  # a few pages tell nothing


def test_the_flop_of_a_convolution_are_two_for_each_product():
    """Counted by brute force: for each output element, one product and one sum for each input channel and tap."""
    measured = operations.operation_item("conv2d 3x3", (2, 3, 4, 5), backward=False, memory=False)
    assert measured.flop == sum(2 * 3 * 3 * 3 for _ in range(2 * 3 * 4 * 5))


HOLDS_64_MIB = """
import numpy as np
from minidiff.bench import item, memory
build = lambda side, batch: lambda: np.ones(batch * 2**20, np.uint8).sum()
memory.items = lambda quick: [item.Item("big", build, batch=64)]
print(memory._measure("big", "minidiff", 1, True)["growth"] if memory._resident() else "unknown")
"""


def test_peak_memory_sees_what_a_step_allocates():
    """A step that holds 64 MiB for a moment, in a fresh process: that much, give or take 8 MiB (the kernel counts in batches of pages)."""
    growth = subprocess.run([sys.executable, "-c", HOLDS_64_MIB], capture_output=True, text=True, check=True).stdout.strip()
    if growth == "unknown":
        pytest.skip("this system does not tell how much memory a process holds")
    assert abs(int(growth) / 2**20 - 64) < 8


def test_the_machine_is_described():
    """Every fact that a reader needs to compare figures is there."""
    found = machine.describe(2, with_torch=False)
    assert found["processor"] and found["numpy"] == np.__version__ and found["threads"] == 2 and found["date"].endswith("UTC")


@pytest.mark.parametrize("arguments, message", [
    (["--only", "conv4d"], "no item begins with 'conv4d'; the items begin with conv2d 3x3, group_norm"),
    (["--json", "{tmp}/there.json"], "there.json exists; choose another name"),
    (["--json", "{tmp}/nowhere/x.json"], "there is no folder"),
    (["--fast"], "unrecognized arguments: --fast"),
])
def test_bad_input_is_refused_before_anything_is_measured(arguments, message, tmp_path, capsys):
    """One line, exit status 2, and the file that was there is as it was."""
    (tmp_path / "there.json").write_text("kept")
    assert main(["bench", *(word.format(tmp=tmp_path) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and len(err.splitlines()) == 1
    assert (tmp_path / "there.json").read_text() == "kept" and len(list(tmp_path.iterdir())) == 1
