"""Every layer against PyTorch's, with PyTorch's weights loaded: outputs, gradients and buffers over generated options; initial values.

float64, 1e-12 of the scale of the result.
"""

import inspect
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from minidiff import nn, tensor
from minidiff.autograd import Tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
DRAW = np.random.default_rng()


def weights(shape):
    return np.cos(1.0 + 1.7 * np.arange(math.prod(shape))).reshape(shape)


def several(outputs):
    return [out for out in outputs if out is not None] if isinstance(outputs, tuple) else [outputs]


def close(found, expected, what):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max(initial=0.0)), err_msg=str(what))


def compare(ours, theirs, inputs, calls=1, **options):
    """Load PyTorch's weights, call both (several times in training), compare what comes out, all gradients and all buffers."""
    theirs = theirs.double()
    theirs.zero_grad()
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_()
    ours = ours.double()
    ours.train(theirs.training)
    ours.load_state_dict(theirs.state_dict())
    assert [(name, p.shape) for name, p in ours.named_parameters()] == [(name, tuple(p.shape)) for name, p in theirs.named_parameters()]
    for _ in range(calls):
        floats = [x.dtype.kind == "f" for x in inputs]
        xs = [tensor(x, requires_grad=f) for x, f in zip(inputs, floats)]
        ys = [torch.from_numpy(x.copy()).requires_grad_(f) for x, f in zip(inputs, floats)]
        mine = {name: tensor(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
        others = {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
        found, expected = several(ours(*xs, **mine)), several(theirs(*ys, **others))
        assert len(found) == len(expected)
        for i, (a, b) in enumerate(zip(found, expected)):
            close(a.numpy(), b.detach(), ("output", i))
        if not any(b.requires_grad for b in expected):
            continue
        sum((out * weights(out.shape)).sum() for out in found).backward()
        sum((out * torch.from_numpy(weights(out.shape))).sum() for out in expected).backward()
        for i, (x, y) in enumerate(zip(xs, ys)):
            if y.grad is not None:
                close(x.grad.numpy(), y.grad, ("input", i))
        parameters = dict(ours.named_parameters())
        for name, p in theirs.named_parameters():
            assert (p.grad is None) == (parameters[name].grad is None), name
            if p.grad is not None:
                close(parameters[name].grad.numpy(), p.grad, name)
        inputs = [DRAW.standard_normal(x.shape) if f else x for x, f in zip(inputs, floats)]
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert str(np.asarray(state[name]).dtype) == str(value.dtype).removeprefix("torch.")
        close(state[name], value, name)


def normal(*shape):
    return DRAW.standard_normal(shape)


sizes = st.integers(1, 3)
flags = st.booleans()


def per_dimension(values, dims):
    return st.one_of(values, st.tuples(*[values] * dims))


@st.composite
def convolutions(draw, transposed=False):
    dims = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 2))
    options = {"stride": draw(per_dimension(sizes, dims)), "dilation": draw(per_dimension(sizes, dims)), "groups": groups,
               "bias": draw(flags)}
    kernel = draw(per_dimension(sizes, dims))
    if transposed:
        options["padding"] = draw(per_dimension(st.integers(0, 1), dims))
        if options["stride"] != 1 and draw(flags):
            options["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in np.broadcast_to(options["stride"], dims).tolist())
    else:
        options["padding"] = draw(st.one_of(per_dimension(st.integers(0, 2), dims), st.sampled_from(["same", "valid"])))
        options["padding_mode"] = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
        if options["padding"] == "same":
            options["stride"] = 1
    shape = [draw(st.integers(5, 7) if not transposed else st.integers(2, 3)) for _ in range(dims)]
    channels = groups * draw(sizes), groups * draw(sizes)
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    return dims, (*channels, kernel), options, (*batch, channels[0], *shape)


@settings(max_examples=200)
@given(convolutions())
def test_convolutions(drawn):
    """1 to 3 dimensions, every padding and its modes, groups, with and without batch."""
    dims, args, options, shape = drawn
    name = f"Conv{dims}d"
    if options["padding"] != "same":
        padding = 0 if options["padding"] == "valid" else options["padding"]
        spans = np.broadcast_to(options["dilation"], dims) * (np.broadcast_to(args[2], dims) - 1) + 1
        assume((np.array(shape[-dims:]) + 2 * np.broadcast_to(padding, dims) >= spans).all())
    compare(getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options), [normal(*shape)])


@settings(max_examples=40)
@given(convolutions(transposed=True), st.data())
def test_transposed_convolutions(drawn, data):
    """1 to 3 dimensions; the output size chosen by output_padding, or named in the call."""
    dims, args, options, shape = drawn
    name = f"ConvTranspose{dims}d"
    theirs = getattr(torch.nn, name)(*args, **options)
    smallest = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(
        shape[-dims:], *(np.broadcast_to(x, dims).tolist() for x in (options["stride"], options["padding"], options["dilation"], args[2])))]
    assume(min(smallest) >= 1)
    call = {}
    if data.draw(flags):
        call["output_size"] = [n + data.draw(st.integers(0, s - 1))
                               for n, s in zip(smallest, np.broadcast_to(options["stride"], dims).tolist())]
    compare(getattr(nn, name)(*args, **options), theirs, [normal(*shape)], **call)


