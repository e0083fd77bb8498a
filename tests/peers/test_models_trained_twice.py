"""Networks written in PyTorch train in the same way after `torch` is replaced by `minidiff` in their imports.

The sources in `models/` are run twice: as they are, and with their import lines changed. Weights, data and noise are the same, the
training loop stands in the source.
"""

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import minidiff
from minidiff import data

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
SOURCES = sorted((Path(__file__).parent / "models").glob("*.py"))
STEPS, BATCH, BATCHES = 20, 16, 4


def as_written(path):
    """The source as a PyTorch program."""
    return run(path.stem, path.read_text(encoding="utf-8"))


def with_minidiff(path):
    """The same source with `torch` replaced by `minidiff` in its import lines; `import minidiff as torch` keeps the name in the code."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"(import|from) torch\b", line):
            line = "import minidiff as torch" if line == "import torch" else line.replace("torch", "minidiff", 1)
        lines.append(line)
    return run(path.stem, "\n".join(lines))


def run(name, source):
    assert "noqa" not in source
    module = ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))
    return module


def batches(dtype):
    """A batch a step, the same few again and again: Fashion-MNIST images in [0, 1], labels, noise for those who want some."""
    train = data.load("fashion-mnist-mini")
    images = train.images[: BATCHES * BATCH].astype(dtype) / 255
    labels = train.labels[: BATCHES * BATCH].astype(np.int64)
    noise = np.random.default_rng().standard_normal((BATCHES * BATCH, 8)).astype(dtype)
    found = [tuple(part[i * BATCH:(i + 1) * BATCH] for part in (images, labels, noise)) for i in range(BATCHES)]
    return found * (STEPS // BATCHES)


def trained(module, tensor, given, dtype, weights):
    """(losses, whatever else the loop returns, an output afterwards, the weights before and after) as NumPy arrays."""
    model = module.build()
    model = model.double() if dtype is np.float64 else model
    if weights is not None:
        model.load_state_dict(weights)
    before = {name: value.clone() for name, value in model.state_dict().items()} if weights is None else weights
    given = [tuple(tensor(part) for part in batch) for batch in given]
    losses, others = module.train(model, given)
    output = module.evaluate(model, given).numpy()
    return np.array(losses), np.array(others), output, before, {name: np.asarray(value) for name, value in model.state_dict().items()}


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch with one thread: these networks are small, and threads that wait for each other slow them down tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_pytorch_model_trains_after_torch_is_replaced_by_minidiff_in_its_imports(path):
    """20 steps in float64 from the same weights, on the same batches: losses, an output, all weights to 1e-9.

    Both round differently, and training amplifies it; 1e-9 leaves room for a factor of 1e6 and for nothing else.
    """
    given = batches(np.float64)
    losses, others, output, weights, final = trained(as_written(path), torch.from_numpy, given, np.float64, None)
    ours = trained(with_minidiff(path), minidiff.tensor, given, np.float64, weights)
    for found, expected in zip(ours[:3], (losses, others, output)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert losses[-BATCHES:].mean() < losses[:BATCHES].mean()
    assert list(ours[4]) == list(final)
    for name, value in final.items():
        np.testing.assert_allclose(ours[4][name], value, rtol=0, atol=1e-9 * max(1.0, np.abs(value).max()), err_msg=name)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_it_trains_in_float32_too(path):
    """All losses of 20 steps, and the output after them, to 1e-5: rounding, a hundred times.

    Now and then the input of a ReLU is within rounding of 0: it opens in one library and not in the other, and the losses part. So a run
    that parts is followed by another from new weights, up to eight. Every run agrees in its first loss. Single weights
    are not compared: some have no influence (the bias of the keys, which softmax cancels), and Adam makes whole steps of their rounding.
    """
    given = batches(np.float32)
    apart = []
    for _ in range(8):
        losses, _, output, weights, _ = trained(as_written(path), torch.from_numpy, given, np.float32, None)
        ours = trained(with_minidiff(path), minidiff.tensor, given, np.float32, weights)
        assert ours[2].dtype == output.dtype == np.float32
        np.testing.assert_allclose(ours[0][0], losses[0], rtol=2e-6)
        np.testing.assert_allclose(ours[0], losses, rtol=5e-2)
        apart.append(max(np.abs(ours[0] / losses - 1).max(), np.abs(ours[2] - output).max() / np.abs(output).max()))
        if apart[-1] < 1e-5:
            return
    pytest.fail(f"relative differences of eight runs: {apart}")


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_modules_print_as_the_same_tree(path):
    """The paths and classes of both, line by line; options are printed as each library likes."""
    tree = lambda module: re.findall(r"^ *\(\w+\): \w+", repr(module.build()), re.MULTILINE)
    theirs = [line.replace("NonDynamicallyQuantizableLinear", "Linear") for line in tree(as_written(path))]
    assert tree(with_minidiff(path)) == theirs and len(theirs) > 10
