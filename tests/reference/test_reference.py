"""The suite: made as it says, certified by oracles that share nothing, and strict enough to tell every known mistake apart.

All cases are made anew by `python -m reference.generate --check`, which CI runs; here one of each operation is.
"""

import ast
import json
import re
import warnings
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

pytest.importorskip("reference", reason="the reference suite is not in the installed package: run the tests in a checkout")

from minidiff import autograd, functional
from minidiff.autograd.mode import observed_by
from minidiff.diffusion import SAMPLERS
from minidiff.verify import load_suite, verify
from minidiff.verify.adapters import adapter
from minidiff.verify.adapters.minidiff.samplers import FAMILIES, sampler_of
from minidiff.verify.judge import FAR, distance, judge
from minidiff.verify.suite import arrays_from_json, arrays_from_safetensors
from reference import generate
from reference.case import Case, Mutant, draw
from reference.cases import samplers
from reference.certify import Uncertified, certify
from reference.noise import FORMATS, MOVES, PRODUCTS, SUMS, Rounded, Rounding
from reference.oracles import oracles

ROOT = Path(__file__).parents[2]
OPERATIONS = import_module("minidiff.autograd.operation")  # whose name in the package is that of a function
SUITE = load_suite()
CASES = generate.all_cases()
FIRST = {case.operation: case for case in sorted(CASES.values(), key=lambda case: -SUITE[case.id].entry["bytes"])}
"""The smallest case of each operation."""


# -- the suite as released --------------------------------------------------------------------------------------------


def test_every_case_is_released_and_nothing_else():
    """The manifest, the definitions and the files name the same cases."""
    assert {case.id for case in SUITE} == set(CASES)
    assert {entry.entry["file"] for entry in SUITE} == {
        path.relative_to(SUITE.folder).as_posix() for path in (SUITE.folder / "cases").rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", FIRST.values(), ids=lambda case: case.id)
def test_a_case_made_anew_is_the_released_one(case):
    """The value, certified again; its noise; its mutants; the bytes."""
    assert generate.differences(case, SUITE[case.id].entry) == []


def test_the_page_names_everything_in_the_folder():
    """The table of reference/README.md: each file and folder of v1, and errata.json for the day when there are errata."""
    table = (ROOT / "reference" / "README.md").read_text(encoding="utf-8").partition("## What lies in `v1/`")[2].partition("\n[")[0]
    named = {name.partition("/")[0] for name in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)}
    assert named == {path.name for path in SUITE.folder.iterdir()} | {"errata.json"}


def test_the_suite_is_large_and_varied():
    """At least 400 cases, most of which tell mistakes apart, and no two with the same inputs, settings and operation."""
    assert len(SUITE) >= 400
    told = [json.dumps([case.operation, case.entry["settings"], [x.tobytes().hex() for x in case.task.inputs.values()]]) for case in SUITE]
    assert len(set(told)) == len(SUITE)


def test_every_sampler_walks_with_a_network():
    """Each operation of the samplers has such a case; and each sampler that has a name: one of them makes the same plan."""
    walks = [case for case in CASES.values() if case.settings.get("model", {}).get("kind") == "unet"]
    assert {case.operation for case in walks} == set(samplers.OPERATIONS)
    way = samplers.path(samplers.process_of(samplers.LINEAR), range(990, 0, -110)[:-1])
    plans = [sampler_of(case.operation, case.settings).plan(way) for case in walks if case.operation in FAMILIES]
    assert [name for name, member in SAMPLERS.items() if member.plan(way) not in plans] == []


# -- minidiff itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minidiff_passes_all_of_it(dtype):
    """No failure, no error, no skip; and float32 is near the noise that was measured for it, not far below: as the page says."""
    report = verify(adapter("minidiff", dtype=dtype), SUITE)
    assert [(v.id, v.status, v.message, v.worst) for v in report.verdicts if v.status != "passed"] == []
    if dtype == "float32":
        sizes = [error.rms for v in report.verdicts for error in v.errors.values() if error.rms]
        page = " ".join((ROOT / "reference" / "README.md").read_text(encoding="utf-8").split())
        told = re.search(r"between (\S+) and (\S+) in minidiff \(median (\S+), the largest (\S+)\)", page).groups()
        *most, largest = map(float, told)
        assert np.quantile(sizes, [0.05, 0.95, 0.5]) == pytest.approx(most, rel=0.15), f"reference/README.md says {told}"
        assert max(sizes) == pytest.approx(largest, rel=0.5), f"reference/README.md says {told}"  # another BLAS, another largest