@given(st.integers(0, 4), st.integers(1, 4), flags, st.sampled_from([(), (3,), (2, 3), (0,)]))
def test_linear(inside, outside, bias, batch):
    """Any leading shape, none, empty; no features."""
    compare(nn.Linear(inside, outside, bias), torch.nn.Linear(inside, outside, bias), [normal(*batch, inside)])


@given(st.integers(2, 5), sizes, st.data())
def test_embedding(rows, width, data):
    """With and without a padding row, which is also counted from the end."""
    padding = data.draw(st.one_of(st.none(), st.integers(-rows, rows - 1)))
    compare(nn.Embedding(rows, width, padding), torch.nn.Embedding(rows, width, padding), [DRAW.integers(0, rows, (2, 3))])


@st.composite
def normalizations(draw):
    """(name, args, options, shape)"""
    kind = draw(st.sampled_from(["GroupNorm", "LayerNorm", "RMSNorm", "BatchNorm", "InstanceNorm"]))
    dims, eps = draw(st.integers(1, 3)), draw(st.sampled_from([1e-5, 1e-2]))
    space = tuple(draw(st.integers(2, 4)) for _ in range(dims))
    c, n = draw(st.integers(1, 4)), draw(st.integers(2, 3))
    if kind == "GroupNorm":
        groups = draw(sizes)
        return kind, (groups, groups * c, eps), {"affine": draw(flags), "bias": draw(flags)}, (n, groups * c, *space)
    if kind in ("LayerNorm", "RMSNorm"):
        shape = space[-draw(st.integers(1, dims)):]
        options = {"elementwise_affine": draw(flags)} | ({"bias": draw(flags)} if kind == "LayerNorm" else {})
        eps = draw(st.sampled_from([None, 1e-3])) if kind == "RMSNorm" else eps
        return kind, (shape[0] if len(shape) == 1 else draw(st.sampled_from([shape, list(shape)])), eps), options, (n, *space)
    options = {"affine": draw(flags), "track_running_stats": draw(flags), "bias": draw(flags),
               "momentum": draw(st.sampled_from([0.1, 0.7] + [None] * (kind == "BatchNorm")))}
    shape = (n, c, *space)
    if kind == "InstanceNorm" and draw(flags):
        shape = shape[1:]
    if kind == "BatchNorm" and dims == 1 and draw(flags):
        shape = shape[:2]
    return f"{kind}{dims}d", (c, eps), options, shape


