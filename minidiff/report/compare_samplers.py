"""Error against work: every sampler on problems whose answer is known exactly.

On Gaussian data the law of a sampler's output is known without drawing (`diffusion.sampler_law`), so its distance from
the right law has no noise in it. On a mixture on the line the samplers that draw nothing are compared with the exact
probability-flow ODE, which keeps the order of points on a line and so takes each quantile of the noise to the same
quantile of the data. Work is counted in calls of the model. Stands on `plots` and `diffusion`.

A perfect walk to the last sigma still ends at E[x_0 | x] instead of x_0. That share is the list's, the same for every sampler: it is drawn
as a line of its own (`floor`), and all other errors are distances from where the perfect walk ends.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from minidiff.diffusion import EDM, SAMPLERS, Gaussian, Mixture, Sampler, karras_sigmas, member, path, sample, sampler_law, wasserstein

from .files import write_new
from .plots import png, pyplot

GAUSSIAN = Gaussian(mean=np.array([0.3, -0.2, 0.1, 0.0]), std=np.array([0.05, 0.25, 0.5, 1.0]))
WEIGHTS, MEANS, STDS = (0.3, 0.7), (-1.0, 0.8), (0.12, 0.25)
MIXTURE = Mixture(WEIGHTS, np.array(MEANS)[:, None], STDS)
# Which quantiles walk on the line: 24 in each bell. At 0.3 itself, between the bells, the exact way tears neighbours apart.
SHARES = np.concatenate([0.3 * np.linspace(0.04, 0.96, 24), 0.3 + 0.7 * np.linspace(0.04, 0.96, 24)])
STEPS = (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512)
CALLS = 256                 # at most, unless asked otherwise
FITTED_FROM = 48            # calls: fewer do not show the order yet
READ_AT = (16, 32, 64)      # calls at which the table tells the errors
PROBLEMS = {"gaussian": "Gaussian data: the distance of the laws", "mixture": "mixture: the distance from the exact way"}
KINDS = {"one call": "one call a step", "several": "several calls a step", "noise": "fresh noise"}


@dataclass(frozen=True)
class Curve:
    """One sampler on one problem: its error after so many calls of the model. kind: one of KINDS."""

    sampler: str
    problem: str
    calls: list[int]
    errors: list[float]
    kind: str = "one call"

    def order(self) -> float:
        """p, where the error falls like calls^-p: the slope of the straight line through the logarithms; NaN of fewer than three points."""
        kept = [(np.log(n), np.log(e)) for n, e in zip(self.calls, self.errors) if n >= FITTED_FROM and e > 1e-13]
        return float(-np.polyfit(*zip(*kept), 1)[0]) if len(kept) >= 3 else float("nan")

    def error_at(self, calls: int) -> float:
        """The error after so many calls, on the straight line between the two nearest points of the picture; NaN beyond its ends."""
        if not self.calls[0] <= calls <= self.calls[-1]:
            return float("nan")
        return float(np.exp(np.interp(np.log(calls), np.log(self.calls), np.log(self.errors))))


def quantiles(sigma: float) -> np.ndarray:
    """The SHARES quantiles of the mixture on the line with noise sigma, the roots of its distribution function less the share: (48,)."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    widths = np.hypot(STDS, sigma)

    def too_much(x: float, share: float) -> float:
        return float(np.dot(WEIGHTS, ndtr((x - np.array(MEANS)) / widths))) - share

    far = 3 + 10 * sigma
    return np.array([brentq(too_much, -far, far, args=(share,), xtol=1e-15, rtol=1e-14) for share in SHARES])


def end_on_gaussian(sigma: float) -> Gaussian:
    """The law of E[x_0 | x] for x of the true law at noise sigma: where a perfect walk ends that asks there last."""
    return Gaussian(GAUSSIAN.mean, GAUSSIAN.std**2 / np.hypot(GAUSSIAN.std, sigma))


def end_on_mixture(sigma: float) -> np.ndarray:
    """E[x_0 | x] at the quantiles of noise sigma: (48,)."""
    return MIXTURE.start(quantiles(sigma)[:, None], 1.0, sigma)[:, 0]


