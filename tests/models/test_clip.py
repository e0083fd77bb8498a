"""CLIP: what its encoders see, what its loss says, which files it takes. Its values are compared with transformers' in `tests/peers`."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from minidiff import no_grad, optim, tensor
from minidiff.autograd import check_gradients
from minidiff.models import CLIP, CLIPConfig, load_clip, save_clip
from minidiff.models.clip import CLIP_MEAN, CLIP_STD, ConvConfig, TextConfig, ViTConfig, clip_logits, clip_loss, clip_pixels
from minidiff.random import Generator
from minidiff.training.flat import FlatParameters

END = 19
TEXT = TextConfig(vocab_size=20, context_length=6, width=8, layers=2, heads=2, eos_token_id=END)
VIT = ViTConfig(image_size=6, patch_size=2, in_channels=2, width=12, layers=2, heads=3)
CONV = ConvConfig(image_size=7, in_channels=2, channels=(4, 8), norm_num_groups=2)
CONFIGS = {"vit": CLIPConfig(TEXT, VIT, embed_dim=5), "conv": CLIPConfig(TEXT, CONV, embed_dim=5)}


@pytest.fixture(params=CONFIGS)
def clip(request):
    """A small CLIP in float64, all parameters drawn away from where they begin: norms and biases too."""
    return randomized(CLIP(CONFIGS[request.param]))


def randomized(clip):
    rng = np.random.default_rng()
    clip.double()
    for parameter in clip.parameters():
        parameter.data = np.asarray(parameter.data + 0.2 * rng.standard_normal(parameter.shape))
    return clip


def inputs(config, n=4):
    """Images, and texts that end somewhere, with anything behind."""
    rng = np.random.default_rng()
    size = config.image.image_size
    tokens = rng.integers(0, END, (n, config.text.context_length))
    tokens[np.arange(n), rng.integers(1, config.text.context_length, n)] = END
    return rng.standard_normal((n, config.image.in_channels, size, size)), tokens


def close(found, expected, tolerance=1e-11):
    np.testing.assert_allclose(found.numpy(), expected.numpy() if hasattr(expected, "numpy") else expected, rtol=0, atol=tolerance)


# -- what the encoders see -------------------------------------------------------------------------------------------


def test_shapes_and_a_gradient_for_every_parameter(clip):
    """A row for each image, a column for each text; nothing is left out of the loss but what cannot matter: the biases of the keys."""
    images, tokens = inputs(clip.config)
    per_image, per_text = clip(images, tokens[:3])
    assert per_image.shape == (4, 3) and per_text.shape == (3, 4)
    assert clip.encode_image(images).shape == clip.encode_text(tokens).shape == (4, 5)
    assert clip.text_model(tokens).shape == (4, 6, 8)
    clip_loss(clip(images, tokens)[0]).backward()
    without = [name for name, p in clip.named_parameters() if p.grad is None or not np.abs(p.grad.data).max() > 1e-12]
    assert [name for name in without if not name.endswith("k_proj.bias")] == []


def test_permuting_images_and_texts_permutes_the_logits(clip):
    """Nothing leaks between the samples of a batch; nor does it matter how many there are."""
    rng = np.random.default_rng()
    images, tokens = inputs(clip.config)
    with no_grad():
        whole = clip(images, tokens)[0].numpy()
        for n, m in ((4, 4), (4, 3), (1, 4), (2, 1)):
            rows, columns = rng.permutation(4)[:n], rng.permutation(4)[:m]
            close(clip(images[rows], tokens[columns])[0], whole[np.ix_(rows, columns)])


def test_logits_are_cosines_times_the_scale(clip):
    """By loops over the embeddings, which are not normalized; both outputs are the same numbers."""
    images, tokens = inputs(clip.config)
    with no_grad():
        per_image, per_text = clip(images, tokens)
        x, y = clip.encode_image(images).numpy(), clip.encode_text(tokens).numpy()
    assert not np.allclose(np.linalg.norm(x, axis=1), 1.0)
    scale = math.exp(clip.logit_scale.item())
    for n, image in enumerate(x):
        for m, text in enumerate(y):
            cosine = math.fsum(image * text) / math.sqrt(math.fsum(image**2) * math.fsum(text**2))
            assert per_image.numpy()[n, m] == pytest.approx(scale * cosine, abs=1e-12)
    np.testing.assert_array_equal(per_text.numpy(), per_image.numpy().T)


@settings(max_examples=15)
@given(st.data())
def test_what_stands_behind_the_end_of_a_text_changes_nothing(data):
    """Also another end of text, and no filling at all; a word before the end changes the embedding."""
    clip = CLIP(CONFIGS["vit"]).double()
    end = data.draw(st.integers(1, 5))
    words = data.draw(st.lists(st.integers(0, END - 1), min_size=end, max_size=end))
    filling = data.draw(st.lists(st.integers(0, END), min_size=5 - end, max_size=5 - end))
    short, long = np.array([[*words, END]]), np.array([[*words, END, *filling]])
    other = np.array([[(words[0] + 1) % END, *words[1:], END]])
    with no_grad():
        expected = clip.encode_text(short)
        close(clip.encode_text(long), expected)
        assert np.abs(clip.encode_text(other).numpy() - expected.numpy()).max() > 1e-6


def test_a_token_becomes_what_those_before_it_make_of_it(clip):
    """Change the token at each place: the vectors before it stay bit for bit what they are, its own and later ones change."""
    _, tokens = inputs(clip.config, 1)
    with no_grad():
        before = clip.text_model(tokens).numpy()[0]
        for place in range(6):
            changed = tokens.copy()
            changed[0, place] = (tokens[0, place] + 1) % 20
            after = clip.text_model(changed).numpy()[0]
            differs = np.abs(after - before).max(axis=1) > 1e-9
            assert differs.tolist() == [i >= place for i in range(6)]


@pytest.mark.parametrize("eos", [None, 3, END])
def test_a_text_is_read_at_its_first_end(eos):
    """The vector of that token, found by a loop; None: at the first of the largest ids."""
    clip = CLIP(dataclasses.replace(CONFIGS["vit"], text=dataclasses.replace(TEXT, eos_token_id=eos))).double()
    tokens = np.random.default_rng().integers(0, 20, (20, 6))
    tokens[:, 4] = 3 if eos is None else eos
    with no_grad():
        states = clip.text_model(tokens).numpy()
        for row, state, found in zip(tokens.tolist(), states, clip.text_model.pooled(tokens).numpy()):
            close(tensor(state[row.index(max(row) if eos is None else eos)]), found)


def test_a_vision_transformer_knows_places_only_by_their_embedding():
    """Patches in another order: another image, unless all places have the same vector."""
    clip = randomized(CLIP(CONFIGS["vit"]))
    images, _ = inputs(clip.config)
    patches = images.reshape(4, 2, 3, 2, 3, 2).transpose(2, 4, 0, 1, 3, 5).reshape(9, 4, 2, 2, 2)       # row by row
    order = np.roll(np.arange(9), 1)
    shuffled = patches[order].reshape(3, 3, 4, 2, 2, 2).transpose(2, 3, 0, 4, 1, 5).reshape(images.shape)
    places = clip.vision_model.embeddings.position_embedding.weight
    with no_grad():
        assert np.abs(clip.encode_image(shuffled).numpy() - clip.encode_image(images).numpy()).max() > 1e-3
        places.data = places.data[np.array([0] + [1] * 9)]
        close(clip.encode_image(shuffled), clip.encode_image(images))


def test_permuted_places_undo_permuted_patches():
    """The place of a patch is counted row by row, after the class token's."""
    clip = randomized(CLIP(CONFIGS["vit"]))
    images, _ = inputs(clip.config)
    order = np.random.default_rng().permutation(9)
    patches = images.reshape(4, 2, 3, 2, 3, 2).transpose(2, 4, 0, 1, 3, 5).reshape(9, 4, 2, 2, 2)
    shuffled = patches[order].reshape(3, 3, 4, 2, 2, 2).transpose(2, 3, 0, 4, 1, 5).reshape(images.shape)
    with no_grad():
        expected = clip.encode_image(images)
        places = clip.vision_model.embeddings.position_embedding.weight
        places.data = places.data[np.concatenate([[0], 1 + order])]
        close(clip.encode_image(shuffled), expected)


