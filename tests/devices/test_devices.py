"""minidiff on another device: the same numbers as on the CPU, without leaving the device.

Every test runs on the stand-in for CuPy (`standin.py`), which refuses what a GPU could not do and writes down what
would make it wait, and with a GPU on CuPy itself. Results are compared with those of the CPU, which other tests compare
with the truth.
"""

import contextlib
import dataclasses
import operator
import secrets

import numpy as np
import pytest
import standin

from minidiff import backend, diffusion, nn, training
from minidiff import functional as F
from minidiff.autograd import Tensor, check_gradients, tensor
from minidiff.data import Dataset
from minidiff.models import AutoencoderConfig, AutoencoderKL, Classifier, UNet, preset
from minidiff.random import Generator

DEVICES = ["standin", pytest.param("cuda", marks=pytest.mark.gpu)]

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture
def rng():
    """Fresh numbers; a failing test prints the seed."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    return np.random.default_rng(seed)


@contextlib.contextmanager
def transfers_to_the_host(expected, device):
    """What happens inside brings values to the host exactly this often. CuPy does not count; there it only runs."""
    standin.transfers.clear()
    yield
    seen = list(standin.transfers)
    assert device != "standin" or len(seen) == expected, f"{len(seen)} transfers, expected {expected}:\n" + "\n".join(
        seen
    )


def assert_on(device, x):
    """A plain array of the device's library, or a Tensor that holds one."""
    assert type(backend.to_array(x)) is backend._library(device).array_type, f"{type(x)} is not on {device}"
    assert backend.device_of(x) == device


def assert_close(found, expected, tolerance=1e-10):
    """Equal up to the rounding of another order of sums, relative to the largest element."""
    found, expected = backend.to_numpy(found), backend.to_numpy(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    scale = max(1.0, np.abs(expected).max(initial=0.0)) if expected.dtype.kind == "f" else 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


# -- operators and numbers --------------------------------------------------------------------------------------------


OPERATORS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "@": operator.matmul,
    "<": operator.lt, "==": operator.eq,
}  # fmt: skip


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_refuse_arrays_of_two_devices(symbol, device):
    """A Tensor with a Tensor or with an array, of the device and of the CPU, both ways round."""
    here, there = np.ones((2, 2), np.float32), backend.asarray(np.ones((2, 2), np.float32), device)
    for x, y in (
        (Tensor(here), Tensor(there)),
        (Tensor(there), Tensor(here)),
        (Tensor(there), here),
        (here, Tensor(there)),
        (Tensor(here), there),
        (there, Tensor(here)),
    ):
        with pytest.raises(backend.DeviceError, match="two devices in one operation"):
            OPERATORS[symbol](x, y)


@pytest.mark.parametrize("number", [2, 0.5, np.float32(3.0), np.float64(3.0)], ids=lambda n: type(n).__name__)
def test_numbers_mix_with_tensors(number, device):
    """From both sides, with the dtype that the CPU gives."""
    here, there = (tensor([1.0, 2.0, 4.0], device=d) for d in ("cpu", device))
    for operation in (lambda x: x * number, lambda x: number - x, lambda x: number / x):
        with transfers_to_the_host(0, device):
            out = operation(there)
        assert_on(device, out)
        assert_close(out, operation(here))


# -- tensors ---------------------------------------------------------------------------------------------------------


