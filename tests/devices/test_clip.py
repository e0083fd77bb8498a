"""CLIP on the stand-in for CuPy, and with a GPU on CuPy: the results of the CPU, and nothing of them on the host before it is asked for."""

import numpy as np
import pytest
import standin

from minidiff import backend, optim
from minidiff.models import CLIP, CLIPConfig, load_clip, save_clip
from minidiff.models.clip import ConvConfig, TextConfig, ViTConfig, clip_loss
from minidiff.random import Generator

TEXT = TextConfig(vocab_size=20, context_length=6, width=8, layers=2, heads=2, eos_token_id=19)
CONFIGS = {
    "vit": CLIPConfig(TEXT, ViTConfig(image_size=6, patch_size=2, in_channels=2, width=12, layers=1, heads=3), embed_dim=5),
    "conv": CLIPConfig(TEXT, ConvConfig(image_size=6, in_channels=2, channels=(4, 8), norm_num_groups=2), embed_dim=5),
}

pytestmark = pytest.mark.parametrize("device", ["standin", pytest.param("cuda", marks=pytest.mark.gpu)])


def trained(clip, images, tokens, device):
    """Three steps with the scale beyond its bound, and all that is left of them, on the device."""
    clip.to(device, np.float64)
    images = backend.asarray(images, device)
    clip.logit_scale.data = backend.asarray(np.array(4.7), device)  # above the bound
    optimizer = optim.SGD(clip.parameters(), lr=0.1)
    standin.transfers.clear()
    for _ in range(3):
        per_image, per_text = clip(images, tokens)
        clip_loss(per_image).backward()
        optimizer.step()
        optimizer.zero_grad()
        clip.bound_temperature()
    assert device != "standin" or not standin.transfers, standin.transfers
    return {**clip.state_dict(), "per_image": per_image, "per_text": per_text, "text_model": clip.text_model(tokens)}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_clip_trains_there_as_on_the_cpu(name, device):
    """Tokens are on the host, everything else stays on the device: not one transfer in three steps."""
    rng = np.random.default_rng()
    images, tokens = rng.standard_normal((4, 2, 6, 6)), rng.integers(0, 20, (4, 6))
    tokens[:, 3] = 19
    expected, found = (trained(CLIP(CONFIGS[name], generator=Generator(0)), images, tokens, d) for d in ("cpu", device))
    for key, value in expected.items():
        assert backend.device_of(found[key]) == device, key
        np.testing.assert_allclose(backend.to_numpy(found[key]), backend.to_numpy(value), rtol=0, atol=1e-9, err_msg=key)


def test_a_clip_goes_into_a_file_and_comes_back(device, tmp_path):
    """Saved from the device; loaded on the CPU, as every file; tokens may be on the device."""
    clip = CLIP(CONFIGS["vit"]).to(device)
    save_clip(tmp_path / "clip.safetensors", clip)
    loaded = load_clip(tmp_path / "clip.safetensors")
    for name, array in clip.state_dict().items():
        assert backend.device_of(loaded.state_dict()[name]) == "cpu"
        np.testing.assert_array_equal(backend.to_numpy(array), loaded.state_dict()[name])
    tokens = np.array([[1, 2, 19]])
    np.testing.assert_array_equal(clip.encode_text(backend.asarray(tokens, device)).numpy(), clip.encode_text(tokens).numpy())