@pytest.mark.parametrize(("size", "channels"), [(28, (8, 16, 32)), (32, (8, 8)), (9, (4, 4, 4)), (1, (8,))])
def test_the_convolutional_encoder_takes_images_of_every_size(size, channels):
    """Odd sizes too: each level halves and rounds up. One vector for each image, the same alone and in a batch."""
    clip = CLIP(CLIPConfig(TEXT, ConvConfig(size, 3, channels, norm_num_groups=4), embed_dim=6)).double()
    images = np.random.default_rng().standard_normal((3, 3, size, size))
    with no_grad():
        whole = clip.encode_image(images)
        assert whole.shape == (3, 6)
        for i in range(3):
            close(clip.encode_image(images[i:i + 1]), whole.numpy()[i:i + 1])


def test_the_convolutional_encoder_is_the_normalized_mean_over_all_places():
    """Of what its only block gives: mean and layer norm by their formulas."""
    clip = randomized(CLIP(CLIPConfig(TEXT, ConvConfig(5, 2, (6,), norm_num_groups=2), embed_dim=6)))
    images = np.random.default_rng().standard_normal((3, 2, 5, 5))
    norm = clip.vision_model.post_layernorm
    with no_grad():
        h = clip.vision_model.blocks[0](images).numpy().reshape(3, 6, 25).sum(2) / 25
        h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5) * norm.weight.numpy() + norm.bias.numpy()
        close(clip.vision_model(images), h)


def test_initial_values_have_the_sizes_that_are_said():
    """Standard deviations of large matrices, to a few percent; biases are 0, the scale is 1 / 0.07."""
    c = CLIPConfig(TextConfig(500, 50, 64, 3, 1, eos_token_id=None), ViTConfig(32, 4, 3, 128, 2, 2), embed_dim=100)
    values = {name: array.astype(float) for name, array in CLIP(c, generator=Generator(0)).state_dict().items()}
    for name, std in {
        "text_model.embeddings.token_embedding.weight": 0.02, "text_model.embeddings.position_embedding.weight": 0.01,
        "text_model.encoder.layers.2.self_attn.q_proj.weight": 1 / 8, "text_model.encoder.layers.2.self_attn.out_proj.weight": 384**-0.5,
        "text_model.encoder.layers.0.mlp.fc1.weight": 128**-0.5, "text_model.encoder.layers.0.mlp.fc2.weight": 384**-0.5,
        "vision_model.encoder.layers.1.self_attn.v_proj.weight": 128**-0.5, "vision_model.encoder.layers.1.mlp.fc2.weight": 512**-0.5,
        "vision_model.embeddings.position_embedding.weight": 128**-0.5, "text_projection.weight": 1 / 8,
        "visual_projection.weight": 128**-0.5,
    }.items():
        assert values[name].std() == pytest.approx(std, rel=5 * values[name].size**-0.5), name
    assert all((array == 0).all() for name, array in values.items() if name.endswith("bias"))
    assert values["logit_scale"].shape == () and math.exp(values["logit_scale"]) == pytest.approx(1 / 0.07, rel=1e-6)


