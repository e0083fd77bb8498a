"""Data whose perfect model is known: denoisers and scores at every noise level, and the exact laws of walks.

Samplers can be tested with these and no network at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from minidiff.verify.adapters.minidiff.exact import OPERATIONS as RIGHT
from minidiff.verify.adapters.minidiff.sde import numbers, process_of
from reference.case import Case, Mutant, Note, Operation, draw
from reference.cases.sde import COSINE, EDM, LINE, PROCESS, SUB_VP, VP

SCORE = "docs/sde.md#5-the-score-is-the-noise"
WAYS = "docs/sde.md#4-the-ways-back"
LIKELY = "docs/sde.md#8-how-probable-is-a-picture"
X = {"x": "(N, ...), alpha x_0 + sigma eps", "alpha": "(N,), of each of the batch", "sigma": "(N,)"}
GAUSSIAN = {"mean": "like one x_0", "std": "like one x_0: coordinates are independent"}
MIXTURE = {"means": "(K, D), m_k", "stds": "(K, D), s_k: coordinates are independent"}
POINTS = {"data": "(K, ...), the points y_k, each equally likely"}
WEIGHTS = {"weights": "w_k, K numbers that sum to 1"}
ROTATION = {"rotation": "R, (D, D) orthogonal"}
SHARES = "v_k = alpha^2 s_k^2 + sigma^2, p(k | x) proportional to w_k N(x; alpha m_k, v_k)"
SHARES_OF_POINTS = "p(k | x) = softmax_k(-|x - alpha y_k|^2 / (2 sigma^2))"
ONE, MANY = {"output": "like x"}, {"output": "(N,), in nats, summed over the dimensions"}
WALK = {"process": PROCESS, "t": "a time", "s": "a time before t, where the walk ends"}


def _operations(name, data, settings, start, score, log_prob):
    return {
        f"{name}_start": Operation(f"E[x_0 | x] = {start}", SCORE, {**X, **data}, ONE, settings),
        f"{name}_score": Operation(f"the gradient of log q(x) = {score}", SCORE, {**X, **data}, ONE, settings),
        f"{name}_log_prob": Operation(f"log q(x) = {log_prob}", LIKELY, {**X, **data}, MANY, settings),
    }


OPERATIONS = {
    **_operations("gaussian", GAUSSIAN, {}, "mean + alpha std^2 / v (x - alpha mean), v = alpha^2 std^2 + sigma^2",
                  "(alpha mean - x) / v, v = alpha^2 std^2 + sigma^2", "log N(x; alpha mean, alpha^2 std^2 + sigma^2)"),
    **_operations("mixture", MIXTURE, WEIGHTS, f"sum_k p(k | x) (m_k + alpha s_k^2 / v_k (x - alpha m_k)), {SHARES}",
                  f"sum_k p(k | x) (alpha m_k - x) / v_k, {SHARES}", "log sum_k w_k N(x; alpha m_k, alpha^2 s_k^2 + sigma^2)"),
    **_operations("points", POINTS, {}, f"sum_k p(k | x) y_k, {SHARES_OF_POINTS}",
                  f"(alpha E[x_0 | x] - x) / sigma^2, E[x_0 | x] = sum_k p(k | x) y_k, {SHARES_OF_POINTS}",
                  "log 1/K sum_k N(x; alpha y_k, sigma^2 I)"),
    **_operations("rotated", GAUSSIAN, ROTATION, "E[y_0 | x R^T] R for x_0 = y_0 R, y_0 ~ N(mean, diag(std^2)), as gaussian_start",
                  "(the score of y at x R^T) R, for x_0 = y_0 R, y_0 ~ N(mean, diag(std^2)), as gaussian_score",
                  "log q_y(x R^T), for x_0 = y_0 R, y_0 ~ N(mean, diag(std^2)), as gaussian_log_prob"),
    "mixture_log_responsibilities": Operation(
        "log p(k | x), p(k | x) = w_k N(x; alpha m_k, v_k) / sum_j w_j N(x; alpha m_j, v_j), v_k = alpha^2 s_k^2 + sigma^2",
        "docs/guidance.md#1-bayes-rule-on-scores", {**X, **MIXTURE}, {"output": "(N, K)"}, WEIGHTS),
    "points_log_responsibilities": Operation(
        "log softmax_k(-|x - alpha y_k|^2 / (2 sigma^2))", SCORE, {**X, **POINTS}, {"output": "(N, K)"}),
    "mixture_model": Operation(
        "what the perfect model predicts of x_t: E[x_0 | x_t], E[eps | x_t] = (x_t - alpha E[x_0 | x_t]) / sigma, or a mixture of the two",
        "docs/noise.md#10-five-names-for-one-answer", {"x": "(N, D), x_t", "t": "(N,), a time for each of the batch", **MIXTURE}, ONE,
        {**WEIGHTS, "process": PROCESS,
         "prediction_type": "epsilon, sample (x_0), v_prediction (alpha eps - sigma x_0), score (-eps / sigma), or flow_prediction "
                            "(eps - x_0)"}),
    "gaussian_transport": Operation(
        "the mean and variance of x_s, if x_t ~ N(x_mean, x_variance) walks from t down to s by dx = [f x - (1 + eta^2) / 2 g^2 score] dt "
        "+ eta g dw, exactly: with v = alpha^2 std^2 + sigma^2, c = (alpha_t / alpha_s)^2 v_s / v_t, F = sqrt(v_s / v_t) c^(eta^2 / 2), "
        "they are alpha_s mean + F (x_mean - alpha_t mean) and F^2 x_variance + v_s (1 - c^(eta^2))",
        WAYS, {"x_mean": "(D,)", "x_variance": "(D,)", "mean": "(D,), of the data", "std": "(D,), of the data"},
        {"mean": "(D,)", "variance": "(D,)"}, {**WALK, "eta": "1 the reverse SDE, 0 the probability-flow ODE"}),
    "gaussian_flow": Operation(
        "the probability-flow ODE solved from t down to s: alpha_s mean + sqrt(v_s / v_t) (x - alpha_t mean), v = alpha^2 std^2 + sigma^2",
        WAYS, {"x": "(N, D), x_t", "mean": "(D,), of the data", "std": "(D,), of the data"}, {"output": "(N, D), x_s"}, WALK),
    "gaussian_flow_log_determinant": Operation(
        "log |d x_s / d x_t| of the flow: 1/2 sum_d log(v_s / v_t), v = alpha^2 std^2 + sigma^2", LIKELY,
        {"mean": "(D,), of the data", "std": "(D,), of the data"}, {"output": "(), a number"}, {**WALK, "shape": "of one x"}),
    "sampler_law": Operation(
        "the mean and the standard deviation of what a sampler gives for Gaussian data with the perfect model, if it begins at x_t ~ "
        "N(alpha mean, alpha^2 std^2 + sigma^2) of the first time and ends at the data (after the last time: alpha = 1, sigma = 0). Each "
        "step is linear in x - alpha mean and in its noise, so the variance follows step by step, without drawing",
        "docs/samplers.md#how-few-steps-are-enough", {"mean": "(D,), of the data", "std": "(D,), of the data"},
        {"mean": "(D,)", "std": "(D,)"},
        {"process": PROCESS, "times": "the times, falling",
         "sampler": "DDIM (eta = 0), DDPM (the posterior's variance), HEUN (Karras et al. 2022, Algorithm 1; no noise)"}),
    "wasserstein": Operation(
        "sqrt(the mean over the dimensions of (x_mean - mean)^2 + (x_std - std)^2): the 2-Wasserstein distance of N(x_mean, diag(x_std^2)) "
        "and the data, per coordinate", "docs/samplers.md#how-few-steps-are-enough",
        {"x_mean": "(D,)", "x_std": "(D,)", "mean": "(D,), of the data", "std": "(D,), of the data"}, {"output": "(), a number"}),
}

NOTES = {
    "exact-variance": Note(
        "formula", "The variance of x = alpha x_0 + sigma eps is alpha^2 std^2 + sigma^2: squares of all three.",
        "A test model that is not the data's, so that right samplers seem wrong."),
    "exact-mean": Note("formula", "The noised data is centred at alpha mean, not at the mean or at 0.", "Brightness drifts on the way."),
    "exact-alpha": Note(
        "convention", "Formulas for alpha = 1 (EDM) used for variance preserving noise.", "Right at low noise, wrong at high noise."),
    "exact-weights": Note(
        "formula", "A component's weight and the width of its Gaussian belong to p(k | x).", "The modes get wrong shares."),
    "exact-softmax": Note("formula", "The exponent is -distance^2 / (2 sigma^2).", "Too sharp or too blurred a choice between images."),
    "exact-underflow": Note(
        "numerics",
        "Far from every component all densities are 0 in float32: p(k | x) is 0 / 0 unless the largest exponent is taken out first.",
        "NaN at low noise, images that are black."),
    "exact-nearest": Note(
        "formula", "The perfect denoiser is the mean of all images, weighed; not the nearest image.",
        "No way from noise to an image but a jump."),
    "exact-rotation": Note("convention", "x = y R for rows: back with R^T.", "Correlations of the wrong sign."),
    "exact-prediction": Note("convention", "x_0, eps, v, score and eps - x_0 are different mixtures.", "Noise, or washed-out colours."),
    "exact-eta": Note(
        "formula", "Walking back with noise forgets more of the start: c^(eta^2 / 2), and adds v_s (1 - c^(eta^2)).",
        "The wrong spread for every eta but 0 or 1."),
    "exact-determinant": Note("formula", "log |d x_s / d x_t| is half the sum of log(v_s / v_t), negative towards the data.",
                              "Likelihoods with a wrong sign or twice the volume."),
    "exact-last-step": Note(
        "indexing", "The last step leads to the data, alpha = 1 and sigma = 0, and not only to the last time.",
        "Noise is left in every image."),
    "exact-previous-time": Note(
        "indexing", "The next time of a step is the next entry of the list, not t - T / S.",
        "Steps of the wrong length if the list is not even.",
        ("diffusers 9261", "diffusers 11347", "diffusers 12633")),
    "exact-posterior-variance": Note(
        "formula", "The variance of a DDPM step is the posterior's, or beta: both are in use, here it is the posterior's.",
        "Grainy at few steps."),
    "exact-order": Note("formula", "Heun corrects Euler's step by the slope at its end.", "Ten times as many steps for the same error."),
    "exact-wasserstein": Note("formula", "W_2 compares standard deviations, not variances; here per coordinate, with the root.",
                              "Comparisons of samplers on another scale."),
}


def _with(operation, **change):
    """A mutant that answers rightly to other inputs: each given as a function of the right ones."""
    return lambda inputs, settings: RIGHT[operation]({**inputs, **{name: new(inputs) for name, new in change.items()}}, settings)


def _negative(operation):
    return lambda inputs, settings: -RIGHT[operation](inputs, settings)


def _f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def _levels(alpha: float, sigma: float, count: int) -> dict[str, np.ndarray]:
    return {"alpha": np.full(count, alpha, dtype=np.float32), "sigma": np.full(count, sigma, dtype=np.float32)}


def _sqrt(name):
    return lambda inputs: inputs[name] ** 0.5


def _between(x: np.ndarray, first: np.ndarray, second: np.ndarray, alpha: float, variance: float) -> np.ndarray:
    """x (N, D), its first coordinate moved so that N(x; alpha second, variance) is some 3 times N(x; alpha first, variance)."""
    x, apart = x.astype(np.float64), (second - first).astype(np.float64)
    middle = alpha * (first + second) / 2
    x[:, 0] = middle[0] + (1.1234 * variance / alpha - (x - middle)[:, 1:] @ apart[1:]) / apart[0]
    return x.astype(np.float32)


def _kind(method: str) -> str:
    return {"start": "denoiser", "score": "score", "log_prob": "density", "log_responsibilities": "classifier"}[method]


def _mistakes(name: str, method: str, spread: str) -> dict[str, Mutant]:
    """Those that every kind of data has. spread: the input that holds the standard deviations, or ""."""
    operation, what = f"{name}_{method}", _kind(method)
    mutants = {
        "sigma": Mutant(f"your {what} adds sigma, not its square, to the variance", "exact-variance", compute=_with(
            operation, sigma=_sqrt("sigma"))),
        "alpha": Mutant(f"your {what} has alpha = 1", "exact-alpha", compute=_with(operation, alpha=lambda i: i["alpha"] * 0 + 1)),
    }
    if spread:
        mutants["std"] = Mutant(f"your {what} takes the data's standard deviation for its variance", "exact-variance", compute=_with(
            operation, **{spread: _sqrt(spread)}))
    return mutants


# -- Gaussians -------------------------------------------------------------------------------------------------------------------


def _gaussians() -> Iterator[Case]:
    for method in ("start", "score", "log_prob"):
        operation = f"gaussian_{method}"
        id = f"{operation}/ordinary"
        arrays = {"x": draw(f"{id}:x", 3, 2, 5), "alpha": _f32(0.8, 0.6, 0.28), "sigma": _f32(0.6, 0.8, 0.96),
                  "mean": draw(f"{id}:mean", 2, 5), "std": np.abs(draw(f"{id}:std", 2, 5, scale=0.25, mean=0.75))}
        centred = Mutant(f"your {_kind(method)} leaves the data's mean out", "exact-mean", compute=_with(
            operation, mean=lambda i: i["mean"] * 0))
        gradients = ("x",) if method == "log_prob" else ()
        cotangent = {"cotangent": draw(f"{id}:cotangent", 3)} if gradients else {}
        yield Case(id, "a level for each of the batch, a mean and a width for each coordinate", {**arrays, **cotangent}, {}, gradients,
                   {"mean": centred, **_mistakes("gaussian", method, "std")})
        if method == "log_prob":
            continue
        for name, reason, alpha, sigma in (
            ("nearly-clean", "sigma is a thousandth", 0.9999995, 1e-3), ("nearly-noise", "alpha is a thousandth", 1e-3, 0.9999995)):
            id = f"{operation}/{name}"
            x = draw(f"{id}:x", 2, 3) if alpha < 0.5 else _f32(0.71, -1.18, 0.31, 0.33, -1.49, 0.295).reshape(2, 3)
            arrays = {"x": x, **_levels(alpha, sigma, 2), "mean": _f32(0.7, -1.3, 0.3), "std": _f32(0.5, 1.5, 0.002)}
            mutant = Mutant("your variance has alpha for alpha^2", "exact-variance", compute=_with(
                operation, std=lambda i: i["std"] / i["alpha"][0] ** 0.5))
            mutants = {"alpha": mutant} if alpha < 0.5 and method == "start" else {}
            yield Case(id, reason, arrays, {}, (), {**mutants, "mean": centred})
    id = "gaussian_score/far-mean"
    yield Case(id, "a mean of 1000: x - alpha mean loses digits everywhere", {
        "x": draw(f"{id}:x", 2, 3, mean=800.0), **_levels(0.8, 0.6, 2), "mean": draw(f"{id}:mean", 3, mean=1000.0),
        "std": _f32(0.5, 1.5, 2.0)}, {}, (), {
        "alpha": Mutant("your Gaussian is centred at the mean, not at alpha times the mean", "exact-mean", compute=_with(
            "gaussian_score", mean=lambda i: i["mean"] / 0.8))})


def _rotated() -> Iterator[Case]:
    turn = np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3
    for method in ("start", "score", "log_prob"):
        id = f"rotated_{method}/correlated"
        arrays = {"x": draw(f"{id}:x", 2, 3), "alpha": _f32(0.8, 0.6), "sigma": _f32(0.6, 0.8), "mean": _f32(0.75, -1.25, 0.25),
                  "std": _f32(0.25, 1.5, 0.625)}
        yield Case(id, "a covariance that is not diagonal", arrays, {"rotation": turn.tolist()}, (), {
            "transposed": Mutant("you turn the wrong way: R for R^T", "exact-rotation", settings={"rotation": turn.T.tolist()}),
            "not-turned": Mutant("you leave the correlations out", "exact-rotation", settings={"rotation": np.eye(3).tolist()})})


# -- mixtures and points -----------------------------------------------------------------------------------------------------------


def _softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _shared(exponent, sharpen=_softmax):
    """E[x_0 | x] of a mixture or of points, where p(k | x) comes from exponent(squares, variances, weights)."""
    def compute(inputs, settings):
        x, alpha, sigma = (numbers(inputs[name]) for name in ("x", "alpha", "sigma"))
        means = numbers(inputs["means" if "means" in inputs else "data"])
        means, x = means.reshape(len(means), -1), x.reshape(len(x), 1, -1)
        stds = numbers(inputs["stds"]) if "stds" in inputs else np.zeros_like(means)
        weights = np.array(settings.get("weights", np.full(len(means), 1 / len(means))))
        alpha, sigma = alpha.reshape(-1, 1, 1), sigma.reshape(-1, 1, 1)
        variances = alpha ** 2 * stds ** 2 + sigma ** 2
        offsets = x - alpha * means
        shares = sharpen(exponent((offsets ** 2 / variances).sum(axis=2), np.log(variances).sum(axis=2), np.log(weights)))
        answers = means + alpha * stds ** 2 / variances * offsets
        return (shares[:, :, None] * answers).sum(axis=1).reshape(inputs["x"].shape)
    return compute


def _nearest(x):
    return (x == x.max(axis=1, keepdims=True)).astype(np.float64)


def _right_exponent(squares, log_variances, log_weights):
    return log_weights - (squares + log_variances) / 2


def _tweedie(start):
    """The score that belongs to a mutant of E[x_0 | x]."""
    def compute(inputs, settings):
        x, alpha, sigma = (numbers(inputs[name]) for name in ("x", "alpha", "sigma"))
        alpha, sigma = (v.reshape(-1, *(1,) * (x.ndim - 1)) for v in (alpha, sigma))
        return (alpha * start(inputs, settings) - x) / sigma ** 2
    return compute


def _underflow(operation: str) -> dict[str, Mutant]:
    """What comes out where all densities are 0: their sum has the logarithm -inf, their shares are 0 / 0."""
    log_prob = operation.endswith("log_prob")
    words = ("your densities underflow to 0, and the logarithm of their sum is -inf" if log_prob else
             "your densities underflow to 0, and their shares are 0 / 0")
    return {"underflow": Mutant(words, "exact-underflow", compute=lambda inputs, settings: RIGHT[operation](inputs, settings) * 0 + (
        -np.inf if log_prob else np.nan))}


WRONG_SHARES = {
    "nearest": ("takes the most likely component alone", "exact-nearest", _shared(_right_exponent, _nearest)),
    "normalizer": ("leaves out the normalizing factors of the components", "exact-weights", _shared(
        lambda squares, logs, w: w - squares / 2)),
    "half": ("has no 1/2 in the exponent", "exact-softmax", _shared(lambda squares, logs, w: w - squares - logs / 2)),
}


def _shares(method: str, names) -> dict[str, Mutant]:
    """Mutants of p(k | x) in E[x_0 | x], or in the score."""
    return {name: Mutant(f"your {_kind(method)} {words}", flag, compute=start if method == "start" else _tweedie(start))
            for name, (words, flag, start) in WRONG_SHARES.items() if name in names}


def _mixture(id: str) -> dict[str, np.ndarray]:
    return {"means": draw(f"{id}:means", 3, 2), "stds": np.array([[0.5, 0.75], [1.0, 0.25], [0.375, 0.625]], dtype=np.float32)}


def _mixtures() -> Iterator[Case]:
    weights = {"weights": [0.125, 0.625, 0.25]}
    for method in ("start", "score", "log_prob", "log_responsibilities"):
        operation = f"mixture_{method}"
        equal = Mutant(f"your {_kind(method)} leaves the weights out", "exact-weights", settings={"weights": [1 / 3, 1 / 3, 1 / 3]})
        id = f"{operation}/ordinary"
        arrays = {"x": draw(f"{id}:x", 3, 2), "alpha": _f32(0.8, 0.6, 0.28), "sigma": _f32(0.6, 0.8, 0.96), **_mixture(id)}
        has_gradient = method in ("log_prob", "log_responsibilities")
        if has_gradient:
            arrays["cotangent"] = draw(f"{id}:cotangent", *((3,) if method == "log_prob" else (3, 3)))
        shares = {} if has_gradient else _shares(method, WRONG_SHARES)
        yield Case(id, "three components of different weights and widths", arrays, weights, ("x",) if has_gradient else (),
                   {"weights": equal, **_mistakes("mixture", method, "stds"), **shares})
        id = f"{operation}/far"
        means = np.array([[0.9, -0.4], [-0.7, 0.3], [0.2, -2.5]], dtype=np.float32)
        x = _between(_f32(0.0, 2.3, 0.0, 4.1).reshape(2, 2), means[0], means[1], 0.9998, 0.0013)
        arrays = {"x": x, **_levels(0.9998, 0.02, 2), "means": means,
                  "stds": np.array([[0.03, 0.03], [0.03, 0.03], [0.04, 0.02]], dtype=np.float32)}
        std = {"std": _mistakes("mixture", method, "stds")["std"]}
        yield Case(id, "many standard deviations from every component, between two: exp underflows", arrays, weights, (),
                   {**std, **_underflow(operation)})
    id = "mixture_score/nearly-noise"
    yield Case(id, "alpha is a hundredth: p(k | x) is nearly w_k", {
        "x": draw(f"{id}:x", 2, 2), **_levels(0.01, 0.99995, 2), **_mixture(id)}, weights, (), {
        "weights": Mutant("your score leaves the weights out", "exact-weights", settings={"weights": [1 / 3, 1 / 3, 1 / 3]})})
    for name, process, t, other in (
        ("epsilon", VP, (0.09, 0.34, 0.81), "sample"), ("sample", EDM, (0.25, 0.5, 2.0), "epsilon"),
        ("v_prediction", COSINE, (0.11, 0.47, 0.93), "epsilon"), ("score", SUB_VP, (0.17, 0.38, 0.62), "epsilon"),
        ("flow_prediction", LINE, (0.12, 0.48, 0.93), "v_prediction"),
    ):
        id = f"mixture_model/{name}"
        sign = {"sign": Mutant("your prediction has the other sign", "exact-prediction", compute=_negative("mixture_model"))}
        yield Case(id, "a time for each of the batch", {"x": draw(f"{id}:x", 3, 2), "t": _f32(*t), **_mixture(id)},
                   {**weights, "process": process, "prediction_type": name}, (), {
            "other": Mutant(f"you predict {other}", "exact-prediction", settings={"prediction_type": other}),
            **(sign if name != "sample" else {})})


def _points() -> Iterator[Case]:
    for method in ("start", "score", "log_prob", "log_responsibilities"):
        operation = f"points_{method}"
        id = f"{operation}/ordinary"
        arrays = {"x": draw(f"{id}:x", 3, 2, 3), "alpha": _f32(0.8, 0.6, 0.28), "sigma": _f32(0.6, 0.8, 0.96),
                  "data": draw(f"{id}:data", 5, 2, 3)}
        shares = _shares(method, ("nearest", "half")) if method in ("start", "score") else {}
        yield Case(id, "five points, each likely", arrays, {}, (), {**_mistakes("points", method, ""), **shares})
    for method in ("start", "log_responsibilities"):
        id = f"points_{method}/far"
        data = draw(f"{id}:data", 3, 5, scale=0.25)
        x = _between(draw(f"{id}:x", 2, 5, scale=2.0), data[0], data[1], 0.9998, 0.0025)
        arrays = {"x": x, **_levels(0.9998, 0.05, 2), "data": data}
        yield Case(id, "a hundred standard deviations from every point, between two: exp underflows", arrays, {}, (), {
            "sigma": _mistakes("points", method, "")["sigma"], **_underflow(f"points_{method}")})


# -- walks ---------------------------------------------------------------------------------------------------------------------------


DATA = {"mean": _f32(0.75, -1.25, 0.25), "std": _f32(0.5, 1.5, 0.25)}


def _transports() -> Iterator[Case]:
    settings = {"process": VP, "t": 0.75, "s": 0.25}
    eta = lambda value, words: Mutant(words, "exact-eta", settings={"eta": value})
    for name, reason, process, value, variance, mutants in (
        ("sde", "the reverse SDE from a point: the posterior", settings, 1.0, (0.0, 0.0, 0.0), {
            "flow": eta(0.0, "you walk the flow, without noise")}),
        ("between", "eta = 0.5: its square", settings, 0.5, (0.5, 0.25, 1.5), {
            "root": eta(math.sqrt(0.5), "your eta is not squared"), "flow": eta(0.0, "you walk the flow, without noise")}),
        ("flow", "no noise, from a start of another width than the data's", {"process": EDM, "t": 5.0, "s": 0.5}, 0.0, (1.0, 4.0, 25.0), {
            "sde": eta(1.0, "you walk the reverse SDE")}),
    ):
        id = f"gaussian_transport/{name}"
        arrays = {"x_mean": draw(f"{id}:x", 3), "x_variance": _f32(*variance), **DATA}
        yield Case(id, reason, arrays, {**process, "eta": value}, (), mutants)
    id = "gaussian_flow/vp"
    yield Case(id, "what DDIM, Euler, Heun come near to", {"x": draw(f"{id}:x", 2, 3), **DATA}, settings, (), {
        "variance": Mutant("you multiply by v_s / v_t without the root", "exact-variance", compute=_flow_unrooted),
        "centred": Mutant("your flow leaves the mean out", "exact-mean", compute=_with("gaussian_flow", mean=lambda i: i["mean"] * 0))})
    for name, process in (("vp", settings), ("edm", {"process": EDM, "t": 80.0, "s": 0.002})):
        right = "gaussian_flow_log_determinant"
        yield Case(f"{right}/{name}", "the change of volume towards the data", DATA, {**process, "shape": [3]}, (), {
            "whole": Mutant("your determinant has no 1/2", "exact-determinant", compute=lambda inputs, settings: (
                RIGHT["gaussian_flow_log_determinant"](inputs, settings) * 2)),
            "sign": Mutant("your determinant is that of the way to the noise", "exact-determinant", compute=_negative(right)),
        }, noise="relative")


def _flow_unrooted(inputs, settings):
    process, (x, mean, std) = process_of(settings), (numbers(inputs[name]) for name in ("x", "mean", "std"))
    t, s = process.level(settings["t"]), process.level(settings["s"])
    v_t, v_s = ((level.alpha * std) ** 2 + level.sigma ** 2 for level in (t, s))
    return s.alpha * mean + v_s / v_t * (x - t.alpha * mean)


def _law(step, times=lambda times: times):
    """The law with a mutant's step(gain, (alpha, sigma), (alpha_s, sigma_s)) -> (factor, variance of fresh noise), at a mutant's times."""
    def compute(inputs, settings):
        process, mean, std = process_of(settings), numbers(inputs["mean"]), numbers(inputs["std"])
        levels = [tuple(process.level(t)[1:]) for t in times(settings["times"])] + [(1.0, 0.0)]
        variance = (levels[0][0] * std) ** 2 + levels[0][1] ** 2
        for here, there in pairwise(levels):
            gain = here[0] * std ** 2 / ((here[0] * std) ** 2 + here[1] ** 2)
            factor, fresh = step(gain, here, there)
            variance = factor ** 2 * variance + fresh
        return {"mean": mean, "std": np.sqrt(variance)}
    return compute


def _ddim(gain, here, there):
    return there[0] * gain + there[1] * (1 - here[0] * gain) / here[1], 0.0


def _ddpm_with_beta(gain, here, there):
    a = here[0] / there[0]
    fresh = here[1] ** 2 - a ** 2 * there[1] ** 2
    return (a * there[1] ** 2 + there[0] * fresh * gain) / here[1] ** 2, fresh if there[1] > 0 else 0.0


def _even(times):
    """Each time followed by the one T / S earlier."""
    return [times[0] - k / len(times) * times[0] for k in range(len(times))]


def _laws() -> Iterator[Case]:
    def at_last_time(inputs, settings):
        level = process_of(settings).level(settings["times"][-1])
        right = RIGHT["sampler_law"](inputs, settings)
        return {"mean": level.alpha * right["mean"], "std": np.sqrt((level.alpha * right["std"]) ** 2 + level.sigma ** 2)}

    times = [1.0, 0.7, 0.5, 0.3, 0.15, 0.05]
    ddpm, ddim = (Mutant(words, "exact-posterior-variance", settings={"sampler": sampler}) for words, sampler in (
        ("you add fresh noise: this is DDPM", "DDPM"), ("you add no noise: this is DDIM", "DDIM")))
    even = Mutant("your next time is t - T / S, not the next of the list", "exact-previous-time", compute=_law(_ddim, _even))
    beta = Mutant("your variance is beta, not the posterior's", "exact-posterior-variance", compute=_law(_ddpm_with_beta))
    euler = Mutant("your steps are Euler's, not corrected", "exact-order", compute=_law(_ddim))
    last = Mutant("your walk ends with the noise of the last time", "exact-last-step", compute=at_last_time)
    for sampler, process, walk, mutants in (
        ("DDIM", VP, times, {"even": even, "ddpm": ddpm}), ("DDPM", VP, times, {"beta": beta, "ddim": ddim}),
        ("HEUN", EDM, [80.0, 20.0, 5.0, 1.25, 0.3, 0.002], {"euler": euler}),
    ):
        yield Case(f"sampler_law/{sampler.lower()}", "six uneven steps; the spread they lose or add", DATA,
                   {"process": process, "times": walk, "sampler": sampler}, (), {"last": last, **mutants}, noise="relative")

    def distance(of, reduce=np.mean, root=np.sqrt):
        return lambda inputs, settings: root(reduce(of(*(numbers(inputs[name]) for name in ("x_mean", "x_std", "mean", "std")))))

    arrays = {"x_mean": _f32(0.5, -1.0, 0.375), "x_std": _f32(0.75, 1.25, 0.5), **DATA}
    yield Case("wasserstein/uneven", "means and widths differ", arrays, {}, (), {
        "variances": Mutant("you compare variances, not standard deviations", "exact-wasserstein", compute=distance(
            lambda m, s, n, r: (m - n) ** 2 + (s ** 2 - r ** 2) ** 2)),
        "sum": Mutant("your distance is the sum over the dimensions, not per coordinate", "exact-wasserstein", compute=distance(
            lambda m, s, n, r: (m - n) ** 2 + (s - r) ** 2, np.sum)),
        "squared": Mutant("your distance is W_2 squared", "exact-wasserstein", compute=distance(
            lambda m, s, n, r: (m - n) ** 2 + (s - r) ** 2, root=lambda x: x))}, noise="relative")


def cases() -> Iterator[Case]:
    """Gaussians, mixtures, points; what a walk does to a Gaussian."""
    for family in (_gaussians, _rotated, _mixtures, _points, _transports, _laws):
        yield from family()
