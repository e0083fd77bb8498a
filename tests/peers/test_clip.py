"""`minidiff.models.CLIP` against transformers' `CLIPModel`, against OpenAI's layout in PyTorch's own layers, and its pictures.

Random weights travel by name or through files; then embeddings, logits, loss and the gradients of the images and of all parameters must
agree. transformers' attention is that of PyTorch (sdpa): the one written out in its file takes the softmax in float32.
"""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil  # noqa: E402

from minidiff import no_grad, tensor  # noqa: E402
from minidiff.models import CLIP, load_clip, save_clip  # noqa: E402
from minidiff.models.clip import CLIPConfig, ConvConfig, TextConfig, ViTConfig, clip_loss, clip_pixels  # noqa: E402
from minidiff.models.clip.layouts import config_from_transformers  # noqa: E402

pytestmark = pytest.mark.peers

TEXT = {"vocab_size": 30, "hidden_size": 12, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3,
        "max_position_embeddings": 7, "bos_token_id": 28, "eos_token_id": 29, "pad_token_id": 0}
IMAGE = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 12, "patch_size": 4}
MODELS = {  # name: (text, image, embed_dim)
    "quick_gelu": ({}, {}, 10),
    "gelu": ({"hidden_act": "gelu"}, {"hidden_act": "gelu"}, 10),
    "an activation for each": ({"hidden_act": "gelu"}, {}, 4),
    "the largest id ends a text": ({"eos_token_id": 2}, {}, 10),
    "an end that is not the largest id": ({"eos_token_id": 5}, {}, 10),
    "narrow and wide networks for each token": ({"intermediate_size": 20}, {"intermediate_size": 100}, 10),
    "one layer, one head": ({"num_hidden_layers": 1, "num_attention_heads": 1}, {"num_hidden_layers": 1, "num_attention_heads": 1}, 5),
    "deep text, shallow image": ({"num_hidden_layers": 4}, {"num_hidden_layers": 1}, 24),
    "one patch": ({}, {"patch_size": 12}, 10),
    "grey": ({}, {"num_channels": 1, "image_size": 8, "patch_size": 2}, 10),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small are slower on two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def transformers_clip(name):
    """The `CLIPModel` of a row of the table, all parameters moved away from where they begin: norms and biases too."""
    text, image, embed_dim = MODELS[name]
    config = transformers.CLIPConfig(text_config={**TEXT, **text}, vision_config={**IMAGE, **image}, projection_dim=embed_dim)
    config._attn_implementation = "sdpa"
    return randomized(transformers.CLIPModel(config))


def randomized(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double().eval()


def inputs(config, texts=4):
    """Images, and tokens of texts of all lengths: the end somewhere, anything behind it, its own kind again too."""
    rng = np.random.default_rng()
    c = config
    images = rng.standard_normal((texts, c.image.in_channels, c.image.image_size, c.image.image_size))
    end = c.text.vocab_size - 1 if c.text.eos_token_id is None else c.text.eos_token_id
    words = np.delete(np.arange(c.text.vocab_size), end)
    tokens = rng.choice(words, (texts, c.text.context_length))
    for i, row in enumerate(tokens):
        row[i % len(row)] = end
        row[-1] = end if i % 2 else row[-1]
    return images, tokens


def run_transformers(model, images, tokens):
    """Everything that is compared, under our names."""
    pixels = torch.tensor(images, requires_grad=True)
    out = model(input_ids=torch.tensor(tokens), pixel_values=pixels, return_loss=True)
    out.loss.backward()
    found = {"logits_per_image": out.logits_per_image, "logits_per_text": out.logits_per_text, "loss": out.loss,
             "image": out.vision_model_output.pooler_output, "text": out.text_model_output.pooler_output,
             "hidden": out.text_model_output.last_hidden_state, "images": pixels.grad}
    return {**found, **{name: parameter.grad for name, parameter in model.named_parameters()}}


def run_minidiff(model, images, tokens):
    pixels = tensor(images, requires_grad=True)
    per_image, per_text = model(pixels, tokens)
    loss = clip_loss(per_image)
    loss.backward()
    found = {"logits_per_image": per_image, "logits_per_text": per_text, "loss": loss, "image": model.encode_image(images),
             "text": model.encode_text(tokens), "hidden": model.text_model(tokens), "images": pixels.grad}
    return {**found, **{name: parameter.grad for name, parameter in model.named_parameters()}}


def assert_equal(found, expected, tolerance=1e-10):
    """All of them, relative to the largest element; a bias that cannot matter (of keys) has a gradient of rounding alone."""
    assert found.keys() == expected.keys()
    for name, theirs in expected.items():
        theirs = theirs.detach().numpy()
        np.testing.assert_allclose(found[name].numpy(), theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max()), err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_logits_loss_and_all_gradients_are_those_of_transformers(name):
    """float64; the configuration is read from theirs, the weights by their names, all of them."""
    theirs = transformers_clip(name)
    config = config_from_transformers(json.loads(theirs.config.to_json_string(use_diff=False)))
    ours = CLIP(config).double()
    ours.load_state_dict(theirs.state_dict())
    images, tokens = inputs(config)
    assert_equal(run_minidiff(ours, images, tokens), run_transformers(theirs, images, tokens))


def test_the_convolutional_encoder_is_its_layers_in_torch():
    """Convolution, group norm, GELU, twice a level, with a way around the second; halving convolutions; mean, norm and projection."""
    config = CLIPConfig(TextConfig(30, 7, 12, 1, 3, eos_token_id=29), ConvConfig(9, 2, (4, 8, 6), norm_num_groups=2), 5)
    ours = CLIP(config).double()
    for parameter in ours.parameters():
        parameter.data = np.asarray(parameter.data + 0.2 * np.random.default_rng().standard_normal(parameter.shape))
    images, _ = inputs(config)
    state = {name: torch.tensor(array) for name, array in ours.state_dict().items()}
    f = torch.nn.functional

    def block(x, path):
        x = f.conv2d(x, state[f"{path}.conv.weight"], state[f"{path}.conv.bias"], padding=1)
        return f.gelu(f.group_norm(x, 2, state[f"{path}.norm.weight"], state[f"{path}.norm.bias"], eps=1e-5))

    h = torch.tensor(images)
    for level in range(3):
        if level:
            path = f"vision_model.downsamplers.{level - 1}.conv"
            h = f.conv2d(h, state[f"{path}.weight"], state[f"{path}.bias"], stride=2, padding=1)
        h = block(h, f"vision_model.blocks.{level}.conv1")
        h = h + block(h, f"vision_model.blocks.{level}.conv2")
    h = f.layer_norm(h.mean((2, 3)), (6,), state["vision_model.post_layernorm.weight"], state["vision_model.post_layernorm.bias"])
    expected = h @ state["visual_projection.weight"].T
    np.testing.assert_allclose(ours.encode_image(images).numpy(), expected.numpy(), rtol=0, atol=1e-11)


def test_float32_is_as_near_to_float64_as_that_of_transformers():
    """Both in float32 against both in float64: no more than a few times their error."""
    theirs = transformers_clip("gelu")
    config = config_from_transformers(theirs.config.to_dict())
    ours = CLIP(config)
    ours.load_state_dict(theirs.state_dict())
    images, tokens = inputs(config)
    exact = run_transformers(theirs, images, tokens)["logits_per_image"].detach().numpy()
    with torch.no_grad(), no_grad():
        single = theirs.float()(input_ids=torch.tensor(tokens), pixel_values=torch.tensor(images, dtype=torch.float32))
        error = np.abs(single.logits_per_image.numpy() - exact).max()
        found = ours(images.astype(np.float32), tokens)[0].numpy()
    assert found.dtype == np.float32 and np.abs(found - exact).max() <= 4 * error + 1e-5


# -- files -----------------------------------------------------------------------------------------------------------


def same_answers(ours, theirs):
    """Logits on fresh images and texts, in float32."""
    images, tokens = inputs(ours.config)
    with torch.no_grad(), no_grad():
        expected = theirs.float()(input_ids=torch.tensor(tokens), pixel_values=torch.tensor(images, dtype=torch.float32)).logits_per_image
        np.testing.assert_allclose(ours(images.astype(np.float32), tokens)[0].numpy(), expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["an activation for each", "the largest id ends a text", "an end that is not the largest id", "grey"])
def test_a_folder_of_transformers_is_read_with_its_configuration(name, tmp_path):
    """`save_pretrained`, its config.json in its own words, which leave out what is the default."""
    theirs = transformers_clip(name).float()
    theirs.save_pretrained(tmp_path)
    ours = load_clip(tmp_path / "model.safetensors")
    assert ours.logit_scale.dtype == np.float32
    same_answers(ours, theirs)


def test_a_configuration_that_says_nothing_is_the_one_of_transformers():
    """The same defaults, and `..._config_dict` of old files before `..._config`."""
    def known(config):
        text, image = config.text_config, config.vision_config
        return (text.vocab_size, text.max_position_embeddings, text.hidden_size, text.num_hidden_layers, text.num_attention_heads,
                text.intermediate_size, text.hidden_act, text.eos_token_id, image.image_size, image.patch_size, image.num_channels,
                image.hidden_size, image.num_hidden_layers, image.num_attention_heads, image.intermediate_size, image.hidden_act,
                config.projection_dim)

    def ours(settings):
        c = config_from_transformers(settings)
        t, i = c.text, c.image
        return (t.vocab_size, t.context_length, t.width, t.layers, t.heads, t.mlp_width, t.activation, t.eos_token_id, i.image_size,
                i.patch_size, i.in_channels, i.width, i.layers, i.heads, i.mlp_width, i.activation, c.embed_dim)

    twice = {"text_config": {"hidden_size": 64, "eos_token_id": 3}, "text_config_dict": {"hidden_size": 128}, "vision_config_dict": None,
             "vision_config": {"hidden_size": 24}, "projection_dim": 7}
    for settings in ({}, {"text_config": None}, {"text_config": {"hidden_size": 256}}, {"vision_config": {"image_size": 64}}, twice):
        assert ours(settings) == known(transformers.CLIPConfig(**settings)), settings


def test_what_is_saved_is_the_state_of_a_clip_model(tmp_path):
    """Its own `load_state_dict`, strict, takes the tensors of the file."""
    theirs = transformers_clip("gelu")
    ours = CLIP(config_from_transformers(theirs.config.to_dict()))
    save_clip(tmp_path / "clip.safetensors", ours)
    theirs.load_state_dict(load_file(tmp_path / "clip.safetensors"))
    same_answers(ours, theirs)


class Block(torch.nn.Module):
    """A layer with OpenAI's names: PyTorch's own attention, whose three projections are one."""

    def __init__(self, width, mask):
        super().__init__()
        self.attn = torch.nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.mlp = torch.nn.ModuleDict({"c_fc": torch.nn.Linear(width, 4 * width), "c_proj": torch.nn.Linear(4 * width, width)})
        self.mask = mask

    def forward(self, x):
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False, attn_mask=self.mask)[0]
        h = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(h * torch.sigmoid(1.702 * h))


def stack(width, layers, mask=None):
    return torch.nn.ModuleDict({"resblocks": torch.nn.Sequential(*(Block(width, mask) for _ in range(layers)))})


class OpenAICLIP(torch.nn.Module):
    """The network of the paper, with the names under which OpenAI published it: parameters by themselves, projections from the right."""

    def __init__(self, vocab, context, text_width, image_width, patch, grid, embed):
        super().__init__()
        normal = lambda *shape: torch.nn.Parameter(torch.randn(shape) / 8)
        self.token_embedding, self.positional_embedding = torch.nn.Embedding(vocab, text_width), normal(context, text_width)
        self.transformer = stack(text_width, 2, torch.full((context, context), -torch.inf).triu(1))
        self.ln_final, self.text_projection = torch.nn.LayerNorm(text_width), normal(text_width, embed)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))
        self.visual = visual = torch.nn.Module()
        visual.conv1 = torch.nn.Conv2d(3, image_width, patch, patch, bias=False)
        visual.class_embedding, visual.positional_embedding = normal(image_width), normal(grid * grid + 1, image_width)
        visual.ln_pre, visual.ln_post = torch.nn.LayerNorm(image_width), torch.nn.LayerNorm(image_width)
        visual.transformer, visual.proj = stack(image_width, 3), normal(image_width, embed)

    def forward(self, images, tokens):
        v = self.visual
        patches = v.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([v.class_embedding.expand(len(images), 1, -1), patches], 1) + v.positional_embedding
        image = v.ln_post(v.transformer.resblocks(v.ln_pre(x))[:, 0]) @ v.proj
        x = self.ln_final(self.transformer.resblocks(self.token_embedding(tokens) + self.positional_embedding))
        text = x[torch.arange(len(x)), tokens.argmax(-1)] @ self.text_projection
        cosines = torch.nn.functional.cosine_similarity(image[:, None], text[None], dim=-1)
        return self.logit_scale.exp() * cosines


