"""Optimizers: the rules by hand, groups, state. That they take PyTorch's steps is in tests/peers/test_nn.py."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import nn, optim, tensor
from minidiff.autograd import Tensor
from minidiff.training.flat import FlatParameters
from minidiff.training.optimizer import AdamW as FlatAdamW
from minidiff.training.optimizer import clip_grad_norm

KINDS = [optim.SGD, optim.Adam, optim.AdamW]


def parameter(*values):
    return nn.Parameter(np.array(values, np.float64))


def descend(make, gradients, start=1.0):
    """The values of one number whose gradient at step k is gradients[k]."""
    p = parameter(start)
    optimizer = make([p])
    path = []
    for g in gradients:
        p.grad = Tensor(np.array([g]))
        optimizer.step()
        path.append(p.item())
    return path


gradients = st.lists(st.floats(-10, 10), min_size=1, max_size=8)
fraction = st.floats(0, 0.99)


@given(gradients, fraction, fraction, st.floats(0, 0.5), st.booleans())
def test_sgd_follows_its_rule(gs, mu, dampening, decay, nesterov):
    """In plain Python, one number after the other."""
    nesterov = nesterov and mu > 0
    dampening = 0.0 if nesterov else dampening
    theta, b, expected = 1.0, None, []
    for g in gs:
        g += decay * theta
        b = g if b is None else mu * b + (1 - dampening) * g
        theta -= 0.1 * (g + mu * b if nesterov else b if mu else g)
        expected.append(theta)
    found = descend(lambda p: optim.SGD(p, 0.1, mu, dampening, decay, nesterov), gs)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(gradients, fraction, fraction, st.floats(0, 0.5), st.booleans())
def test_adam_follows_its_rule(gs, beta1, beta2, decay, decoupled):
    """With moments as sums over all gradients so far, not recursively (Kingma & Ba 2015, Eq. 1-4)."""
    theta, seen, expected = 1.0, [], []
    for k, g in enumerate(gs, 1):
        seen.append(g + (0 if decoupled else decay * theta))
        theta *= 1 - 0.1 * decay if decoupled else 1
        m = (1 - beta1) * math.fsum(beta1 ** (k - i) * s for i, s in enumerate(seen, 1)) / (1 - beta1**k)
        v = (1 - beta2) * math.fsum(beta2 ** (k - i) * s * s for i, s in enumerate(seen, 1)) / (1 - beta2**k)
        theta -= 0.1 * m / (math.sqrt(v) + 1e-4)
        expected.append(theta)
    kind = optim.AdamW if decoupled else optim.Adam
    found = descend(lambda p: kind(p, 0.1, (beta1, beta2), 1e-4, decay), gs)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1]))
def test_the_training_optimizer_takes_the_same_steps_all_at_once(seed, decay):
    """To rounding in float32, with clipping."""
    draw = np.random.default_rng(seed)
    one, other = (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for _ in range(2))
    other.load_state_dict(one.state_dict())
    flat = FlatParameters(other)
    single, together = optim.AdamW(one.parameters(), 0.01, weight_decay=decay), FlatAdamW(flat, 0.01, weight_decay=decay)
    for _ in range(5):
        for p, q in zip(one.parameters(), other.parameters()):
            g = draw.standard_normal(p.shape).astype(np.float32)
            p.grad, q.grad = Tensor(g), Tensor(g.copy())
        gradient = flat.take_gradient()
        lengths = nn.utils.clip_grad_norm_(one.parameters(), 2.0).item(), clip_grad_norm(gradient, 2.0).item()
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
        single.step()
        together.step(gradient)
        for p, q in zip(one.parameters(), other.parameters()):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_finds_the_minimum(kind):
    """Of |x - a|^2 + 3 |y|^2 with a scalar y, in 400 steps."""
    x, y, target = parameter(3.0, -2.0), nn.Parameter(np.array(1.5)), np.array([1.0, 2.0])
    optimizer = kind([{"params": x}, {"params": [y], "lr": 0.02}], lr=0.05, weight_decay=0.0)
    for _ in range(400):
        loss = ((x - target) ** 2).sum() + 3.0 * y**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(x.numpy(), target, atol=0.01)
    assert abs(y.item()) < 0.01 and y.shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_makes_new_arrays_and_passes_over_parameters_without_gradient(kind):
    """What held the old values keeps them: an array, a graph."""
    p, idle = parameter(1.0, 2.0), parameter(5.0)
    held = p.data
    loss = (p * p).sum()
    optimizer = kind([p, idle], lr=0.1)
    p.grad = Tensor(np.ones(2))
    optimizer.step()
    assert held.tolist() == [1.0, 2.0] and (p.numpy() < held).all() and idle.item() == 5.0 and 1 not in optimizer.state
    p.grad = None
    loss.backward()
    assert p.grad.numpy().tolist() == [2.0, 4.0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_plain_data_and_another_optimizer_goes_on_from_it(kind):
    """Numbers, lists, dicts and host arrays; copies both ways; then the same steps."""
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    runs = []
    for interrupted in (False, True):
        draw = np.random.default_rng(1)
        p, q = parameter(1.0, 2.0), parameter(3.0)
        build = lambda p, q: kind([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=0.1, **options)
        optimizer = build(p, q)
        for step in range(6):
            if interrupted and step == 3:
                state = optimizer.state_dict()
                plain = lambda x: x.tolist() if hasattr(x, "tolist") else x
                text = json.dumps({k: {n: plain(v) for n, v in one.items()} for k, one in state["state"].items()})
                assert text and json.dumps(state["param_groups"]) and state["param_groups"][1]["params"] == [1]
                optimizer = build(p, q)
                optimizer.load_state_dict(state)
                for one in state["state"].values():
                    for value in one.values():
                        if isinstance(value, np.ndarray):
                            value[...] = np.nan
            p.grad, q.grad = Tensor(draw.standard_normal(2)), Tensor(draw.standard_normal(1))
            optimizer.step()
        runs.append([*p.numpy(), *q.numpy()])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_state_does_not_move_on(kind):
    """Another step changes the optimizer's own, not what was saved."""
    p = parameter(1.0, 2.0)
    optimizer = kind([p], lr=0.1, **({"momentum": 0.9} if kind is optim.SGD else {}))
    p.grad = Tensor(np.array([1.0, -1.0]))
    optimizer.step()
    saved = optimizer.state_dict()
    before = str(saved)
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    assert str(saved) == before != str(optimizer.state_dict())


