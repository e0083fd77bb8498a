"""Expected values against the oracles: every output of every case by at least one.

An oracle is a function of (inputs, settings), in `oracles/`, and computes the same by another way: in naive loops of 50 digits, in
fractions, with complex numbers ... Gradients are certified by it too: along random directions v, <gradient, v> is the derivative of the
oracle's own value, a central difference in 50 digits, whatever the way in which the gradient was computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mpmath
import numpy as np

from minidiff.verify.judge import distance
from minidiff.verify.suite import cotangent_of
from reference.oracles import oracles
from reference.oracles.oracle import Oracle

ALLOWED = 1e-3
"""Float32 noise units by which an oracle and the expected value may differ: float64 leaves some 1e-8."""

DIRECTIONS = 2
"""Random directions for each gradient: a wrong one agrees along a random direction with probability 0."""


class Uncertified(AssertionError):
    """An expected value that an oracle contradicts, or that none has looked at."""


def oracle_of(operation: str) -> Oracle:
    """The oracle of an operation. Raises Uncertified if it has none."""
    if operation not in oracles():
        raise Uncertified(f"{operation}: no oracle; add one to reference/oracles")
    return oracles()[operation]


def exactly(values: np.ndarray) -> np.ndarray:
    """Floats as an object array of mpf; integers as they are."""
    if values.dtype.kind != "f":
        return values
    out = np.empty(values.shape, dtype=object)
    for index in np.ndindex(values.shape):
        out[index] = mpmath.mpf(float(values[index]))
    return out


def certify(case: Any, expected: Mapping[str, np.ndarray], noise: Mapping[str, Any]) -> dict[str, Any]:
    """{"oracle": its kind, "distance": the largest in float32 noise units}. noise: an entry for each output, as in the manifest.

    Raises Uncertified.
    """
    oracle = oracle_of(case.operation)
    with mpmath.workdps(50):
        widened = exactly if oracle.exact else lambda x: x.astype(np.float64) if x.dtype.kind == "f" else x
        arrays = {name: widened(x) for name, x in case.inputs.items()}
        settled, largest = set(), 0.0
        if oracle.values is not None:
            for name, values in oracle.values(_without_cotangents(arrays), dict(case.settings)).items():
                if name in expected:
                    values = np.array(values, dtype=object)
                    off = distance(_as(expected[name].dtype, values).reshape(expected[name].shape), expected[name], noise[name]).rms
                    if not off <= ALLOWED:
                        raise Uncertified(f"{case.id}: {name} is {off:.3g} noise units from the oracle ({oracle.kind})")
                    settled.add(name)
                    largest = max(largest, off)
            for name in case.gradients:
                if f"grad.{name}" not in settled:
                    largest = max(largest, _along_directions(case, oracle, arrays, name, expected, noise))
                    settled.add(f"grad.{name}")
        if oracle.check is not None:
            settled |= set(oracle.check(arrays, dict(case.settings), expected))
    if settled != set(expected):
        raise Uncertified(f"{case.id}: no oracle has looked at {', '.join(sorted(set(expected) - settled))}")
    return {"oracle": oracle.kind, "distance": float(f"{largest:.1e}")}


def _without_cotangents(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in arrays.items() if cotangent_of(name) is None}


def _as(dtype: np.dtype, values: np.ndarray) -> np.ndarray:
    out = np.empty(values.shape, dtype=dtype)
    for index in np.ndindex(values.shape):
        out[index] = int(values[index]) if dtype.kind in "iu" else float(values[index])
    return out


def _along_directions(case: Any, oracle: Oracle, arrays: Mapping[str, Any], name: str, expected: Mapping[str, Any],
                      noise: Mapping[str, Any]) -> float:
    """The largest difference of <gradient, v> and the derivative along v, in noise units; raises Uncertified above ALLOWED."""
    generator = np.random.default_rng(len(case.id))
    cotangents = {output: x for key, x in arrays.items() if (output := cotangent_of(key))}
    gradient, largest = expected[f"grad.{name}"], 0.0

    def objective(x: Any) -> Any:
        outputs = oracle.values({**_without_cotangents(arrays), name: x}, dict(case.settings))
        return sum(np.sum(np.asarray(outputs[key]) * cotangent) for key, cotangent in cotangents.items())

    for _ in range(DIRECTIONS):
        v = np.round(generator.standard_normal(gradient.shape), 3)
        if oracle.gradients == "complex":
            slope = objective(arrays[name] + 1e-30j * v).imag / 1e-30
        else:
            h, direction = mpmath.mpf(10) ** -17, exactly(v)
            slope = (objective(arrays[name] + h * direction) - objective(arrays[name] - h * direction)) / (2 * h)
        scale = noise[f"grad.{name}"]["float32"]["rms"] * float(np.sqrt(np.sum(v * v)))
        off = abs(float(slope - sum(float(g) * float(d) for g, d in zip(gradient.flat, v.flat)))) / scale
        largest = max(largest, off)
    if not largest <= ALLOWED:
        raise Uncertified(f"{case.id}: grad.{name} is {largest:.3g} noise units from the derivative of the oracle ({oracle.kind})")
    return largest
