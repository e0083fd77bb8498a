"""`draw`, and names for classes."""

import dataclasses

import numpy as np
import pytest
import tiny_runs

from minidiff import backend, nn
from minidiff.autograd import no_grad
from minidiff.diffusion import DDPM, Gaussian, make_schedule, sample
from minidiff.models import UNet
from minidiff.random import Generator
from minidiff.training import draw, labels_of

SCHEDULE = make_schedule("linear", 50)
LABELS = [0, 1, 2, 1, 0]


@pytest.fixture(scope="module")
def model():
    """Untrained: it draws noise, but the same noise."""
    return UNet(tiny_runs.config().unet, generator=Generator(1))


class Exact(nn.Module):
    """The perfect model of pixels ~ N(mean of the class, 0.1^2): a stand-in for a trained network."""

    schedule = make_schedule("squaredcos_cap_v2", 200)
    mean = np.array([-0.5, 0.0, 0.5])

    def __init__(self, config):
        self.config = config
        self.conv_out = nn.Conv2d(1, 1, 1)

    def forward(self, x, t, context):
        mean = self.mean[context].reshape(-1, 1, 1, 1)
        return Gaussian(mean, 0.1).model(self.schedule)(x, t)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m", "heun", "unipc", "dpmpp_sde"])
def test_images_of_a_perfect_model_have_the_statistics_of_their_class(sampler):
    """Over 40 x 64 pixels a class: the mean within 6 standard errors (false alarm 2e-9 a class) plus 0.001 for 200 finite steps, the
    spread within 15 % (6 of its standard errors are 8 %, the steps take some)."""
    model = Exact(tiny_runs.config().unet)
    x = draw(model, Exact.schedule, np.repeat([0, 1, 2], 40), generator=Generator(2), sampler=sampler, steps=200, batch_size=50, clip=False)
    for label in range(3):
        pixels = x[40 * label : 40 * (label + 1)]
        assert abs(pixels.mean() - Exact.mean[label]) < 6 * 0.1 / np.sqrt(pixels.size) + 0.001
        assert 0.085 < pixels.std() < 0.115


def test_an_image_does_not_depend_on_how_many_are_drawn_together(model):
    """batch_size 1, 2 and 100, with guidance, to rounding."""
    options = {"guidance": 2.0, "steps": 6}
    images = [draw(model, SCHEDULE, LABELS, generator=Generator(3), batch_size=size, **options) for size in (1, 2, 100)]
    np.testing.assert_allclose(images[0], images[2], atol=1e-4)
    np.testing.assert_allclose(images[1], images[2], atol=1e-4)


def test_drawing_is_the_sampler_walking_over_all_times(model):
    """ddpm without guidance, against `diffusion.sample` called by hand."""
    generator = Generator(4)
    x = generator.standard_normal((5, 1, 8, 8))
    with no_grad():
        x = sample(lambda x, t: model.eval()(x, t, np.array(LABELS)), SCHEDULE, x, np.arange(50)[::-1], DDPM, generator=generator,
                   clip_denoised=True)
    np.testing.assert_array_equal(draw(model, SCHEDULE, LABELS, generator=Generator(4)), backend.to_numpy(x))


def test_guidance_1_is_the_conditional_and_0_the_unconditional_model(model):
    """Against the same draw without labels, to rounding; and the null label is what "no label" means."""
    none = draw(model, SCHEDULE, None, count=5, generator=Generator(5), sampler="ddim", steps=5)
    zero = draw(model, SCHEDULE, LABELS, guidance=0.0, generator=Generator(5), sampler="ddim", steps=5)
    np.testing.assert_allclose(zero, none, atol=1e-4)
    one = draw(model, SCHEDULE, LABELS, generator=Generator(5), sampler="ddim", steps=5)
    nearly = draw(model, SCHEDULE, LABELS, guidance=1.0 + 1e-7, generator=Generator(5), sampler="ddim", steps=5)
    np.testing.assert_allclose(one, nearly, atol=1e-4)
    assert abs(one - none).max() > 1e-3


