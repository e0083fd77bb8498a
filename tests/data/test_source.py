"""The door: what is no data source is told which forms there are."""

import pytest

from minidiff.data import load

FORMS = ("fashion-mnist-mini or emoji", "folder of IDX files", "one sub-folder for each class", "metadata.jsonl", ".npz file")


@pytest.mark.parametrize(("name", "kind"), [("nowhere", FileNotFoundError), ("notes.txt", ValueError)])
def test_the_accepted_forms_are_listed(name, kind, tmp_path):
    """A path that is not there, and a file of another kind."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(kind) as caught:
        load(tmp_path / name)
    message = str(caught.value)
    assert str(tmp_path / name) in message and all(form in message for form in FORMS)


@pytest.mark.parametrize("split", ["valid", "", None])
def test_another_split_is_refused(split):
    """Only train and test."""
    with pytest.raises(ValueError, match="split must be one of train, test, got"):
        load("fashion-mnist-mini", split=split)
