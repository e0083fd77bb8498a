"""Modules: names, weights in and out, modes."""

import numpy as np
import pytest

from minidiff import nn, tensor
from minidiff.random import Generator


class Pair(nn.Module):
    """Two linear layers that share one weight, and a list."""

    def __init__(self):
        self.first = nn.Linear(3, 3, generator=Generator(0))
        self.second = nn.Linear(3, 3, generator=Generator(1))
        self.second.weight = self.first.weight
        self.rest = nn.ModuleList([nn.GroupNorm(1, 2), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Function(abs))])

    def forward(self, x):
        """(N, 3) -> (N, 3)."""
        return self.second(self.first(x))


def test_names_are_the_paths_of_attributes_and_shared_parameters_occur_once():
    """Against the list written by hand, in the order of setting."""
    names = [name for name, _ in Pair().named_parameters()]
    assert names == ["first.weight", "first.bias", "second.bias", "rest.0.weight", "rest.0.bias", "rest.1.0.weight", "rest.1.0.bias"]
    assert "second.weight" in Pair().state_dict()
    assert Pair().count_parameters() == 9 + 3 + 3 + 2 + 2 + 18 + 2


def test_a_shared_parameter_gets_the_gradient_of_both_uses():
    """d sum(W W x) / dW by the product rule, with the biases off."""
    pair = Pair()
    pair.first.bias = pair.second.bias = None
    x = np.array([[1.0, 2.0, -1.0]], np.float32)
    pair(x).sum().backward()
    w, ones = pair.first.weight.data.astype(float), np.ones(3)
    expected = np.outer(ones, x[0] @ w.T) + np.outer(w.T @ ones, x[0])
    np.testing.assert_allclose(pair.first.weight.grad.numpy(), expected, rtol=1e-5)


def test_weights_go_out_and_come_back():
    """Into another module with other weights: then both compute the same."""
    one, other = Pair(), Pair()
    other.first.weight.data = one.first.weight.data + 1
    assert not np.allclose(one(np.eye(3, dtype=np.float32)).numpy(), other(np.eye(3, dtype=np.float32)).numpy())
    other.load_state_dict({name: array.astype(np.float64) for name, array in one.state_dict().items()})
    np.testing.assert_array_equal(one(np.eye(3, dtype=np.float32)).numpy(), other(np.eye(3, dtype=np.float32)).numpy())
    assert {p.dtype for p in other.parameters()} == {np.dtype(np.float32)}


