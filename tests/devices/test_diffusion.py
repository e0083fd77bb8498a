"""Every public function of `minidiff.diffusion` on another device: the numbers of the CPU, in arrays of the device, without waiting for it.

The calls are those of `tests/diffusion/calls.py`. As in `test_devices`, all of this runs on the stand-in and, with a GPU, on CuPy.
"""

import secrets

import numpy as np
import pytest
import standin
from diffusion.calls import DRAWS, FORMULAS, OWN_DERIVATIVES, TIMES, WALKS, S, arrays, covered, functions, parts

from minidiff import backend, diffusion
from minidiff.autograd import Tensor
from minidiff.random import Generator

DEVICES = ["standin", pytest.param("cuda", marks=pytest.mark.gpu)]
on_every_device = pytest.mark.parametrize("device", DEVICES)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
two_kinds_of_times = pytest.mark.parametrize("t", [7, np.array([0, 19, 7])], ids=["one time", "a time for each"])

TO_SCIPY = {"probability_flow": "the state of SciPy's solvers", "log_likelihood": "the same", "divergence": "answers on the host",
            "uniform_dequantization": "checks the range of the noise", "LossHistory": "a table on the host",
            "hutchinson_probes": "normal numbers of one kind for every library"}
"""Walks that bring more to the host than whether numbers are finite, and why."""


PLAIN = {"outpainting_canvas": "data, not differentiated", "calc_bpd_loop": "evaluation, not training"}
"""What answers with plain arrays about Tensors, and why."""


def there(device, x):
    return backend.asarray(x, device)


def assert_same(found, expected, device, tolerance):
    """Part by part the numbers of the CPU; what is not on the host by design is an array of the device."""
    found, expected = parts(found), parts(expected)
    assert len(found) == len(expected)
    for (x, on_host), (y, _) in zip(found, expected):
        if on_host or type(y) is float:
            assert type(x) is type(y)
        else:
            assert type(x) is backend._library(device).array_type, f"{type(x)} is not on {device}"
            assert backend.device_of(x) == device
        close(backend.to_numpy(x), backend.to_numpy(y), tolerance)


def close(x, y, tolerance):
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype and x.shape == y.shape
    finite = y[np.isfinite(y)] if y.dtype.kind == "f" else y
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * max(1.0, np.abs(finite).max(initial=0.0)))


def run(call, device, inputs, tolerance):
    """(the answer, what came to the host) of a call on the device; its numbers are the CPU's, and no input is written to."""
    here, elsewhere = ([there(place, x.copy()) for x in inputs] for place in ("cpu", device))
    expected = call(*here)
    standin.transfers.clear()
    found = call(*elsewhere)
    seen = list(standin.transfers)
    assert_same(found, expected, device, tolerance)
    for x, *others in zip(inputs, here, elsewhere):
        for other in others:
            np.testing.assert_array_equal(backend.to_numpy(other), x)
    return found, seen


def test_every_public_function_has_a_call():
    """A new name goes into `calls.py`, or into its list of exceptions with a reason."""
    assert functions() <= covered(), sorted(functions() - covered())
    strangers = covered() - set(diffusion.__all__) - {"log_softmax", "log_sum_exp", "where"}
    assert not strangers, sorted(strangers)


@on_every_device
@two_kinds_of_times
@both_dtypes
@pytest.mark.parametrize("name", [*FORMULAS, *OWN_DERIVATIVES])
def test_formulas_stay_on_the_device(name, dtype, t, device):
    """The float64 tables of the host meet float32 and float64 data there; not one number comes back."""
    call = {**FORMULAS, **OWN_DERIVATIVES}[name]
    found, seen = run(lambda a, b: call(a, b, t), device, arrays(2, dtype), 1e-5 if dtype == np.float32 else 1e-12)
    assert device != "standin" or not seen, seen
    assert all(x.dtype == dtype for x, on_host in parts(found) if not on_host and type(x) is not float)


@on_every_device
@both_dtypes
@pytest.mark.parametrize("name", WALKS)
def test_walks_stay_on_the_device(name, dtype, device):
    """The same noise, given as arrays. The host sees whether an answer is finite, or whether a mask is one: single truths, no numbers."""
    found, seen = run(lambda a, b, *z: WALKS[name](a, b, z), device, arrays(42, dtype), 2e-4 if dtype == np.float32 else 1e-9)
    if device == "standin" and name not in TO_SCIPY:
        assert all(line.startswith("bool(x)") for line in seen), seen
    assert all(x.dtype == dtype for x, on_host in parts(found) if not on_host)


@on_every_device
@pytest.mark.parametrize("name", [*FORMULAS, *WALKS, *OWN_DERIVATIVES])
def test_tensors_give_tensors(name, device):
    """Tensors of the device in, Tensors of the device out, with the numbers of the CPU's arrays."""
    inputs = arrays(42, np.float64)
    def call(make):
        a, b, *z = map(make, inputs)
        return WALKS[name](a, b, z) if name in WALKS else {**FORMULAS, **OWN_DERIVATIVES}[name](a, b, np.array([0, 19, 7]))
    expected, found = parts(call(np.copy)), parts(call(lambda x: Tensor(there(device, x))))
    for (x, on_host), (y, _) in zip(found, expected, strict=True):
        if not on_host and type(y) is not float:
            assert isinstance(x, Tensor) or name in PLAIN or x.shape == (3, 1, 1), type(x)  # factors of times are constants
            assert backend.device_of(x) == device
        close(backend.to_numpy(x), backend.to_numpy(y), 1e-9)


@on_every_device
@both_dtypes
@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_on_the_device_is_what_the_cpu_draws(name, dtype, device):
    """A generator of the device, from the same seed; its array or, where the answer is a table, the host's."""
    seed, (x,) = secrets.randbits(32), arrays(1, dtype)
    expected = DRAWS[name](Generator(seed), x)
    found = DRAWS[name](Generator(seed, device=device), there(device, x))
    assert_same(found, expected, device, 2e-4 if dtype == np.float32 else 1e-9)


@on_every_device
@pytest.mark.parametrize("sampler", diffusion.SAMPLERS)
def test_a_walk_asks_the_host_once_a_call(sampler, device):
    """A generator of the device draws the noise; what comes to the host is one truth for each call of the model."""
    calls = []

    def model(x, t):
        calls.append(t)
        return 0.9 * x

    generator = Generator(secrets.randbits(32), device=device)
    x = generator.standard_normal((5, 1, 2), "float64")
    standin.transfers.clear()
    diffusion.sample(model, S, x, TIMES, diffusion.member(sampler), generator=generator, clip_denoised=True)
    assert device != "standin" or len(standin.transfers) == len(calls), standin.transfers


@on_every_device
def test_labels_on_the_host_guide_images_on_the_device(device):
    """Both answers in one batch; the labels of the host come to the model on the host."""

    def model(x, t, labels):
        return x * backend.asarray((labels + 0.1 * t).astype(x.dtype).reshape(-1, 1), backend.device_of(x))

    x, t = arrays(1, np.float64)[0][:, 0], np.array([1, 5, 9])
    guided = diffusion.classifier_free_guidance(model, np.array([0, 1, 2]), 3.0, 4)
    standin.transfers.clear()
    out = guided(there(device, x), t)
    assert device != "standin" or not standin.transfers
    assert_same(out, guided(x, t), device, 1e-12)
