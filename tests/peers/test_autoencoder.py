"""`minidiff.models.AutoencoderKL` against diffusers' `AutoencoderKL`.

Random weights travel by parameter name, both ways; then the Gaussian, its divergence, the image, the loss and the gradients of the image
and of all parameters must agree to rounding.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from minidiff import tensor  # noqa: E402
from minidiff.models import AutoencoderConfig, AutoencoderKL  # noqa: E402

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small are slower on two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(**changes):
    return AutoencoderConfig(**{"block_out_channels": (8, 12), "norm_num_groups": 4, "latent_channels": 3, **changes})


CONFIGS = {
    "two levels": config(),
    "one level": config(block_out_channels=(8,), latent_channels=1),
    "Stable Diffusion's four levels and two layers": config(block_out_channels=(4, 8, 12, 12), layers_per_block=2, in_channels=3,
                                                            latent_channels=4),
    "narrowing levels": config(block_out_channels=(12, 8, 4), layers_per_block=3),
    "one group": config(norm_num_groups=1, in_channels=2),
    "a group for each channel": config(block_out_channels=(6, 6), norm_num_groups=6),
    "no attention": config(middle_attention=False),
    "no convolutions of one pixel": config(use_quant_conv=False, use_post_quant_conv=False, latent_channels=4),
    "only before the latents": config(use_post_quant_conv=False),
    "only after the latents": config(use_quant_conv=False),
}


def theirs_of(c):
    """diffusers' network of a configuration, with random weights: norms and biases, too, are moved away from 1 and 0."""
    levels = len(c.block_out_channels)
    model = diffusers.AutoencoderKL(
        in_channels=c.in_channels, out_channels=c.in_channels, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, block_out_channels=c.block_out_channels, layers_per_block=c.layers_per_block,
        latent_channels=c.latent_channels, norm_num_groups=c.norm_num_groups, mid_block_add_attention=c.middle_attention,
        use_quant_conv=c.use_quant_conv, use_post_quant_conv=c.use_post_quant_conv)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double().eval()


def ours_of(c, theirs, dtype=np.float64):
    model = AutoencoderKL(c).to(dtype=dtype)
    model.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return model


def batch(c, rows=2, columns=3):
    """Images that are not square, and noise for their latents."""
    draw, patch = np.random.default_rng(), c.patch
    return (draw.standard_normal((2, c.in_channels, rows * patch, columns * patch)),
            draw.standard_normal((2, c.latent_channels, rows, columns)))


def run_theirs(model, x, noise, kl_weight):
    x, noise = torch.from_numpy(x).requires_grad_(), torch.from_numpy(noise)
    posterior = model.encode(x).latent_dist
    image = model.decode(posterior.mean + posterior.std * noise).sample
    loss = (0.5 * (image - x).pow(2).sum(dim=(1, 2, 3)) + kl_weight * posterior.kl()).mean()
    loss.backward()
    found = {"mean": posterior.mean, "logvar": posterior.logvar, "std": posterior.std, "kl": posterior.kl(), "image": image, "loss": loss,
             "input": x.grad, **{name: p.grad for name, p in model.named_parameters()}}
    return {name: value.detach().numpy() for name, value in found.items()}


def run_ours(model, x, noise, kl_weight):
    x = tensor(x, requires_grad=True)
    image, posterior = model(x, noise)
    loss = model.loss(x, noise, kl_weight=kl_weight)
    loss.backward()
    found = {"mean": posterior.mean, "logvar": posterior.logvar, "std": posterior.std, "kl": posterior.kl(), "image": image, "loss": loss,
             "input": x.grad, **{name: p.grad for name, p in model.named_parameters()}}
    return {name: value.numpy() for name, value in found.items()}


def worst(found, expected):
    """The largest error, each array relative to its largest element, but no gradient to less than 1e-4 of the largest one.

    Some gradients are zero in exact arithmetic, such as that of the bias of a key.
    """
    assert found.keys() == expected.keys()
    size = {name: np.abs(value).max() for name, value in expected.items()}
    outputs = ("mean", "logvar", "std", "kl", "image", "loss")
    least = 1e-4 * max(value for name, value in size.items() if name not in outputs)
    errors = {name: np.abs(found[name] - expected[name]).max() / (size[name] if name in outputs else max(size[name], least))
              for name in expected}
    name = max(errors, key=errors.get)
    return errors[name], name


@pytest.mark.parametrize("kl_weight", [1.0, 1e-6])
@pytest.mark.parametrize("c", CONFIGS.values(), ids=CONFIGS.keys())
def test_it_is_diffusers_autoencoder_with_its_weights(c, kl_weight):
    """Everything that it answers, and all gradients of the loss, in float64, to 1e-11."""
    theirs = theirs_of(c)
    inputs = (*batch(c), kl_weight)
    error, name = worst(run_ours(ours_of(c, theirs), *inputs), run_theirs(theirs, *inputs))
    assert error < 1e-11, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 5), (4, 2)])
def test_any_number_of_patches_fits_as_in_diffusers(rows, columns):
    """The network is convolutional."""
    c = CONFIGS["two levels"]
    theirs = theirs_of(c)
    inputs = (*batch(c, rows, columns), 0.5)
    error, name = worst(run_ours(ours_of(c, theirs), *inputs), run_theirs(theirs, *inputs))
    assert error < 1e-11, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("bias", [-50.0, 40.0])
def test_log_variances_are_clamped_as_in_diffusers(bias):
    """Where a bias drives all of them beyond a bound, and their gradients are 0."""
    c = CONFIGS["two levels"]
    theirs = theirs_of(c)
    with torch.no_grad():
        theirs.quant_conv.bias[c.latent_channels:] += bias
    x, noise = batch(c)
    ours, expected = run_ours(ours_of(c, theirs), x, noise, 1.0), run_theirs(theirs, x, noise, 1.0)
    np.testing.assert_array_equal(ours["logvar"], expected["logvar"])
    assert (ours["quant_conv.bias"][c.latent_channels:] == 0).all()
    error, name = worst(ours, expected)
    assert error < 1e-11, f"{name} is off by {error:.1e}"


def test_float32_differs_from_diffusers_by_rounding():
    """Against the float64 result, our float32 error is at most 4 times diffusers' own, or 2e-6 of the largest element."""
    c = CONFIGS["Stable Diffusion's four levels and two layers"]
    theirs = theirs_of(c)
    single = [part.astype(np.float32) for part in batch(c)]
    ours, peer = run_ours(ours_of(c, theirs, np.float32), *single, 1.0), run_theirs(theirs.float(), *single, 1.0)
    theirs.zero_grad()
    exact = run_theirs(theirs.double(), *(part.astype(np.float64) for part in single), 1.0)
    assert {value.dtype for value in ours.values()} == {np.dtype(np.float32)}
    error, name = worst(ours, exact)
    assert error < max(4 * worst(peer, exact)[0], 2e-6), name


@pytest.mark.parametrize("c", CONFIGS.values(), ids=CONFIGS.keys())
def test_weights_go_to_diffusers_and_back_by_name(c):
    """Our state goes into diffusers' model (strict), comes back as its tensors, and nothing has changed."""
    ours, theirs, again = AutoencoderKL(c), theirs_of(c).float(), AutoencoderKL(c)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()}, strict=True)
    again.load_state_dict(theirs.state_dict())
    before, after = ours.state_dict(), again.state_dict()
    assert list(after) == list(before) and all(np.array_equal(after[name], value) for name, value in before.items())
