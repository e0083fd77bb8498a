"""Makes the figures of the chapters with the library itself: `python docs/figures.py` writes them to `docs/figures/`.

One function a figure. No network is trained: the models here are the perfect ones of `minidiff.diffusion.exact`, of a mixture of two
Gaussians and of a few hundred garments.
"""

from __future__ import annotations

import io
import runpy
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
from PIL import Image

from minidiff.data import load, to_uint8
from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    DPM_SOLVER_3,
    DPMPP_2M,
    DPMPP_3M,
    EDM,
    HEUN,
    SDE,
    SIGMAS,
    SPACINGS,
    Ancestral,
    AnnealedLangevin,
    Cosine,
    Gaussian,
    Mixture,
    Multistep,
    Points,
    Process,
    Sampler,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    classifier_free_guidance,
    counterfactual,
    euler_maruyama,
    forward_sde,
    hutchinson_probes,
    inpaint,
    karras_sigmas,
    langevin_dynamics,
    log_likelihood,
    make_schedule,
    min_snr_weight,
    p2_weight,
    q_sample,
    rescale_zero_terminal_snr,
    reverse_sde,
    same_loss_weight,
    sample,
    sampler_law,
    timesteps,
    trajectory,
    velocity_weight,
    wasserstein,
)
from minidiff.random import Generator
from minidiff.report import forward_strip, grid, plots, reverse_strip

FOLDER = Path(__file__).parent / "figures"

BELLS = Mixture((0.3, 0.7), ((-1.0,), (0.8,)), (0.12, 0.25))    # data on a line
LINE = make_schedule("squaredcos_cap_v2", 400)                  # one column of a picture for each time
LOW, HIGH, ROWS = -3.0, 3.0, 200                                # the part of the line that is shown, from the bottom up
PAPER, INK, SIGNAL, NOISE = (255, 255, 255), (16, 42, 84), (31, 95, 180), (214, 219, 226)
PATHS = ((200, 60, 40), (20, 140, 90), (225, 150, 20), (130, 70, 170))
STARTS = (-1.5, -0.6, 0.3, 1.4)