def test_ddim_does_not_draw_again_and_ddpm_does(model):
    """The generator moves once for ddim, once a step for ddpm; eta makes the one into the other."""
    def moved(**options):
        generator = Generator(6)
        images = draw(model, SCHEDULE, LABELS, generator=generator, steps=7, **options)
        return int(generator.get_state()["counter"], 16), images
    once, ddim = moved(sampler="ddim")
    often, ddpm = moved(sampler="ddpm")
    assert often == 7 * once
    np.testing.assert_array_equal(moved(sampler="ddim", eta=1.0)[1], ddpm)
    np.testing.assert_array_equal(moved(sampler="ddpm", eta=0.0)[1], ddim)


def test_clipped_images_stay_in_range_and_the_model_is_left_as_it_was(model):
    """Within [-1, 1], float32 on the host; training mode and gradients untouched; the callback saw every step."""
    model.train()
    steps = []
    x = draw(model, SCHEDULE, LABELS, generator=Generator(7), steps=9,
             callback=lambda i, t, x_t, x_start: steps.append((i, t, x_start.shape)))
    assert x.min() >= -1 and x.max() <= 1 and x.dtype == np.float32 and type(x) is np.ndarray
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert [step[0] for step in steps] == list(range(9)) and steps[0][1] == 49 and steps[0][2] == (5, 1, 8, 8)


def test_dropout_is_off_while_drawing(model):
    """A model in training mode draws what it draws in evaluation."""
    options = {"sampler": "ddim", "steps": 3}
    one = draw(model.train(), SCHEDULE, LABELS, generator=Generator(8), **options)
    np.testing.assert_array_equal(one, draw(model.eval(), SCHEDULE, LABELS, generator=Generator(8), **options))


@pytest.mark.parametrize("change, error, message", [
    ({"labels": [0, 3]}, ValueError, "class 3 does not exist; the classes are 0 to 2"),
    ({"labels": [-1]}, ValueError, "class -1 does not exist"),
    ({"labels": [0.5]}, TypeError, "integer"),
    ({"labels": []}, ValueError, r"\(N,\)"),
    ({"labels": [[1]]}, ValueError, r"\(N,\)"),
    ({"labels": None}, ValueError, "count"),
    ({"labels": None, "count": 0}, ValueError, "count"),
    ({"count": 7}, ValueError, "count=7"),
    ({"sampler": "walk"}, ValueError, "unknown sampler 'walk'; choose from ddpm"),
    ({"sampler": "heun", "eta": 0.5}, ValueError, "eta belongs to ddpm and ddim"),
    ({"steps": 0}, ValueError, "num_inference_steps"),
    ({"steps": 51}, ValueError, "num_inference_steps"),
    ({"eta": 1.5}, ValueError, "eta"),
    ({"guidance": float("nan")}, ValueError, "guidance_scale"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"timestep_spacing": "random"}, ValueError, "timestep_spacing"),
    ({"prediction_type": "noise"}, ValueError, "prediction_type"),
])
def test_what_cannot_be_drawn_is_refused(model, change, error, message):
    """One wrong thing at a time."""
    options = {"labels": LABELS, "generator": Generator(0), **change}
    with pytest.raises(error, match=message):
        draw(model, SCHEDULE, options.pop("labels"), **options)


def test_a_model_without_classes_draws_without_labels():
    """And refuses labels."""
    model = UNet(dataclasses.replace(tiny_runs.config().unet, num_classes=None), generator=Generator(1))
    assert draw(model, SCHEDULE, None, count=2, generator=Generator(0), steps=2).shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match="no classes"):
        draw(model, SCHEDULE, [0], generator=Generator(0), steps=2)


# -- vectors and tokens ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["context_features", "cross_attention_dim"])
def reader(request):
    """An untrained model of vectors or of tokens, five contexts for it, what nothing is, and another null context."""
    size = 6
    unet = dataclasses.replace(tiny_runs.config().unet, num_classes=None, **{request.param: size})
    shape = (size,) if request.param == "context_features" else (4, size)
    numbers = np.random.default_rng(9).normal(size=(7, *shape)).astype(np.float32)
    nothing = np.zeros(shape, np.float32) if request.param == "context_features" else numbers[5]
    return UNet(unet, generator=Generator(1)), numbers[:5], nothing, numbers[6]


