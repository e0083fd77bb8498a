"""Modules that hold modules."""

from collections import OrderedDict

import numpy as np
import pytest

from minidiff import nn


def paths(module):
    return [name for name, _ in module.named_modules()]


def test_a_row_is_indexed_cut_and_changed_like_a_list():
    """Against a list that goes through the same."""
    layers = [nn.Identity() for _ in range(5)]
    row, model = nn.ModuleList(layers[:2]), layers[:2]
    for change in (lambda r: r.append(layers[2]), lambda r: r.extend(layers[3:]), lambda r: r.insert(1, layers[0]),
                   lambda r: r.insert(-1, layers[1]), lambda r: r.__setitem__(0, layers[4]), lambda r: r.__delitem__(2),
                   lambda r: r.__delitem__(slice(0, 2))):
        change(row)
        change(model)
        assert list(row) == model and len(row) == len(model)
        assert [name for name, _ in row.named_children()] == [str(i) for i in range(len(model))]
        assert [row[i] for i in range(-len(row), len(row))] == [model[i] for i in range(-len(row), len(row))]
        assert isinstance(row[1:], nn.ModuleList) and list(row[1:]) == model[1:] and list(row[::-2]) == model[::-2]
    with pytest.raises(IndexError, match=r"ModuleList: index 9 of 4 modules"):
        row[9]


def test_sequential_composes_and_keeps_the_names_it_was_given():
    """f_2(f_1(x)); names from a dict; a slice keeps them; what is appended goes on counting."""
    doubled, increased = nn.Function(lambda x: x * 2), nn.Function(lambda x: x + 1)
    net = nn.Sequential(OrderedDict(twice=doubled, increase=increased))
    assert net(3) == 7 and nn.Sequential(increased, doubled)(3) == 8 and nn.Sequential()(3) == 3
    assert paths(net) == ["", "twice", "increase"] and net[0] is net.twice is doubled
    assert paths(net[1:]) == ["", "increase"] and net[-1:](3) == 4
    assert net.append(doubled)(3) == 14 and net[2] is doubled


def test_a_module_dict_is_a_dict():
    """Against a dict that goes through the same; names that make no path are refused."""
    one, two = nn.Identity(), nn.Identity()
    found, model = nn.ModuleDict({"a": one}), {"a": one}
    for d in (found, model):
        d["b"] = two
        d.update({"c": one})
        d.update([("b", one)])
        assert d.pop("a") is one
    assert dict(found.items()) == model and list(found) == list(model) == ["b", "c"] and len(found) == 2
    assert list(found.keys()) == list(model) and list(found.values()) == list(model.values()) and "b" in found and "a" not in found
    del found["b"]
    assert paths(found) == ["", "c"]
    for key in ("a.b", "", "keys"):
        with pytest.raises(ValueError, match=f"ModuleDict: '{key}'"):
            found[key] = one
    with pytest.raises(KeyError):
        found["b"]
    with pytest.raises(TypeError, match="expected a Module"):
        found["d"] = abs


def test_a_residual_block_adds_its_shortcut():
    """x + f(x) by hand; with a shortcut s(x) + f(x); further arguments go to the body."""
    x = np.arange(3.0)
    triple = nn.Function(lambda x, y=0.0: 3 * x + y)
    np.testing.assert_array_equal(nn.ResidualBlock(triple)(x), 4 * x)
    np.testing.assert_array_equal(nn.ResidualBlock(triple, nn.Function(np.square))(x), 3 * x + x * x)

    class Body(nn.Module):
        def forward(self, x, y):
            return x * y

    np.testing.assert_array_equal(nn.ResidualBlock(Body())(x, x), x + x * x)