def between(shares: np.ndarray, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """Colours from `low` (share 0) to `high` (share 1). shares: (H, W). Returns uint8 (3, H, W)."""
    low, high = (np.array(colour, float)[:, None, None] for colour in (low, high))
    return np.rint(low + (high - low) * shares.clip(0, 1)).astype(np.uint8)


def rows_of(x: np.ndarray) -> np.ndarray:
    """The row of the picture in which a point of the line lies, -1 or ROWS if it is not shown."""
    return np.floor((HIGH - x) / (HIGH - LOW) * ROWS).astype(int).clip(-1, ROWS)


def densities() -> np.ndarray:
    """q(x_t), a column for each time: (ROWS, T)."""
    x = HIGH - (np.arange(ROWS)[:, None] + 0.5) / ROWS * (HIGH - LOW)
    levels = [LINE.level(t) for t in range(LINE.num_train_timesteps)]
    return np.exp(np.stack([BELLS.log_prob(x, alpha, sigma) for _, alpha, sigma in levels], axis=1))


def walks(sampler: Ancestral, start: np.ndarray, generator: Generator) -> np.ndarray:
    """Walks of a sampler with the perfect model and all its steps. start: (N,), x at the end of the forward process. Returns (T, N)."""
    frames = np.empty((LINE.num_train_timesteps, len(start)))

    def keep(i: int, t: int, x: np.ndarray, x_start: np.ndarray) -> None:
        frames[t] = x[:, 0]

    times = timesteps(LINE.num_train_timesteps, LINE.num_train_timesteps)
    sample(BELLS.model(LINE), LINE, start[:, None], times, sampler, generator=generator, callback=keep)
    return frames


def schedules() -> Image.Image:
    """What is in x_t: the share abar_t of the variance that is signal, and the rest, for two schedules."""
    panels = []
    for name in ("linear", "squaredcos_cap_v2"):
        abar = make_schedule(name, 1000).alphas_cumprod[::3]
        from_the_bottom = 1 - (np.arange(150)[:, None] + 0.5) / 150
        panels.append(between((from_the_bottom < abar) * 1.0, NOISE, SIGNAL))
    return grid(np.stack(panels)[None], column_names=["linear", "squaredcos_cap_v2"], scale=1)


def forward() -> Image.Image:
    """Real garments on their way to noise."""
    dataset, schedule, generator = load("fashion-mnist-mini"), make_schedule(), Generator(0)
    x_start = dataset.floats([int(np.argmax(dataset.labels == label)) for label in (1, 7, 8, 9)])
    times = [19, 69, 139, 219, 299, 399, 549, 749, 999]
    noisy = [q_sample(schedule, x_start, t, generator.standard_normal(x_start.shape)) for t in times]
    return forward_strip(np.stack([to_uint8(x) for x in (x_start, *noisy)]), [None, *times], scale=2)


def there_and_back() -> Image.Image:
    """The density of x_t by its formula, and the histogram of 40,000 walks back: the same picture, made from left and from right."""
    there, generator = densities(), Generator(3)
    frames = walks(DDPM, generator.standard_normal(40_000, "float64"), generator)
    histogram = np.stack([np.bincount(rows_of(x) + 1, minlength=ROWS + 2)[1:-1] for x in frames], axis=1)
    back = histogram / (40_000 * (HIGH - LOW) / ROWS)
    # the square root shows the thin as well as the dense
    return grid(np.stack([between(np.sqrt(shares), PAPER, INK) for shares in (there, back)])[None],
                column_names=["forward: the density", "back: 40,000 walks"], scale=1)


def with_walks(background: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """A copy of a picture of the line over time with walks drawn into it. frames: (T, N), a walk a column."""
    panel = background.copy()
    for walk, colour in zip(frames.T, PATHS):
        rows = rows_of(walk)
        for t, row in enumerate(rows):
            until = rows[min(t + 1, len(rows) - 1)]
            panel[:, max(0, min(row, until) - 1):max(row, until) + 1, t] = np.array(colour)[:, None]
    return panel


def paths() -> Image.Image:
    """Four walks of DDPM and of DDIM from the same noise, over the density of x_t."""
    background = between(np.sqrt(densities()) * 0.45, PAPER, INK)
    panels = []
    for sampler in (DDPM, DDIM):
        panels.append(with_walks(background, walks(sampler, np.array(STARTS), Generator(3))))
    return grid(np.stack(panels)[None], column_names=["DDPM", "DDIM"], scale=1)


def reverse() -> Image.Image:
    """Noise becoming garments, with the perfect model of 600 real ones: it can only remember."""
    dataset, schedule, generator = load("fashion-mnist-mini"), make_schedule(), Generator(5)
    images = dataset.floats(slice(600))
    model = Mixture(np.full(600, 1 / 600), images, 0.05).model(schedule)
    times = timesteps(1000, 50)
    shown, noisy, predicted = [0, 18, 24, 28, 31, 34, 37, 41, 49], [], []

    def keep(i: int, t: int, x: np.ndarray, x_start: np.ndarray) -> None:
        if i in shown:
            noisy.append(to_uint8(x))
            predicted.append(to_uint8(x_start))

    x = generator.standard_normal((3, *images.shape[1:]))
    sample(model, schedule, x, times, DDPM, generator=generator, callback=keep)
    return reverse_strip(np.stack(noisy), np.stack(predicted), [int(times[i]) for i in shown], scale=2)


def guidance_scales() -> Image.Image:
    """Three bells in the plane, the lower right one asked for, at four scales: the density of all data, and samples over it."""
    centres, size, high = np.array([[0.6, -0.7], [-1.4, -0.7], [-0.4, 0.9]]), 200, 3.0
    data, wanted = Mixture(np.full(3, 1 / 3), centres, 0.4), Gaussian(centres[0], 0.4)
    places = (np.arange(size) + 0.5) / size * 2 * high - high
    plane = np.stack([np.tile(places, size), np.repeat(-places, size)], axis=1)
    density = np.exp(data.log_prob(plane, 1.0, 0.0)).reshape(size, size)
    background = between(np.sqrt(density / density.max()) * 0.6, PAPER, SIGNAL)

    def either(x: np.ndarray, t: np.ndarray, label: np.ndarray) -> np.ndarray:
        return np.where(label[:, None] == 1, wanted.model(EDM)(x, t), data.model(EDM)(x, t))

    panels, scales = [], (0, 1, 2, 5)
    x = 40 * Generator(0).standard_normal((500, 2), "float64")
    for scale in scales:
        guided = classifier_free_guidance(either, np.ones(len(x), int), scale, null_context=0)
        drawn = sample(guided, EDM, x, np.geomspace(40, 0.01, 40), HEUN)
        panel = background.copy()
        columns, rows = ((drawn * [1, -1] + high) / (2 * high) * size).astype(int).clip(0, size - 2).T
        for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
            panel[:, rows + down, columns + across] = np.array(PATHS[0])[:, None]
        panels.append(panel)
    return grid(np.stack(panels)[None], column_names=[f"scale {scale}" for scale in scales], scale=1)


def guidance_levels() -> Image.Image:
    """From data (left) to noise: what the score of guidance by 4 belongs to; the sharpened data, noised; where the walks are. Orange: the
    mean; red dashes: the mean of the sharpened data."""
    data, right, scale = Mixture([0.5, 0.5], [[-1.0], [1.0]], 0.6), Gaussian(1.0, 0.6), 4.0
    sigmas, high, width, far = np.geomspace(0.02, 6, ROWS), 5.0, 7.0 / ROWS, 600
    places = high - (np.arange(-far, ROWS + far) + 0.5) * width           # far beyond what is shown, so that noise has room

    def sharpened(sigma: float) -> np.ndarray:
        log_density = data.log_prob(places[:, None], 1.0, sigma) + scale * data.log_responsibilities(places[:, None], 1.0, sigma)[:, 1]
        return np.exp(log_density - log_density.max())

    def noised(sigma: float) -> np.ndarray:
        return np.convolve(sharpened(0.0), np.exp(-((places - places.mean()) / sigma) ** 2 / 2), mode="same")

    def either(x: np.ndarray, t: np.ndarray, label: np.ndarray) -> np.ndarray:
        return np.where(label[:, None] == 1, right.model(EDM)(x, t), data.model(EDM)(x, t))

    start = 40 * np.array([[NormalDist().inv_cdf((i + 0.5) / 4000)] for i in range(4000)])
    above = np.geomspace(40, 6.5, 15)
    guided = classifier_free_guidance(either, np.ones(len(start), int), scale, null_context=0)
    walk = trajectory(guided, EDM, start, [*above, *sigmas[::-1]], DDIM)
    ends = np.append(places + width / 2, places[-1] - width / 2)[::-1]
    histograms = [np.histogram(state, ends)[0][::-1] for state in walk.states[-2:len(above) - 1:-1]]

    panels = []
    for columns in ([sharpened(sigma) for sigma in sigmas], [noised(sigma) for sigma in sigmas], histograms):
        densities = np.stack(columns, axis=1)
        panel = between(densities[far:-far] / densities.max(axis=0), PAPER, INK)
        means = [np.average(places, weights=column) for column in columns]
        of_data = np.average(places, weights=sharpened(0.0))
        for mean, colour, shown in ((of_data, PATHS[0], np.arange(ROWS) % 12 < 6), (means, PATHS[2], True)):
            rows = np.broadcast_to(((high - np.asarray(mean)) / width).astype(int), ROWS)
            across = np.flatnonzero(np.broadcast_to(shown, ROWS))
            for i in (-1, 0, 1):
                panel[:, rows[across] + i, across] = np.array(colour)[:, None]
        panels.append(panel)
    return grid(np.stack(panels)[None], column_names=["noised, then sharpened", "sharpened, then noised", "where the walks are"], scale=1)


def guidance_inpainting() -> Image.Image:
    """Garments, the part of them that is known, and what replacement and RePaint make of it: the model is perfect for 200 garments."""
    generator, schedule = Generator(0), make_schedule()
    images = load("fashion-mnist-mini").floats(slice(200)).astype(float)
    known, mask = images[[0, 1, 3, 4, 5, 8, 11]], np.arange(28) < 12
    x, model = generator.standard_normal(known.shape, "float64"), Points(images).model(schedule)
    rows = {"garment": known, "known": known * mask}
    for name, passes in {"replaced": 1, "RePaint": 6}.items():
        rows[name] = inpaint(model, schedule, x, timesteps(1000, 25), known, mask, DDPM_LARGE, jump_n_sample=passes, generator=generator)
    return grid(np.stack([to_uint8(row.clip(-1, 1)) for row in rows.values()]), row_names=list(rows), scale=2)


def guidance_counterfactual() -> Image.Image:
    """Sneakers as ankle boots, coats as T-shirts: up with the perfect model of 150 of the one, down with that of 150 of the other."""
    dataset, rows = load("fashion-mnist-mini"), {}
    for (name, label), (other_name, other) in {("sneaker", 7): ("as a boot", 9), ("coat", 4): ("as a T-shirt", 0)}.items():
        of_class = [dataset.floats(np.flatnonzero(dataset.labels == one)[:150]).astype(float) for one in (label, other)]
        models = [Points(images).model(EDM) for images in of_class]
        rows[name] = of_class[0][:8]
        rows[other_name] = counterfactual(*models, EDM, rows[name], np.geomspace(80, 0.02, 30), corrections=1)
    return grid(np.stack([to_uint8(row.clip(-1, 1)) for row in rows.values()]), row_names=list(rows), rows_together=2, scale=2)


def noise_log_snr() -> Image.Image:
    """How much noise, when: log-SNR over time, of schedules and of processes in continuous time; and where ten steps of each list are."""
    figure, (steps, continuous, lists) = plots.pyplot().subplots(
        1, 3, figsize=(11, 4.4), sharey=True, layout="constrained", width_ratios=(1, 1, 1.15))
    stable = make_schedule("scaled_linear", 1000, beta_start=0.00085, beta_end=0.012)
    for label, schedule in {"linear": make_schedule("linear"), "scaled_linear": make_schedule("scaled_linear"), "Stable Diffusion": stable,
                            "sigmoid": make_schedule("sigmoid"), "squaredcos_cap_v2": make_schedule("squaredcos_cap_v2"),
                            "Stable D., zero terminal": rescale_zero_terminal_snr(stable)}.items():
        steps.plot(np.arange(1, 1001) / 1000, schedule.log_snrs.clip(-30), label=label, ls="--" if "zero" in label else "-")
    steps.set(title="schedules of 1000 steps", xlabel="(t + 1) / T", xlim=(0, 1), ylim=(-16, 16))
    steps.set_ylabel("log-SNR      (noise below, data above)")
    t = np.linspace(0.0005, 0.9995, 800)
    for process in (VariancePreserving(), SubVariancePreserving(), VarianceExploding(), Cosine(), StraightLine()):
        continuous.plot(t, process.log_snr(t), label=type(process).__name__)
    continuous.set(title="processes in continuous time", xlabel="t", xlim=(0, 1))
    for axes in (steps, continuous):
        axes.legend(fontsize=7.5, loc="lower left", framealpha=0.9)
    schedule, low = make_schedule("linear"), 0.02
    columns = {name: schedule.log_snr(timesteps(1000, 10, name)) for name in SPACINGS}
    columns |= {name: -2 * np.log(spacing(10, low, 80)[:-1]) for name, spacing in SIGMAS.items()}
    for place, (name, log_snrs) in enumerate(columns.items()):
        lists.plot(np.full(10, place), log_snrs, "o-", color=plots.BLUE if name in SPACINGS else plots.ORANGE, lw=0.8, ms=5)
    lists.set(title="ten steps of each list (blue: times of linear)", xlim=(-0.5, 5.5))
    lists.set_xticks(range(len(columns)), list(columns), rotation=25)
    for axes in (steps, continuous, lists):
        axes.axhline(0, color=plots.PALE, lw=1, zorder=0)
    return plots.frame(figure)


def noise_weights() -> Image.Image:
    """What each level of noise counts in the losses in use, for a squared error of the noise: weight times density of the times."""
    log_snr = np.linspace(-9, 9, 400)

    def over_lambda(process: Process, weight: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """w |dt / d log-SNR| for uniform times."""
        t, step = process.time_of(log_snr), 1e-3
        density = (process.time_of(log_snr - step) - process.time_of(log_snr + step)) / (2 * step)
        return weight(t) * density

    cosine, linear, line = Cosine(s=0), VariancePreserving(), StraightLine()
    snr = np.exp(log_snr)
    curves = {
        "the bound": (np.ones_like(log_snr), dict(color=plots.INK, lw=2)),
        "L_simple (eps), linear": (over_lambda(linear, lambda t: 1.0), dict(color=plots.BLUE)),
        "L_simple (eps), cosine": (over_lambda(cosine, lambda t: 1.0), dict(color=plots.BLUE, ls="--", zorder=3)),
        "min-SNR, gamma = 5, cosine": (over_lambda(cosine, lambda t: min_snr_weight(cosine, t)), dict(color="#1a8f5a")),
        "P2, linear": (over_lambda(linear, lambda t: p2_weight(linear, t)), dict(color="#8246aa")),
        "EDM": ((1 + 4 / snr) * np.exp(-((-log_snr / 2 + 1.2) ** 2) / (2 * 1.2**2)), dict(color="#c83c28")),
        "v, cosine": (over_lambda(cosine, lambda t: same_loss_weight(cosine, t, "v_prediction", "epsilon")),
                      dict(color=plots.ORANGE, lw=4, alpha=0.45)),
        "flow matching, straight line": (over_lambda(line, lambda t: velocity_weight(line, t)), dict(color=plots.ORANGE, ls=":", lw=2)),
    }
    figure, axes = plots.pyplot().subplots(figsize=(8.4, 4.4), layout="constrained")
    for label, (weight, style) in curves.items():
        axes.semilogy(log_snr, weight / np.interp(0, log_snr, weight), label=label, **style)
    axes.set(xlabel="log-SNR      (noise to the left, data to the right)", ylabel="weight of the squared error of eps, 1 at log-SNR 0",
             ylim=(1e-3, 1e2), xlim=(-9, 9))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return plots.frame(figure)


def noise_bits() -> Image.Image:
    """The bound of exact data, taken apart: E |eps - E[eps | x]|^2 in bits per unit of log-SNR, for pixels with 2 ... 256 grey levels."""
    log_snr, z = np.linspace(-10, 16, 105), np.linspace(-5, 5, 41)
    likely = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def error(levels: np.ndarray, sigma: float) -> float:
        """E |eps - E[eps | x]|^2 for x = x_0 + sigma eps. Levels lie symmetrically, so that half of them say it all."""
        x = levels[:len(levels) // 2, None] + sigma * z
        noises = (x[:, :, None] - levels) / sigma                                    # what eps was, if x_0 was each of the levels
        shares = np.exp((z[:, None] ** 2 - noises**2) / 2)
        mean = (shares * noises).sum(axis=2) / shares.sum(axis=2)
        return float((likely * (z - mean) ** 2).sum(axis=1).mean())

    figure, axes = plots.pyplot().subplots(figsize=(8.4, 4.0), layout="constrained")
    for count, colour in {2: "#c83c28", 8: plots.ORANGE, 32: "#1a8f5a", 256: plots.BLUE}.items():
        levels = np.linspace(-1, 1, count)
        bits = np.array([error(levels, np.exp(-value / 2)) for value in log_snr]) / 2 / np.log(2)
        area = bits.sum() * (log_snr[1] - log_snr[0])
        axes.plot(log_snr, bits, color=colour, label=f"{count} levels: area {area:.2f} bits")
        if count == 256:
            end = make_schedule("linear").log_snrs[0]
            left = bits[log_snr >= end].sum() * (log_snr[1] - log_snr[0])
            axes.fill_between(log_snr, bits, where=log_snr >= end, color=plots.PALE)
            axes.axvline(end, color="#8a94a6", lw=1)
            axes.annotate(f"left to the decoder\nby linear: {left:.1f} bits", (10.0, 0.86), fontsize=9, color=plots.INK)
    axes.axhline(0.5 / np.log(2), color=plots.PALE, lw=1, zorder=0)
    axes.set(xlabel="log-SNR      (noise to the left, data to the right)", xlim=(-10, 16), ylim=(0, 1.05))
    axes.set_ylabel("bits per unit of log-SNR")
    axes.legend(fontsize=9, loc="upper left")
    return plots.frame(figure)


# -- infinitely small steps ------------------------------------------------------------------------------------------


def sde_paths() -> Image.Image:
    """Four walks of the SDE from data to noise, and back from the same noise by the SDE and by the ODE, over the density of x_t."""
    process, times, generator = VariancePreserving(beta_max=10.0), np.linspace(1e-3, 1.0, 300), Generator(4)
    x = HIGH - (np.arange(ROWS)[:, None] + 0.5) / ROWS * (HIGH - LOW)
    levels = [process.level(t) for t in times.tolist()]
    density = np.exp(np.stack([BELLS.log_prob(x, alpha, sigma) for _, alpha, sigma in levels], axis=1))
    background, model = between(np.sqrt(density) * 0.45, PAPER, INK), BELLS.model(process)

    def walk(sde: SDE, start: tuple[float, ...], times: np.ndarray) -> np.ndarray:
        frames = []
        end = euler_maruyama(sde, np.array(start)[:, None], times, generator=generator, callback=lambda k, t, x: frames.append(x[:, 0]))
        return np.stack([*frames, end[:, 0]])

    panels = {
        "there: the SDE": walk(forward_sde(process), (-1.1, 0.5, 0.8, 1.1), times),
        "back: the SDE, eta = 1": walk(reverse_sde(model, process, eta=1.0), STARTS, times[::-1])[::-1],
        "back: the ODE, eta = 0": walk(reverse_sde(model, process, eta=0.0), STARTS, times[::-1])[::-1],
    }
    return grid(np.stack([with_walks(background, frames) for frames in panels.values()])[None], column_names=list(panels), scale=1)


def sde_likelihood() -> Image.Image:
    """log q of five bells in the plane: by the formula, by the ODE with the exact divergence, by the ODE with one random vector a point."""
    angles, process, start = 0.3 + 0.4 * np.pi * np.arange(5), VariancePreserving(), 1e-3
    petals = Mixture(np.full(5, 0.2), 1.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.25)
    side = np.linspace(-2.2, 2.2, 90)
    x = np.stack(np.meshgrid(side, side[::-1]), axis=-1).reshape(-1, 2)
    _, alpha, sigma = process.level(start)

    def solved(probes: list[np.ndarray] | None) -> np.ndarray:
        return log_likelihood(petals.model(process), process, x, start, 1.0, probes=probes, rtol=1e-4, atol=1e-4).log_prob

    maps = {
        "by the formula": petals.log_prob(x, alpha, sigma),
        "by the ODE": solved(None),
        "one random vector": solved(hutchinson_probes(x, 1, Generator(1))),
    }
    panels = [between((log_q.reshape(90, 90) + 9) / 8.3, PAPER, INK) for log_q in maps.values()]
    return grid(np.stack(panels)[None], column_names=list(maps), scale=3)


def sde_langevin() -> Image.Image:
    """Where 4000 walks of Langevin dynamics are, over the density that they are to draw from: grey without walks, light blue too many."""
    apart, generator, count = Mixture((0.3, 0.7), ((-1.5,), (1.5,)), 0.3), Generator(0), 4000
    noise = generator.standard_normal((count, 1), "float64")

    def score(x: np.ndarray) -> np.ndarray:
        return apart.score(x, 1.0, 0.0)

    ends = {
        "plain: the shares of the start": langevin_dynamics(score, noise, 0.01, 300, generator=generator),
        "annealed: the right shares": sample(
            apart.model(EDM), EDM, 10 * noise, np.geomspace(10, 0.01, 20), AnnealedLangevin(2e-5, 40), generator=generator
        ),
        "large steps: too wide": langevin_dynamics(score, apart.sample(count, generator), 0.08, 200, generator=generator),
    }
    edges = np.linspace(LOW, HIGH, 61)
    density = np.exp(apart.log_prob((edges[1:, None] + edges[:-1, None]) / 2, 1.0, 0.0))
    height = (150 - np.arange(150)[:, None] - 0.5) / 150 * 1.25 * density.max()
    panels = []
    for x in ends.values():
        histogram = np.histogram(x, edges)[0] / (count * (edges[1] - edges[0]))
        expected, found = (np.repeat(height < values, 5, axis=1) for values in (density, histogram))
        bars = between(expected * 1.0, (150, 185, 225), SIGNAL)
        panels.append(np.where(found, bars, between(expected * 1.0, PAPER, NOISE)))
    return grid(np.stack(panels)[None], column_names=list(ends), scale=1)


def samplers_ways() -> Image.Image:
    """The two bells from noise (right) to data (left): the exact ways, and four samplers at eight calls of the model on theirs."""
    plt = plots.pyplot()
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.4), sharey=True, layout="constrained")
    last, first = 0.02, 20.0
    starts = np.array([-1.55, -0.62, 0.0, 0.9])[:, None] * first
    fine = np.geomspace(first, last, 240)

    def shown(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return x / np.hypot(sigma, 1.0)                      # so that noise has the size of data

    exact = np.array(trajectory(BELLS.model(EDM), EDM, np.linspace(-2.2, 2.2, 23)[:, None] * first, fine, DPM_SOLVER_3).states)[:-1, :, 0]
    right = np.array(trajectory(BELLS.model(EDM), EDM, starts, fine, DPM_SOLVER_3).states)[:-1, :, 0]
    for axes, (name, sampler, steps) in zip(panels, (("DDIM", DDIM, 8), ("HEUN", HEUN, 4), ("DPMPP_2M", DPMPP_2M, 8), ("DDPM", DDPM, 8))):
        sigmas = np.geomspace(first, last, steps + 1)
        way = np.array(trajectory(BELLS.model(EDM), EDM, starts, sigmas, sampler, generator=Generator(4)).states)[:-1, :, 0]
        axes.semilogx(fine, shown(exact, fine[:, None]), color="#dfe3e8", linewidth=0.7)
        for k, colour in enumerate(PATHS):
            colour = tuple(c / 255 for c in colour)
            if sampler is not DDPM:
                axes.semilogx(fine, shown(right[:, k], fine), color=colour, linewidth=1, linestyle=":")
            axes.semilogx(sigmas, shown(way[:, k], sigmas), color=colour, marker="o", markersize=3.5, linewidth=1.4)
        axes.set(title=f"{name}, 8 calls", xlabel="noise, sigma / alpha", ylim=(-2.1, 2.1))
    panels[0].set_ylabel("x")
    return plots.frame(figure).quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def samplers_orders() -> Image.Image:
    """Error against steps for Gaussian data: what the published third order is, what a first step does, what the last step leaves."""
    plt = plots.pyplot()
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    data, counts = Gaussian(0.5, 0.3), np.array([10, 14, 20, 28, 40, 57, 80, 113, 160, 226])
    colours = ("#1f5fb4", "#d9762b", "#2a9249", "#b0273a")

    def on_the_way(sampler: Sampler, sigmas: np.ndarray) -> float:
        x = 0.5 + np.hypot(0.3, sigmas[0]) * np.array([[-1.0], [2.0]])
        end = trajectory(data.model(EDM), EDM, x, sigmas, sampler).states[-2]
        return float(abs(end - data.flow(x, EDM.level(sigmas[0]), EDM.level(sigmas[-1]))).max())

    def short_first(first: float, last: float, n: int) -> np.ndarray:
        steps = np.linspace(0, np.log(first / last), n + 1)
        return first * np.exp(-np.insert(steps, 1, steps[1] ** 2))

    def to_the_data(sampler: Sampler, process: Process, times: np.ndarray) -> float:
        return wasserstein(*sampler_law(sampler, process, times, data), data)

    vp = VariancePreserving()
    pictures = (
        ("third order: exact and as published", {
            "Multistep(3)": [on_the_way(DPMPP_3M, np.geomspace(80, 0.1, n + 1)) for n in counts],
            'solver_type="heun"': [on_the_way(Multistep(3, solver_type="heun"), np.geomspace(80, 0.1, n + 1)) for n in counts]}),
        ("third order: the first step", {
            "from sigma 80": [on_the_way(DPMPP_3M, np.geomspace(80, 0.1, n + 1)) for n in counts],
            "from sigma 2": [on_the_way(DPMPP_3M, np.geomspace(2, 0.1, n + 1)) for n in counts],
            "from sigma 2, a first step of h$^2$": [on_the_way(DPMPP_3M, short_first(2, 0.1, n)) for n in counts]}),
        ("the last step, to the data", {
            "HEUN, uniform times": [to_the_data(HEUN, vp, np.linspace(1, 0, n + 1)[:-1]) for n in counts],
            "their last step alone": [float(vp.sigma(1 / n)) ** 2 / 0.6 for n in counts],
            "HEUN, Karras's sigmas": [to_the_data(HEUN, EDM, karras_sigmas(n)) for n in counts],
            "DPMPP_3M, Karras's sigmas": [to_the_data(DPMPP_3M, EDM, karras_sigmas(n)) for n in counts]}),
    )
    for axes, (title, curves) in zip(panels, pictures):
        for (label, errors), colour in zip(curves.items(), colours):
            axes.loglog(counts, errors, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=label)
        top = max(max(errors) for errors in curves.values())
        for order in (1, 2, 3):
            axes.loglog(counts[[4, -1]], [3 * top, 3 * top / 8**order], color="#8a94a6", linewidth=0.8, linestyle="--")
            axes.annotate(f"{order}", (counts[-1], 3 * top / 8**order), xytext=(3, 0), textcoords="offset points", fontsize=8, va="center")
        axes.set(title=title, xlabel="steps")
        axes.grid(True, which="major", color="#eef0f3")
        axes.legend(loc="lower left", fontsize=8.5, frameon=False)
    panels[0].set_ylabel("error")
    return plots.frame(figure).quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


FIGURES: dict[str, Callable[[], Image.Image]] = {
    "ddpm-schedules.png": schedules,
    "ddpm-forward.png": forward,
    "ddpm-there-and-back.png": there_and_back,
    "ddpm-paths.png": paths,
    "ddpm-reverse.png": reverse,
    "guidance-scales.png": guidance_scales,
    "guidance-levels.png": guidance_levels,
    "guidance-inpainting.png": guidance_inpainting,
    "guidance-counterfactual.png": guidance_counterfactual,
    "noise-log-snr.png": noise_log_snr,
    "noise-weights.png": noise_weights,
    "noise-bits.png": noise_bits,
    "sde-paths.png": sde_paths,
    "sde-likelihood.png": sde_likelihood,
    "sde-langevin.png": sde_langevin,
    "samplers-ways.png": samplers_ways,
    "samplers-orders.png": samplers_orders,
    **runpy.run_path(str(Path(__file__).with_name("figures_quality.py")))["FIGURES"],
}


def main() -> None:
    """Write every figure."""
    FOLDER.mkdir(exist_ok=True)
    for name, figure in FIGURES.items():
        content = io.BytesIO()
        figure().save(content, format="PNG", optimize=True)
        (FOLDER / name).write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