# -- the loss --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.floats(0.1, 200))
def test_the_loss_is_its_formula(n, size):
    """Sums and logarithms by loops, in both directions."""
    logits = size * np.random.default_rng().standard_normal((n, n))
    expected = 0.0
    for i in range(n):
        for line in (logits[i], logits[:, i]):
            peak = max(line)
            expected += (peak - line[i] + math.log(math.fsum(math.exp(x - peak) for x in line))) / (2 * n)
    assert float(clip_loss(logits)) == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_both_directions_count_one_half():
    """Transposed logits have the same loss; a column that fits every image costs in one direction only."""
    logits = np.random.default_rng().standard_normal((5, 5))
    assert float(clip_loss(logits)) == pytest.approx(float(clip_loss(logits.T)), rel=1e-13)
    greedy = np.zeros((5, 5))
    greedy[:, 0] = 1000.0                    # every image chooses text 0; text 0 chooses any image, the others too
    assert float(clip_loss(greedy)) == pytest.approx((0.8 * 1000 + math.log(5)) / 2, rel=1e-12)


@given(st.integers(2, 8), st.floats(0.01, 100.0))
def test_no_vectors_have_less_loss_than_the_simplex(n, scale):
    """log(1 + (n-1) exp(-s n / (n-1))): reached where each pair is a corner of a regular simplex. Where all pairs are alike it is log n."""
    rng = np.random.default_rng()
    bound = math.log1p((n - 1) * math.exp(-scale * n / (n - 1)))
    corners = np.eye(n) - 1 / n
    loss = lambda x, y: float(clip_loss(clip_logits(x, y, np.log(np.array(scale)))))
    assert loss(corners, 3 * corners) == pytest.approx(bound, rel=1e-9, abs=1e-13)
    assert loss(np.ones((n, 3)), 2 * np.ones((n, 3))) == pytest.approx(math.log(n), rel=1e-12)
    for size in (0.01, 0.1, 1.0):
        x, y = (corners + size * rng.standard_normal((n, n)) for _ in range(2))
        assert min(loss(x, y), loss(x, x)) >= bound * (1 - 1e-9) - 1e-13


def test_gradients_of_logits_and_loss_are_those_of_finite_differences():
    """Of both embeddings and of the scale, in float64, and of the gradients again."""
    rng = np.random.default_rng()
    check_gradients(clip_logits, [rng.standard_normal((3, 4)), rng.standard_normal((2, 4)), np.array(0.7)])
    check_gradients(clip_loss, [3 * rng.standard_normal((4, 4))])


def test_the_gradient_of_all_parameters_is_that_of_finite_differences(clip):
    """Along directions in which all parameters move at once: central differences of the whole network in float64."""
    rng = np.random.default_rng()
    images, tokens = inputs(clip.config)
    clip_loss(clip(images, tokens)[0]).backward()
    here = {name: parameter.data for name, parameter in clip.named_parameters()}
    for _ in range(5):
        direction = {name: rng.standard_normal(x.shape) / np.sqrt(x.size) for name, x in here.items()}
        values = []
        for step in (-2e-5, -1e-5, 1e-5, 2e-5):
            for name, parameter in clip.named_parameters():
                parameter.data = np.asarray(here[name] + step * direction[name])
            with no_grad():
                values.append(clip_loss(clip(images, tokens)[0]).item())
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-5
        expected = [float((parameter.grad.data * direction[name]).sum()) for name, parameter in clip.named_parameters()]
        assert math.fsum(expected) == pytest.approx(slope, abs=1e-6 * np.linalg.norm(expected))


# -- the temperature -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [-3.0, 2.0, math.log(100), 4.7, 80.0])
def test_the_scale_is_brought_back_to_its_bound_and_never_raised(start):
    """exp(logit_scale) at most 100; in float32 and float64."""
    for dtype in (np.float32, np.float64):
        clip = CLIP(CONFIGS["conv"]).to(dtype=dtype)
        clip.logit_scale.data = np.array(start, dtype)
        clip.bound_temperature()
        assert clip.logit_scale.dtype == dtype and clip.logit_scale.shape == ()
        assert clip.logit_scale.item() == pytest.approx(min(start, math.log(100)), rel=1e-7)
    bounded = CLIP(dataclasses.replace(CONFIGS["conv"], max_scale=20.0))
    bounded.logit_scale.data = np.array(start, np.float32)
    bounded.bound_temperature()
    assert math.exp(bounded.logit_scale.item()) <= 20 * (1 + 1e-6)


