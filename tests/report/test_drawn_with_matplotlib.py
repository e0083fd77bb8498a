"""`minidiff toy` and `minidiff compare-samplers`: what they compute, and that what they draw is whole."""

import json
import re
import secrets

import numpy as np
import pytest
from PIL import Image

from minidiff.cli import main
from minidiff.diffusion import DDIM, DPMPP_3M, EDM, HEUN, SAMPLERS, Mixture, karras_sigmas, sample
from minidiff.random import Generator
from minidiff.report import compare_samplers, toy


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


def test_the_score_of_a_toy_is_the_gradient_of_the_log_density():
    """The mixture's log-density by finite differences."""
    a_toy = toy.exact_toy("gaussians", 0)
    exact = Mixture(np.full(8, 1 / 8), toy.gaussian_means(), toy.GAUSSIANS_STD)
    x, t, h = Generator(0).standard_normal((20, 2), "float64"), 300, 1e-6
    alpha, sigma = float(toy.SCHEDULE.alpha(t)), float(toy.SCHEDULE.sigma(t))
    for i, e in enumerate(np.eye(2)):
        slope = (exact.log_prob(x + h * e, alpha, sigma) - exact.log_prob(x - h * e, alpha, sigma)) / (2 * h)
        np.testing.assert_allclose(a_toy.score(x, t)[:, i], slope, rtol=1e-5, atol=1e-6)


def test_a_walk_ends_on_the_data():
    """Every particle of an exact toy ends within a few kernels of a known point; the record has a state more than times."""
    a_toy = toy.exact_toy("two-moons", 1)
    record = toy.walk(a_toy, DDIM, 40, 60, seed=2)
    assert len(record.states) == len(record.times) + 1 == 41
    nearest = np.linalg.norm(record.states[-1][:, None] - a_toy.data, axis=2).min(axis=1)
    assert nearest.max() < 6 * toy.KERNEL


def test_the_quantiles_of_the_mixture_are_its_quantiles():
    """The share of a large sample below each; and for much noise those of a normal."""
    data = Mixture(compare_samplers.WEIGHTS, np.array(compare_samplers.MEANS)[:, None], compare_samplers.STDS)
    x = data.sample(200_000, Generator(secrets.randbits(32)))[:, 0]
    shares = (x[:, None] < compare_samplers.quantiles(0.0)).mean(axis=0)
    assert np.abs(shares - compare_samplers.SHARES).max() < 6 * np.sqrt(0.25 / 200_000)     # six standard errors, 48 times: 1e-7


def test_the_orders_of_well_known_samplers_are_found():
    """DDIM falls like 1/N and Heun like 1/N^2 on the Gaussian; a curve of a made-up power law has that power."""
    curves = compare_samplers.compare(["ddim", "heun", "ddpm"], 256)
    orders = {(c.sampler, c.problem): c.order() for c in curves}
    assert abs(orders["ddim", "gaussian"] - 1) < 0.15 and abs(orders["heun", "gaussian"] - 2) < 0.25
    assert ("ddpm", "mixture") not in orders
    made_up = compare_samplers.Curve("x", "gaussian", [50, 100, 200], [2 * n**-2.5 for n in (50, 100, 200)])
    assert made_up.order() == pytest.approx(2.5)
    assert made_up.error_at(75) == pytest.approx(2 * 75**-2.5) and np.isnan(made_up.error_at(49))
    assert re.search(r"ddpm .* -", compare_samplers.table(curves))


@pytest.mark.parametrize("problem", compare_samplers.PROBLEMS)
def test_a_perfect_walk_has_no_error_but_the_floor(problem):
    """Samplers of order 3 with many steps come ever nearer to where a perfect walk ends, and so stay as far from the data as the floor."""
    for sigma in (0.5, 0.01):
        sigmas, far = np.array([*np.geomspace(80, sigma, 400), 0.0]), compare_samplers.floor(problem, sigma)
        error = getattr(compare_samplers, f"error_on_{problem}")(DPMPP_3M, sigmas)
        assert error < 1e-3 * max(far, 1e-2), (problem, sigma, error, far)
    std = compare_samplers.GAUSSIAN.std
    assert compare_samplers.floor("gaussian", 1e-3) == pytest.approx(np.sqrt(np.mean((1e-6 / (2 * std)) ** 2)), rel=1e-3)


def test_samplers_are_sorted_by_what_their_plans_do():
    """One call a step, several, or fresh noise; three names of one method are one curve."""
    expected = {"plms": "one call", "pndm": "one call", "dpmpp_3s": "several", "heun": "several", "ddpm": "noise", "dpmpp_sde": "noise"}
    assert {name: compare_samplers.kind_of(SAMPLERS[name]) for name in expected} == expected
    curves = [c for c in compare_samplers.compare(["euler", "dpmpp_2m", "ddim"], 20) if c.problem == "mixture"]
    assert [label for label, _, _ in compare_samplers.distinct(curves)] == ["euler = ddim", "dpmpp_2m"]


def test_the_law_of_a_sampler_is_what_a_large_sample_shows():
    """Heun on Gaussian data: the error that was computed without drawing is the error of drawn means and standard deviations."""
    sigmas = karras_sigmas(6)
    error = compare_samplers.error_on_gaussian(HEUN, sigmas)
    data = compare_samplers.GAUSSIAN
    x = data.mean + np.hypot(data.std, sigmas[0]) * Generator(secrets.randbits(32)).standard_normal((400_000, 4), "float64")
    y = sample(data.model(EDM, "sample"), EDM, x, sigmas, HEUN, prediction_type="sample")
    drawn = np.sqrt(np.mean((y.mean(axis=0) - data.mean) ** 2 + (y.std(axis=0) - data.std) ** 2))
    assert drawn == pytest.approx(error, abs=0.01)


def test_the_commands_write_whole_pictures(matplotlib, tmp_path, capsys):
    """PNGs that open, an animation with as many frames as moments, numbers as JSON; nothing is overwritten."""
    out = tmp_path / "toy"
    assert main(["toy", "gaussians", "--steps", "7", "--particles", "50", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["score.png", "walk.gif", "walk.png"]
    with Image.open(out / "walk.gif") as animation:
        assert animation.n_frames == 8
    for name in ("score.png", "walk.png"):
        with Image.open(out / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
    assert main(["toy", "--out", str(out)]) == 2 and "exists already" in capsys.readouterr().err
    out = tmp_path / "compared"
    assert main(["compare-samplers", "--samplers", "ddim,heun", "--calls", "40", "--out", str(out)]) == 0
    curves = json.loads((out / "compare-samplers.json").read_text())
    assert {(c["sampler"], c["problem"]) for c in curves} == {(s, p) for s in ("ddim", "heun") for p in ("gaussian", "mixture")}
    assert (out / "compare-samplers.txt").read_text().splitlines()[2].startswith("ddim")


@pytest.mark.parametrize("words, message", [
    (["toy", "cake"], "no toy data 'cake'"), (["toy", "--sampler", "walk"], "unknown sampler 'walk'; choose from ddpm"),
    (["toy", "--steps", "1001"], "1 <= num_inference_steps"), (["compare-samplers", "--samplers", "ddim,x"], "unknown sampler 'x'"),
])
def test_bad_words_are_refused_before_anything_is_written(matplotlib, words, message, tmp_path, capsys, monkeypatch):
    """Status 2, one line, no folder."""
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_without_matplotlib_the_commands_say_what_to_install(monkeypatch, tmp_path, capsys):
    """As if it were not installed."""
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for command in ("toy", "compare-samplers"):
        assert main([command]) == 2
        assert "pip install 'minidiff[plots]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
