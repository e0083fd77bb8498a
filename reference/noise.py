"""How much correct arithmetic deviates: the float64 computation again and again, each intermediate result rounded at random.

Every result of an operation is multiplied by 1 + u xi, xi uniform in [-1, 1], forward and backward. A sum of K products rounds K times on
the way: partial sums s_1 ... s_K, each rounded, put an error of standard deviation u / sqrt(3) sqrt(sum s_k^2) on the result. In a random
order they go from 0 to the result s_K as a straight line with a bridge of random steps around it,

    sum_k s_k^2  ~  K (sum of the squared terms / 6 + (the result)^2 / 3)

of which the first is the bridge's variance and the second the line's. Terms are added one after the other here; libraries that add in
blocks or pairs round a long sum less, so the cases keep their sums short. The deviations' root mean square over many such runs is the
noise; conditioning and growth come out by themselves.

Stands on minidiff's autograd, whose `Observer` stands around each computation; kernels are switched off, so that their readable twins are
seen operation by operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidiff.autograd import Tensor, gradient
from minidiff.autograd.composite import Composite
from minidiff.autograd.mode import Observer, observed_by
from minidiff.verify.adapters.minidiff import Minidiff
from minidiff.verify.suite import Task

FORMATS = {
    #             results   factors of products    partial sums          the inputs are rounded
    "float32":  (2.0 ** -24, 0.0,                  2.0 ** -24,           False),
    "tf32":     (2.0 ** -24, 2.0 ** -11,           2.0 ** -24,           False),
    "float16":  (2.0 ** -11, 0.0,                  2.0 ** -24,           True),
    "bfloat16": (2.0 ** -8,  0.0,                  2.0 ** -24,           True),
}
"""The rounding errors of each precision. Half precision is as every library has it: sums are held in float32."""

RUNS = {"float32": 64, "tf32": 16, "float16": 16, "bfloat16": 16}
"""How many runs the noise is measured with."""

PRODUCTS = {"product", "convolve", "convolve_input", "convolve_weight"}
SUMS = {"total", "running", "window_sum", "window_spread", "folded", "scatter", "scattered_along", "mapped"}
MOVES = {
    "reshaped", "permuted", "expanded", "rolled", "lower", "upper", "picked", "joined", "unfolded", "pad", "moved", "identity",
    "taken_along", "replace", "largest", "smallest", "where_largest", "where_smallest", "first_largest", "relu", "positive", "neg", "flat",
    "sign", "abs", "where", "maximum", "minimum", "clamp", "round", "astype",
}
"""Operations that round nothing: they move, choose or negate."""


class Rounding(Observer):
    """Rounds at random, as arithmetic of a precision does, every result that it sees."""

    def __init__(self, precision: str, generator: np.random.Generator) -> None:
        self.u, self.factors, self.sums, _ = FORMATS[precision]
        self.generator = generator

    def forward(self, operation: Any, inputs: Sequence[Any], options: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """The operation, its result rounded; sums and products also as often as they round on the way."""
        if isinstance(operation, Composite):
            return NotImplemented  # not the kernel: its readable twin
        name = operation.__name__
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        if name in ("normalized_exp", "log_normalized_exp", "logsumexp"):
            return self.of_exponentials(name, arrays[0], **options)
        out = compute()
        if name in MOVES or getattr(out, "dtype", np.dtype(int)).kind != "f":
            return out
        if name in PRODUCTS | SUMS:
            out = self.summed(operation, arrays, options, out, name in PRODUCTS)
        return self.rounded(out)

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """Each element times 1 + u xi."""
        return x * (1 + self.u * self.generator.uniform(-1, 1, x.shape))

    def held(self, x: np.ndarray) -> np.ndarray:
        """Each element as the format holds it, to nearest, as everybody rounds the inputs: the same error in every run."""
        spacing = self.u * np.exp2(np.frexp(x)[1])
        return spacing * np.round(x / spacing)

    def summed(self, operation: Any, arrays: list[Any], options: dict[str, Any], out: np.ndarray, product: bool) -> np.ndarray:
        """A sum of products as it comes out when its factors and its partial sums are rounded."""
        again = lambda change: operation.forward(np, *[change(x) if _is_float(x) else x for x in arrays], **_weights(options, change))
        if product and self.factors:
            out = again(lambda x: x * (1 + self.factors * self.generator.uniform(-1, 1, x.shape)))
        squares, count = again(np.square), again(np.ones_like)
        size = np.sqrt(count * (squares / 6 + out * out / 3))
        return out + self.sums * size * self.generator.uniform(-1, 1, out.shape)

    def of_exponentials(self, name: str, x: np.ndarray, **options: Any) -> np.ndarray:
        """softmax, its logarithm, and logsumexp: the difference to the largest, its exponential, their sum."""
        dim = options.get("dim", options.get("axis"))
        largest = x.max(axis=dim, keepdims=True)
        off = self.rounded(x - np.where(np.isfinite(largest), largest, 0.0))
        powers = self.rounded(np.exp(off))
        total = self.rounded(powers.sum(axis=dim, keepdims=True))
        if name == "normalized_exp":
            with np.errstate(invalid="ignore"):
                return np.where(total > 0, self.rounded(powers / np.where(total > 0, total, 1.0)), 0.0 if options.get("masked") else np.nan)
        if name == "log_normalized_exp":
            return self.rounded(off - self.rounded(np.log(total)))
        result = self.rounded(self.rounded(np.log(total)) + largest)
        return result if options.get("keepdims") else result.reshape(np.sum(x, axis=dim).shape)


def _weights(options: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The options with the weights of linear maps changed too: they are factors like any other."""
    if "maps" not in options:
        return options
    maps = [line if line.weights is None else replace(line, weights=change(line.weights)) for line in options["maps"]]
    return {**options, "maps": tuple(maps)}


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