def test_the_logits_themselves_are_not_bounded_and_a_scale_at_its_bound_has_a_gradient(clip):
    """So a checkpoint's logits are its own, and the scale comes back when the loss wants it: a wrong pair calls for less."""
    images, tokens = inputs(clip.config)
    for scale in (math.log(100), math.log(200)):
        clip.logit_scale.data = np.array(scale)
        x, y = (embed.numpy() / np.linalg.norm(embed.numpy(), axis=1, keepdims=True)
                for embed in (clip.encode_image(images), clip.encode_text(tokens)))
        logits = clip(images, tokens)[0]
        np.testing.assert_allclose(logits.numpy(), math.exp(scale) * x @ y.T, rtol=1e-10)
        clip.zero_grad()
        clip_loss(logits).backward()
        assert clip.logit_scale.grad.item() != 0.0


def test_the_bound_holds_for_parameters_that_are_views():
    """Those of `FlatParameters`, which are changed in one array: that array is what has to change."""
    clip = CLIP(CONFIGS["conv"])
    flat = FlatParameters(clip)
    flat.data += 50
    clip.bound_temperature()
    assert dict(zip(flat.names, flat.views(flat.data).values()))["logit_scale"] == np.float32(math.log(100))
    flat.data -= 1
    assert clip.logit_scale.item() == pytest.approx(math.log(100) - 1)