def floor(problem: str, sigma: float) -> float:
    """The error of a perfect walk whose last call is at sigma: about sigma^2 / (2 std), and the samplers' own errors come on top."""
    if problem == "gaussian":
        end = end_on_gaussian(sigma)
        return wasserstein(end.mean, end.std, GAUSSIAN)
    return float(np.sqrt(np.mean((end_on_mixture(sigma) - quantiles(0.0)) ** 2)))


def error_on_gaussian(sampler: Sampler, sigmas: np.ndarray) -> float:
    """The Wasserstein distance of what the sampler gives from what a perfect walk through these sigmas gives, per coordinate."""
    return wasserstein(*sampler_law(sampler, EDM, sigmas, GAUSSIAN), end_on_gaussian(sigmas[-2]))


def error_on_mixture(sampler: Sampler, sigmas: np.ndarray) -> float:
    """The root mean square distance of where points end from where the probability-flow ODE and the last step take them."""
    x = sample(MIXTURE.model(EDM, "sample"), EDM, quantiles(sigmas[0])[:, None], sigmas, sampler, prediction_type="sample")
    return float(np.sqrt(np.mean((x[:, 0] - end_on_mixture(sigmas[-2])) ** 2)))


def compare(names: Sequence[str] | None = None, calls: int = CALLS) -> list[Curve]:
    """The curves of the samplers (all), up to so many calls, on Karras grids from sigma 80 to 0.002 and on to the data.

    Raises ValueError for an unknown name.
    """
    curves = []
    members = {name: member(name) for name in names or SAMPLERS}
    for name, sampler in tqdm(members.items(), desc="samplers", dynamic_ncols=True):
        on = {problem: ([], []) for problem in PROBLEMS}
        for steps in STEPS:
            sigmas = karras_sigmas(steps)
            plan = sampler.plan(path(EDM, sigmas))
            if len(plan.moves) > calls:
                break
            on["gaussian"][0].append(len(plan.moves))
            on["gaussian"][1].append(error_on_gaussian(sampler, sigmas))
            if plan.draws == 0:
                on["mixture"][0].append(len(plan.moves))
                on["mixture"][1].append(error_on_mixture(sampler, sigmas))
        kind = kind_of(sampler)
        curves += [Curve(name, problem, *points, kind) for problem, points in on.items() if points[0]]
    return curves


def kind_of(sampler: Sampler) -> str:
    """Which of KINDS it is, told by its plan for a long walk (the first steps may take more calls)."""
    plan = sampler.plan(path(EDM, karras_sigmas(64)))
    return "noise" if plan.draws else "one call" if len(plan.moves) < 1.5 * 64 else "several"


def table(curves: Sequence[Curve]) -> str:
    """The fitted orders and the errors at a few numbers of calls, a line a sampler."""
    lines = [f"{'':<20}{'order':^16}{'gaussian: error after':^30}{'mixture: error after':^30}",
             f"{'sampler':<20}{'gauss.':>8}{'mixture':>8}" + 2 * "".join(f"{n:>4} calls" for n in READ_AT).rjust(30)]
    for name in dict.fromkeys(curve.sampler for curve in curves):
        found = {curve.problem: curve for curve in curves if curve.sampler == name}
        orders = "".join(f"{found[p].order():>8.2f}" if p in found else f"{'-':>8}" for p in PROBLEMS)
        errors = "".join("".join(f"{found[p].error_at(n):>10.1e}" if p in found else f"{'-':>10}" for n in READ_AT) for p in PROBLEMS)
        lines.append(f"{name:<20}{orders}{errors}")
    return "\n".join(line.rstrip() for line in lines)


# -- the picture -----------------------------------------------------------------------------------------------------

COLOURS = ("#1f5fb4", "#d9762b", "#2a9249", "#b0273a", "#7b4fa3", "#0f9aa8", "#8a5a2b", "#d557a5", "#5c6670", "#a8a116")
MARKERS = "os^Dvp<*>h"