def test_wrong_weights_are_refused_by_name_and_change_nothing():
    """Missing, unexpected and misshapen, all in one message."""
    pair = Pair()
    before = {name: array.copy() for name, array in pair.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    del state["first.bias"]
    state["third.weight"] = np.zeros(3)
    state["rest.0.weight"] = np.zeros(5)
    with pytest.raises(ValueError, match=r"Pair: missing first.bias; unexpected third.weight; "
                                         r"rest.0.weight has shape \(5,\), expected \(2,\)"):
        pair.load_state_dict(state)
    for name, array in pair.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_train_and_eval_reach_every_module_and_dropout_obeys():
    """Dropout drops in training and is the identity in evaluation."""
    net = nn.Sequential(nn.Dropout(0.5, generator=Generator(0)), nn.Sequential(nn.Dropout(0.5, generator=Generator(1))))
    x = np.ones((4, 1000), np.float32)
    assert set(np.unique(net(x))) == {0.0, 2.0, 4.0} or set(np.unique(net(x))) == {0.0, 4.0}
    assert all(not module.training for module in net.eval().modules())
    np.testing.assert_array_equal(net(x), x)


def test_to_changes_the_dtype_and_drops_gradients():
    """All parameters; float64 in, float64 out."""
    pair = Pair()
    pair(np.ones((1, 3), np.float32)).sum().backward()
    pair.to(dtype="float64")
    assert {p.dtype for p in pair.parameters()} == {np.dtype(np.float64)}
    assert all(p.grad is None for p in pair.parameters())
    assert pair(np.ones((1, 3))).dtype == np.float64


class Counter(nn.Module):
    """A parameter, three kinds of buffers, a place left empty, and a module inside."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tensor([2.0]), requires_grad=False)
        self.register_parameter("shift", None)
        self.register_buffer("mean", np.zeros(2, np.float32))
        self.register_buffer("steps", tensor(3))
        self.register_buffer("cache", np.ones(5), persistent=False)
        self.register_buffer("nothing", None)
        self.inner = nn.BatchNorm1d(2)

    def forward(self, x):
        """Counts its calls."""
        self.steps = self.steps + 1
        return x * self.scale


def test_buffers_are_state_but_nothing_to_be_learned():
    """Against the lists written by hand, also after a buffer got a new value."""
    module = Counter()
    module(np.ones(2, np.float32))
    assert module.steps.item() == 4
    assert list(module.state_dict()) == ["scale", "mean", "steps", "inner.weight", "inner.bias", "inner.running_mean", "inner.running_var",
                                         "inner.num_batches_tracked"]
    assert [name for name, _ in module.named_buffers()] == ["mean", "steps", "cache", "inner.running_mean", "inner.running_var",
                                                            "inner.num_batches_tracked"]
    assert [name for name, _ in module.named_parameters("top")] == ["top.scale", "top.inner.weight", "top.inner.bias"]
    assert [name for name, _ in module.named_parameters(recurse=False)] == ["scale"]
    assert len(list(module.buffers(recurse=False))) == 3 and not module.scale.requires_grad
    module.mean = np.zeros(2)
    with pytest.raises(TypeError, match="Counter: the buffer mean became a ndarray; set it to a Tensor"):
        module.state_dict()


def test_buffers_are_loaded_and_moved_with_the_parameters():
    """Floating-point ones change their dtype, integers stay; loading goes through another module."""
    module, other = Counter(), Counter()
    state = {name: array + 1 for name, array in module.state_dict().items()}
    assert other.load_state_dict(state) == ([], [])
    assert other.steps.item() == 4 and other.inner.num_batches_tracked.item() == 1 and (other.inner.running_var.numpy() == 2).all()
    other.double()
    assert other.mean.dtype == other.cache.dtype == other.scale.dtype == np.float64 and other.steps.dtype == np.int64
    assert other.half().mean.dtype == np.float16 and other.float().inner.weight.dtype == np.float32
    assert other.to(np.float64).mean.dtype == np.float64 and other.to("float32").mean.dtype == np.float32 and other.cpu() is other
    with pytest.raises(TypeError, match="to: dtype int64; a module can be float16, float32 or float64"):
        other.to(dtype=np.int64)


def test_what_is_loaded_may_come_from_anywhere_and_is_copied():
    """NumPy, Tensors, numbers, whatever speaks DLPack; the module does not see later changes."""

    class Foreign:
        """Another library's tensor: it has only DLPack and a shape."""

        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    source = np.array([5.0, 6.0])
    module = nn.Linear(2, 1)
    module.load_state_dict({"weight": Foreign(source[None]), "bias": tensor([7.0])})
    source[:] = 0
    assert module.weight.numpy().tolist() == [[5.0, 6.0]] and module.weight.dtype == np.float32 and module.bias.item() == 7.0
    module.load_state_dict({"weight": [[1, 2]], "bias": nn.Parameter(np.zeros(1))})
    assert module.weight.numpy().tolist() == [[1.0, 2.0]] and module.bias.item() == 0.0


def test_loading_what_fits_passes_names_over_but_never_shapes():
    """strict=False returns both lists."""
    module = nn.Linear(2, 1)
    found = module.load_state_dict({"weight": np.ones((1, 2)), "more": np.ones(3)}, strict=False)
    assert found.missing_keys == ["bias"] and found.unexpected_keys == ["more"] and (module.weight.numpy() == 1).all()
    with pytest.raises(ValueError, match=r"weight has shape \(2, 2\), expected \(1, 2\)"):
        module.load_state_dict({"weight": np.ones((2, 2))}, strict=False)


def test_weights_travel_in_safetensors_files(tmp_path):
    """Out with save_file, in with load_file, as PyTorch's do."""
    from safetensors.numpy import load_file, save_file

    one, other = Counter(), Counter()
    one.inner.running_mean = tensor([4.0, 5.0])
    save_file(one.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert other.inner.running_mean.numpy().tolist() == [4.0, 5.0]


def test_modules_are_found_by_their_paths():
    """Each once, depth first; get_submodule goes the same way."""
    pair = Pair()
    assert [name for name, _ in pair.named_modules()] == ["", "first", "second", "rest", "rest.0", "rest.1", "rest.1.0", "rest.1.1"]
    assert all(pair.get_submodule(name) is module for name, module in pair.named_modules())
    assert list(pair.children()) == [pair.first, pair.second, pair.rest]
    with pytest.raises(AttributeError, match=r"get_submodule: no '7' on the path 'rest\.7': ModuleList has 0, 1"):
        pair.get_submodule("rest.7")
    pair.alias = pair.first
    assert len(list(pair.modules())) == 8 and "alias.weight" in pair.state_dict()


def test_a_function_is_applied_from_the_inside_out():
    """Children before parents, each module once."""
    seen = []
    pair = Pair()
    assert pair.apply(lambda module: seen.append(type(module).__name__)) is pair
    assert seen == ["Linear", "Linear", "GroupNorm", "Conv2d", "Function", "Sequential", "ModuleList", "Pair"]


def test_frozen_parameters_get_no_gradient():
    """And count among those that are not learned, until they are thawed."""
    pair = Pair()
    pair.first.requires_grad_(False)
    pair(np.ones((1, 3), np.float32)).sum().backward()
    assert pair.first.weight.grad is None and pair.second.bias.grad is not None
    assert pair.requires_grad_() is pair and all(p.requires_grad for p in pair.parameters())


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda m: m.register_buffer("a.b", None), ValueError, "Counter: 'a.b' cannot be a name"),
    (lambda m: m.register_buffer("forward", None), ValueError, "Counter: 'forward' is already the name of something else"),
    (lambda m: m.register_parameter("p", np.zeros(3)), TypeError, "register_parameter: expected a Parameter or None, got ndarray"),
    (lambda m: m.add_module("m", 3), TypeError, "add_module: expected a Module for 'm', got int"),
    (lambda m: nn.Parameter(np.zeros(3, int)), TypeError, "only floating-point"),
    (lambda m: m.zero_grad(set_to_none=False), ValueError, "zero_grad: set_to_none=False is not offered"),
])
def test_what_cannot_be_owned_is_refused(call, error, message):
    """By name."""
    with pytest.raises(error, match=message):
        call(Counter())