DDIM_5 = {"sampler": "ddim", "steps": 5}


def test_a_picture_of_words_does_not_depend_on_how_many_are_drawn_together(reader):
    """batch_size 1, 2 and 100, with guidance away from something, to rounding."""
    model, context, _, negative = reader
    images = [draw(model, SCHEDULE, context, generator=Generator(3), batch_size=size, guidance=2.0, steps=6, null_context=negative)
              for size in (1, 2, 100)]
    np.testing.assert_allclose(images[0], images[2], atol=1e-4)
    np.testing.assert_allclose(images[1], images[2], atol=1e-4)


def test_for_words_too_guidance_1_is_the_conditional_and_0_the_unconditional_model(reader):
    """The unconditional one is what is drawn without a context, and what is drawn of nothing."""
    model, context, nothing, _ = reader
    options = {"generator": Generator(5), "null_context": nothing, **DDIM_5}
    none = draw(model, SCHEDULE, None, count=5, **{**options, "generator": Generator(5)})
    zero = draw(model, SCHEDULE, context, guidance=0.0, **{**options, "generator": Generator(5)})
    of_nothing = draw(model, SCHEDULE, np.stack([nothing] * 5), **{**options, "generator": Generator(5)})
    np.testing.assert_allclose(zero, none, atol=1e-4)
    np.testing.assert_allclose(of_nothing, none, atol=1e-4)
    one = draw(model, SCHEDULE, context, **{**options, "generator": Generator(5)})
    nearly = draw(model, SCHEDULE, context, guidance=1.0 + 1e-7, **{**options, "generator": Generator(5)})
    np.testing.assert_allclose(one, nearly, atol=1e-4)
    assert abs(one - none).max() > 1e-3


def test_guidance_leads_from_the_null_context_to_the_context(reader):
    """The answer of `draw` at scale 3 is that of a sampler called by hand with u + 3 (c - u), for a negative context, one for all or one
    for each, and for nothing."""
    model, context, nothing, negative = reader
    each = np.random.default_rng(10).normal(size=context.shape).astype(np.float32)
    for null in (negative, nothing, each):
        nulls = np.broadcast_to(null, context.shape).copy()

        def guided(x, t, nulls=nulls):
            u, c = (backend.to_numpy(model.eval()(x, t, part)) for part in (nulls, context))
            return u + 3.0 * (c - u)

        generator = Generator(4)
        x = generator.standard_normal((5, 1, 8, 8))
        with no_grad():
            x = sample(guided, SCHEDULE, x, [49, 39, 29, 19, 9], DDPM, generator=generator, clip_denoised=True)
        drawn = draw(model, SCHEDULE, context, generator=Generator(4), guidance=3.0, null_context=null, steps=5)
        np.testing.assert_allclose(drawn, backend.to_numpy(x), atol=1e-3)


def test_away_from_the_zero_vector_is_what_a_model_of_vectors_does_unasked():
    """null_context None; a model of tokens cannot know what its empty text is."""
    config, numbers = tiny_runs.config().unet, np.random.default_rng(9).normal(size=(2, 4, 6)).astype(np.float32)
    vectors = UNet(dataclasses.replace(config, num_classes=None, context_features=6), generator=Generator(1))
    options = {"guidance": 2.0, **DDIM_5}
    np.testing.assert_array_equal(
        draw(vectors, SCHEDULE, numbers[:, 0], generator=Generator(0), **options),
        draw(vectors, SCHEDULE, numbers[:, 0], generator=Generator(0), null_context=np.zeros(6), **options))
    tokens = UNet(dataclasses.replace(config, num_classes=None, cross_attention_dim=6), generator=Generator(1))
    for context, count in ((numbers, None), (None, 2)):
        with pytest.raises(ValueError, match="has to be told what nothing is; give null_context, the tokens of the empty text"):
            draw(tokens, SCHEDULE, context, count=count, generator=Generator(0), **options)
    draw(tokens, SCHEDULE, numbers, generator=Generator(0), guidance=1.0, **DDIM_5)     # nothing to lead away from