def test_a_small_clip_learns_its_pairs(clip):
    """Eight random images, eight texts of one word: from log 8 or more to a fraction of it. Seeds are fixed: how fast it goes varies."""
    clip, rng = CLIP(clip.config, generator=Generator(0)), np.random.default_rng(0)
    images = rng.standard_normal((8, 2, *[clip.config.image.image_size] * 2)).astype(np.float32)
    tokens = np.concatenate([rng.permutation(END)[:8, None], np.full((8, 1), END)], axis=1)
    optimizer = optim.AdamW(clip.parameters(), lr=2e-3)
    for _ in range(60):
        loss = clip_loss(clip(images, tokens)[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clip.bound_temperature()
    assert loss.item() < math.log(8) / 4


# -- at the door -----------------------------------------------------------------------------------------------------


def test_configurations_survive_json():
    """Out and in again; the kind of the image encoder is told."""
    for config in (CLIPConfig(), *CONFIGS.values(), CLIPConfig(text=TextConfig(eos_token_id=None, mlp_width=7), temperature=0.5)):
        assert CLIPConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert CONFIGS["conv"].to_json()["image"]["kind"] == "conv" and CLIPConfig.from_json({}) == CLIPConfig()


def test_the_defaults_are_vit_b_32():
    """Counted from the paper's sizes, Table 19: 151,277,313 numbers."""
    t, i, e = CLIPConfig().text, CLIPConfig().image, CLIPConfig().embed_dim
    layer = lambda w: 4 * w * w + 4 * w + 8 * w * w + 5 * w + 4 * w
    text = (t.vocab_size + t.context_length) * t.width + t.layers * layer(t.width) + 2 * t.width + t.width * e
    places = 1 + (i.image_size // i.patch_size) ** 2
    image = (3 * i.patch_size**2 + 1 + places) * i.width + i.layers * layer(i.width) + 4 * i.width + i.width * e
    assert text + image + 1 == 151_277_313 and (t.heads, i.heads) == (t.width // 64, i.width // 64)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: TextConfig(layers=0), "TextConfig: layers=0; expected a whole number of at least 1"),
    (lambda: TextConfig(width=True), "TextConfig: width=True"),
    (lambda: TextConfig(heads=7), "TextConfig: a width of 512 does not divide into 7 heads"),
    (lambda: TextConfig(mlp_width=0), "TextConfig: mlp_width=0"),
    (lambda: TextConfig(activation="gelu_new"), "TextConfig: activation='gelu_new'; expected one of quick_gelu, gelu"),
    (lambda: TextConfig(vocab_size=500), r"TextConfig: eos_token_id=49407; expected one of the tokens 0 to 499 \(vocab_size - 1\), or "),
    (lambda: TextConfig(eos_token_id=[1, 2]), r"TextConfig: eos_token_id=\[1, 2\]"),
    (lambda: ViTConfig(patch_size=30), "ViTConfig: images of 224 x 224 cannot be cut into patches of 30 x 30"),
    (lambda: ViTConfig(image_size="224"), "ViTConfig: image_size='224'"),
    (lambda: ConvConfig(channels=()), r"ConvConfig: channels=\(\); expected whole numbers of at least 1, one for each level"),
    (lambda: ConvConfig(channels=(8, 12)), r"ConvConfig: norm_num_groups=8 does not divide the channels \[12\]"),
    (lambda: ConvConfig(image_size=3), "ConvConfig: images of 3 x 3 cannot be halved 2 times"),
    (lambda: CLIPConfig(embed_dim=0), "CLIPConfig: embed_dim=0"),
    (lambda: CLIPConfig(temperature=0.0), "CLIPConfig: temperature=0.0; expected a finite number above 0"),
    (lambda: CLIPConfig(max_scale=math.inf), "CLIPConfig: max_scale=inf"),
    (lambda: CLIPConfig(temperature=0.001), "CLIPConfig: temperature=0.001 starts at the scale 1000, above max_scale=100"),
    (lambda: CLIPConfig(text={"width": 8}), "CLIPConfig: text is a dict, image a ViTConfig; expected a TextConfig"),
    (lambda: CLIPConfig.from_json({"txt": {}}), "CLIPConfig: unknown settings: txt; known are text, image, embed_dim"),
    (lambda: CLIPConfig.from_json({"text": {"size": 3}}), "CLIPConfig: unknown text settings: size; known are vocab_size"),
    (lambda: CLIPConfig.from_json({"image": {"kind": "resnet"}}), "an image encoder of kind 'resnet'; expected one of vit, conv"),
    (lambda: CLIPConfig.from_json({"image": 3}), "an image encoder of kind 3"),
    (lambda: CLIPConfig.from_json([]), r"expected the settings as a JSON object, got \[\]"),
])
def test_configurations_that_do_not_fit_together_are_refused(make, message):
    """By name, when they are made."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("tokens", "message"), [
    (np.array([1, END]), r"expected tokens as integers \(N, L\), a row for each text, got int64 of shape \(2,\)"),
    (np.array([[1.0, END]]), "got float64 of shape"),
    (np.zeros((0, 3), int), r"of shape \(0, 3\)"),
    (np.zeros((1, 7), int), r"texts of 7 tokens; this model reads at most 6 \(context_length\)"),
    (np.array([[1, 20, END]]), "tokens from 1 to 20; this model knows 0 to 19; they come from the tokenizer of another model"),
    (np.array([[-1, END]]), "tokens from -1 to 19"),
    ([[1, END], [1, 2, END]], "the texts have different lengths; fill the shorter ones up behind their end, with any tokens"),
    (np.array([[1, END], [1, 2], [3, 4]]), r"2 of 3 texts have no end-of-text token \(19\), the first is text 1"),
])
def test_texts_that_do_not_fit_are_refused(tokens, message):
    """At the door, with what was expected."""
    with pytest.raises(ValueError, match=message):
        CLIP(CONFIGS["conv"]).encode_text(tokens)


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 3, 6, 6), (1, 2, 6, 8), (0, 2, 6, 6)])
def test_images_that_do_not_fit_are_refused(shape):
    """Another size is not interpolated to."""
    with pytest.raises(ValueError, match=r"CLIP: expected images \(N, 2, 6, 6\), got shape \(" + ", ".join(map(str, shape))):
        CLIP(CONFIGS["vit"]).encode_image(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"CLIP: expected images \(N, 2, 7, 7\), got a list"):
        CLIP(CONFIGS["conv"]).encode_image([[1.0]])


def test_logits_and_losses_of_what_does_not_fit_are_refused():
    """Embeddings of different spaces, batches that are no pairs."""
    with pytest.raises(ValueError, match=r"clip_logits: images of shape \(2, 3\) and texts of shape \(2, 4\); expected \(N, E\) and "):
        clip_logits(np.zeros((2, 3)), np.zeros((2, 4)), np.array(0.0))
    for shape in ((2, 3), (0, 0), (4,)):
        with pytest.raises(ValueError, match=r"clip_loss: expected logits \(N, N\), image n beside text n, got shape"):
            clip_loss(np.zeros(shape))


# -- pictures --------------------------------------------------------------------------------------------------------


@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(1, 60), st.integers(1, 60), st.integers(1, 20))
def test_a_picture_of_one_colour_is_that_colour_normalized(colour, width, height, size):
    """Interpolation and crop do not matter then."""
    found = clip_pixels(Image.new("RGB", (width, height), colour), size)
    assert found.shape == (3, size, size) and found.dtype == np.float32 and found.flags.c_contiguous
    for channel, value, mean, std in zip(found, colour, CLIP_MEAN, CLIP_STD):
        np.testing.assert_allclose(channel, (value / 255 - mean) / std, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("tall", [False, True])
def test_the_square_is_cut_from_the_middle(tall):
    """Of a picture whose short side is the size already: nothing is interpolated. Of an odd rest less is left at the left or top."""
    pixels = np.random.default_rng().integers(0, 256, (4, 9, 3), np.uint8)
    expected = pixels[:, 2:6]
    picture, expected = (x.transpose(1, 0, 2) if tall else x for x in (pixels, expected))
    found = clip_pixels(Image.fromarray(np.ascontiguousarray(picture)), 4).transpose(1, 2, 0) * CLIP_STD + CLIP_MEAN
    np.testing.assert_allclose(255 * found, expected, atol=1e-3)


def test_what_is_no_picture_is_refused():
    """Arrays and paths; sizes that are none."""
    with pytest.raises(TypeError, match=r"clip_pixels: expected a picture of Pillow \(PIL.Image.open\), got ndarray"):
        clip_pixels(np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match="clip_pixels: a picture of 4 x 5 to size=0"):
        clip_pixels(Image.new("RGB", (4, 5)), 0)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_saved_is_loaded_bit_for_bit(name, dtype, path):
    """Every parameter, the configuration, the dtype; the same file again has the same bytes; the parameters can be written to."""
    clip = CLIP(CONFIGS[name]).to(dtype=dtype)
    save_clip(path, clip)
    loaded = load_clip(path)
    assert loaded.config == clip.config and os.listdir(path.parent) == [path.name]
    for (name, mine), (other, theirs) in zip(clip.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert name == other and theirs.dtype == dtype and theirs.flags.writeable
        np.testing.assert_array_equal(theirs, mine)
    before = path.read_bytes()
    save_clip(path, loaded)
    assert path.read_bytes() == before


def test_a_file_is_whole_or_the_old_one(path, monkeypatch):
    """NaN is not saved; a disk that fails on the way leaves the old file, and nothing else."""
    clip = CLIP(CONFIGS["conv"])
    save_clip(path, clip)
    before = path.read_bytes()
    clip.text_projection.weight.data = clip.text_projection.weight.data * np.nan
    with pytest.raises(ValueError, match=r"clip\.safetensors: not saved: NaN or infinity in text_projection\.weight"):
        save_clip(path, clip)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save_clip(path, CLIP(CONFIGS["conv"]))
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    with pytest.raises(OSError, match=r"clip\.safetensors: not saved \(.*\); see that its folder exists, has room and can be written to"):
        save_clip(path.parent / "nowhere" / path.name, CLIP(CONFIGS["conv"]))


def transformers_file(path, config=CONFIGS["vit"], **changes):
    """A file in transformers' layout, without our description; changes: name -> array, or None to leave it out."""
    tensors = {**CLIP(config).state_dict(), **{name.replace("__", "."): array for name, array in changes.items()}}
    save_file({name: array for name, array in tensors.items() if array is not None}, path)


WIDE = CLIPConfig(TextConfig(20, 6, 64, 1, 1, eos_token_id=None), ViTConfig(6, 2, 3, 128, 2, 2), embed_dim=5)


def test_sizes_are_seen_in_the_shapes_where_no_configuration_is(path):
    """Heads 64 wide, quick_gelu, the end at the largest id: OpenAI's; position_ids are passed over. Narrower towers cannot be guessed."""
    transformers_file(path, WIDE, text_model__embeddings__position_ids=np.arange(6)[None])
    assert load_clip(path).config == WIDE
    transformers_file(path)
    with pytest.raises(ValueError, match=r"clip\.safetensors: text_model is 8 wide, which is no multiple of 64: how many heads it has "):
        load_clip(path)
    assert load_clip(path, CONFIGS["vit"]).config == CONFIGS["vit"]


def test_the_words_of_transformers_are_understood(path):
    """Its configuration beside the file; eos_token_id = 2 is its word for the largest id."""
    text = {"vocab_size": 20, "max_position_embeddings": 6, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4,
            "intermediate_size": 10, "hidden_act": "gelu", "eos_token_id": 2, "layer_norm_eps": 1e-5, "bos_token_id": 0}
    image = {"image_size": [6, 6], "patch_size": 3, "num_channels": 1, "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2,
             "intermediate_size": 7, "attention_dropout": 0.0}
    expected = CLIPConfig(TextConfig(20, 6, 8, 1, 4, 10, "gelu", None), ViTConfig(6, 3, 1, 12, 3, 2, 7, "quick_gelu"), embed_dim=9)
    transformers_file(path, expected)
    told = {"model_type": "clip", "text_config": text, "vision_config": image, "projection_dim": 9, "logit_scale_init_value": 2.6592}
    path.with_name("config.json").write_text(json.dumps(told))
    assert load_clip(path).config == expected


@pytest.mark.parametrize(("kinds", "dtype"), [("e", "f"), ("ef", "f"), ("ed", "d"), ("fd", "d")])
def test_the_dtype_is_the_widest_of_the_file_and_at_least_float32(kinds, dtype, path):
    """Halves become float32, exactly; one float64 makes all of them float64."""
    state = {name: array.astype(kinds[i % len(kinds)]) for i, (name, array) in enumerate(CLIP(CONFIGS["vit"]).state_dict().items())}
    save_file(state, path)
    for name, array in load_clip(path, CONFIGS["vit"]).state_dict().items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 30, 1000, -1, -1000])