def draw_curves(curves: Sequence[Curve]) -> bytes:
    """Error against calls, both axes logarithmic, a row a problem, a column a kind of sampler, its neighbours in grey: a PNG."""
    plt = pyplot()
    kinds = [kind for kind in KINDS if any(curve.kind == kind for curve in curves)]
    problems = [problem for problem in PROBLEMS if any(curve.problem == problem for curve in curves)]
    size = {"figsize": (1.2 + 4.4 * len(kinds), 0.8 + 4 * len(problems)), "squeeze": False}
    figure, panels = plt.subplots(len(problems), len(kinds), sharex=True, sharey="row", **size)
    longest = max(max(curve.calls) for curve in curves)
    for row, problem in zip(panels, problems):
        here = [curve for curve in curves if curve.problem == problem]
        lowest = min(min(curve.errors) for curve in here)
        for axes, kind in zip(row, kinds):
            if not any(curve.kind == kind for curve in here):
                axes.axis("off")
                continue
            for curve in here:
                axes.loglog(curve.calls, curve.errors, color="#dfe3e8", linewidth=0.8, zorder=1)
            for label, curve, i in distinct([curve for curve in here if curve.kind == kind]):
                style = {"color": COLOURS[i % 10], "marker": MARKERS[i % 10], "markersize": 3.5, "linewidth": 1.4}
                axes.loglog(curve.calls, curve.errors, label=label, **style)
            draw_guides(axes, longest, problem)
            axes.set(xlim=(1.8, 1.6 * longest), ylim=(lowest / 3, 30))
            axes.legend(loc="lower left", fontsize=8, framealpha=0.9, edgecolor="none", handlelength=1.8, labelspacing=0.25)
            axes.tick_params(labelleft=True, labelbottom=True)
        row[0].set_ylabel(PROBLEMS[problem])
    for axes, kind in zip(panels[0], kinds):
        axes.set_title(KINDS[kind])
    for column in zip(*panels):
        lowest_drawn = next(axes for axes in reversed(column) if axes.axison)
        lowest_drawn.set_xlabel("calls of the model")
    figure.tight_layout()
    return few_colours(png(figure))


def few_colours(content: bytes) -> bytes:
    """A picture of lines as a PNG of at most 256 colours, the rare ones among them: a third of the size."""
    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, format="PNG", optimize=True)
    return out.getvalue()


def distinct(curves: Sequence[Curve]) -> list[tuple[str, Curve, int]]:
    """(names, curve, number of its colour): samplers with the same errors are the same sampler, one curve with all their names."""
    same: list[list[Curve]] = []
    for curve in curves:
        for group in same:
            if group[0].calls == curve.calls and np.allclose(group[0].errors, curve.errors, rtol=1e-6, atol=1e-12):
                group.append(curve)
                break
        else:
            same.append([curve])
    return [(" = ".join(curve.sampler for curve in group), group[0], i) for i, group in enumerate(same)]


def draw_guides(axes: Any, longest: int, problem: str) -> None:
    """What orders 1, 2 and 3 look like, and the floor under all errors."""
    grey = {"color": "#8a94a6", "linewidth": 0.8, "zorder": 1}
    small = {"fontsize": 8, "color": "#5b6675", "textcoords": "offset points"}
    for order in (1, 2, 3):
        calls, errors = np.array([longest / 6, longest]), np.array([3.0, 3.0 / 6**order])
        axes.loglog(calls, errors, linestyle="--", **grey)
        axes.annotate(f"{order}", (calls[1], errors[1]), xytext=(3, 0), va="center", **small)
    lowest = floor(problem, karras_sigmas(2)[-2])
    axes.axhline(lowest, linestyle=":", **grey)
    axes.annotate("the last step", (1.6 * longest, lowest), xytext=(-3, 3), ha="right", **small)
    axes.grid(True, which="major", color="#eef0f3")


def write_comparison(folder: str | os.PathLike, curves: Sequence[Curve]) -> list[Path]:
    """compare-samplers.png, .txt and .json in a new folder; returns their paths. Raises FileExistsError if the folder exists."""
    content = {
        "compare-samplers.png": draw_curves(curves),
        "compare-samplers.txt": (table(curves) + "\n").encode(),
        "compare-samplers.json": (json.dumps([asdict(curve) for curve in curves], indent=1) + "\n").encode(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True)
    for name, one in content.items():
        write_new(folder / name, one)
    return [folder / name for name in content]
