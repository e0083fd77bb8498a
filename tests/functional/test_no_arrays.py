"""What is no array is refused by the function it was given to: lists, and the arrays of libraries that minidiff does not compute with."""

import pytest

from minidiff import functional as F
from minidiff import ones


class Foreign:
    """As another library's tensor looks: it has a shape and a dtype, but not NumPy's."""

    shape, ndim, dtype = (2, 3), 2, "foreign.float32"


IMAGE, KERNEL, ROWS = ones(1, 2, 4, 4), ones(2, 2, 3, 3), ones(2, 3)
CALLS = {
    "conv2d": lambda x: F.conv2d(x, KERNEL),
    "conv2d weight": lambda x: F.conv2d(IMAGE, x),
    "conv_transpose1d bias": lambda x: F.conv_transpose1d(ones(1, 2, 4), ones(2, 2, 3), x),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "unfold": lambda x: F.unfold(x, 2),
    "linear": lambda x: F.linear(x, ROWS),
    "matmul": lambda x: F.matmul(ROWS, x),
    "softmax": lambda x: F.softmax(x, 0),
    "leaky_relu": F.leaky_relu,
    "mse_loss": lambda x: F.mse_loss(ROWS, x),
    "cross_entropy": lambda x: F.cross_entropy(ROWS, x),
    "nll_loss": lambda x: F.nll_loss(ROWS, x),
    "embedding": lambda x: F.embedding(x, ROWS),
    "exp": F.exp,
    "add": lambda x: F.add(x, 1.0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("given", [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], Foreign()], ids=["list", "foreign"])
def test_what_is_no_array_is_refused_by_name(call, given):
    """The message begins with the function's name and says what it got."""
    with pytest.raises(TypeError, match=rf"^{call.split()[0]}: .* got .*({type(given).__name__})"):
        CALLS[call](given)