def test_a_file_that_is_cut_short_is_refused(cut, path):
    """Wherever it ends."""
    save_clip(path, CLIP(CONFIGS["conv"]))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"clip\.safetensors: cut short, damaged, or no safetensors file \(.*\); fetch it again"):
        load_clip(path)


@pytest.mark.parametrize(("content", "message"), [
    (b"PK\x03\x04" + bytes(60), "is a zip archive, as PyTorch's .pt and .bin are, with a pickle inside; .*nothing is unpickled here"),
    (b"\x80\x02}q\x00." + bytes(60), "is a pickle, as PyTorch's old .pt and .bin are; .*nothing is unpickled here"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a pointer of Git LFS: the weights themselves were not downloaded"),
    (b"<!DOCTYPE html><html>", "is a web page, not what was to be downloaded"),
    (b"weights", "cut short, damaged, or no safetensors file"),
])
def test_other_files_are_named(content, message, path):
    """Files that come in the place of weights."""
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"clip\.safetensors: " + message):
        load_clip(path)


def test_a_header_may_be_as_long_as_the_first_letter_of_another_file(path):
    """A safetensors file begins with the length of its header, whose first byte may be that of a pickle or a web page."""
    found = set()
    for length in range(16):
        config = CLIPConfig(dataclasses.replace(TEXT, eos_token_id=None), VIT, embed_dim=5, max_scale=float("20." + "1" * length))
        save_clip(path, CLIP(config))
        found.add(path.read_bytes()[0])
        assert load_clip(path).config == config
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    for first in (0x80, 0x3C):
        spaces = (first - header) % 256
        path.write_bytes((header + spaces).to_bytes(8, "little") + content[8:8 + header] + b" " * spaces + content[8 + header:])
        assert path.read_bytes()[0] == first and load_clip(path).config == config


