"""Layers, their initial values and optimizers on the stand-in for CuPy: the results of the CPU, and nothing on the host."""

import copy

import numpy as np
import pytest
import standin

from minidiff import backend, nn, optim, tensor
from minidiff.autograd import Tensor
from minidiff.nn import init, summary

DEVICE = standin.LIBRARY.name
DRAW = np.random.default_rng()


def normal(*shape):
    return DRAW.standard_normal(shape)


class Masked(nn.Module):
    """Attention with both masks, which live where the module does."""

    def __init__(self, need_weights):
        self.attention, self.need_weights = nn.MultiheadAttention(4, 2, batch_first=True), need_weights
        self.register_buffer("causal", np.triu(np.ones((3, 3), bool), 1))
        self.register_buffer("padding", np.array([[False, False, True], [False, True, False]]))

    def forward(self, x):
        return self.attention(x, x, x, self.padding, self.need_weights, self.causal)[0]


LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), normal(2, 4)),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding="same", padding_mode="circular", groups=2), normal(2, 4, 5)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), normal(2, 2, 5, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), normal(2, 2, 3, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), normal(4, 3, 2, 2)),
    "BatchNorm1d, mean of all": (lambda: nn.BatchNorm1d(3, momentum=None), normal(4, 3)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), normal(3, 5)),
    "LayerNorm": (lambda: nn.LayerNorm((3, 4)), normal(2, 3, 4)),
    "RMSNorm": (lambda: nn.RMSNorm(4), normal(2, 3, 4)),
    "Embedding": (lambda: nn.Embedding(5, 3, padding_idx=1), DRAW.integers(0, 5, (2, 3))),
    "attention": (lambda: Masked(False), normal(2, 3, 4)),
    "attention with weights": (lambda: Masked(True), normal(2, 3, 4)),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, norm_first=True), normal(2, 3, 4)),
    "CrossEntropyLoss": (lambda: nn.Sequential(nn.Upsample(None, 2), nn.ReflectionPad1d(1), nn.Flatten(), nn.GELU()), normal(2, 2, 3)),
}


def trained(module, x, device, kind):
    """Three steps of an optimizer, with clipping; then everything that the module owns, and what it gives in evaluation."""
    module.to(device, np.float64)
    x = tensor(x, device=device)
    optimizer = kind(module.parameters(), lr=0.1) if list(module.parameters()) else None
    for _ in range(3):
        out = module(x)
        if optimizer is not None:
            (out * tensor(np.cos(1.7 * np.arange(out.size)).reshape(out.shape), device=device)).sum().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    assert all(backend.device_of(array) == device for array in module.state_dict().values())
    return {**module.state_dict(), "out": module.eval()(x)}


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_train_as_on_the_cpu(name, kind):
    """Parameters, running statistics and the output afterwards, in float64: where a gradient vanishes, Adam makes steps of its rounding."""
    make, x = LAYERS[name]
    module = make()
    expected, found = trained(copy.deepcopy(module), x, "cpu", kind), trained(module, x, DEVICE, kind)
    for key, value in expected.items():
        assert backend.device_of(found[key]) == DEVICE
        np.testing.assert_allclose(backend.to_numpy(found[key]), backend.to_numpy(value), rtol=0, atol=1e-6, err_msg=key)


def test_initial_values_are_put_where_the_parameter_is():
    """Whatever drew them; reset_parameters too."""
    p = nn.Parameter(tensor(np.zeros((4, 3), np.float32), device=DEVICE))
    for name in init.__all__:
        if name.endswith("_"):
            getattr(init, name)(p, *[0.5] * (name == "constant_"))
            assert p.device == DEVICE and p.dtype == np.float32, name
    layer = nn.Embedding(3, 2, padding_idx=0, device=DEVICE)
    layer.reset_parameters()
    assert layer.weight.device == DEVICE and (layer.weight.numpy()[0] == 0).all()


def test_a_summary_and_an_optimizers_state_come_from_the_device():
    """The state is on the host, and goes back to the device."""
    layer = nn.Linear(3, 2).to(DEVICE)
    assert summary(layer, (5, 3)).multiply_adds == 30
    optimizer = optim.Adam(layer.parameters())
    for p in layer.parameters():
        p.grad = Tensor(p.data)
    optimizer.step()
    state = optimizer.state_dict()
    assert type(state["state"][0]["exp_avg"]) is np.ndarray
    optimizer.load_state_dict(state)
    optimizer.step()
    assert backend.device_of(optimizer.state[0]["exp_avg"]) == DEVICE and optimizer.state[0]["step"] == 2