def test_a_null_label_may_be_a_class():
    """A model of classes leads from class 2 to the others; where both are the same, guidance changes nothing."""
    model = UNet(tiny_runs.config().unet, generator=Generator(1))
    away = draw(model, SCHEDULE, LABELS, generator=Generator(0), guidance=4.0, null_context=2, **DDIM_5)
    plain = draw(model, SCHEDULE, LABELS, generator=Generator(0), **DDIM_5)
    np.testing.assert_allclose(away[2], plain[2], atol=1e-4)
    assert abs(away[0] - plain[0]).max() > 1e-3


@pytest.mark.parametrize("change, message", [
    ({"context": np.zeros((5, 7), np.float32)},
     r"expected (embeddings \(N, 6\)|tokens \(N, L, 6\)) of floats, got float32 of shape \(5, 7\)"),
    ({"context": np.zeros((0, 6), np.float32)}, "expected"), ({"context": np.zeros((5, 0, 6), np.float32)}, "expected"),
    ({"context": LABELS}, "of floats, got int64"), ({"context": np.zeros(6, np.float32)}, "expected"),
    ({"count": 7}, "5 contexts, but count=7"), ({"context": None}, "count says how many images"),
    ({"context": None, "count": 2.0}, "count says how many images"),
    ({"null_context": np.ones(9, np.float32), "guidance": 2.0}, "null_context"),
    ({"null_context": np.ones((3, 4, 9, 6), np.float32), "guidance": 2.0}, "null_context"),
])
def test_contexts_that_do_not_fit_are_refused(reader, change, message):
    """By shape, kind and number; the same call without the change draws."""
    model, context, nothing, _ = reader
    options = {"context": context, "null_context": nothing, "generator": Generator(0), "steps": 2}
    draw(model, SCHEDULE, options["context"], **{name: value for name, value in options.items() if name != "context"})
    options.update(change)
    with pytest.raises(ValueError, match=message):
        draw(model, SCHEDULE, options.pop("context"), **options)


def test_nothing_in_particular_needs_tokens_of_the_right_shape():
    """One text for all or one for each; anything else is refused."""
    model = UNet(dataclasses.replace(tiny_runs.config().unet, num_classes=None, cross_attention_dim=6), generator=Generator(1))
    text = np.random.default_rng().normal(size=(4, 6)).astype(np.float32)
    one, each = (draw(model, SCHEDULE, None, count=3, generator=Generator(0), null_context=null, **DDIM_5)
                 for null in (text, np.stack([text] * 3)))
    np.testing.assert_array_equal(one, each)
    for wrong, message in ((np.stack([text] * 2), "2 contexts, but count=3"), (text[:, :5], "tokens"), (text[0], "tokens")):
        with pytest.raises(ValueError, match=message):
            draw(model, SCHEDULE, None, count=3, generator=Generator(0), null_context=wrong, **DDIM_5)


# -- names of classes ------------------------------------------------------------------------------------------------


def test_classes_are_found_by_name_and_by_number():
    """Whatever the case; a class called by a number is meant before the number of a class."""
    names = ("T-shirt/top", "Bag", "Ankle boot")
    assert labels_of(["bag", "ANKLE BOOT", "0", 2, " T-shirt/top "], names).tolist() == [1, 2, 0, 2, 0]
    assert labels_of(["7", "1"], ("7", "1", "3")).tolist() == [0, 1]
    assert labels_of(["2"], ("7", "1", "3")).tolist() == [2]
    for wrong in ("sock", "3", "-1", 3, ""):
        with pytest.raises(ValueError, match=r"does not exist; the classes are 0 T-shirt/top, 1 Bag, 2 Ankle boot"):
            labels_of([wrong], names)
    with pytest.raises(ValueError, match="no classes"):
        labels_of(["0"], ())