# -- known mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted({case.operation for case in CASES.values() if case.mutants}))
def test_every_mutant_fails_where_it_should_and_is_named(operation):
    """Run as an implementation on each case that lists it: failed, and the diagnosis is certain and in the mutant's words."""
    for case in CASES.values():
        for mutant in case.mutants.values() if case.operation == operation else ():
            report = verify(generate.Mutated(case.operation, mutant, "float32"), SUITE, [SUITE[case.id]])
            (verdict,) = report.verdicts
            assert verdict.status == "failed", f"{case.id}: {mutant.words}: {verdict}"
            if verdict.diagnosis is None:  # no output could be compared: the mistake changes a shape or gives NaN
                assert verdict.message, f"{case.id}: {mutant.words}: {verdict}"
            else:
                assert verdict.diagnosis.words == mutant.words, f"{case.id}: {mutant.words}: {verdict.diagnosis}"


# -- oracles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "reference" / "oracles").glob("*.py")), ids=lambda path: path.stem)
def test_an_oracle_imports_nothing_of_minidiff_and_no_other_oracle(path):
    """Read from its source: only `reference.oracles.oracle`, which says what an oracle is. A sampler's may ask that of networks."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            names.add(node.module)
    assert {name for name in names if name.split(".")[0] in ("minidiff", "reference", "torch", "diffusers")} <= {
        "reference.oracles.oracle", *["reference.oracles.networks"] * (path.stem == "samplers")}


def test_every_operation_has_an_oracle_and_every_oracle_an_operation():
    assert set(oracles()) == {case.operation for case in CASES.values()}


@pytest.mark.parametrize("case", [case for case in FIRST.values()], ids=lambda case: case.id)
def test_a_wrong_value_is_not_certified(case):
    """An output a hundred noise units off: the oracle contradicts."""
    released = SUITE[case.id]
    noise = {name: told["noise"] for name, told in released.entry["outputs"].items()}
    for name, values in list(released.expected.items())[:2]:
        unit = noise[name]["float32"]["rms"] if noise[name]["kind"] == "measured" else 6e-8 * np.abs(values).max(initial=1e-3)
        scale = 1 if values.dtype.kind in "iu" else 100 * unit
        wrong = values + np.asarray(scale * np.where(np.arange(values.size) % 2, 1, -1).reshape(values.shape)).astype(values.dtype)
        with pytest.raises((Uncertified, AssertionError)):
            certify(case, {**released.expected, name: wrong}, noise)


# -- the noise --------------------------------------------------------------------------------------------------------


def test_operations_that_the_noise_knows_by_name_exist():
    """A renamed operation would silently be treated as an elementwise one."""
    files = [import_module(f"minidiff.functional.{file.name}") for file in iter_modules(functional.__path__)]
    found = {value.__name__ for file in (*files, OPERATIONS) for value in vars(file).values() if isinstance(value, OPERATIONS.Operation)}
    assert found >= MOVES | PRODUCTS | SUMS


@pytest.mark.parametrize("count", [10, 1000])
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_the_noise_of_a_sum_is_that_of_adding_in_float32(count, mean):
    """Terms of random signs and equal terms, added one after the other: within a factor 2.5 of what the formula says."""
    rng = np.random.default_rng()
    x = ((mean + (mean == 0) * rng.standard_normal((4000, count))) * rng.uniform(0.9, 1.1, (4000, count))).astype(np.float32)
    one_after_the_other = np.cumsum(x, axis=1, dtype=np.float32)[:, -1]
    actual = np.sqrt(np.mean((one_after_the_other - x.astype(np.float64).sum(1)) ** 2))
    with observed_by(Rounding("float32", rng)):
        rounded = functional.sum(autograd.tensor(x.astype(np.float64)), 1).numpy()
    modelled = np.sqrt(np.mean((rounded - x.astype(np.float64).sum(1)) ** 2))
    assert 0.4 < modelled / actual < 2.5


class AlwaysOne:
    """In the place of a generator: every rounding error is as large as it can be, and positive."""

    def uniform(self, low, high, shape):
        return np.ones(shape)


@pytest.mark.parametrize("mean", [0.0, 0.07, 2.0], ids=["the bridge alone", "both", "the line alone"])
def test_the_squared_partial_sums_of_terms_in_random_order(mean):
    """K (squares / 6 + out^2 / 3) against 20,000 orders of the same 100 terms, for a sum and for a sum of products, within a tenth."""
    rng = np.random.default_rng()
    terms = rng.standard_normal(100)
    terms += mean - terms.mean()
    orders = rng.permuted(np.tile(terms, (20_000, 1)), axis=1)
    expected = np.mean(np.sum(np.cumsum(orders, axis=1) ** 2, axis=1))
    rounding = Rounding("float32", AlwaysOne())
    x, ones = autograd.tensor(terms), autograd.tensor(np.ones(100))
    with observed_by(rounding):
        found = [functional.sum(x), functional.matmul(x, ones)]
    for rounded in found:  # (out + u size) (1 + u)
        size = (rounded.item() / (1 + rounding.u) - terms.sum()) / rounding.sums
        assert size**2 == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("precision", FORMATS)
def test_noise_is_in_proportion_to_the_precision(precision):
    """A product of two numbers: the input's rounding, if inputs are rounded, and the result's."""
    u = FORMATS[precision][0]
    case = Case("mse_loss/x", "", {"input": draw("a", 999), "target": draw("b", 999)}, {"reduction": "none"})
    task = generate._task(case, ["output"])
    exact = (case.inputs["input"].astype(float) - case.inputs["target"]) ** 2
    off = np.sqrt(np.mean([(Rounded(precision, seed).run(task)["output"] - exact) ** 2 for seed in range(20)]))
    size = np.sqrt(np.mean(exact ** 2))
    assert 0.5 * u < off / size < 5 * u


def test_a_branch_that_is_not_taken_gives_no_warning():
    """In bfloat16 this case has the logarithm of a negative number there."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Rounded("bfloat16", 0).run(SUITE["vb_terms_bpd/learned-range"].task)