def test_settings_changed_in_a_group_hold_from_the_next_step_on():
    """The learning rate of a schedule; a group added later."""
    p, q = parameter(1.0), parameter(1.0)
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.add_param_group({"params": q, "lr": 0.5})
    for lr in (0.25, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        p.grad, q.grad = Tensor(np.ones(1)), Tensor(np.ones(1))
        optimizer.step()
    assert p.item() == 0.75 and q.item() == 0.0
    assert "SGD(lr=0.0" in repr(optimizer) and optimizer.step(lambda: 7) == 7


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda p: optim.SGD([], 0.1), ValueError, "SGD: there are no parameters"),
    (lambda p: optim.Adam(p), TypeError, r"Adam: expected parameters in a list, got one Parameter; give \[it\]"),
    (lambda p: optim.Adam([p, p]), ValueError, "Adam: a parameter occurs twice"),
    (lambda p: optim.Adam([p * 2.0]), TypeError, "Adam: expected parameters, Tensors that were not computed"),
    (lambda p: optim.Adam([np.zeros(3)]), TypeError, "Adam: expected parameters, .* got ndarray"),
    (lambda p: optim.AdamW([p], lr=-1.0), ValueError, "AdamW: lr=-1.0; expected a finite number of at least 0"),
    (lambda p: optim.AdamW([p], eps=math.nan), ValueError, "AdamW: eps=nan"),
    (lambda p: optim.AdamW([p], betas=(0.9, 1.0)), ValueError, r"AdamW: betas=\(0.9, 1.0\)"),
    (lambda p: optim.AdamW([p], betas=0.9), ValueError, "AdamW: betas=0.9; expected two numbers"),
    (lambda p: optim.Adam(nn.Linear(2, 2)), TypeError, r"Adam: expected parameters in a list, got one Linear; give model.parameters\(\)"),
    (lambda p: optim.SGD([p], momentum=-0.1), ValueError, "SGD: momentum=-0.1"),
    (lambda p: optim.SGD([p], nesterov=True), ValueError, "SGD: nesterov=True needs a momentum above 0 and no dampening"),
    (lambda p: optim.SGD([{"params": [p], "momentum": -1.0}]), ValueError, "SGD: momentum=-1.0"),
    (lambda p: optim.SGD([{"params": [p], "beta": 1.0}]), TypeError, "SGD: a group has the settings beta; it takes lr, momentum"),
    (lambda p: optim.Adam([p], amsgrad=True), TypeError, "amsgrad"),
    (lambda p: optim.Adam([p]).zero_grad(set_to_none=False), ValueError, "zero_grad: set_to_none=False is not offered"),
    (lambda p: optim.Adam([p]).load_state_dict(optim.Adam([p, tensor([1.0])]).state_dict()), ValueError, r"groups of \[2\] parameters"),
    (lambda p: optim.Adam([p]).load_state_dict({**optim.Adam([p]).state_dict(), "state": {0: {"exp_avg": np.zeros(3)}}}), ValueError,
     r"exp_avg of parameter 0 has shape \(3,\), expected \(1,\)"),
    (lambda p: optim.Adam([p]).load_state_dict({**optim.Adam([p]).state_dict(), "state": {1: {"step": 1}}}), ValueError,
     "Adam: the state is also of parameter 1, here they are 0 to 0"),
    (lambda p: optim.Adam([p]).load_state_dict({**optim.Adam([p]).state_dict(), "state": {-1: {"step": 1}}}), ValueError, "parameter -1"),
    (lambda p: optim.Adam([p]).load_state_dict({"state": {}, "param_groups": [{"lr": 0.1}]}), ValueError,
     "Adam: a group of the state has no params, betas, eps, weight_decay; it has lr"),
    (lambda p: optim.Adam([p]).load_state_dict(optim.SGD([p]).state_dict()), ValueError, "a group of the state has no betas, eps"),
    (lambda p: optim.Adam([p]).load_state_dict({"model": 1}), TypeError, "expected what state_dict.. returned, .* got a dict of model"),
    (lambda p: optim.Adam([p]).load_state_dict([]), TypeError, "expected what state_dict.. returned, .* got list"),
    (lambda p: optim.SGD([{"lr": 0.1}]), TypeError, "SGD: expected a group as a dict with 'params', got a dict of lr"),
    (lambda p: optim.SGD([{"params": [p]}, p]), TypeError, "SGD: expected a group as a dict with 'params', got Parameter"),
    (lambda p: optim.SGD([p], lr="a"), TypeError, "SGD: lr='a'; expected a number"),
    (lambda p: optim.SGD([p], dampening=None), TypeError, "SGD: dampening=None; expected a number"),
    (lambda p: optim.Adam([p], betas=("a", 0.9)), ValueError, "Adam: betas=.*; expected two numbers"),
])
def test_what_makes_no_optimizer_is_refused(call, error, message):
    """By name."""
    with pytest.raises(error, match=message):
        call(parameter(1.0))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6), st.floats(0.01, 100), st.sampled_from([1.0, 2.0, 3.0, math.inf]))