@settings(max_examples=80)
@given(normalizations(), st.booleans())
def test_normalizations(drawn, training):
    """Every option; running statistics follow three batches, evaluation uses them."""
    name, args, options, shape = drawn
    theirs = getattr(torch.nn, name)(*args, **options)
    compare(getattr(nn, name)(*args, **options), theirs, [normal(*shape)], calls=3)
    if not training:
        ours = getattr(nn, name)(*args, **options)
        for key, buffer in theirs.named_buffers():
            getattr(theirs, key).copy_(torch.rand(buffer.shape) + 0.5 if buffer.dtype.is_floating_point else buffer)
        compare(ours, theirs.eval(), [normal(*shape)])


@st.composite
def attentions(draw):
    heads = draw(sizes)
    embed = heads * draw(sizes)
    kdim, vdim = draw(st.sampled_from([(None, None), (2, 3), (None, 2), (embed, embed)]))
    options = {"bias": draw(flags), "kdim": kdim, "vdim": vdim, "batch_first": draw(flags)}
    batched, l, s = draw(flags), draw(sizes), draw(sizes)
    n = draw(sizes) if batched else 1
    kind = draw(st.sampled_from(["self", "memory", "all"]))
    if kind == "self" or (kdim or embed) != (vdim or embed):
        kind = "self" if kind == "self" and (kdim or embed) == (vdim or embed) == embed else "all"
    s = l if kind == "self" else s
    def shape(length, features):
        if not batched:
            return (length, features)
        return (n, length, features) if options["batch_first"] else (length, n, features)
    inputs = [normal(*shape(l, embed)), normal(*shape(s, kdim or embed)), normal(*shape(s, vdim or embed))]
    call = {"need_weights": draw(flags), "average_attn_weights": draw(flags)}
    visible = np.ones((s,), bool)
    visible[1:] = False  # each query sees at least the first key: where it sees none torch's weights are NaN, ours 0
    mask = draw(st.sampled_from(["none", "bool", "float", "bool3", "float3"]))
    if mask != "none":
        of = (n * heads, l, s) if mask.endswith("3") else (l, s)
        call["attn_mask"] = (DRAW.random(of) < 0.5) & ~visible if mask.startswith("bool") else DRAW.standard_normal(of)
    padding = draw(st.sampled_from(["none", "bool", "float"]))
    if padding != "none":
        of = (n, s) if batched else (s,)
        call["key_padding_mask"] = (DRAW.random(of) < 0.5) & ~visible if padding == "bool" else DRAW.standard_normal(of)
    return kind, (embed, heads), options, inputs, call



@pytest.mark.filterwarnings("ignore:Support for mismatched")
@settings(max_examples=100)
@given(attentions())
def test_multihead_attention(drawn):
    """Self-attention, attention to a memory, features of other sizes; every form of both masks; weights of each head or their mean."""
    kind, args, options, inputs, call = drawn
    ours, theirs = nn.MultiheadAttention(*args, **options), torch.nn.MultiheadAttention(*args, **options)
    if kind == "self":
        both = lambda m: (lambda x, **options: m(x, x, x, **options))
        inputs = inputs[:1]
    elif kind == "memory":
        both = lambda m: (lambda x, y, **options: m(x, y, y, **options))
        inputs = inputs[:2]
    else:
        both = lambda m: m
    compare(Calling(ours, both), TorchCalling(theirs, both), inputs, **call)


class Calling(nn.Module):
    """A module that is called in another way."""

    def __init__(self, inner, both):
        self.inner, self.both = inner, both

    def forward(self, *inputs, **options):
        return self.both(self.inner)(*inputs, **options)


class TorchCalling(torch.nn.Module):
    """The same for PyTorch's."""

    def __init__(self, inner, both):
        super().__init__()
        self.inner, self.both = inner, both

    forward = Calling.forward


