"""`minidiff.models.UNet` against diffusers' `UNet2DModel` and `UNet2DConditionModel` and the PyTorch twins of the benchmark.

Random weights travel by parameter name; then outputs, the gradients of the inputs and the gradients of all parameters must agree.

diffusers computes the sinusoids of a time in float32, whatever the model's dtype: at t = 999 they are off by up to 6e-5, and a float64
network by up to 1e-5. So the comparison to 1e-10 stands on two legs: at time 0, where float32 sinusoids are exact, nothing of
diffusers is touched; at other times its `time_proj` is replaced by the same formula in float64. What float32 costs is a test of its own.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.models.embeddings import get_timestep_embedding  # noqa: E402
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D  # noqa: E402

from minidiff import functional as F  # noqa: E402
from minidiff import no_grad, tensor  # noqa: E402
from minidiff.bench.torch_unet import torch_unet  # noqa: E402
from minidiff.models import UNet, UNetConfig, preset  # noqa: E402

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small are slower on two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ddpm(**changes):
    """A small network of the preset's family; a setting of each test differs from it."""
    small = {"sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4, "attention_head_dim": 8, "layers_per_block": 1}
    return preset("ddpm", **{**small, **changes})


def course(**changes):
    return preset("course", **{"sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4, "hidden_features": 12, **changes})


DDPM = {
    "attention at one level": ddpm(),
    "no attention but in the middle": ddpm(attention_levels=()),
    "attention everywhere": ddpm(attention_levels=(0, 1)),
    "no attention at all": ddpm(attention_levels=(), middle_attention=False),
    "attention but not in the middle": ddpm(attention_levels=(0,), middle_attention=False),
    "heads of 4": ddpm(attention_head_dim=4),
    "one head": ddpm(attention_head_dim=16, attention_levels=()),
    "scale and shift": ddpm(conditioning="scale_shift"),
    "scale and shift, classes": ddpm(conditioning="scale_shift", num_classes=3, attention_levels=(0, 1)),
    "classes": ddpm(num_classes=10),
    "padding 0": ddpm(downsample_padding=0),
    "sin before cos, Ho's shift": ddpm(flip_sin_to_cos=False, freq_shift=1.0),
    "cos before sin, Ho's shift": ddpm(freq_shift=1.0),
    "sin before cos": ddpm(flip_sin_to_cos=False),
    "two layers, padding 0": ddpm(layers_per_block=2, downsample_padding=0),
    "three layers, three levels": ddpm(layers_per_block=3, block_out_channels=(4, 8, 12), attention_levels=(1,), attention_head_dim=4),
    "one level": ddpm(block_out_channels=(8,), attention_levels=(0,)),
    "narrowing levels": ddpm(block_out_channels=(16, 8, 8), attention_levels=(2,), layers_per_block=2),
    "four levels": ddpm(block_out_channels=(4, 8, 8, 12), attention_levels=(3,), attention_head_dim=4),
    "other norm": ddpm(norm_num_groups=2, norm_eps=1e-3),
    "colours, learned variance": ddpm(in_channels=3, out_channels=6),
}
TOKENS = {
    "text at the lower of two levels": ddpm(cross_attention_dim=12),
    "text at both levels": ddpm(cross_attention_dim=5, attention_levels=(0, 1)),
    "text in the middle alone": ddpm(cross_attention_dim=16, attention_levels=()),
    "one level": ddpm(cross_attention_dim=7, block_out_channels=(8,), attention_levels=(0,)),
    "two layers, two of three levels": ddpm(cross_attention_dim=9, layers_per_block=2, block_out_channels=(8, 16, 24),
                                            attention_levels=(0, 2)),
    "heads of 4": ddpm(cross_attention_dim=12, attention_levels=(0, 1), attention_head_dim=4),
    "text, scale and shift": ddpm(cross_attention_dim=12, conditioning="scale_shift", downsample_padding=0),
    "text, other norm": ddpm(cross_attention_dim=12, norm_num_groups=2, norm_eps=1e-3),
    "text, colours": ddpm(cross_attention_dim=6, in_channels=3, out_channels=6, freq_shift=1.0),
}
VECTORS = {
    "a vector": ddpm(context_features=12),
    "a vector, scale and shift": ddpm(context_features=5, conditioning="scale_shift", attention_levels=(0, 1)),
    "a vector, two layers, no attention": ddpm(context_features=33, layers_per_block=2, attention_levels=(), middle_attention=False),
}
COURSE = {
    "course": course(),
    "course with classes": course(num_classes=10),
    "course of three levels": course(block_out_channels=(4, 8, 8), num_classes=2),
    "course of one level": course(block_out_channels=(8,), layers_per_block=1, up_layers_per_block=2),
    "course with other times": course(time_features=6, time_scale=1.0, flip_sin_to_cos=False, freq_shift=1.0),
    "course in colours": course(in_channels=3, out_channels=3, norm_num_groups=2),
}
PATCHES = {
    "ddpm on patches": ddpm(sample_size=16, patch_size=2, num_classes=2, in_channels=2),
    "course on patches": course(sample_size=16, patch_size=2, out_channels=2),
}
TWINS = {**DDPM, **COURSE, **PATCHES}


def diffusers_unet(config):
    """The `UNet2DModel` that a configuration describes, with random weights."""
    c = config
    kinds = ["Attn" if level in c.attention_levels else "" for level in range(len(c.block_out_channels))]
    return randomized(diffusers.UNet2DModel(
        sample_size=c.sample_size, in_channels=c.in_channels, out_channels=c.out_channels, block_out_channels=c.block_out_channels,
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds], up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        layers_per_block=c.layers_per_block, attention_head_dim=c.attention_head_dim, norm_num_groups=c.norm_num_groups,
        # left out, the attention of the middle would have no norm with scale_shift, unlike all other attentions
        attn_norm_num_groups=c.norm_num_groups, norm_eps=c.norm_eps, add_attention=c.middle_attention,
        downsample_padding=c.downsample_padding, flip_sin_to_cos=c.flip_sin_to_cos, freq_shift=c.freq_shift,
        resnet_time_scale_shift={"add": "default", "scale_shift": "scale_shift"}[c.conditioning],
        num_class_embeds=None if c.num_classes is None else c.num_classes + 1))


def diffusers_conditional(config):
    """The `UNet2DConditionModel` that a configuration with tokens or vectors describes, with random weights."""
    c = config
    widths, text = c.block_out_channels, c.cross_attention_dim is not None
    kinds = [("CrossAttn" if text else "Attn") * (level in c.attention_levels) for level in range(len(widths))]
    norms = {"resnet_time_scale_shift": {"add": "default", "scale_shift": "scale_shift"}[c.conditioning]}
    model = diffusers.UNet2DConditionModel(
        sample_size=c.sample_size, in_channels=c.in_channels, out_channels=c.out_channels, block_out_channels=widths,
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds], up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        mid_block_type="UNetMidBlock2DCrossAttn" if text else "UNetMidBlock2D", cross_attention_dim=c.cross_attention_dim or 8,
        # with cross-attention this is the number of heads, at each level
        attention_head_dim=[width // c.attention_head_dim for width in widths] if text else c.attention_head_dim,
        class_embed_type=None if text else "projection", projection_class_embeddings_input_dim=c.context_features,
        layers_per_block=c.layers_per_block, norm_num_groups=c.norm_num_groups, norm_eps=c.norm_eps,
        downsample_padding=c.downsample_padding, flip_sin_to_cos=c.flip_sin_to_cos, freq_shift=c.freq_shift, **norms)
    if not text:  # that of this model is one block alone, or has cross-attention: take the one of UNet2DModel
        model.mid_block = UNetMidBlock2D(
            widths[-1], 4 * widths[0], resnet_eps=c.norm_eps, resnet_groups=c.norm_num_groups, attn_groups=c.norm_num_groups,
            attention_head_dim=c.attention_head_dim, add_attention=c.middle_attention, **norms)
    return randomized(model)


def randomized(model):
    """All parameters, norms and biases too, moved away from where they begin: a scale of 1 or a shift of 0 hides mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double().eval()


class Float64Sinusoids(torch.nn.Module):
    """Ho et al.'s embedding of a time: exp(-i log(10000) / (d/2 - shift)), in float64, where diffusers has float32."""

    def __init__(self, config):
        super().__init__()
        self.features, self.config = config.time_features or config.block_out_channels[0], config

    def forward(self, t):
        i = torch.arange(self.features // 2, dtype=torch.float64)
        angle = t.double()[:, None] * 10000.0 ** (-i / (self.features // 2 - self.config.freq_shift))
        first, second = (angle.cos(), angle.sin()) if self.config.flip_sin_to_cos else (angle.sin(), angle.cos())
        return torch.cat([first, second], 1)


def run_torch(model, x, t, context, weights):
    """Output, and the gradients of sum(weights * output) by name, "input" and, if it is not labels, "context" among them."""
    image = torch.from_numpy(x).requires_grad_()
    told = None if context is None else torch.from_numpy(context).requires_grad_(context.dtype.kind == "f")
    if isinstance(model, diffusers.UNet2DConditionModel):
        out = model(image, torch.from_numpy(t), told) if told.ndim == 3 else model(image, torch.from_numpy(t), None, class_labels=told)
    else:
        out = model(image, torch.from_numpy(t), told)
    out = out if torch.is_tensor(out) else out.sample
    out.backward(torch.from_numpy(weights))
    found = {"output": out, "input": image.grad, **{name: p.grad for name, p in model.named_parameters()}}
    found |= {"context": told.grad} if told is not None and told.requires_grad else {}
    return {name: value.detach().numpy() for name, value in found.items()}


def run_ours(model, x, t, context, weights):
    image = tensor(x, requires_grad=True)
    continuous = context is not None and context.dtype.kind == "f"
    told = tensor(context, requires_grad=True) if continuous else context
    out = model(image, t, told)
    out.backward(tensor(weights))
    found = {"output": out, "input": image.grad, **{name: p.grad for name, p in model.named_parameters()}}
    found |= {"context": told.grad} if continuous else {}
    return {name: value.numpy() for name, value in found.items()}


def ours_of(config, theirs, dtype=np.float64):
    model = UNet(config).to(dtype=dtype).eval()
    model.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return model


def batch(config, times=1000, shape=None):
    draw = np.random.default_rng()
    height, width = shape or (config.sample_size,) * 2
    x = draw.standard_normal((3, config.in_channels, height, width))
    context = None
    if config.num_classes is not None:
        context = np.array([0, config.num_classes, config.num_classes - 1])
    elif config.context_features is not None:
        context = draw.standard_normal((3, config.context_features))
    elif config.cross_attention_dim is not None:
        context = draw.standard_normal((3, 5, config.cross_attention_dim))
    return x, draw.integers(0, times, 3), context, draw.standard_normal((3, config.out_channels, height, width))


def worst(found, expected):
    """The largest error, each array relative to its largest element.

    Some gradients are zero in exact arithmetic (the bias of a key; what only shifts a channel that is its own group), so a bias
    is measured by its weight, and nothing by less than 1e-4 of the largest gradient.
    """
    assert found.keys() == expected.keys()
    size = {name: np.abs(value).max() for name, value in expected.items()}
    least = 1e-4 * max(value for name, value in size.items() if name != "output")
    scale = {name: max(value, size.get(name.replace(".bias", ".weight")), least) for name, value in size.items()}
    errors = {name: np.abs(found[name] - expected[name]).max() / scale[name] for name in expected}
    name = max(errors, key=errors.get)
    return errors[name], name


def assert_same_function(config, theirs, *inputs):
    error, name = worst(run_ours(ours_of(config, theirs), *inputs), run_torch(theirs, *inputs))
    assert error < 1e-10, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("config", DDPM.values(), ids=DDPM.keys())
def test_it_is_diffusers_network_with_its_weights(config):
    """Outputs and all gradients at random times, float64, 1e-10; sinusoids in float64 on both sides."""
    theirs = diffusers_unet(config)
    theirs.time_proj = Float64Sinusoids(config)
    assert_same_function(config, theirs, *batch(config))


@pytest.mark.parametrize("config", DDPM.values(), ids=DDPM.keys())
def test_at_time_zero_diffusers_needs_no_change(config):
    """The same with nothing replaced: at time 0 its float32 sinusoids are exact."""
    assert_same_function(config, diffusers_unet(config), *batch(config, times=1))


@pytest.mark.parametrize("config", [*TOKENS.values(), *VECTORS.values()], ids=[*TOKENS, *VECTORS])
def test_told_by_tokens_or_vectors_it_is_diffusers_conditional_network(config):
    """`UNet2DConditionModel` with its weights: outputs, all gradients, that of the context among them; images that are not square."""
    theirs = diffusers_conditional(config)
    theirs.time_proj = Float64Sinusoids(config)
    assert_same_function(config, theirs, *batch(config, shape=(8, 12)))


@pytest.mark.parametrize("config", [TOKENS["heads of 4"], VECTORS["a vector"]], ids=["text", "a vector"])
def test_told_by_tokens_or_vectors_at_time_zero_diffusers_needs_no_change(config):
    """The same with nothing replaced: at time 0 its float32 sinusoids are exact."""
    assert_same_function(config, diffusers_conditional(config), *batch(config, times=1, shape=(8, 12)))


@pytest.mark.parametrize("shape", [(8, 16), (24, 8), (4, 4)])
def test_other_sizes_than_the_configured_fit_as_in_diffusers(shape):
    """The network is convolutional: it takes what its halvings divide."""
    config = ddpm(num_classes=2)
    theirs = diffusers_unet(config)
    theirs.time_proj = Float64Sinusoids(config)
    assert_same_function(config, theirs, *batch(config, shape=shape))


@pytest.mark.parametrize("config", [DDPM["classes"], DDPM["scale and shift, classes"], DDPM["two layers, padding 0"],
                                    TOKENS["text at the lower of two levels"], VECTORS["a vector"]])
def test_float32_differs_from_diffusers_by_rounding(config):
    """Against the float64 result, our float32 error is at most 4 times diffusers' own, or 2e-6 of the largest element."""
    conditional = config.cross_attention_dim is not None or config.context_features is not None
    theirs = diffusers_conditional(config) if conditional else diffusers_unet(config)
    theirs.time_proj = Float64Sinusoids(config)
    x, t, context, weights = batch(config)
    context = context.astype(np.float32) if conditional else context
    single = (x.astype(np.float32), t, context, weights.astype(np.float32))
    theirs.float()
    ours = run_ours(ours_of(config, theirs, np.float32), *single)
    peer = run_torch(theirs, *single)
    theirs.zero_grad()
    context = context.astype(np.float64) if conditional else context
    exact = run_torch(theirs.double(), single[0].astype(np.float64), t, context, single[3].astype(np.float64))
    assert {value.dtype for value in ours.values()} == {np.dtype(np.float32)}
    error, name = worst(ours, exact)
    assert error < max(4 * worst(peer, exact)[0], 2e-6), name


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("dim", [8, 32, 33])
def test_sinusoids_differ_from_diffusers_by_float32_angles(flip, shift, dim):
    """|cos(a + d) - cos(a)| <= |d|, and its angle t f carries about four float32 roundings (of the exponent, exp, t f, cos)."""
    times = np.random.default_rng().integers(0, 1000, 50)
    theirs = get_timestep_embedding(torch.from_numpy(times), dim, flip, shift).double().numpy()
    ours = F.timestep_embedding(times, dim, flip_sin_to_cos=flip, downscale_freq_shift=shift)
    limit = 2.0**-24 * (2 + (2 + 2 * np.log(10000)) * times[:, None])
    assert ours.shape == theirs.shape
    assert (np.abs(ours - theirs) <= limit).all()


@pytest.mark.parametrize("config", TWINS.values(), ids=TWINS.keys())
def test_the_benchmark_measures_the_same_function_in_torch(config):
    """The PyTorch twin of each preset's family: outputs and all gradients, float64, 1e-10."""
    assert_same_function(config, randomized(torch_unet(config)), *batch(config))


@pytest.mark.parametrize("name", ["ddpm", "course"])
def test_the_presets_have_twins(name):
    """At full size: same parameters by name, same outputs (float64, 1e-10)."""
    config = preset(name, num_classes=10)
    theirs = randomized(torch_unet(config))
    x, t, labels, _ = batch(config)
    with no_grad(), torch.no_grad():
        out = ours_of(config, theirs)(x, t, labels).numpy()
        expected = theirs(*map(torch.from_numpy, (x, t, labels))).numpy()
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_a_mixture_without_twin_is_refused():
    """torch_unet: ValueError that names the families."""
    with pytest.raises(ValueError, match="'ddpm' and 'course'"):
        torch_unet(UNetConfig(block="resnet", upsample="transposed"))
    for condition in ("context_features", "cross_attention_dim"):
        with pytest.raises(ValueError, match="with classes or without any condition"):
            torch_unet(ddpm(**{condition: 4}))


def test_weights_go_to_diffusers_and_back_by_name():
    """Our state goes into a diffusers model (strict), comes back as its tensors, and nothing has changed, nor is memory shared."""
    config = ddpm(num_classes=4)
    ours, theirs, again = UNet(config), diffusers_unet(config).float(), UNet(config)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()}, strict=True)
    again.load_state_dict(theirs.state_dict())
    before = {name: value.copy() for name, value in ours.state_dict().items()}
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    after = again.state_dict()
    assert list(after) == list(before)
    assert all(np.array_equal(after[name], value) for name, value in before.items())


def test_weights_of_another_network_are_refused_by_name():
    """A diffusers model with one more layer: the error lists the names that are unexpected."""
    bigger = diffusers_unet(ddpm(layers_per_block=2))
    with pytest.raises(ValueError, match=r"unexpected down_blocks\.0\.resnets\.1\.norm1\.weight"):
        UNet(ddpm()).load_state_dict({name: value.numpy() for name, value in bigger.state_dict().items()})