def openai_clip():
    return randomized(OpenAICLIP(vocab=40, context=6, text_width=64, image_width=128, patch=4, grid=3, embed=20)).float()


def test_openais_layout_is_read_and_its_sizes_are_seen(tmp_path):
    """Fused and transposed weights come to their places; sizes from shapes, heads 64 wide; buffers of OpenAI's archives are passed over."""
    theirs = openai_clip()
    buffers = {name: torch.tensor(value) for name, value in {"input_resolution": 12, "context_length": 6, "vocab_size": 40}.items()}
    save_file({**theirs.state_dict(), **buffers}, tmp_path / "clip.safetensors")
    ours = load_clip(tmp_path / "clip.safetensors")
    assert ours.config == CLIPConfig(TextConfig(40, 6, 64, 2, 1, eos_token_id=None), ViTConfig(12, 4, 3, 128, 3, 2), 20)
    images, tokens = inputs(ours.config)
    with torch.no_grad(), no_grad():
        expected = theirs.double()(torch.tensor(images), torch.tensor(tokens))
        np.testing.assert_allclose(ours.double()(images, tokens)[0].numpy(), expected.numpy(), rtol=0, atol=1e-10)


def test_half_precision_files_become_float32(tmp_path):
    """As OpenAI publishes them: matrices float16, norms float32. The values are those that were rounded, not rounded again."""
    theirs = openai_clip()
    halved = {name: x.half() if x.ndim > 1 else x for name, x in theirs.state_dict().items()}
    save_file(halved, tmp_path / "clip.safetensors")
    ours = load_clip(tmp_path / "clip.safetensors")
    assert {parameter.dtype for parameter in ours.parameters()} == {np.dtype(np.float32)}
    theirs.load_state_dict({name: x.float() for name, x in halved.items()})
    images, tokens = inputs(ours.config)
    with torch.no_grad(), no_grad():
        expected = theirs.double()(torch.tensor(images), torch.tensor(tokens))
        np.testing.assert_allclose(ours.double()(images, tokens)[0].numpy(), expected.numpy(), rtol=0, atol=1e-10)


