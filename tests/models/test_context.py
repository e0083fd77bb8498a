"""What a U-Net is told to draw: classes, vectors, tokens. Its values are compared with diffusers' in `tests/peers`."""

import json
import math

import numpy as np
import pytest

from minidiff import functional as F
from minidiff import nn, no_grad, tensor
from minidiff.autograd import check_gradients
from minidiff.diffusion import classifier_free_guidance
from minidiff.models import UNet, UNetConfig, preset
from minidiff.models.transformer import SpatialTransformer
from minidiff.random import Generator

SMALL = {"block_out_channels": (8, 16), "norm_num_groups": 4, "sample_size": 8}
VECTOR, WORD = 5, 6
KINDS = {
    "vector": preset("ddpm", **SMALL, layers_per_block=1, context_features=VECTOR),
    "vector, adaptive group norm": preset("ddpm", **SMALL, layers_per_block=1, context_features=VECTOR, conditioning="scale_shift"),
    "vector, course": preset("course", **SMALL, context_features=VECTOR),
    "tokens": preset("ddpm", **SMALL, layers_per_block=1, cross_attention_dim=WORD, attention_levels=(0, 1), attention_head_dim=4),
    "tokens, middle alone": preset("ddpm", **SMALL, cross_attention_dim=WORD, attention_levels=(), conditioning="scale_shift"),
    "tokens, on the way down alone": preset("course", **SMALL, block="resnet", conditioning="add", attention_levels=(1,),
                                            attention_head_dim=4, cross_attention_dim=WORD),
}
VECTORS = [name for name in KINDS if name.startswith("vector")]
TOKENS = [name for name in KINDS if name.startswith("tokens")]


def small(name):
    """A small network of a kind in float64, with weights drawn afresh."""
    return UNet(KINDS[name]).to(dtype="float64")


def images(n=3):
    """Noise."""
    return np.random.default_rng().normal(size=(n, 1, 8, 8))


def contexts(name, n=3):
    """Vectors or tokens that fit."""
    return np.random.default_rng().normal(size=(n, VECTOR) if name in VECTORS else (n, 4, WORD))