def test_arrays_go_there_and_back(device):
    """The same bits; a Tensor knows its device; an unknown one is refused."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = backend.asarray(values, device)
    assert_on(device, there)
    np.testing.assert_array_equal(backend.to_numpy(there), values)
    np.testing.assert_array_equal(backend.asarray(there, "cpu"), values)
    assert Tensor(there).device == device
    assert backend.asarray(there, device) is there
    assert_on(device, tensor([1.0, 2.0], device=device))
    with pytest.raises(backend.DeviceError, match="unknown device"):
        backend.asarray(there, f"{device}:1")


def test_a_tensor_prints_its_values_and_its_device(device):
    """As on the CPU, with the device named."""
    x = tensor([[1.0, 2.5]], device=device, requires_grad=True)
    assert repr(x) == f"tensor([[1. , 2.5]], device='{device}', requires_grad=True)"


def test_a_tensor_gives_its_numbers(device):
    """item, float, bool, numpy, iteration and an index that is a Tensor."""
    x = tensor([1.0, 2.5, 0.0], device=device)
    assert x[1].item() == float(x[1]) == 2.5 and bool(x[0]) and not x[2] and len(x) == 3
    assert isinstance(x.numpy(), np.ndarray) and [y.item() for y in x] == [1.0, 2.5, 0.0]
    picked = x[Tensor(backend.asarray(np.array([2, 0]), device))]
    assert_on(device, picked)
    assert picked.numpy().tolist() == [0.0, 1.0]


def test_gradients_are_left_on_the_device_and_add_up(device):
    """Two walks through one leaf, neither of which the host sees."""
    x = tensor([1.0, 2.0], device=device, requires_grad=True)
    with transfers_to_the_host(0, device):
        for _ in range(2):
            (x * x).sum().backward()
    assert_on(device, x.grad)
    assert x.grad.numpy().tolist() == [4.0, 8.0]


def test_gradients_can_be_checked_on_the_device(device, rng):
    """The finite differences of check_gradients, which moves each element on the host."""
    inputs = [backend.asarray(rng.standard_normal(shape), device) for shape in [(1, 2, 3, 3), (2, 2, 2, 2)]]
    check_gradients(F.conv2d, inputs)


# -- random numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_random_numbers_are_those_of_the_cpu(dtype, device):
    """Uniforms bit for bit, normals to rounding, host integers exactly; then both generators are at the same place."""
    seed = secrets.randbits(32)
    here, there = Generator(seed), Generator(seed, device=device)
    for size in ((), 5, (3, 0), (7, 11), 20_000):
        with transfers_to_the_host(0, device):
            uniforms, normals = there.random(size, dtype), there.standard_normal(size, dtype)
        assert_on(device, uniforms)
        assert_on(device, normals)
        np.testing.assert_array_equal(backend.to_numpy(uniforms), here.random(size, dtype))
        assert_close(normals, here.standard_normal(size, dtype), 1e-6 if dtype == "float32" else 1e-14)
    np.testing.assert_array_equal(there.integers(-3, 9, 50), here.integers(-3, 9, 50))
    np.testing.assert_array_equal(there.permutation(50), here.permutation(50))
    assert there.get_state() == here.get_state()


# -- networks and training -------------------------------------------------------------------------------------------

SMALL = {
    "ddpm": preset(
        "ddpm",
        sample_size=8,
        num_classes=3,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        dropout=0.2,
    ),
    "course": preset(
        "course", sample_size=8, num_classes=3, block_out_channels=(8, 16), norm_num_groups=4, hidden_features=8
    ),
}


def test_a_module_moves(device):
    """There and back with the same bits; all that it owns is where it was sent, and its old gradients are gone."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Function(F.flatten, 1), nn.Linear(16, 2), nn.Dropout()
    )
    before = {name: array.copy() for name, array in module.state_dict().items()}
    module(np.ones((1, 1, 4, 4), np.float32)).sum().backward()
    module.to(device)
    for parameter in module.parameters():
        assert_on(device, parameter)
        assert parameter.grad is None
    module.load_state_dict(before)
    assert_on(device, module.state_dict()["3.weight"])
    for name, array in module.to("cpu").state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("name, condition", [
    ("ddpm", {"context_features": 5}), ("course", {"context_features": 5}), ("ddpm", {"cross_attention_dim": 6})])
