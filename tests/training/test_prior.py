"""The training of a prior, and what it imagines."""

import dataclasses

import numpy as np
import pytest
import tiny_runs

from minidiff.models import PriorConfig
from minidiff.random import Generator
from minidiff.training import PriorLearner, PriorTrainConfig, Run, TrainConfig, imagine, train
from minidiff.training.condition import scaled


def config(**settings):
    """A prior for the tiny CLIP, in a schedule of 100 times."""
    defaults = {"images": (3, 8, 8), "batch_size": 6, "total_steps": 12, "num_train_timesteps": 100}
    return PriorTrainConfig(prior=PriorConfig(tiny_runs.embedder().features, width=32, depth=2), **{**defaults, **settings})


def learner(**settings):
    return PriorLearner(config(**settings), tiny_runs.squares(), tiny_runs.embedder())


def test_for_a_sentence_it_imagines_the_embedding_of_the_picture():
    """Learned by heart: what is imagined for "a red square" lies nearer to the red picture than to the others, with guidance too, and
    nearer than the sentence itself does (the modality gap)."""
    trained = learner(total_steps=400, learning_rate=5e-3, ema_decay=0.95, lr_schedule="cosine", batch_size=24, warmup_steps=10)
    for _ in range(400):
        trained.step()
    prompts = [captions[1] for captions in tiny_runs.squares().captions]
    sentences = scaled(tiny_runs.embedder().texts(prompts))
    cosines = lambda z: z @ trained.pictures.T / trained.pictures.shape[1]
    for guidance in (1.0, 2.0):
        z = imagine(trained.ema_model(), trained.schedule, tiny_runs.embedder(), prompts, generator=Generator(1), guidance=guidance)
        np.testing.assert_allclose((z**2).mean(1), 1, rtol=1e-5)
        assert (cosines(z).argmax(1) == np.arange(6)).all()
        assert cosines(z).diagonal().mean() > cosines(sentences).diagonal().mean()


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path):
    """12 steps, or 5 and 7: the same bytes."""
    runs = []
    for name, stops in {"whole": [12], "broken": [5, 12]}.items():
        run = Run.create(tmp_path / name, config())
        for stop in stops:
            one = learner()
            run.restore(one)
            train(run, one, steps=stop)
        runs.append(run)
    assert runs[0].checkpoint_path.read_bytes() == runs[1].checkpoint_path.read_bytes()
    again = Run.open(runs[0].path, PriorTrainConfig)
    assert again.config == runs[0].config and again.load_model().config == config().prior
    with pytest.raises(ValueError, match="it is a run of `minidiff clip prior`; give one that `minidiff train` made"):
        Run.open(runs[0].path, TrainConfig)


def test_sentences_are_left_out_as_often_as_the_settings_say():
    """1: it never hears one, so changing the texts changes nothing; 0: it does."""
    for dropout, same in ((1.0, True), (0.0, False)):
        losses = []
        for swap in (False, True):
            one = learner(context_dropout=dropout)
            if swap:
                one.wording.captions = one.wording.captions[::-1]
            losses.append(float(one.step()[0]))
        assert (losses[0] == losses[1]) == same


def test_a_prior_for_another_clip_is_refused():
    """Before anything is computed."""
    foreign = dataclasses.replace(config(), prior=PriorConfig(5))
    with pytest.raises(ValueError, match="for embeddings of 5 numbers, the CLIP's have 16"):
        PriorLearner(foreign, tiny_runs.squares(), tiny_runs.embedder())