# -- what the generator refuses ---------------------------------------------------------------------------------------


def test_two_mutants_with_one_answer_are_refused():
    """Neither could be the diagnosis."""
    case = next(case for case in CASES.values() if case.mutants)
    name, mutant = next(iter(case.mutants.items()))
    with pytest.raises(generate.Refused, match="0 noise units apart, less than 100; keep one"):
        generate.made(Case(case.id, "", case.inputs, case.settings, case.gradients, {name: mutant, "again": mutant}))


def test_a_mutant_that_is_too_near_is_refused():
    case = next(iter(CASES.values()))
    near = Mutant("your code is right", "none", compute=lambda inputs, settings: adapter(
        "minidiff", dtype="float64").operations[case.operation](inputs, settings))
    with pytest.raises(generate.Refused, match=r"the mutant near is .* noise units away, not 100"):
        generate.made(Case(case.id, "", case.inputs, case.settings, (), {"near": near}))


def test_a_changed_value_is_refused_and_a_last_bit_is_not():
    """The released bits stay where the new ones say the same."""
    released = next(case for case in SUITE if case.entry["outputs"].get("output", {}).get("noise", {}).get("kind") == "measured")
    path = SUITE.folder / released.entry["file"]
    old = arrays_from_json(json.loads(path.read_bytes())) if path.suffix == ".json" else arrays_from_safetensors(path.read_bytes())
    bits = {**old, "expected.output": old["expected.output"] * (1 + 2.0 ** -52)}
    assert np.array_equal(generate._with_released_bits(released.id, old, bits, released.entry)["expected.output"], old["expected.output"])
    with pytest.raises(generate.Refused, match="a correction gets a new id"):
        generate._with_released_bits(released.id, old, {**old, "expected.output": old["expected.output"] * 1.001}, released.entry)
    name = next(name for name in old if name.startswith("input."))
    with pytest.raises(generate.Refused, match="an id never changes its meaning"):
        generate._with_released_bits(released.id, old, {**old, name: old[name] + 1}, released.entry)


def test_the_same_arrays_give_the_same_bytes():
    """In any order, in both formats, and they come back bit for bit."""
    arrays = {"input.x": draw("x", 3, 5), "expected.y": np.array([1 / 3, -0.0, 5e-324]), "input.t": np.array([7]), "input.s": np.array(2.5),
              "mutant.transposed.y": draw("x", 3, 5).T}
    for small, read in ((True, lambda data: arrays_from_json(json.loads(data))), (False, arrays_from_safetensors)):
        data = generate.to_bytes(arrays, small)
        assert data == generate.to_bytes(dict(arrays), small)
        for name, x in read(data).items():
            assert x.tobytes() == arrays[name].tobytes() and x.dtype == arrays[name].dtype and x.shape == arrays[name].shape


def test_far_is_far():
    """A stored mutant is as far from the right answer as the manifest says, and a judge that gets it says so."""
    for case in SUITE:
        for name, known in case.mutants.items():
            told = case.entry["mutants"][name]["distance"]
            off = {key: distance(known[key], case.expected[key], case.entry["outputs"][key]["noise"]).rms for key in told
                   if known[key].shape == case.expected[key].shape}
            assert all(x >= FAR for x in off.values()) and known.keys() == told.keys(), case.id
            assert all(told[key] is None or abs(off[key] / told[key] - 1) < 0.01 for key in off), case.id
            if all(key.split(".")[0] != "grad" for key in known) and off.keys() == told.keys():
                assert judge(case, {**case.expected, **known}).status == "failed"