def test_a_copied_module_is_another_one():
    """Values are equal and go their own ways; so does a generator that was given."""
    import copy

    one = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5, generator=Generator(7)))
    other = copy.deepcopy(one)
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(one(x).numpy(), other(x).numpy())
    one[0].weight.data = one[0].weight.data + 1
    assert not np.allclose(one.eval()(x).numpy(), other.eval()(x).numpy())


def test_a_module_without_forward_says_so():
    """Instead of returning None."""
    with pytest.raises(TypeError, match="Module defines no forward"):
        nn.Module()(1)


def test_a_parameter_is_not_lost_to_a_tensor_that_takes_its_name():
    """layer.weight = tensor would drop it from parameters(), layer.weight -= ... too, p -= ... would change nothing; refused."""
    layer = nn.Linear(2, 2)
    names = [name for name, _ in layer.named_parameters()]
    values = layer.weight.data.copy()
    for given in (tensor(values + 1), values + 1, nn.Identity()):
        with pytest.raises(TypeError, match="Linear: weight is a parameter"):
            layer.weight = given
    with pytest.raises(TypeError, match=r"Parameter: .*p\.data ="):
        layer.weight -= 0.1
    for parameter in layer.parameters():
        with pytest.raises(TypeError, match="Parameter: "):
            parameter *= 2
    assert [name for name, _ in layer.named_parameters()] == names
    np.testing.assert_array_equal(layer.weight.data, values)
    layer.weight.data = tensor(values) + 1
    assert isinstance(layer.state_dict()["weight"], np.ndarray)
    np.testing.assert_array_equal(layer.weight.data, values + 1)
    layer.weight = nn.Parameter(values + 1)
    np.testing.assert_array_equal(layer.weight.data, values + 1)
    layer.weight = None
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