def test_no_file_and_a_folder_are_refused(path):
    """A folder lists what lies in it."""
    with pytest.raises(FileNotFoundError, match=r"clip\.safetensors: no such file; expected the weights of a CLIP as safetensors"):
        load_clip(path)
    save_clip(path, CLIP(CONFIGS["conv"]))
    with pytest.raises(ValueError, match=r"is a folder; give one of the safetensors files in it: clip\.safetensors"):
        load_clip(path.parent)


@pytest.mark.parametrize(("names", "message"), [
    (["visual.attnpool.k_proj.weight", "token_embedding.weight"], "is an OpenAI CLIP with a ResNet for the images"),
    (["visual.trunk.stem.0.weight", "text.token_embedding.weight"], "is an OpenCLIP in its newer layout"),
    (["text.transformer.resblocks.0.ln_1.weight", "visual.proj"], "is an OpenCLIP in its newer layout"),
    (["logit_bias", "text_model.embeddings.token_embedding.weight", "vision_model.head.probe"], "is a SigLIP"),
    (["bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight"], "is a BERT or another text encoder of its kind"),
    (["embeddings.word_embeddings.weight"], "is a BERT"),
    (["down_blocks.0.resnets.0.conv1.weight"], "is a U-Net of a diffusion model"),
    (["model.diffusion_model.input_blocks.0.0.weight"], "is a U-Net of a diffusion model, or holds one"),
    (["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"], r"is changes for a model \(LoRA\)"),
    (["model.conv_in.weight", "ema.conv_in.weight"], "is a checkpoint of a training run"),
    (["text_model.embeddings.token_embedding.weight", "text_model.final_layer_norm.bias"], "is the text encoder of a CLIP alone"),
    (["embeddings.token_embedding.weight"], "is the text encoder of a CLIP alone"),
    (["vision_model.embeddings.patch_embedding.weight", "visual_projection.weight"], "is the image encoder of a CLIP alone"),
    (["visual.conv1.weight", "visual.proj"], "is the image encoder of a CLIP alone; give the file that has both encoders"),
    (["wte.weight", "h.0.ln_1.weight"], "is no CLIP in transformers' or OpenAI's layout; its first names are h.0.ln_1.weight, wte.weight"),
    ([], "is no CLIP in transformers' or OpenAI's layout; its first names are none"),
])
def test_another_layout_is_named(names, message, path):
    """By the names of what it holds."""
    save_file({name: np.zeros(1, np.float32) for name in names}, path)
    with pytest.raises(ValueError, match=r"clip\.safetensors: " + message):
        load_clip(path)