@given(flags, flags)
def test_is_causal_says_what_the_mask_is(need_weights, padded):
    """With the causal mask beside it, the same as without saying so."""
    x, mask = normal(2, 4, 6), np.triu(np.ones((4, 4), bool), 1)
    call = {"key_padding_mask": np.array([[False] * 4, [False, False, False, True]])} if padded else {}
    ours, theirs = (library.MultiheadAttention(6, 2, batch_first=True) for library in (nn, torch.nn))
    both = lambda m: (lambda x, **options: m(x, x, x, need_weights=need_weights, is_causal=True, **options))
    compare(Calling(ours, both), TorchCalling(theirs, both), [x], attn_mask=mask, **call)


@settings(max_examples=40)
@given(st.data(), flags, flags, flags, flags, st.sampled_from(["relu", "gelu"]))
def test_transformer_layers(data, decoder, norm_first, batch_first, bias, activation):
    """One layer, or a stack of two with a final norm; encoder and decoder; with masks."""
    heads = data.draw(sizes)
    d = heads * data.draw(st.integers(5, 6))  # of few features, a norm may be that of nearly equal numbers, which multiplies rounding
    n, l, s = (data.draw(sizes) for _ in range(3))
    options = {"dim_feedforward": 5, "dropout": 0.0, "activation": activation, "norm_first": norm_first, "batch_first": batch_first,
               "bias": bias, "layer_norm_eps": 1e-3}
    name = "TransformerDecoder" if decoder else "TransformerEncoder"
    ours, theirs = (getattr(library, f"{name}Layer")(d, heads, **options) for library in (nn, torch.nn))
    if data.draw(flags):
        kwargs = {} if decoder else {"enable_nested_tensor": False}
        ours, theirs = nn.__dict__[name](ours, 2, nn.LayerNorm(d)), getattr(torch.nn, name)(theirs, 2, torch.nn.LayerNorm(d), **kwargs)
    shape = lambda length: (n, length, d) if batch_first else (length, n, d)
    causal = np.triu(np.ones((l, l), bool), 1)
    padding = np.zeros((n, s if decoder else l), bool)
    padding[:, 1:] = DRAW.random(padding[:, 1:].shape) < 0.5
    if decoder:
        inputs, call = [normal(*shape(l)), normal(*shape(s))], {"tgt_mask": causal, "memory_key_padding_mask": padding}
    else:
        inputs, call = [normal(*shape(l))], {"src_key_padding_mask": padding, "src_mask" if hasattr(ours, "self_attn") else "mask": causal}
    compare(ours, theirs, inputs, **{k: v for k, v in call.items() if data.draw(flags)})


STATELESS = {
    "ReLU": [()], "LeakyReLU": [(), (0.3,)], "SiLU": [()], "GELU": [(), ("tanh",)], "Sigmoid": [()], "Tanh": [()], "LogSigmoid": [()],
    "Softplus": [(), (2.0, 1.0)], "Softmax": [(1,), (-1,)], "LogSoftmax": [(1,)], "Identity": [(3,)],
    "Flatten": [(), (0, 1)], "Unflatten": [(1, (2, 2))],
    "MaxPool2d": [(2,), (3, 2, 1), ((2, 1), None, 0, 2)], "AvgPool2d": [(2,), (3, 2, 1, True, False)],
    "AdaptiveAvgPool2d": [(1,), ((2, None),)], "AdaptiveMaxPool2d": [(2,)],
    "Unfold": [(2,), ((2, 1), 1, 1, 2)], "PixelShuffle": [(2,)], "PixelUnshuffle": [(2,)],
    "Upsample": [(None, 2), ((3, 7),), (None, 2.0, "bilinear")],
    "ZeroPad2d": [(1,), ((1, 0, 2, 1),)], "ConstantPad2d": [(1, 0.5)], "ReflectionPad2d": [(1,)], "ReplicationPad2d": [((1, 0, 2, 1),)],
    "CircularPad2d": [(2,)], "Dropout": [(0.0,)], "Dropout2d": [(0.0,)],
}


