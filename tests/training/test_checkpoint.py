"""Checkpoints: whole or not there, and refused when they are not what they should be."""

import dataclasses
import errno
import json
import os
import resource
import subprocess

import numpy as np
import pytest
import tiny_runs
from safetensors.numpy import save_file

from minidiff.training import CheckpointError, read_checkpoint, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    """After two steps, so that nothing in it is 0."""
    trainer = tiny_runs.trainer()
    trainer.step()
    trainer.step()
    return trainer.state()


def same(one, two) -> bool:
    return (one.step, one.config, one.generators, one.tensors.keys()) == (two.step, two.config, two.generators, two.tensors.keys()) and all(
        np.array_equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


def test_what_is_written_is_read_back(tmp_path, checkpoint):
    """Every tensor, the step, the generators, the configuration; and the same bytes the second time."""
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, checkpoint)
    assert same(read_checkpoint(path), checkpoint)
    before = path.read_bytes()
    write_checkpoint(path, checkpoint)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize("laid_out", [
    np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x[::-1].copy()[::-1], lambda x: x.astype(">f4")],
    ids=["columns first", "every second", "backwards", "the other byte order"])
def test_a_tensor_comes_back_as_it_reads_however_it_lies_in_memory(tmp_path, checkpoint, laid_out):
    """Also a number without axes, which stays one."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    array = laid_out(values)
    assert np.array_equal(array, values) and (not array.flags.c_contiguous or array.dtype.byteorder == ">")
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, dataclasses.replace(checkpoint, tensors={"model.x": array, "model.y": np.array(2.5, np.float32)}))
    back = read_checkpoint(path).tensors
    assert np.array_equal(back["model.x"], values) and back["model.y"].shape == () and back["model.y"] == 2.5


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.02, 0.5, 0.9999])
def test_a_file_cut_short_is_refused(tmp_path, checkpoint, share):
    """Nowhere does half a checkpoint count as one."""
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, checkpoint)
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cut short, damaged"):
        read_checkpoint(path)


def test_other_files_are_refused(tmp_path, checkpoint):
    """Text, somebody else's safetensors, a dtype NumPy lacks, a future version, a damaged description, none."""
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        read_checkpoint(path)
    path.write_text("these are not the weights you are looking for" * 10)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        read_checkpoint(path)
    save_file({"weight": np.ones(3)}, path)
    with pytest.raises(CheckpointError, match="not written by minidiff"):
        read_checkpoint(path)
    header = json.dumps({"__metadata__": {"minidiff": "{}"}, "x": {"dtype": "F8_E5M2", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        read_checkpoint(path)
    about = {"format_version": 1, "step": 0, "config": {}, "generators": {}}
    version_2, before_the_start = json.dumps({**about, "format_version": 2}), json.dumps({**about, "step": -3})
    for about, message in [("{}", "damaged"), ("[", "damaged"), (version_2, "format 2"), (before_the_start, "damaged")]:
        save_file({}, path, metadata={"minidiff": about})
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_neither_written_nor_read(tmp_path, checkpoint, value):
    """The file that is there survives; a file that holds them is refused by the name of the tensor."""
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, checkpoint)
    name = "ema.conv_in.weight"
    wrong = checkpoint.tensors[name].copy()
    wrong[0, 0, 1, 1] = value
    bad = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, name: wrong})
    with pytest.raises(CheckpointError, match=rf"not saved.*{name}.*learning rate"):
        write_checkpoint(path, bad)
    assert same(read_checkpoint(path), checkpoint)
    about = {"format_version": 1, "step": 2, "config": {}, "generators": {}}
    save_file(bad.tensors, path, metadata={"minidiff": json.dumps(about)})
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: NaN or infinity in 1 of .*{name}"):
        read_checkpoint(path)


class FullDisk:
    """A file that takes some bytes, then none."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        self.file.write(content[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, checkpoint, monkeypatch):
    """Full in the middle of the file."""
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, dataclasses.replace(checkpoint, step=1))
    monkeypatch.setattr("builtins.open", lambda *args, _open=open, **options: FullDisk(_open(*args, **options)))
    with pytest.raises(OSError, match=r"No space left.*whole") as error:
        write_checkpoint(path, checkpoint)
    monkeypatch.undo()
    assert error.value.errno == errno.ENOSPC
    assert read_checkpoint(path).step == 1
    assert os.listdir(tmp_path) == ["model.safetensors"]


def only_small_files():
    """At most 100 kB each."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_file_system_that_refuses_more_leaves_the_old_checkpoint(tmp_path, checkpoint):
    """For real: a process that may write files of at most 100 kB tries to train on."""
    folder = tmp_path / "run"
    subprocess.run(**tiny_runs.command(folder, 4, 100), check=True)
    before = (folder / "model.safetensors").read_bytes()
    assert len(before) > 100_000
    limited = subprocess.run(**tiny_runs.command(folder, 8, 100), stderr=subprocess.PIPE, preexec_fn=only_small_files)
    assert limited.returncode != 0 and "could not be saved (File too large)" in limited.stderr
    assert (folder / "model.safetensors").read_bytes() == before
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]


def test_a_checkpoint_of_another_configuration_is_refused_by_what_differs(checkpoint):
    """Both settings, both values, and the trainer is as it was."""
    trainer = tiny_runs.trainer(learning_rate=0.5, seed=3)
    before = trainer.parameters.data.copy()
    with pytest.raises(CheckpointError, match=r"learning_rate: 0\.001, here 0\.5; seed: 0, here 3") as error:
        trainer.load_state(checkpoint)
    assert "batch_size" not in str(error.value)
    assert trainer.step_count == 0 and np.array_equal(trainer.parameters.data, before)


@pytest.mark.parametrize("change, message", [
    (lambda t: t.pop("ema.conv_in.weight"), r"missing ema\.conv_in\.weight"),
    (lambda t: t.update({"model.extra": np.ones(2)}), r"unexpected model\.extra"),
    (lambda t: t.update({"model.conv_out.bias": np.ones(2, "float32")}), r"model\.conv_out\.bias has shape \(2,\), expected \(1,\)"),
    (lambda t: t.update({"model.conv_out.bias": np.ones(1, "float64")}), "is float64, expected float32"),
])
def test_tensors_that_do_not_fit_are_named(checkpoint, change, message):
    """Missing, unexpected, misshapen, of another dtype; and the trainer is as it was."""
    trainer = tiny_runs.trainer()
    before = trainer.parameters.data.copy()
    tensors = dict(checkpoint.tensors)
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        trainer.load_state(dataclasses.replace(checkpoint, tensors=tensors))
    assert trainer.step_count == 0 and np.array_equal(trainer.parameters.data, before)


@pytest.mark.parametrize("generators", [{}, {"choices": {}, "noise": {}, "dropout": {}}])
def test_generators_that_do_not_fit_are_refused(checkpoint, generators):
    """None, or damaged ones."""
    with pytest.raises(CheckpointError, match="generator"):
        tiny_runs.trainer().load_state(dataclasses.replace(checkpoint, generators=generators))
