"""Training and drawing with words on the stand-in for CuPy, and with a GPU on CuPy: what the CPU computes, and no step waits."""

import numpy as np
import pytest
import standin
from training import tiny_runs

from minidiff import backend
from minidiff.random import Generator
from minidiff.training import ContrastiveLearner, Embedder, Trainer, contexts_of, draw
from minidiff.training.condition import null_context_of

pytestmark = pytest.mark.parametrize("device", ["standin", pytest.param("cuda", marks=pytest.mark.gpu)])


def same(one, two, digits=2e-5):
    np.testing.assert_allclose(backend.to_numpy(one), backend.to_numpy(two), rtol=0, atol=digits)


def test_a_clip_learns_there_what_it_learns_here(device):
    """Three steps, pictures moved and mirrored; nothing goes to the host before a number is asked for."""
    config = tiny_runs.clip_config(flip=0.5, dtype="float64")
    here, there = (ContrastiveLearner(config, tiny_runs.squares(), tiny_runs.tokenizer(), where) for where in ("cpu", device))
    standin.transfers.clear()
    losses = [(here.step()[0], there.step()[0]) for _ in range(3)]
    assert device != "standin" or not standin.transfers, standin.transfers
    for one, two in [*losses, (here.parameters.data, there.parameters.data), (here.ema.data, there.ema.data)]:
        same(one, two, 1e-9)


def test_sentences_and_pictures_have_the_same_places_there(device):
    """Arrays on the host, whatever the CLIP is on."""
    squares, texts = tiny_runs.squares(), ["a red square", "blue", ""]
    here, there = (Embedder(tiny_runs.clip_learner().model.to(where), tiny_runs.tokenizer()) for where in ("cpu", device))
    for name, inputs in (("texts", texts), ("tokens", texts), ("images", squares.images)):
        found = getattr(there, name)(inputs)
        assert type(found) is np.ndarray
        same(getattr(here, name)(inputs), found)


@pytest.mark.parametrize("told", ["embedding", "caption"])
def test_a_model_of_words_learns_and_draws_there_as_here(told, device):
    """Three steps, of which nothing goes to the host; then four pictures with guidance away from something, two of nothing."""
    def results(where):
        embedder = Embedder(tiny_runs.clip_learner().model.to(where), tiny_runs.tokenizer())
        trainer = Trainer(tiny_runs.text_config(told), tiny_runs.squares(), where, embedder)
        standin.transfers.clear()
        losses = [trainer.step()[0] for _ in range(3)]
        assert where != "standin" or not standin.transfers, standin.transfers
        unet, model = trainer.config.unet, trainer.ema_model()
        context, negative = contexts_of(unet, ["red", "blue", "a white square", "x"], embedder), contexts_of(unet, ["green"], embedder)[0]
        asked = draw(model, trainer.schedule, context, generator=Generator(5, where), steps=4, guidance=2.0, null_context=negative)
        nothing = draw(model, trainer.schedule, None, count=2, generator=Generator(5, where), steps=4,
                       null_context=null_context_of(unet, embedder))
        return [*losses, asked, nothing]

    for one, two in zip(results("cpu"), results(device), strict=True):
        same(one, two, 1e-3)