@pytest.mark.parametrize(("name", "args"), [(name, args) for name, several_args in STATELESS.items() for args in several_args])
def test_layers_without_parameters(name, args):
    """On (2, 4, 4, 6)."""
    compare(getattr(nn, name)(*args), getattr(torch.nn, name)(*args), [normal(2, 4, 4, 6)])


IN_ONE_DIMENSION = [
    ("MaxPool1d", (2,)), ("AvgPool1d", (2,)), ("AdaptiveAvgPool1d", (2,)), ("AdaptiveMaxPool1d", (3,)), ("ReflectionPad1d", (1,)),
    ("ReplicationPad1d", (2,)), ("CircularPad1d", ((2, 1),)), ("ConstantPad1d", (1, 0.5)), ("ZeroPad1d", ((1, 2),)),
    ("Dropout1d", (0.0,)), ("Fold", ((3, 3), 2)), ("CosineSimilarity", ()), ("CosineSimilarity", (2, 1e-7)), ("L1Loss", ()),
]
IN_THREE_DIMENSIONS = [
    ("MaxPool3d", (2, 1)), ("AvgPool3d", ((1, 2, 3), 1, 0, False, True, 5)), ("AdaptiveAvgPool3d", ((1, None, 3),)),
    ("AdaptiveMaxPool3d", (2,)), ("ReflectionPad3d", (1,)), ("ReplicationPad3d", ((1, 0, 2, 1, 0, 3),)), ("CircularPad3d", (2,)),
    ("ConstantPad3d", (1, -0.5)), ("ZeroPad3d", ((1, 0, 2, 1, 0, 3),)), ("Dropout3d", (0.0,)),
]


@pytest.mark.parametrize(("name", "args"), IN_THREE_DIMENSIONS)
def test_layers_without_parameters_in_three_dimensions(name, args):
    """On (2, 3, 2, 3, 4)."""
    compare(getattr(nn, name)(*args), getattr(torch.nn, name)(*args), [normal(2, 3, 2, 3, 4)])


@pytest.mark.parametrize(("name", "args"), IN_ONE_DIMENSION)
def test_layers_without_parameters_in_one_dimension(name, args):
    """On (2, 4, 4), two for a loss."""
    compare(getattr(nn, name)(*args), getattr(torch.nn, name)(*args), [normal(2, 4, 4) for _ in range(1 + (name[-4:] in ("Loss", "rity")))])


LOSSES = [
    ("MSELoss", {"reduction": "sum"}), ("SmoothL1Loss", {"beta": 0.5}), ("HuberLoss", {"delta": 0.5}),
    ("KLDivLoss", {"reduction": "batchmean"}),
    ("BCEWithLogitsLoss", {"pos_weight": [1.0, 2.0, 3.0]}), ("BCELoss", {"weight": [1.0, 2.0, 3.0]}),
    ("CrossEntropyLoss", {"weight": [1.0, 2.0, 3.0], "label_smoothing": 0.1}), ("NLLLoss", {"weight": [1.0, 2.0, 3.0], "reduction": "sum"}),
]


@pytest.mark.parametrize(("name", "options"), LOSSES)
def test_losses(name, options):
    """Class weights are buffers, and in the state_dict, as PyTorch's."""
    x, target = normal(4, 3), DRAW.random((4, 3))
    if name == "BCELoss":
        x = DRAW.random((4, 3))
    if name in ("CrossEntropyLoss", "NLLLoss"):
        target = DRAW.integers(0, 3, 4)
    built = [getattr(library, name)(**{k: array(v) if isinstance(v, list) else v for k, v in options.items()})
             for library, array in ((nn, lambda v: tensor(np.array(v))), (torch.nn, lambda v: torch.tensor(v, dtype=torch.float64)))]
    compare(*built, [x, target])


LAYERS = sorted(name for name in nn.__all__ if isinstance(getattr(nn, name), type) and hasattr(torch.nn, name)
                and name not in ("Module", "Parameter", "Sequential", "Identity"))