def test_bfloat16_is_refused_by_name(tmp_path):
    """NumPy has no bfloat16."""
    save_file({name: x.bfloat16() for name, x in openai_clip().state_dict().items()}, tmp_path / "clip.safetensors")
    with pytest.raises(ValueError, match=r"clip\.safetensors: .*logit_scale is BF16, expected F32, F16 or F64.*; and \d+ more"):
        load_clip(tmp_path / "clip.safetensors")


@pytest.mark.parametrize("old", [True, False], ids=["old format", "zip"])
def test_pickles_are_refused_and_not_opened(old, tmp_path):
    """What torch.save writes, in both of its formats; a bomb inside does not go off."""
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "went off"), "w")

    torch.save({"weights": Bomb()}, tmp_path / "clip.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match=r"clip\.pt: is a .*nothing is unpickled here\. Convert it .*save_file"):
        load_clip(tmp_path / "clip.pt")
    assert not (tmp_path / "went off").exists()


# -- pictures --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.sampled_from(["RGB", "L", "RGBA", "1", "P", "LA"]),
       st.integers(0, 2**32 - 1))
def test_pictures_are_prepared_as_by_transformers(width, height, size, mode, seed):
    """All sizes and kinds of pictures: the same crop of the same interpolation, so that only the last rounding may differ."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    expected = processor(picture)["pixel_values"][0]
    found = clip_pixels(picture, size)
    assert found.dtype == np.float32 and found.shape == expected.shape == (3, size, size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