def assert_close(found, expected):
    """Equal up to rounding."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_keeps_the_shape_and_reaches_every_parameter_and_the_context(name):
    """Output like the input, and a gradient for each parameter and each number of the context."""
    net, x, context = small(name), images(), tensor(contexts(name), requires_grad=True)
    out = net(x, np.array([3, 500, 999]), context)
    assert out.shape == x.shape and out.dtype == np.float64
    F.sum(out * out).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not np.abs(p.grad.data).max() > 0]
    assert without == []
    assert (np.abs(context.grad.data) > 0).all()


@pytest.mark.parametrize("name", [name for name, config in KINDS.items() if config.middle == "resnet"])  # the dense middle has kinks
def test_gradients_of_image_and_context_are_those_of_finite_differences(name):
    """One direction of each, central differences in float64."""
    net, x, context = small(name), images(), contexts(name)
    weights, dx, dc, t = images(), images(), np.random.default_rng().normal(size=context.shape), np.array([3, 500, 999])
    value = lambda x, context: F.sum(net(x, t, context) * weights)
    inputs = tensor(x, requires_grad=True), tensor(context, requires_grad=True)
    value(*inputs).backward()
    slopes = [float((own.grad.data * direction).sum()) for own, direction in zip(inputs, (dx, dc))]
    h = 1e-5
    with no_grad():
        along = lambda a, b: (value(x + h * a * dx, context + h * b * dc) - value(x - h * a * dx, context - h * b * dc)).item() / (2 * h)
        np.testing.assert_allclose(slopes, [along(1, 0), along(0, 1)], rtol=1e-6, atol=1e-8 * max(map(abs, slopes)))


@pytest.mark.parametrize("name", KINDS)
def test_each_image_is_told_its_own_context(name):
    """Alone as in a batch; another context of one image changes the answer for that image and for no other."""
    net, x, context, t = small(name), images(), contexts(name), np.array([3, 500, 999])
    other = np.concatenate([context[:2], contexts(name, 1)])
    with no_grad():
        whole, changed = (net(x, t, told).numpy() for told in (context, other))
        assert np.abs(whole[2] - changed[2]).max() > 1e-6 * np.abs(whole).max()
        assert_close(changed[:2], whole[:2])
        for i in range(3):
            assert_close(net(x[i:i + 1], t[i:i + 1], context[i:i + 1]).numpy()[0], whole[i])


@pytest.mark.parametrize("name", VECTORS)
def test_no_vector_is_the_zero_vector(name):
    """context=None, to the bit."""
    net, x = small(name), images()
    with no_grad():
        np.testing.assert_array_equal(net(x, 7, None).numpy(), net(x, 7, np.zeros((3, VECTOR))).numpy())


def test_a_class_of_the_course_is_a_one_hot_vector():
    """The same weights, told labels or vectors: the same answers to the bit, and no class is no vector."""
    by_label = UNet(preset("course", **SMALL, num_classes=VECTOR))
    by_vector = UNet(preset("course", **SMALL, context_features=VECTOR))
    by_vector.load_state_dict(by_label.state_dict())
    x, labels = images(VECTOR + 1).astype(np.float32), np.arange(VECTOR + 1)
    with no_grad():
        np.testing.assert_array_equal(by_label(x, 3, labels).numpy(), by_vector(x, 3, np.eye(VECTOR + 1, VECTOR, dtype=np.float32)).numpy())


@pytest.mark.parametrize("conditioning", ["add", "scale_shift"])
@pytest.mark.parametrize("condition", ["num_classes", "context_features"])
def test_class_and_vector_are_added_to_the_embedding_of_the_time(condition, conditioning):
    """A network that is told nothing gives the same answer, if what the condition adds is added to the last bias of its time."""
    told = UNet(preset("ddpm", **SMALL, **{condition: VECTOR}, conditioning=conditioning)).to(dtype="float64")
    untold = UNet(preset("ddpm", **SMALL, conditioning=conditioning)).to(dtype="float64")
    weights = told.state_dict()
    own = {name: weights.pop(name) for name in list(weights) if name.startswith("class_embedding.")}
    if condition == "num_classes":
        context, added = [3, 3, 3], own["class_embedding.weight"][3]
    else:
        vector = contexts("vector", 1)[0]
        hidden = own["class_embedding.linear_1.weight"] @ vector + own["class_embedding.linear_1.bias"]
        context = np.tile(vector, (3, 1))
        added = own["class_embedding.linear_2.weight"] @ (hidden / (1 + np.exp(-hidden))) + own["class_embedding.linear_2.bias"]
    weights["time_embedding.linear_2.bias"] = weights["time_embedding.linear_2.bias"] + added
    untold.load_state_dict(weights)
    x = images()
    with no_grad():
        assert_close(told(x, 7, context).numpy(), untold(x, 7).numpy())


def test_in_the_course_a_vector_multiplies():
    """Where its small networks answer 1, the answer is that of the network which is told nothing, whatever the vector."""
    told, untold = small("vector, course"), UNet(preset("course", **SMALL)).to(dtype="float64")
    ones = {name: np.full(p.shape, float(name.endswith("bias"))) for name, p in told.named_parameters()
            if name.startswith("class_embeddings.") and "linear_2" in name}
    weights = {**told.state_dict(), **ones}
    told.load_state_dict(weights)
    untold.load_state_dict({name: array for name, array in weights.items() if not name.startswith("class_embeddings.")})
    x = images()
    with no_grad():
        assert_close(told(x, 7, contexts("vector")).numpy(), untold(x, 7).numpy())


@pytest.mark.parametrize("name", TOKENS)
def test_a_text_is_a_bag_of_tokens(name):
    """Cross-attention knows no places: another order changes nothing, nor does each token twice. Other tokens do."""
    net, x, text = small(name), images(), contexts(name)
    with no_grad():
        answer = net(x, 7, text).numpy()
        assert_close(net(x, 7, text[:, np.random.default_rng().permutation(4)]).numpy(), answer)
        assert_close(net(x, 7, np.repeat(text, 2, axis=1)).numpy(), answer)
        assert np.abs(net(x, 7, text[:, :3]).numpy() - answer).max() > 1e-6 * np.abs(answer).max()


def plain_transformer(w, x, tokens, head_dim, groups):
    """`SpatialTransformer` for one image, from the definition: a loop over heads and pixels, GELU by the error function."""
    def normed(h, name, eps):
        return (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attended(h, y, name):
        q, k, v = h @ w[f"{name}.to_q.weight"].T, y @ w[f"{name}.to_k.weight"].T, y @ w[f"{name}.to_v.weight"].T
        out = np.zeros_like(h)
        for first in range(0, h.shape[1], head_dim):
            part = slice(first, first + head_dim)
            for i in range(len(h)):
                powers = np.exp([float(q[i, part] @ row[part]) / math.sqrt(head_dim) for row in k])
                out[i, part] = powers / powers.sum() @ v[:, part]
        return out @ w[f"{name}.to_out.0.weight"].T + w[f"{name}.to_out.0.bias"]

    channels, block = len(x), "transformer_blocks.0."
    grouped = x.reshape(groups, -1)
    grouped = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(grouped.var(1, keepdims=True) + 1e-6)
    pixels = (grouped.reshape(channels, -1) * w["norm.weight"][:, None] + w["norm.bias"][:, None]).T
    h = pixels @ w["proj_in.weight"][:, :, 0, 0].T + w["proj_in.bias"]
    seen = normed(h, f"{block}norm1", 1e-5)
    h = h + attended(seen, seen, f"{block}attn1")
    h = h + attended(normed(h, f"{block}norm2", 1e-5), tokens, f"{block}attn2")
    wide = normed(h, f"{block}norm3", 1e-5) @ w[f"{block}ff.net.0.proj.weight"].T + w[f"{block}ff.net.0.proj.bias"]
    values, gates = wide[:, :4 * channels], wide[:, 4 * channels:]
    gated = values * gates * np.vectorize(lambda g: (1 + math.erf(g / math.sqrt(2))) / 2)(gates)
    h = h + gated @ w[f"{block}ff.net.2.weight"].T + w[f"{block}ff.net.2.bias"]
    return x + (h @ w["proj_out.weight"][:, :, 0, 0].T + w["proj_out.bias"]).T.reshape(x.shape)


@pytest.mark.parametrize(("channels", "head_dim", "groups", "scale"), [(8, 4, 2, 1.0), (6, 6, 3, 1.0), (6, 1, 1, 1.0), (8, 2, 4, 1e-3)])
def test_the_transformer_is_its_definition(channels, head_dim, groups, scale):
    """Two images that are not square, all weights random; the eps of each norm shows in a small image."""
    rng = np.random.default_rng()
    block = SpatialTransformer(channels, head_dim, WORD, groups=groups, generator=Generator(0)).to(dtype="float64")
    block.load_state_dict({name: rng.normal(size=p.shape) / math.sqrt(max(p.shape)) for name, p in block.named_parameters()})
    weights, x, tokens = block.state_dict(), scale * rng.normal(size=(2, channels, 3, 4)), rng.normal(size=(2, 5, WORD))
    with no_grad():
        found = block(x, tokens).numpy()
    for i in range(2):
        assert_close(found[i], plain_transformer(weights, x[i], tokens[i], head_dim, groups))


def test_first_and_second_derivatives_of_the_transformer_are_those_of_finite_differences():
    """By image and tokens."""
    block = SpatialTransformer(4, 2, 3, groups=2, generator=nn.generator_or_fresh(None)).to(dtype="float64")
    rng = np.random.default_rng()
    check_gradients(block, [rng.normal(size=(2, 4, 2, 1)), rng.normal(size=(2, 3, 3))])


# -- guidance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["class", *KINDS])
@pytest.mark.parametrize("negative", [False, True])
def test_guidance_leans_from_the_null_context_to_the_context(name, negative):
    """e_u + s (e_c - e_u) from two calls, for labels, vectors and tokens; the null context is that of nothing, or a negative prompt."""
    if name == "class":
        config = preset("ddpm", **SMALL, layers_per_block=1, num_classes=4)
        net, context = UNet(config).to(dtype="float64"), np.array([2, 0, 3])
        null = 1 if negative else config.null_label
        nulls = np.full(3, null)
    else:
        net, context = small(name), contexts(name)
        null = np.zeros(context.shape[1:]) if not negative else contexts(name, 1)[0]
        nulls = np.broadcast_to(null, context.shape)
    x, t = images(), np.array([3, 500, 999])
    with no_grad():
        guided = classifier_free_guidance(net, context, 2.5, null)(x, t)
        conditional, unconditional = (net(x, t, told).numpy() for told in (context, nulls))
        assert_close(guided, unconditional + 2.5 * (conditional - unconditional))
        assert np.abs(conditional - unconditional).max() > 1e-6 * np.abs(conditional).max()
        if not negative and name not in TOKENS:
            assert_close(unconditional, net(x, t).numpy())


# -- settings and errors ---------------------------------------------------------------------------------------------


def test_files_from_before_these_settings_say_the_same():
    """What a network without vectors and tokens writes has no word of them, and is read without; what has them writes them."""
    plain = preset("ddpm", num_classes=3).to_json()
    assert not {"context_features", "cross_attention_dim"} & plain.keys() and plain["num_classes"] == 3
    assert preset("ddpm").to_json()["num_classes"] is None
    assert KINDS["vector"].to_json()["context_features"] == VECTOR and KINDS["tokens"].to_json()["cross_attention_dim"] == WORD
    for config in (preset("ddpm"), *KINDS.values()):
        assert UNetConfig(**json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(("changes", "message"), [
    ({"num_classes": 3, "context_features": 4}, "num_classes=3 and context_features=4; a network is told what to draw in one way"),
    ({"cross_attention_dim": 4, "context_features": 4}, "context_features=4 and cross_attention_dim=4"),
    ({"context_features": 0}, "context_features=0; expected a whole number of at least 1, or None"),
    ({"cross_attention_dim": 2.5}, "cross_attention_dim=2.5; expected a whole number"),
    ({"cross_attention_dim": 4, "attention_levels": (), "middle_attention": False}, "some attention must read the tokens"),
    ({"cross_attention_dim": 4, "attention_levels": (), "middle": "dense"}, "some attention must read the tokens"),
    ({"cross_attention_dim": 4, "block": "conv", "attention_levels": (), "conditioning": "multiply_add"}, "needs block='resnet'"),
])
def test_conditions_that_do_not_go_together_are_refused(changes, message):
    """By name, when the configuration is made."""
    with pytest.raises(ValueError, match=message):
        preset("ddpm", **{**SMALL, **changes})


def test_channels_that_are_no_whole_number_of_heads_are_refused():
    """When the network is made."""
    for head_dim in (3, 0):
        with pytest.raises(ValueError, match=f"SpatialTransformer: 16 channels do not divide into heads of {head_dim}"):
            UNet(preset("ddpm", **SMALL, cross_attention_dim=4, attention_head_dim=head_dim))


LABELS, SINGLE = np.array([0, 1]), np.float32


@pytest.mark.parametrize(("name", "context", "message"), [
    ("vector", LABELS, r"a vector for each image, float32 of shape \(2, 5\), got int64 of shape \(2,\)"),
    ("vector", np.zeros((2, 4), SINGLE), r"float32 of shape \(2, 5\), got float32 of shape \(2, 4\)"),
    ("vector", np.zeros((3, 5), SINGLE), r"got float32 of shape \(3, 5\)"),
    ("vector", np.zeros((2, 3, 5), SINGLE), r"got float32 of shape \(2, 3, 5\)"),
    ("vector", np.zeros((2, 5)), r"float32 of shape \(2, 5\), got float64 of shape \(2, 5\)"),
    ("vector, course", np.zeros((2, 5)), "got float64"),
    ("tokens", None, r"reads the tokens of a text, of shape \(2, L, 6\); for nothing give those of the empty text"),
    ("tokens", LABELS, r"the tokens of a text for each image, float32 of shape \(2, L, 6\), got int64 of shape \(2,\)"),
    ("tokens", np.zeros((2, 6), SINGLE), r"got float32 of shape \(2, 6\)"),
    ("tokens", np.zeros((2, 4, 5), SINGLE), r"got float32 of shape \(2, 4, 5\)"),
    ("tokens", np.zeros((1, 4, 6), SINGLE), r"got float32 of shape \(1, 4, 6\)"),
    ("tokens", np.zeros((2, 0, 6), SINGLE), r"got float32 of shape \(2, 0, 6\)"),
    ("tokens", tensor(np.zeros((2, 4, 6))), "got float64 of shape"),
    ("tokens", ["a boot", "a boot"], r"got <U6 of shape \(2,\)"),
])
def test_contexts_of_another_kind_shape_or_dtype_are_refused(name, context, message):
    """At the door, with what was expected and what came."""
    net = UNet(KINDS[name], generator=Generator(0))
    with pytest.raises(ValueError, match=message):
        net(np.zeros((2, 1, 8, 8), SINGLE), 0, context)


@pytest.mark.parametrize("context", [np.zeros((2, 5)), np.zeros((2, 4, 6))])
def test_a_network_with_classes_or_none_refuses_vectors_and_tokens(context):
    """Labels are expected, or nothing."""
    x = np.zeros((2, 1, 8, 8), SINGLE)
    with pytest.raises(ValueError, match="expected 2 integer labels, got float64"):
        UNet(preset("ddpm", **SMALL, num_classes=3))(x, 0, context)
    with pytest.raises(ValueError, match=r"no classes .* no context_features and no cross_attention_dim"):
        UNet(preset("ddpm", **SMALL))(x, 0, context)
