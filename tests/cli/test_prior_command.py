"""`minidiff clip prior`, and `minidiff sample --prior`."""

import numpy as np
import pytest
from PIL import Image

from minidiff.cli import main
from minidiff.training import PriorTrainConfig, Run


@pytest.fixture(scope="module")
def prior(clip, colours, tmp_path_factory):
    """The run folder of a prior for the tiny CLIP, three steps old. Not to be written to."""
    path = tmp_path_factory.mktemp("runs") / "prior"
    words = ["clip", "prior", "--clip", str(clip), "--data", str(colours), "--out", str(path), "--steps", "3", "--batch-size", "4"]
    assert main(words) == 0
    return path


def test_a_prior_is_trained_and_goes_on_by_itself(clip, colours, prior, tmp_path):
    """It has its CLIP with it; stopped after one of its three steps and resumed, it ends with the same bytes."""
    words = ["clip", "prior", "--clip", str(clip), "--data", str(colours), "--out", str(tmp_path / "run"), "--batch-size", "4"]
    assert main([*words, "--steps", "3"]) == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (prior / "model.safetensors").read_bytes()
    config = Run.open(prior, PriorTrainConfig).config
    assert (config.batch_size, config.total_steps, config.lr_schedule, config.images) == (4, 3, "cosine", (3, 8, 8))
    assert main([*words[:-4], "--out", str(tmp_path / "by-the-clock"), "--batch-size", "4", "--minutes", "0.0001"]) == 0
    steps = len(Run.open(tmp_path / "by-the-clock", PriorTrainConfig).metrics())
    assert main(["clip", "prior", "--resume", str(tmp_path / "by-the-clock"), "--steps", str(steps + 2)]) == 0
    assert len(Run.open(tmp_path / "by-the-clock", PriorTrainConfig).metrics()) == steps + 2


def test_a_prior_changes_what_is_drawn(reader, prior, tmp_path, refused):
    """A model of embeddings draws the same prompt and seed otherwise; one of captions has no use for it."""
    words = ["sample", str(reader), "--prompt", "red", "--n", "1", "--steps", "1", "--sampler", "ddim"]
    if reader.name == "caption":
        assert "it needs a --prompt, and a model that was trained with --condition embedding" in refused(*words, "--prior", prior)
        return
    for name, more in {"sentence": [], "imagined": ["--prior", str(prior)]}.items():
        assert main([*words, *more, "--out", str(tmp_path / name)]) == 0
    sentence, imagined = (np.asarray(Image.open(tmp_path / name / "0-red-000.png")) for name in ("sentence", "imagined"))
    assert sentence.shape == imagined.shape and (sentence != imagined).any()


@pytest.mark.parametrize("words, says", [
    (["clip", "prior", "--data", "COLOURS", "--out", "OUT", "--steps", "1"], "needs --clip RUN, --data SRC and --out RUN"),
    (["clip", "prior", "--clip", "CLIP", "--data", "COLOURS", "--out", "OUT"], "how long?"),
    (["clip", "prior", "--resume", "PRIOR", "--seed", "3"], "--seed cannot be changed in a run that is resumed"),
    (["clip", "prior", "--resume", "CLIP"], "it is a run of `minidiff clip train`; give one that `minidiff clip prior` made"),
    (["clip", "prior", "--clip", "PRIOR-", "--data", "COLOURS", "--out", "OUT", "--steps", "1"], "no such run folder"),
    (["sample", "TRAINED", "--prior", "PRIOR"], "does not understand words"),
    (["evaluate", "PRIOR"], "it is a run of `minidiff clip prior`; give one that `minidiff train` made"),
])
def test_what_a_prior_cannot_do_is_said(words, says, clip, colours, trained, prior, tmp_path, refused):
    """In one line, and nothing is written."""
    places = {"CLIP": clip, "COLOURS": colours, "TRAINED": trained, "PRIOR": prior, "OUT": tmp_path / "out"}
    assert says in refused(*(places.get(word, word) for word in words))