def test_every_layer_has_its_comparison():
    """With parameters: in a test of its family; without: in a table above."""
    with_parameters = {name for name in LAYERS if nn.__dict__[name].__module__.split(".")[-1] in
                       ("attention", "containers", "convolution", "linear", "normalization", "transformer")}
    tables = [*STATELESS, *(name for table in (IN_ONE_DIMENSION, IN_THREE_DIMENSIONS, LOSSES) for name, _ in table)]
    assert set(LAYERS) == with_parameters | set(tables) - {"Identity"}


@pytest.mark.parametrize("name", LAYERS)
def test_constructors_take_the_arguments_of_torchs_in_their_order(name):
    """Names, order and defaults; what follows in torch on something that is left out is keyword only. `generator` is added."""
    parameters = lambda kind: {n: p for n, p in inspect.signature(kind).parameters.items()}
    ours, theirs = parameters(getattr(nn, name)), parameters(getattr(torch.nn, name))
    if any(p.kind is p.VAR_POSITIONAL for p in theirs.values()):
        assert not ours
        return
    ours.pop("generator", None)
    theirs.pop("inplace", None)
    ours.pop("inplace", None)
    by_position = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_position == list(theirs)[:len(by_position)]
    assert set(ours) <= set(theirs)
    for n in ours:
        default = theirs[n].default
        if n == "dim" and "Softmax" in name:
            assert ours[n].default is inspect.Parameter.empty  # torch guesses, and warns
        elif callable(default) and default is not inspect.Parameter.empty:
            assert default.__name__ == ours[n].default.__name__
        else:
            assert ours[n].default == default or (default is inspect.Parameter.empty and ours[n].default is default), n


INITIAL = {
    "Linear": (12, 40), "Conv1d": (6, 20, 4), "Conv2d": (6, 20, (3, 2)), "Conv3d": (3, 12, 2), "ConvTranspose2d": (8, 10, 3),
    "Embedding": (30, 20), "MultiheadAttention": (12, 3), "TransformerEncoderLayer": (12, 3, 24), "TransformerDecoderLayer": (8, 2, 24),
}


@pytest.mark.parametrize("name", INITIAL)
def test_initial_values_have_pytorchs_distribution(name):
    """Two samples of each parameter, over several layers: Kolmogorov and Smirnov's test, false alarm below 1e-6 for all parameters."""
    ours, theirs = ([getattr(library, name)(*INITIAL[name]) for _ in range(8)] for library in (nn, torch.nn))
    for key, _ in theirs[0].named_parameters():
        one = np.concatenate([dict(m.named_parameters())[key].numpy().ravel() for m in ours])
        other = np.concatenate([dict(m.named_parameters())[key].detach().numpy().ravel() for m in theirs])
        if np.ptp(other) == 0:
            assert (one == other[0]).all(), key
        else:
            assert stats.ks_2samp(one, other).pvalue > 1e-9, key


@pytest.mark.parametrize(("name", "args"), [
    ("uniform_", (-1.0, 2.0)), ("normal_", (1.0, 0.3)), ("trunc_normal_", (0.2, 0.7, -0.5, 1.0)), ("trunc_normal_", (0.0, 1.0, 1.5, 4.0)),
    ("trunc_normal_", ()), ("xavier_uniform_", (1.5,)), ("xavier_normal_", ()), ("kaiming_uniform_", (0.2, "fan_out")),
    ("kaiming_normal_", (0.0, "fan_in", "relu")), ("orthogonal_", (2.0,)), ("constant_", (0.3,)), ("zeros_", ()), ("ones_", ()),
])
def test_init_functions_have_pytorchs_distribution(name, args):
    """Kolmogorov and Smirnov's test on 6,000 numbers of each; false alarm below 1e-8."""
    ours, theirs = nn.Parameter(np.zeros((40, 30, 5), np.float32)), torch.zeros(40, 30, 5)
    getattr(nn.init, name)(ours, *args)
    getattr(torch.nn.init, name)(theirs, *args)
    one, other = ours.numpy().ravel(), theirs.numpy().ravel()
    assert ours.dtype == np.float32
    assert stats.ks_2samp(one, other).pvalue > 1e-9 if np.ptp(other) else (one == other).all()


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_pytorchs(nonlinearity):
    """With and without a slope."""
    assert nn.init.calculate_gain(nonlinearity) == torch.nn.init.calculate_gain(nonlinearity)
    assert nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def pair_of_parameters(draw):
    shapes = [(3, 2), (4,), (1, 2, 2)]
    arrays = [draw.standard_normal(shape) for shape in shapes]
    return [nn.Parameter(x.copy()) for x in arrays], [torch.nn.Parameter(torch.from_numpy(x.copy())) for x in arrays]