def test_clipping_shortens_what_is_too_long_and_leaves_the_rest_alone(values, max_norm, norm_type):
    """The length by plain Python; two parameters and one without a gradient."""
    half = len(values) // 2
    ps = [parameter(*values[:half]), parameter(*values[half:]), parameter(1.0)]
    for p in ps[:2]:
        p.grad = Tensor(p.data.copy())
    found = nn.utils.clip_grad_norm_(iter(ps), max_norm, norm_type).item()
    length = max(map(abs, values)) if norm_type == math.inf else math.fsum(abs(x) ** norm_type for x in values) ** (1 / norm_type)
    assert found == pytest.approx(length, rel=1e-12, abs=1e-12)
    factor = min(1.0, max_norm / (length + 1e-6))
    np.testing.assert_allclose(np.concatenate([p.grad.numpy() for p in ps[:2]]), factor * np.array(values), rtol=1e-12, atol=1e-12)
    assert ps[2].grad is None


def test_lengths_that_are_no_numbers_are_reported():
    """NaN in one makes all NaN; with error_if_nonfinite it is an error; without gradients the length is 0."""
    p, q = parameter(1.0), parameter(2.0)
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == 0.0
    p.grad, q.grad = Tensor(np.array([np.nan])), Tensor(np.ones(1))
    with pytest.raises(RuntimeError, match="clip_grad_norm_: the length of the gradients is nan"):
        nn.utils.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    assert q.grad.item() == 1.0
    assert np.isnan(nn.utils.clip_grad_norm_([p, q], 1.0).item()) and np.isnan(q.grad.item())
    with pytest.raises(ValueError, match="norm_type=0"):
        nn.utils.clip_grad_norm_([p], 1.0, 0)