class Rounded(Minidiff):
    """minidiff in float64, with a rounding after every operation. seed: of the rounding."""

    def __init__(self, precision: str, seed: int) -> None:
        super().__init__("cpu", "float64")
        self.rounding = Rounding(precision, np.random.default_rng(seed))
        self.rounds_inputs = FORMATS[precision][3]

    def array(self, values: np.ndarray, differentiate: bool) -> Tensor:
        """In float64, the inputs as the format holds them."""
        if values.dtype.kind == "f" and self.rounds_inputs:
            values = self.rounding.held(values.astype(np.float64))
        return super().array(values, differentiate)

    def gradients(self, outputs: Sequence[tuple[Any, Any]], inputs: Sequence[Any]) -> Sequence[Any]:
        """Recorded, so that the rules compute with operations, which are seen."""
        results, cotangents = zip(*outputs)
        return gradient(results, list(inputs), cotangents, create_graph=True)

    def run(self, task: Task) -> dict[str, np.ndarray]:
        """The outputs by name, with roundings on the way."""
        # `where` computes both of its branches; rounded as bfloat16 is, the one that is not taken may be log(-0.1) or 1 / 0
        with observed_by(self.rounding), np.errstate(invalid="ignore", divide="ignore"):
            return super().run(task)


def measured(task: Task, expected: Mapping[str, np.ndarray]) -> dict[str, dict[str, dict[str, float]]]:
    """{output: {precision: {"rms", "worst"}}}: the root mean square of the noise over all elements, and the largest element's.

    Neither is less than what rounding the result once gives.
    """
    squares = {precision: {name: np.zeros(values.shape) for name, values in expected.items()} for precision in FORMATS}
    for precision, runs in RUNS.items():
        for seed in range(runs):
            for name, got in Rounded(precision, seed).run(task).items():
                squares[precision][name] += (got - expected[name]) ** 2 / runs
    return {name: {precision: _size(squares[precision][name], values, FORMATS[precision][0]) for precision in FORMATS}
            for name, values in expected.items() if values.dtype.kind == "f"}


def _size(squares: np.ndarray, values: np.ndarray, u: float) -> dict[str, float]:
    once = u / math.sqrt(3) * math.sqrt(float(np.mean(values ** 2))) if values.size else 0.0
    rms = max(math.sqrt(float(squares.mean())) if values.size else 0.0, once, 1e-38)
    return {"rms": float(f"{rms:.4g}"), "worst": float(f"{max(math.sqrt(float(squares.max(initial=0.0))), rms):.4g}")}