def hold_gradients(ours, theirs, draw, skip=()):
    for i, (p, q) in enumerate(zip(ours, theirs)):
        g = draw.standard_normal(p.shape) * 10.0 ** draw.integers(-3, 3)
        p.grad, q.grad = (None, None) if i in skip else (Tensor(g), torch.from_numpy(g.copy()))


def test_weights_that_numpy_does_not_have_are_refused_by_name():
    """bfloat16; what to do stands in the message."""
    with pytest.raises(TypeError, match=r"load_state_dict: weight: .*float32"):
        nn.Linear(2, 2).load_state_dict(torch.nn.Linear(2, 2).to(torch.bfloat16).state_dict())


fractions = st.sampled_from([0.0, 0.3, 0.9])


@given(st.sampled_from(["SGD", "Adam", "AdamW"]), st.data())
def test_optimizers_take_pytorchs_steps(name, data):
    """20 steps with random gradients, some missing; two groups with settings of their own; saved and loaded half-way."""
    from minidiff import optim

    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    if name == "SGD":
        options = {"lr": 0.1, "momentum": data.draw(fractions), "dampening": data.draw(fractions), "weight_decay": data.draw(fractions)}
        if options["momentum"] and not options["dampening"]:
            options["nesterov"] = data.draw(flags)
    else:
        options = {"lr": data.draw(st.sampled_from([0.1, 1e-3])), "betas": (data.draw(fractions), data.draw(fractions)),
                   "eps": data.draw(st.sampled_from([1e-8, 1e-2])), "weight_decay": data.draw(fractions)}
    ours, theirs = pair_of_parameters(draw)
    groups = lambda p: [{"params": p[:2], "weight_decay": 0.01}, {"params": p[2], "lr": 0.05}]
    mine = getattr(optim, name)(groups(ours), **options)
    other = getattr(torch.optim, name)(groups(theirs), **options)
    for step in range(20):
        hold_gradients(ours, theirs, draw, skip={int(draw.integers(0, 9))})
        if step == 10:
            saved = mine.state_dict()
            mine = getattr(optim, name)(groups(ours))
            mine.load_state_dict(saved)
            mine.param_groups[1]["lr"] = other.param_groups[1]["lr"] = 0.02
        mine.step()
        other.step()
        for p, q in zip(ours, theirs):
            close(p.numpy(), q.detach(), step)
    mine.zero_grad()
    assert all(p.grad is None for p in ours)


@given(st.sampled_from([1.0, 2.0, 3.0, math.inf]), st.sampled_from([0.1, 1.0, 1e9]), st.integers(0, 2**32 - 1))
def test_clipping_is_pytorchs(norm_type, max_norm, seed):
    """Length before, gradients after."""
    draw = np.random.default_rng(seed)
    ours, theirs = pair_of_parameters(draw)
    hold_gradients(ours, theirs, draw, skip={1})
    found = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    close(found.numpy(), expected, "length")
    for p, q in zip(ours, theirs):
        if q.grad is not None:
            close(p.grad.numpy(), q.grad, "gradient")
