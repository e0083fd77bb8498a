"""`import minidiff as torch`: what a program finds at the top level beside the functions, which have tests of their own."""

import copy
import math

import numpy as np
import pytest

import minidiff
import minidiff as torch
from minidiff import backend, nn


def test_everything_that_is_listed_is_there():
    """`__all__` names nothing that is missing, and nothing twice."""
    assert len(set(minidiff.__all__)) == len(minidiff.__all__)
    assert all(hasattr(minidiff, name) for name in minidiff.__all__)


def test_other_names_and_constants():
    """torch's second names are the same functions."""
    assert torch.clip is torch.clamp and torch.concat is torch.cat
    assert torch.pi == math.pi and torch.inf == math.inf and math.isnan(torch.nan)


def test_a_device_is_chosen_as_in_pytorch():
    """The line with which many programs begin; here it says whether CuPy finds a GPU."""
    name = "cuda" if torch.cuda.is_available() else "cpu"
    assert torch.zeros(2).to(torch.device(name)).device == name
    try:
        backend.get_library("cuda")
    except backend.DeviceError:
        assert name == "cpu"
    else:
        assert name == "cuda"


def test_questions_about_tensors():
    """numel, is_floating_point, equal: of Tensors and of arrays."""
    x = torch.zeros(2, 3)
    assert torch.numel(x) == torch.numel(x.numpy()) == 6
    assert torch.is_floating_point(x) and not torch.is_floating_point(torch.arange(3))
    assert torch.equal(x, x + 0.0) and not torch.equal(x, x + 1.0) and not torch.equal(x, torch.zeros(3, 2))
    assert torch.equal(torch.zeros(0), torch.zeros(0))


def test_recording_is_switched_by_a_statement_or_a_context():
    """set_grad_enabled acts at once; a context restores; inference_mode records nothing."""
    x = torch.ones(2, requires_grad=True)
    with torch.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    try:
        torch.set_grad_enabled(False)
        assert not torch.is_grad_enabled() and not (x * 2).requires_grad
    finally:
        torch.set_grad_enabled(True)
    with torch.inference_mode():
        assert not (x * 2).requires_grad
    assert torch.is_grad_enabled()


def test_there_is_no_global_random_state():
    """The error says what to write instead; another missing name is a plain AttributeError."""
    with pytest.raises(AttributeError, match=r"no global random state; pass generator=minidiff.Generator\(seed\)"):
        torch.manual_seed(0)
    with pytest.raises(AttributeError, match="no attribute 'no_such_thing'"):
        torch.no_such_thing  # noqa: B018


def test_what_pytorchs_tensor_means_otherwise_is_refused():
    """torch.Tensor(3, 4) is made of sizes, and torch.Tensor([1, 2]) holds real numbers."""
    for arguments, message in (((3, 4), r"minidiff.zeros\(...\)"), (([1, 2],), r"minidiff.tensor\(...\) keeps them integers")):
        with pytest.raises(TypeError, match=message):
            torch.Tensor(*arguments)
    assert torch.Tensor([1.0, 2.0]).dtype == np.float32


def test_a_copied_dropout_drops_others_unless_it_was_given_its_generator():
    """clones(module, n) must not drop the same elements in every layer (equal masks by chance: 2^-1000)."""
    x = np.ones(1000, np.float32)
    fresh = nn.Dropout(0.5)
    assert (copy.deepcopy(fresh)(x) != fresh(x)).any()
    given = nn.Dropout(0.5, generator=torch.Generator(3))
    assert (copy.deepcopy(given)(x) == given(x)).all()
