"""Layers: what they refuse, how they print, what a call changes. That they compute what PyTorch's do is in tests/peers/test_nn.py."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff import nn, tensor
from minidiff.autograd import checkpoint
from minidiff.random import Generator


def normal(*shape):
    return np.random.default_rng().standard_normal(shape)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, "Conv2d: in_channels=4 and out_channels=6 do not both divide into 4 groups"),
    (lambda: nn.Conv1d(4, 6, 3, padding="full"), ValueError, "Conv1d: padding='full'; expected numbers, 'same' or 'valid'"),
    (lambda: nn.Conv3d(4, 6, 3, 2, padding="same"), ValueError, r"Conv3d: padding='same' needs stride 1, got \(2, 2, 2\)"),
    (lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"), ValueError, "padding_mode='mirror'; expected one of zeros, reflect"),
    (lambda: nn.Conv2d(4, 6, (3, 3, 3)), ValueError, "Conv2d: kernel_size"),
    (lambda: nn.Conv2d(4, 6, 3, stride=0), ValueError, "Conv2d: stride"),
    (lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect"), ValueError, "ConvTranspose2d: padding_mode='reflect'"),
    (lambda: nn.ConvTranspose1d(1, 1, 3, 2)(normal(1, 1, 4), output_size=[12]), ValueError,
     r"ConvTranspose1d: output_size=\(12,\); an input of size \(4,\) can become \(9,\) to \(10,\)"),
    (lambda: nn.GroupNorm(3, 4), ValueError, "GroupNorm: 4 channels do not divide into 3 groups"),
    (lambda: nn.BatchNorm2d(3)(normal(2, 3, 4)), ValueError, r"BatchNorm2d: expected an input of 4 dimensions, got shape \(2, 3, 4\)"),
    (lambda: nn.InstanceNorm1d(3)(normal(2, 3, 4, 5)), ValueError, "InstanceNorm1d: expected an input of 2 or 3 dimensions"),
    (lambda: nn.Embedding(3, 2, padding_idx=3), ValueError, "Embedding: padding_idx=3; the table has rows 0 to 2"),
    (lambda: nn.Embedding(3, 2, max_norm=1.0), TypeError, "max_norm"),
    (lambda: nn.ReLU(inplace=True), TypeError, "ReLU: inplace=True is not offered: arrays are values"),
    (lambda: nn.ReLU(True), TypeError, "ReLU: inplace=True is not offered: arrays are values"),
    (lambda: nn.LeakyReLU(0.2, True), TypeError, "LeakyReLU: inplace=True is not offered: arrays are values"),
    (lambda: nn.Dropout(0.5, inplace=True), TypeError, "Dropout: inplace=True is not offered: arrays are values"),
    (lambda: nn.Dropout2d(1.5), ValueError, "Dropout2d: p=1.5; expected a probability"),
    (lambda: nn.Dropout("a"), TypeError, "Dropout: p='a'; expected a number"),
    (lambda: nn.Linear(-1, 3), ValueError, "Linear: in_features=-1; expected an integer of at least 0"),
    (lambda: nn.Linear(3, 2.5), TypeError, "Linear: out_features=2.5; expected an integer"),
    (lambda: nn.Embedding(3, -2), ValueError, "Embedding: embedding_dim=-2; expected an integer of at least 0"),
    (lambda: nn.ConvTranspose1d(4, "4", 3), TypeError, "ConvTranspose1d: out_channels='4'; expected an integer"),
    (lambda: nn.BatchNorm1d(-1), ValueError, "BatchNorm1d: num_features=-1; expected an integer of at least 0"),
    (lambda: nn.GroupNorm(2, 4.0), TypeError, "GroupNorm: num_channels=4.0; expected an integer"),
    (lambda: nn.LayerNorm((3, -1)), ValueError, "LayerNorm: normalized_shape=-1; expected an integer of at least 0"),
    (lambda: nn.RMSNorm(2.5), TypeError, "RMSNorm: normalized_shape=2.5; expected an integer"),
    (lambda: nn.Conv2d(3, 4), TypeError, "^Conv2d.__init__.. missing 1 required positional argument: 'kernel_size'"),
    (lambda: nn.Conv1d(3, 4, 3, pad=1), TypeError, "^Conv1d.__init__.. got an unexpected keyword argument 'pad'"),
    (lambda: nn.Dropout2d(rate=0.1), TypeError, "^Dropout2d.__init__.. got an unexpected keyword argument 'rate'"),
    (lambda: nn.LeakyReLU("a")(normal(3)), TypeError, "leaky_relu: negative_slope='a'; expected a number"),
    (lambda: nn.MaxPool2d(), TypeError, "MaxPool2d: missing a required argument: 'kernel_size'; it takes"),
    (lambda: nn.Softmax(dim=1, axis=2), TypeError, "Softmax: got an unexpected keyword argument 'axis'"),
    (lambda: nn.Linear(3, 4, dtype="int64"), TypeError, "to: dtype int64"),
    (lambda: nn.MultiheadAttention(6, 4), ValueError, "embed_dim=6 does not divide into num_heads=4"),
    (lambda: nn.MultiheadAttention(6, 2, add_bias_kv=True), ValueError, "add_bias_kv=True is not offered"),
    (lambda: nn.TransformerEncoderLayer(4, 2, activation="swish"), ValueError, "activation='swish'; expected 'relu', 'gelu' or a function"),
    (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 2, enable_nested_tensor=True), TypeError, "enable_nested_tensor"),
])
def test_what_makes_no_layer_is_refused(call, error, message):
    """Named, with what was expected."""
    with pytest.raises(error, match=message):
        call()


ATTENTION = nn.MultiheadAttention(4, 2, batch_first=True)


@pytest.mark.parametrize(("shapes", "options", "message"), [
    ([(2, 3, 4), (2, 3), (2, 3, 4)], {}, "of 3 dimensions, or of 2 without a batch"),
    ([(2, 3, 5), (2, 3, 4), (2, 3, 4)], {}, "query has 5 features, expected 4"),
    ([(2, 3, 4), (2, 5, 4), (2, 3, 4)], {}, r"\(batch, length\) of query, key and value are \(2, 3\), \(2, 5\), \(2, 3\)"),
    ([(2, 3, 4), (1, 3, 4), (1, 3, 4)], {}, "expected one batch"),
    ([(2, 3, 4)] * 3, {"is_causal": True}, "give the mask too"),
    ([(2, 3, 4)] * 3, {"attn_mask": np.zeros((3, 4), bool)}, r"attn_mask of shape \(3, 4\); expected \(3, 3\) or \(4, 3, 3\)"),
    ([(2, 3, 4)] * 3, {"key_padding_mask": np.zeros((3, 2), bool)}, r"key_padding_mask of shape \(3, 2\); expected \(2, 3\)"),
])
def test_attention_refuses_what_does_not_fit(shapes, options, message):
    """Named, with the shapes."""
    with pytest.raises(ValueError, match=f"MultiheadAttention: .*{message}"):
        ATTENTION(*[normal(*shape).astype(np.float32) for shape in shapes], **options)
    with pytest.raises(TypeError, match="attn_mask is int64; expected booleans"):
        ATTENTION(*[normal(1, 2, 4).astype(np.float32)] * 3, attn_mask=np.zeros((2, 2), np.int64))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.booleans())
def test_attention_is_the_average_that_its_definition_says(n, l, s, heads, padded, masked):
    """Loops over samples, heads and queries in float64, from Vaswani et al. 2017, Eq. 1."""
    width = 2
    e = heads * width
    module = nn.MultiheadAttention(e, heads, batch_first=True).double()
    q, k, v = normal(n, l, e), normal(n, s, e), normal(n, s, e)
    hidden = np.random.default_rng().random((l, s)) < 0.4 if masked else np.zeros((l, s), bool)
    padding = np.random.default_rng().random((n, s)) < 0.4 if padded else np.zeros((n, s), bool)
    found, weights = module(q, k, v, attn_mask=hidden if masked else None, key_padding_mask=padding if padded else None,
                            average_attn_weights=False)
    w_q, w_k, w_v = np.split(module.in_proj_weight.numpy(), 3)
    expected = np.zeros((n, l, e))
    for i in range(n):
        for a in range(l):
            for h in range(heads):
                part = slice(h * width, (h + 1) * width)
                seen = [b for b in range(s) if not hidden[a, b] and not padding[i, b]]
                scores = [np.exp((w_q @ q[i, a])[part] @ (w_k @ k[i, b])[part] / np.sqrt(width)) for b in seen]
                for score, b in zip(scores, seen):
                    share = score / sum(scores)
                    expected[i, a, part] += share * (w_v @ v[i, b])[part]
                    assert abs(weights.numpy()[i, h, a, b] - share) < 1e-12
                assert abs(weights.numpy()[i, h, a].sum() - bool(seen)) < 1e-12
    expected = expected @ module.out_proj.weight.numpy().T
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    without, nothing = module(q, k, v, padding if padded else None, False, hidden if masked else None)
    assert nothing is None
    np.testing.assert_allclose(without.numpy(), expected, rtol=0, atol=1e-12)


def test_running_statistics_are_the_mean_of_all_batches_or_forget_geometrically():
    """Plain NumPy over five batches: momentum None is the average, 0.3 the weighted sum; in evaluation nothing moves."""
    batches = [normal(6, 3, 4) + i for i in range(5)]
    means, variances = [b.mean((0, 2)) for b in batches], [b.var((0, 2), ddof=1) for b in batches]
    for momentum, shares in ((None, [0.2] * 5), (0.3, [0.3 * 0.7 ** (4 - i) for i in range(5)])):
        norm = nn.BatchNorm1d(3, momentum=momentum).double()
        for batch in batches:
            norm(batch)
        rest = 1 - sum(shares)
        np.testing.assert_allclose(norm.running_mean.numpy(), sum(s * m for s, m in zip(shares, means)), rtol=1e-12)
        np.testing.assert_allclose(norm.running_var.numpy(), rest + sum(s * v for s, v in zip(shares, variances)), rtol=1e-12)
        assert norm.num_batches_tracked.item() == 5
        x, before = batches[0], norm.state_dict()
        out = norm.eval()(x)
        expected = (x - norm.running_mean.numpy()[:, None]) / np.sqrt(norm.running_var.numpy() + norm.eps)[:, None]
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10)
        assert all(norm.state_dict()[name] is array for name, array in before.items())
        checkpoint(norm.train(), tensor(x, requires_grad=True)).sum().backward()
        assert norm.num_batches_tracked.item() == 6  # computing again is no new batch
        norm.weight.data, norm.bias.data = normal(3), normal(3)
        norm.reset_parameters()
        fresh = nn.BatchNorm1d(3).state_dict()
        assert list(norm.state_dict()) == list(fresh)
        for name, array in norm.state_dict().items():
            np.testing.assert_array_equal(array, fresh[name], name)


def test_dropout_of_attention_and_of_copied_layers_comes_from_generators():
    """The same generator, the same output; copies in a stack draw one after the other from one generator, not the same masks."""
    x = tensor(normal(2, 3, 4).astype(np.float32))
    run = lambda seed: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.5, generator=Generator(seed)), 2)
    np.testing.assert_array_equal(run(3)(x).numpy(), run(3)(x).numpy())
    assert not np.array_equal(run(3)(x).numpy(), run(3).eval()(x).numpy())
    stack = run(3)
    assert stack.layers[0].dropout.generator is stack.layers[1].self_attn.generator
    assert stack.layers[0].linear1.weight is not stack.layers[1].linear1.weight
    other = copy.deepcopy(stack)
    np.testing.assert_array_equal(other(x).numpy(), stack(x).numpy())


def test_layers_take_a_dtype_and_print_what_they_are():
    """As torch prints them."""
    assert repr(nn.GroupNorm(4, 8)) == "GroupNorm(4, 8, eps=1e-05, affine=True)"
    assert repr(nn.LayerNorm(8)) == "LayerNorm((8,), eps=1e-05, elementwise_affine=True)"
    assert nn.Linear(3, 4, dtype="float64").weight.dtype == np.float64
    assert {p.dtype for p in nn.TransformerEncoderLayer(4, 2, dtype=np.float16).parameters()} == {np.dtype(np.float16)}
    assert repr(nn.Conv2d(1, 8, 3, padding=1, bias=False)) == (
        "Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)")
    assert repr(nn.BatchNorm1d(8)) == "BatchNorm1d(8, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
    assert repr(nn.LayerNorm(8)) == "LayerNorm((8,), eps=1e-05, elementwise_affine=True)"
    assert repr(nn.Embedding(5, 3, padding_idx=-1)) == "Embedding(5, 3, padding_idx=4)"
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')" and repr(nn.ReLU(inplace=False)) == "ReLU()"
    assert repr(nn.Function(F.max_pool2d, 2)) == "Function(max_pool2d, 2)"
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh()))) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): Sequential(\n    (0): Tanh()\n  )\n)")


def test_class_weights_are_buffers_that_move_with_the_loss():
    """In the state_dict, and as float64 after double()."""
    loss = nn.CrossEntropyLoss(np.array([1.0, 2.0], np.float32), label_smoothing=0.1)
    assert list(loss.state_dict()) == ["weight"] and not list(loss.parameters())
    x, y = normal(3, 2), np.array([0, 1, 1])
    np.testing.assert_allclose(loss.double()(x, y), F.cross_entropy(x, y, np.array([1.0, 2.0]), label_smoothing=0.1), rtol=1e-12)
    assert loss.weight.dtype == np.float64


def test_the_functions_of_nn_are_those_of_the_package():
    """Under torch's path, the same names, the same objects."""
    import minidiff.nn.functional as G

    assert set(G.__all__) == set(F.__all__) and all(getattr(G, name) is getattr(F, name) for name in F.__all__)