def test_a_network_that_is_told_vectors_or_tokens_is_that_of_the_cpu(name, condition, device, rng):
    """Forward, backward to the context too, and the answer to no vector; the context is on the device."""
    config = dataclasses.replace(SMALL[name], num_classes=None, **condition)
    images, told = rng.standard_normal((2, 1, 8, 8)), rng.standard_normal((2, 5) if config.context_features else (2, 4, 6))

    def run(device):
        network = UNet(config, generator=Generator(1)).to(device, np.float64).eval()
        x, context = tensor(images, device=device), tensor(told, device=device, requires_grad=True)
        with transfers_to_the_host(0, device):
            out = network(x, np.array([3, 900]), context)
            (out * out).sum().backward()
            found = [out, context.grad, *(p.grad for p in network.parameters())]
            found += [network(x, 5)] if config.context_features else []
        for value in found:
            assert_on(device, value)
        return found

    for found, expected in zip(run(device), run("cpu"), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("name", [*SMALL, "classifier"])
def test_a_network_and_its_gradients_are_those_of_the_cpu(name, device, rng):
    """Forward and backward of the same weights in float64; times and labels come from the host, nothing goes there."""
    make = (
        (lambda: Classifier(3, sample_size=8, generator=Generator(1)))
        if name == "classifier"
        else (lambda: UNet(SMALL[name], generator=Generator(1)))
    )
    images = rng.standard_normal((2, 1, 8, 8))
    condition = () if name == "classifier" else (np.array([3, 900]), np.array([0, 2]))

    def run(device):
        network = make().to(device, np.float64).eval()
        x = tensor(images, device=device)
        with transfers_to_the_host(0, device):
            out = network(x, *condition)
            (out * out).sum().backward()
        return out, dict(network.named_parameters())

    expected, parameters = run("cpu")
    found, moved = run(device)
    assert_on(device, found)
    assert_close(found, expected)
    for key, parameter in parameters.items():
        assert (parameter.grad is None) == (moved[key].grad is None)
        if parameter.grad is not None:
            assert_on(device, moved[key].grad)
            assert_close(moved[key].grad, parameter.grad)


def test_an_autoencoder_and_its_loss_are_those_of_the_cpu(device, rng):
    """With the same noise: the loss, the gradients of all parameters, the image and its latents; nothing comes to the host."""
    config = AutoencoderConfig(block_out_channels=(4, 8), norm_num_groups=2, latent_channels=2, scaling_factor=0.5, shift_factor=0.25)
    images, noise = rng.standard_normal((2, 1, 8, 6)), rng.standard_normal((2, 2, 4, 3))

    def run(device):
        network = AutoencoderKL(config, generator=Generator(1)).to(device, np.float64)
        x, eps = (tensor(values, device=device) for values in (images, noise))
        with transfers_to_the_host(0, device):
            loss = network.loss(x, eps, kl_weight=0.5)
            loss.backward()
            out, posterior = network(x)
            network(x, generator=Generator(2, device))
            latents = network.scale(posterior.mode())
            found = [loss, out, posterior.kl(), latents, network.unscale(latents), *(p.grad for p in network.parameters())]
        for value in found:
            assert_on(device, value)
        return found

    for found, expected in zip(run(device), run("cpu"), strict=True):
        assert_close(found, expected)


def test_a_network_refuses_images_and_tokens_of_another_device(device):
    """The error of a user who moved the model and forgot the images, or the tokens of the text."""
    network = UNet(SMALL["ddpm"], generator=Generator(1)).to(device)
    images = np.zeros((2, 1, 8, 8), np.float32)
    with pytest.raises(backend.DeviceError, match="two devices in one operation"):
        network(images, 5)
    network = UNet(dataclasses.replace(SMALL["ddpm"], num_classes=None, cross_attention_dim=6), generator=Generator(1)).to(device)
    with pytest.raises(backend.DeviceError, match="two devices in one operation"):
        network(backend.asarray(images, device), 5, np.zeros((2, 3, 6), np.float32))


def dataset(rng):
    return Dataset(
        rng.integers(0, 256, (6, 1, 8, 8)).astype(np.uint8), np.array([0, 1, 2, 0, 1, 2]), ("bag", "coat", "shoe")
    )


def test_training_is_that_of_the_cpu_and_never_waits(device, rng):
    """Three steps with dropout, clipping, AdamW and the average, from one seed; not one value comes to the host."""
    data = dataset(rng)
    config = training.TrainConfig.for_dataset(
        data,
        SMALL["ddpm"],
        num_train_timesteps=20,
        batch_size=4,
        warmup_steps=0,
        clip_norm=0.5,
        flip=0.5,
        dtype="float64",
    )
    here, there = training.Trainer(config, data), training.Trainer(config, data, device)
    for _ in range(3):
        with transfers_to_the_host(0, device):
            loss, length = there.step()
        assert_on(device, loss)
        assert_on(device, length)
        for found, expected in zip((loss, length), here.step(), strict=True):
            assert_close(np.asarray(backend.to_numpy(found)), np.asarray(expected), 1e-8)
    assert_on(device, there.parameters.data)
    for found, expected in ((there.parameters.data, here.parameters.data), (there.ema.data, here.ema.data)):
        assert_close(
            found, expected, 1e-6
        )  # Adam divides by the gradient's size, which enlarges rounding where that is small


def test_a_checkpoint_goes_from_device_to_device(device, rng):
    """Saved there, continued on the CPU and there again: the same next step."""
    data = dataset(rng)
    config = training.TrainConfig.for_dataset(
        data, SMALL["course"], num_train_timesteps=20, batch_size=4, dtype="float64"
    )
    there = training.Trainer(config, data, device)
    there.step()
    state = there.state()
    expected, _ = there.step()
    for target in ("cpu", device):
        resumed = training.Trainer(config, data, target)
        resumed.load_state(state)
        loss, _ = resumed.step()
        assert_close(backend.to_numpy(loss), backend.to_numpy(expected), 1e-8)


def test_drawing_images_is_that_of_the_cpu(device):
    """A guided walk of an untrained network; the host sees one number a step, and the images as NumPy arrays."""
    labels = np.array([0, 1, 2])

    def images(device):
        model = UNet(SMALL["ddpm"], generator=Generator(1)).to(device, np.float64)
        return training.draw(model, diffusion.make_schedule("linear", 20), labels, generator=Generator(5, device), steps=4, guidance=2.0)

    with transfers_to_the_host(4 + 1, device):
        found = images(device)
    assert_close(found, images("cpu"), 1e-8)