@pytest.mark.parametrize(("changes", "message"), [
    ({"text_model__final_layer_norm__bias": None}, r"missing text_model\.final_layer_norm\.bias$"),
    ({"extra": np.zeros(2)}, "unexpected extra$"),
    ({"logit_scale": np.zeros(1, np.float32)}, r"logit_scale has shape \(1,\), expected \(\)$"),
    ({"vision_model__pre_layrnorm__bias": np.zeros(2, np.float32), "extra": np.zeros(2)},
     r"unexpected extra; vision_model\.pre_layrnorm\.bias has shape \(2,\), expected \(12,\)$"),
    ({"logit_scale": np.array(2)}, r"logit_scale is I64, expected F32, F16 or F64 \(convert it with \.float\(\)\)$"),
    ({f"vision_model__encoder__layers__{i}__mlp__fc{k}__{kind}": None for i in range(2) for k in (1, 2) for kind in ("weight", "bias")},
     r"missing vision_model\.encoder\.layers\.0\.mlp\.fc1\.weight; .*; and 3 more$"),
])
def test_weights_that_do_not_fit_are_listed(changes, message, path):
    """Missing, unexpected, of another shape or dtype; a few of them, and how many more."""
    transformers_file(path, **changes)
    with pytest.raises(ValueError, match=r"is in the layout of transformers, but does not hold the weights of this CLIP: " + message):
        load_clip(path, CONFIGS["vit"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(value, path):
    """Named."""
    transformers_file(path, text_projection__weight=np.full((5, 8), value, np.float32))
    with pytest.raises(ValueError, match=r"clip\.safetensors: NaN or infinity in text_projection\.weight"):
        load_clip(path, CONFIGS["vit"])


def openai_file(path, **changes):
    """A file in OpenAI's layout, put together by hand from a CLIP: one matrix for q, k and v, projections transposed."""
    state = CLIP(WIDE).state_dict()
    tensors = {
        "logit_scale": state["logit_scale"], "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T.copy(), "visual.proj": state["visual_projection.weight"].T.copy(),
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
    }
    layers = {"text_model.encoder.layers.0": "transformer.resblocks.0", "vision_model.encoder.layers.0": "visual.transformer.resblocks.0",
              "vision_model.encoder.layers.1": "visual.transformer.resblocks.1"}
    parts = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
             "mlp.fc2": "mlp.c_proj"}
    norms = {"text_model.final_layer_norm": "ln_final", "vision_model.pre_layrnorm": "visual.ln_pre",
             "vision_model.post_layernorm": "visual.ln_post"}
    for kind in ("weight", "bias"):
        tensors |= {f"{theirs}.{kind}": state[f"{ours}.{kind}"] for ours, theirs in norms.items()}
        for ours, theirs in layers.items():
            tensors |= {f"{theirs}.{their}.{kind}": state[f"{ours}.{our}.{kind}"] for our, their in parts.items()}
            tensors[f"{theirs}.attn.in_proj_{kind}"] = np.concatenate([state[f"{ours}.self_attn.{p}_proj.{kind}"] for p in "qkv"])
    tensors |= {name.replace("__", "."): array for name, array in changes.items()}
    save_file({name: array for name, array in tensors.items() if array is not None}, path)
    return state


def test_openais_layout_comes_to_its_places(path):
    """Every number, and OpenAI's rules for what shapes do not tell."""
    state = openai_file(path, input_resolution=np.array(6), context_length=np.array(6), vocab_size=np.array(20))
    path.with_name("config.json").write_text("{}")  # of some other file: this layout has none
    loaded = load_clip(path)
    assert loaded.config == WIDE
    for name, array in loaded.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


@pytest.mark.parametrize(("changes", "message"), [
    ({"transformer__resblocks__0__attn__in_proj_bias": None},
     r"layout of OpenAI, but .* this CLIP: missing transformer\.resblocks\.0\.attn\.in_proj_bias$"),
    ({"transformer__resblocks__0__attn__in_proj_bias": np.zeros(193, np.float32)},
     r"in_proj_bias, for text_model\.encoder\.layers\.0\.self_attn\.q_proj\.bias, has shape \(193,\), expected \(64,\); "),
    ({"positional_embedding": None}, "in the layout of OpenAI, but not a whole CLIP: missing positional_embedding"),
    ({"positional_embedding": np.zeros(6, np.float32)}, r"positional_embedding has shape \(6,\), expected 2 dimensions"),
    ({"visual__positional_embedding": np.zeros((9, 128), np.float32)},
     r"visual\.positional_embedding, for vision_model\.embeddings\.position_embedding\.weight, has shape \(9, 128\), expected \(10, 128\)"),
    ({"transformer__resblocks__0__mlp__c_fc__weight": None},
     r"not a whole CLIP: missing transformer\.resblocks\.0\.mlp\.c_fc\.weight"),
])
def test_broken_files_in_openais_layout_are_refused_in_its_names(changes, message, path):
    """What a user finds in the file."""
    openai_file(path, **changes)
    with pytest.raises(ValueError, match=message):
        load_clip(path)


def test_openclips_files_need_to_say_their_activation(path):
    """They have OpenAI's names and mostly another GELU: nothing is guessed."""
    openai_file(path)
    path.with_name("open_clip_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is OpenCLIP's .*give config=CLIPConfig\(\.\.\.\), with activation='gelu' unless"):
        load_clip(path)
    gelu = dataclasses.replace(WIDE, text=dataclasses.replace(WIDE.text, activation="gelu"))
    assert load_clip(path, gelu).config == gelu


@pytest.mark.parametrize(("told", "message"), [
    ("{", r"config\.json beside it is no JSON"),
    ([], "expected a JSON object, got a list"),
    ({"model_type": "siglip"}, "is of a model of type 'siglip', not of a clip"),
    ({"text_config": 3}, "text_config is a int, expected a JSON object"),
    ({"text_config": {"hidden_act": "relu"}}, "TextConfig: activation='relu'; expected one of quick_gelu, gelu"),
    ({"text_config": {"layer_norm_eps": 1e-6}}, "text_config: layer_norm_eps=1e-06 is not offered, only 1e-05"),
    ({"vision_config": {"attention_dropout": 0.1}}, r"vision_config: attention_dropout=0\.1 is not offered, only 0\.0"),
    ({"vision_config": {"image_size": [224, 192]}}, r"ViTConfig: image_size=\[224, 192\]"),
    ({"vision_config": {"patch_size": []}}, r"ViTConfig: patch_size=\[\]"),
    ({"text_config": {"eos_token_id": [2, 3]}}, r"eos_token_id=\[2, 3\]"),
])
def test_a_configuration_beside_the_file_that_is_none_is_refused(told, message, path):
    """With the name of its file."""
    transformers_file(path, WIDE)
    path.with_name("config.json").write_text(told if isinstance(told, str) else json.dumps(told))
    with pytest.raises(ValueError, match=r"clip\.safetensors: config\.json beside it.*" + message if message[:6] != "config" else message):
        load_clip(path)


def test_descriptions_of_other_files_of_minidiff_are_refused(path):
    """A CLIP's names with the description of something else, or a broken one."""
    tensors = CLIP(WIDE).state_dict()
    for text, message in {"{}": "was written by minidiff, but is no CLIP", "{": "its description is no JSON",
                          '{"clip": {"txt": 1}}': "unknown settings: txt"}.items():
        save_file(tensors, path, metadata={"minidiff": text})
        with pytest.raises(ValueError, match=r"clip\.safetensors: .*" + message):
            load_clip(path)


def test_the_description_is_one_text_that_says_all(path):
    """What others read: transformers' names, one JSON."""
    clip = CLIP(CONFIGS["vit"])
    save_clip(path, clip)
    assert set(load_file(path)) == set(clip.state_dict())
    header = path.read_bytes()
    metadata = json.loads(header[8:8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    assert {name: json.loads(text) for name, text in metadata.items()} == {"minidiff": {"clip": clip.config.to_json()}}
