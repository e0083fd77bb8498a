"""Guidance and editing on PyTorch tensors and JAX arrays: the numbers of NumPy, in the library that was given; and diffusers' schedule."""

import numpy as np
import pytest

from minidiff.diffusion import (
    DDIM,
    DDPM,
    PREDICTION_TYPES,
    Mixture,
    classifier_free_guidance,
    classifier_guidance,
    ddim_inversion,
    guidance_interval,
    inpaint,
    log_prob_of_start,
    make_schedule,
    outpainting_canvas,
    reconstruction_error,
    repaint_schedule,
    rescale_guidance,
    sample,
    sdedit,
    shifted_mean,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

SCHEDULE = make_schedule("linear", 20, beta_end=0.4)
TIMES = [19, 12, 6, 1]
MIXTURE = Mixture([0.4, 0.6], [[-1.0, 0.5], [0.8, 0.0]], [0.4, 0.3])


LIBRARIES = [pytest.param(torch.as_tensor, torch.Tensor, id="torch")]
try:
    import jax

    LIBRARIES.append(pytest.param(jax.numpy.asarray, jax.Array, id="jax"))
except ImportError:
    pass
library = pytest.mark.parametrize("make, kind", LIBRARIES)


def numbers(*shape):
    return np.random.default_rng().standard_normal(shape).astype(np.float32)


def close(got, expected, kind, tolerance=2e-5):
    """In the given library and float32, with NumPy's numbers."""
    assert isinstance(got, kind) and str(got.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(got), expected, rtol=tolerance, atol=tolerance)


def embedded(x, t, context):
    """A model that knows its context: no function that only one library has."""
    return x * context / (1 + x * x) + context.mean()


@library
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_classifier_free_guidance(make, kind, rescale):
    """Contexts as embeddings of the library; the null context of the library, from the host, or a row for each."""
    x, context, null, t = numbers(3, 4), numbers(3, 4), numbers(4), np.array([5, 5, 9])
    expected = classifier_free_guidance(embedded, context, 3.0, null, rescale)(x, t)
    for other in (make(null), null, null.tolist(), make(np.tile(null, (3, 1)))):
        guided = classifier_free_guidance(embedded, make(context), 3.0, other, rescale)
        close(guided(make(x), make(t)), expected, kind)
    walk = sample(guided, SCHEDULE, make(x), TIMES, DDIM, prediction_type="sample")
    own = sample(classifier_free_guidance(embedded, context, 3.0, null, rescale), SCHEDULE, x, TIMES, DDIM, prediction_type="sample")
    close(walk, own, kind)


def test_labels_of_torch_meet_an_embedding_of_torch():
    """A real torch module: labels and null label come to it as one int64 tensor."""
    table = torch.nn.Embedding(5, 4)
    seen = []

    def network(x, t, labels):
        seen.append((labels, t))
        return x + table(labels)

    guided = classifier_free_guidance(network, torch.tensor([1, 3]), 2.0, 4)
    x = torch.randn(2, 4)
    out = sample(guided, SCHEDULE, x, [3], DDIM)
    assert out.requires_grad and seen[0][0].tolist() == [4, 4, 1, 3] and seen[0][0].dtype == torch.int64
    assert seen[0][1].tolist() == [3] * 4
    with pytest.raises(ValueError, match=r"null_context of shape \(\) or \(2,\), got \(3,\)"):
        classifier_free_guidance(network, torch.tensor([1, 3]), 2.0, [4, 4, 4])
    with pytest.raises(ValueError, match="got a single number"):
        classifier_free_guidance(network, torch.tensor(1), 2.0, 4)


@library
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_classifier_guidance_and_intervals(make, kind, prediction_type):
    """A walk with every prediction type, guided in the middle; the shift of the mean with given noise."""
    x, noise = numbers(3, 2), [numbers(3, 2) for _ in range(3)]
    plain = MIXTURE.model(SCHEDULE, prediction_type)

    def walk(make, **options):
        guided = classifier_guidance(plain, SCHEDULE, lambda x, t: 0.5 - x, 1.5, prediction_type)
        return sample(guidance_interval(guided, plain, SCHEDULE, 0.2, 2.0), SCHEDULE, make(x), TIMES, DDPM, noise=[make(z) for z in noise],
                      prediction_type=prediction_type, shift_mean=shifted_mean(lambda x, t: 0.5 - x, 0.3))

    close(walk(make), walk(np.asarray), kind, 1e-4)


def test_torch_brings_its_own_gradient():
    """Reconstruction guidance with torch.autograd through the model, against finite differences."""
    target = torch.tensor([0.3, -0.2], dtype=torch.float64)
    log_prob = log_prob_of_start(lambda start: -((start - target) ** 2).sum(), MIXTURE.model(SCHEDULE), SCHEDULE)

    def cond_fn(x, t):
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(log_prob(leaf, t), leaf)[0]

    x, t = torch.randn(3, 2, dtype=torch.float64), torch.tensor([4, 4, 4])
    shift, step = [], 1e-6
    for unit in torch.eye(2, dtype=torch.float64):
        shift.append([float(log_prob(row + step * unit, t[:1]) - log_prob(row - step * unit, t[:1])) / (2 * step) for row in x[:, None]])
    np.testing.assert_allclose(cond_fn(x, t), np.transpose(shift), rtol=1e-6, atol=1e-7)
    guided = classifier_guidance(MIXTURE.model(SCHEDULE), SCHEDULE, cond_fn, 2.0)
    assert sample(guided, SCHEDULE, x, TIMES, DDIM).dtype == torch.float64


@library
def test_rescaling_and_the_interval_inside_a_batch(make, kind):
    """Images; a batch with times on both sides of an end."""
    a, b = numbers(3, 2, 4, 4), numbers(3, 2, 4, 4)
    close(rescale_guidance(make(a), make(b), 0.7), rescale_guidance(a, b, 0.7), kind)
    both = guidance_interval(lambda x, t: 2 * x, lambda x, t: -x, SCHEDULE, 0.3, 1.0)
    t = np.array([0, 8, 19])
    close(both(make(a), make(t)), both(a, t), kind)


@library
def test_editing(make, kind):
    """Inpainting with jumps, outpainting, SDEdit, inversion and its error, with the same given noise."""
    x, known = numbers(3, 2), numbers(3, 2)
    noise = [numbers(3, 2) for _ in range(30)]
    plain = MIXTURE.model(SCHEDULE)

    def results(make):
        noises = [make(z) for z in noise]
        for mask in ([1, 0], np.array([True, False]), make(np.array([1, 0])), make(np.array([[1.0, 0.0]], np.float32))):
            yield inpaint(plain, SCHEDULE, make(x), TIMES, make(known), mask, DDPM, noise=noises[:6])
        yield inpaint(plain, SCHEDULE, make(x), TIMES, make(known), [0.5, 1], DDPM, jump_n_sample=3, noise=noises[:24])
        yield from outpainting_canvas(make(x), [(1, 2)])
        yield sdedit(plain, SCHEDULE, make(x), TIMES, 0.5, DDPM, noise=noises[:2])
        yield ddim_inversion(plain, SCHEDULE, make(x), TIMES, corrections=1)
        yield reconstruction_error(plain, SCHEDULE, make(x), TIMES)

    for got, expected in zip(results(make), results(np.asarray), strict=True):
        close(got, expected, kind, 1e-3)


@pytest.mark.parametrize("steps, length, count", [(250, 10, 10), (50, 10, 3), (20, 3, 4), (7, 2, 2), (10, 5, 1)])
def test_diffusers_visits_the_same_levels(steps, length, count):
    """Its scheduler's list of timesteps, which leaves out the data."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.RePaintScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(steps, jump_length=length, jump_n_sample=count)
    stride = 1000 // steps
    assert [(steps - 1 - k) * stride for k in repaint_schedule(steps, length, count)[:-1]] == scheduler.timesteps.tolist()


def test_diffusers_inverse_scheduler_asks_at_the_end():
    """DDIMInverseScheduler, step by step, on times whose spacing is its own: asked_at="end", from its initial alpha-bar of 1."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMInverseScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    schedule = make_schedule("linear", 1000)
    model = MIXTURE.model(schedule)
    x = torch.randn(3, 2, dtype=torch.float64)
    own, asked = x, []
    for t in scheduler.timesteps:
        asked.append(int(t))
        x = scheduler.step(model(x, t.repeat(3)), t, x).prev_sample
    assert asked == sorted(asked)
    ours = ddim_inversion(model, schedule, own, asked[::-1], asked_at="end")
    np.testing.assert_allclose(ours, x, rtol=1e-4, atol=1e-4)
