"""`summary` against counts by hand."""

import numpy as np
import pytest

from minidiff import nn
from minidiff.nn import summary


class Net(nn.Module):
    """A convolution, its transpose, a shared matrix used twice, attention; and what does not run."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 8, 3, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2, bias=False)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
        self.again = nn.Linear(5, 5)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.unused = nn.Linear(7, 7)
        self.table = nn.Embedding(10, 4)
        self.tied = self.again

    def forward(self, x, index):
        x = self.up(self.norm(self.conv(x)))
        tokens, _ = self.attention(*[self.table(index)] * 3, need_weights=False)
        return self.tied(self.again(self.head(x))), tokens


def test_parameters_and_multiply_adds_are_those_counted_by_hand():
    """Every layer: its own numbers, its own products; the columns add up to the totals."""
    net = Net()
    found = summary(net, (2, 3, 4, 4), np.zeros((2, 6), np.int64))
    rows = {row.path: (row.kind, row.output_shape, row.parameters, row.multiply_adds) for row in found.rows}
    assert rows == {
        "": ("Net", ((2, 5), (2, 6, 4)), 0, 0),
        "conv": ("Conv2d", (2, 8, 4, 4), 8 * 3 * 9 + 8, 2 * 8 * 16 * 27),
        "norm": ("BatchNorm2d", (2, 8, 4, 4), 16, 0),
        "up": ("ConvTranspose2d", (2, 4, 8, 8), 8 * 4 * 4, 2 * 8 * 16 * 4 * 4),
        "head": ("Sequential", (2, 5), 0, 0),
        "head.0": ("Flatten", (2, 256), 0, 0),
        "head.1": ("Linear", (2, 5), 256 * 5 + 5, 2 * 256 * 5),
        "again": ("Linear", (2, 5), 30, 2 * (2 * 5 * 5)),
        "attention": ("MultiheadAttention", ((2, 6, 4), None), 12 * 4 + 12, 2 * 6 * 4 * 12 + 2 * 2 * 6 * 6 * (2 + 2)),
        "attention.out_proj": ("Linear", (2, 6, 4), 20, 2 * 6 * 4 * 4),
        "unused": ("Linear", None, 56, 0),
        "table": ("Embedding", (2, 6, 4), 40, 0),
    }
    assert found.parameters == found.trainable == net.count_parameters()
    assert found.multiply_adds == sum(row.multiply_adds for row in found.rows)


def test_the_table_names_every_module_and_ends_in_the_totals():
    """One line each, as wide as its columns."""
    net = Net()
    net.conv.requires_grad_(False)
    lines = str(summary(net, (1, 3, 4, 4), np.zeros((1, 6), np.int64))).splitlines()
    assert lines[0].split() == ["module", "kind", "output", "shape", "parameters", "multiply-adds"]
    assert [line.split()[0] for line in lines[2:-2]] == ["(all)", *(name for name, _ in net.named_modules() if name)]
    assert lines[-1].split() == ["total", f"{net.count_parameters() - 224:,}", "trainable", f"{net.count_parameters():,}", "7,506"]
    assert "unused" in str(lines) and len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("grouped", [1, 2, 4])
def test_groups_and_padding_are_counted_as_they_run(grouped):
    """A grouped convolution takes 1 / groups of the products; what pads counts nothing."""
    net = nn.Conv2d(4, 8, 3, padding="same", padding_mode="reflect", groups=grouped)
    assert summary(net, (1, 4, 5, 5)).multiply_adds == 8 * 25 * 9 * 4 // grouped


def test_the_network_is_left_as_it_was():
    """Mode, statistics, weights, attributes; also when the input does not fit."""
    net = Net()
    net.attention.eval()
    before, attributes = net.state_dict(), {name: set(vars(module)) for name, module in net.named_modules()}
    summary(net, (1, 3, 4, 4), np.zeros((1, 6), np.int64))
    with pytest.raises(ValueError, match="conv2d"):
        summary(net, (1, 5, 4, 4), np.zeros((1, 6), np.int64))
    assert net.training and net.norm.training and not net.attention.training
    assert {name: set(vars(module)) for name, module in net.named_modules()} == attributes
    assert all(net.state_dict()[name] is array for name, array in before.items())


def test_a_u_net_costs_what_its_layers_cost():
    """The largest part by the formulas of its convolutions; times are host integers."""
    from minidiff.models import UNet, UNetConfig

    net = UNet(UNetConfig(sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4))
    found = summary(net, (2, 1, 8, 8), np.array([3, 5]))
    assert found.parameters == net.count_parameters()
    by_path = dict(net.named_modules())
    for row in found.rows:
        if row.kind == "Conv2d":
            assert row.multiply_adds == np.prod(row.output_shape) * np.prod(by_path[row.path].weight.shape[1:]), row.path
