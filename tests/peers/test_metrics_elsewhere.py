"""The figures of minidiff.metrics beside PyTorch's distances and linear algebra, and CLIP's similarities of transformers."""

import numpy as np
import pytest

from minidiff.metrics import (
    clip_scores,
    compare,
    cosine_similarity,
    count_within,
    density_and_coverage,
    frechet_distance,
    kernel_distance,
    nearest,
    precision,
    recall,
    zero_shot_accuracy,
)
from minidiff.random import Generator

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peers


@pytest.fixture
def sets():
    """Samples and real images, N x D, of PyTorch in double precision."""
    generator = torch.Generator().manual_seed(int(np.random.default_rng().integers(2**31)))
    draw = lambda n: torch.randn(n, 12, generator=generator, dtype=torch.float64)
    return 0.9 * draw(150) + 0.1, draw(200)


def test_neighbours_are_torchs(sets):
    """cdist and topk."""
    samples, real = sets
    distances, indices = torch.cdist(samples, real).topk(5, largest=False)
    found = nearest(samples, real, 5)
    np.testing.assert_array_equal(found.indices, indices.numpy())
    np.testing.assert_allclose(found.distances, distances.numpy(), rtol=1e-9)


def test_precision_recall_density_and_coverage_are_those_of_a_table_of_distances(sets):
    """As the papers' own code has them: all distances at once, kthvalue, comparisons."""
    samples, real = sets
    of_real = {k: torch.cdist(real, real).kthvalue(k + 1).values for k in (3, 5)}
    of_samples = torch.cdist(samples, samples).kthvalue(4).values
    table = torch.cdist(samples, real)
    assert precision(samples, real) == pytest.approx((table <= of_real[3]).any(dim=1).double().mean().item())
    assert recall(samples, real) == pytest.approx((table <= of_samples[:, None]).any(dim=0).double().mean().item())
    density, coverage = density_and_coverage(samples, real)
    assert density == pytest.approx((table <= of_real[5]).sum(dim=1).double().mean().item() / 5)
    assert coverage == pytest.approx((table.min(dim=0).values <= of_real[5]).double().mean().item())


def test_frechet_and_kernel_distance_are_torchs_linear_algebra(sets):
    """cov and eigvals of the product, as torch-fidelity has it; the kernel in one line."""
    samples, real = sets
    s, t = samples.T.cov(), real.T.cov()
    gap = samples.mean(dim=0) - real.mean(dim=0)
    expected = gap @ gap + s.trace() + t.trace() - 2 * torch.linalg.eigvals(s @ t).sqrt().real.sum()
    assert frechet_distance(samples, real) == pytest.approx(expected.item(), rel=1e-9)
    k = lambda x, y: (x @ y.T / 12 + 1) ** 3
    n, m = len(samples), len(real)
    own = lambda table: (table.sum() - table.trace()) / (len(table) * (len(table) - 1))
    expected = own(k(samples, samples)) + own(k(real, real)) - 2 * k(samples, real).sum() / (n * m)
    assert kernel_distance(samples, real) == pytest.approx(expected.item(), rel=1e-9, abs=1e-10)


def test_torchs_tensors_come_in(sets):
    """Without conversion, on the CPU; one that requires gradients is refused with what to do."""
    samples, real = sets
    assert compare(samples, real, Generator(0)) == compare(samples.numpy(), real.numpy(), Generator(0))
    assert count_within(samples, real, torch.ones(200, dtype=torch.float64))[0].shape == (150,)
    with pytest.raises(TypeError, match="detach"):
        precision(samples.requires_grad_(), real)


def test_similarities_are_those_of_transformers_clip():
    """logits_per_image of a random CLIP, without its temperature; the class that its softmax prefers; the CLIP score of its pairs."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(int(np.random.default_rng().integers(2**31)))
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.CLIPModel(transformers.CLIPConfig(
        projection_dim=8, text_config={**small, "vocab_size": 50, "max_position_embeddings": 7, "eos_token_id": 49, "bos_token_id": 48},
        vision_config={**small, "image_size": 8, "patch_size": 4})).eval()
    words, pixels = torch.randint(0, 48, (5, 7)), torch.randn(5, 3, 8, 8)
    words[:, -1] = 49
    with torch.no_grad():
        out = model(input_ids=words, pixel_values=pixels)
    expected = (out.logits_per_image / model.logit_scale.exp()).detach().numpy()
    found = cosine_similarity(out.image_embeds.detach(), out.text_embeds.detach())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(clip_scores(out.image_embeds.detach(), out.text_embeds.detach()), 2.5 * np.diag(expected).clip(0), atol=1e-5)
    preferred = out.logits_per_image.softmax(dim=1).argmax(dim=1)
    assert zero_shot_accuracy(found, preferred).value == 1
