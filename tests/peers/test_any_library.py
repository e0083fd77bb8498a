"""One function serves every array library: PyTorch tensors and JAX arrays get NumPy's numbers, in their own kind and dtype.

The calls are those of `tests/diffusion/calls.py`: every public function of the room; to add one, add a line there.
"""

import functools

import numpy as np
import pytest
from diffusion.calls import FORMULAS, WALKS, arrays, parts

from minidiff import autograd, diffusion

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

TIMES = [pytest.param(7, id="one time"), pytest.param(np.array([0, 19, 7]), id="a time for each")]
NOT_DIFFERENTIABLE = {"outpainting_canvas": "plain arrays of a Tensor", "implicit_score_matching": "minidiff's vjp starts anew",
                      "sliced_score_matching": "the same", "classifier_free_guidance": "the context of Tensors is an array"}
"""Formulas whose result for a Tensor does not carry its graph, and why."""


def close(found, expected, tolerance):
    """Equal up to the rounding of another library's functions, in dtype and shape too."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    scale = max(1.0, abs(expected[np.isfinite(expected)]).max(initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


def all_close(found, expected, kind, tolerance):
    """Part by part; what is not on the host by design is of the library."""
    for (x, on_host), (y, _) in zip(parts(found), parts(expected), strict=True):
        assert type(x) is type(y) if on_host or type(y) is float else isinstance(x, kind), type(x)
        close(x.detach() if isinstance(x, torch.Tensor) else x, y, tolerance)


def same_walk(name, make, kind, dtype, tolerance):
    """The walk in another library and in NumPy, with the same numbers; no input is written to."""
    inputs = arrays(42, dtype)
    a, b, *z = (np.copy(x) for x in inputs)
    expected = WALKS[name](a, b, z)
    a, b, *z = theirs = [make(x.copy()) for x in inputs]
    all_close(WALKS[name](a, b, z), expected, kind, tolerance)
    for x, y in zip(inputs, theirs):
        np.testing.assert_array_equal(np.asarray(y), x)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FORMULAS)
def test_on_pytorch_tensors(name, dtype, t):
    """A tensor comes out, of the dtype that went in, with NumPy's numbers; the tensors that went in are not written to."""
    a, b = arrays(2, dtype)
    x, y = torch.tensor(a), torch.tensor(b)
    all_close(FORMULAS[name](x, y, t), FORMULAS[name](a, b, t), torch.Tensor, 1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(x, a)
    np.testing.assert_array_equal(y, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WALKS)
def test_walks_of_pytorch_tensors(name, dtype):
    """Samplers, editing, SDEs, likelihoods: the same noise, the same end."""
    same_walk(name, torch.tensor, torch.Tensor, dtype, 2e-4 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", [name for name in FORMULAS if name.partition(",")[0] not in NOT_DIFFERENTIABLE])
def test_gradients_flow_in_pytorch(name, t):
    """As they do in Tensors, to both arguments."""
    a, b = arrays(2, np.float64)
    theirs = [torch.tensor(x, requires_grad=True) for x in (a, b)]
    ours = [autograd.tensor(x, requires_grad=True) for x in (a, b)]
    for pair in (theirs, ours):
        answers = [out for out, _ in parts(FORMULAS[name](*pair, t)) if getattr(out, "requires_grad", False)]
        sum((out * out).sum() for out in answers).backward()
    for x, y in zip(theirs, ours):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            close(x.grad, y.grad.numpy(), 1e-10)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", FORMULAS)
def test_on_jax_arrays(name, t):
    """A JAX array comes out, in float32, with NumPy's numbers; and under jit, where arrays have no values yet."""
    jax = pytest.importorskip("jax")
    a, b = arrays(2, np.float32)
    expected = FORMULAS[name](a, b, t)
    formula = functools.partial(FORMULAS[name], t=t)
    all_close(formula(jax.numpy.asarray(a), jax.numpy.asarray(b)), expected, jax.Array, 1e-5)
    # jit makes an array of every number it gives back.
    traced = jax.jit(lambda a, b: [out for out, _ in parts(formula(a, b))])(jax.numpy.asarray(a), jax.numpy.asarray(b))
    for found, (out, _) in zip(traced, parts(expected), strict=True):
        close(found, np.float32(out), 1e-5)


@pytest.mark.parametrize("name", WALKS)
def test_walks_of_jax_arrays(name):
    """As those of PyTorch; not under jit, because a walk looks whether the model's answers are finite."""
    jax = pytest.importorskip("jax")
    same_walk(name, jax.numpy.asarray, jax.Array, np.float32, 1e-3)


def test_a_trainable_log_variance_is_trained():
    """One number as a tensor is not taken for a plain number."""
    log_variance = torch.zeros((), requires_grad=True)
    x = torch.randn(5, 3)
    diffusion.normal_log_prob(x, 0 * x, log_variance).sum().backward()
    assert log_variance.grad.item() == pytest.approx(((x * x).sum().item() - 15) / 2, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (1, 1), (3, 1, 1)])
def test_quantiles_of_dynamic_thresholding_are_pytorch_s(shape):
    """torch.quantile along each sample, as diffusers takes it."""
    x = 3 * torch.randn(shape)
    for ratio in (0.0, 0.5, 0.9, 0.995, 1.0):
        s = torch.quantile(x.abs().reshape(shape[0], -1), ratio, dim=1).clamp(1, 4).reshape(-1, *[1] * (len(shape) - 1))
        torch.testing.assert_close(diffusion.dynamic_threshold(x, ratio, 4.0), x.clamp(-s, s) / s)


def test_dynamic_thresholding_is_diffusers():
    """Its scheduler's own method, with its option under its name."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=2.5)
    x = 2 * torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(diffusion.dynamic_threshold(x, 0.9, 2.5), scheduler._threshold_sample(x))


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned", "learned_range"])
def test_a_step_back_has_diffusers_variance(variance_type):
    """With diffusers' convention for t = 0, at the first and some other times; the learned ones are read in its own way.

    Under "learned" and "learned_range" diffusers' `_get_variance` returns the model's output and the log variance.
    """
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(1000, beta_schedule="linear", variance_type=variance_type)
    schedule = diffusion.make_schedule("linear", 1000)
    x, said = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    learned = variance_type.startswith("learned")
    for t in (0, 1, 10, 500, 999):
        output = torch.cat([x, said], dim=1) if learned else x
        step = diffusion.p_mean_variance(schedule, output, x, t, "v_prediction", variance_type, min_variance=1e-20)
        theirs = scheduler._get_variance(t, predicted_variance=said)
        if learned:
            torch.testing.assert_close(step.log_variance, theirs, rtol=0, atol=1e-2)  # its tables are float32
        else:
            assert np.exp(step.log_variance) == pytest.approx(float(theirs), rel=2e-3, abs=1e-19)
