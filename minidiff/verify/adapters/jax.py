"""JAX as an implementation: jax.nn, jax.lax, jax.numpy and jax.image, with gradients by jax.vjp. float32, on JAX's default device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from minidiff.verify.adapters.composed import factors
from minidiff.verify.implementation import Unsupported, by_name
from minidiff.verify.suite import Task, cotangent_of

SPATIAL = {3: "W", 4: "HW", 5: "DHW"}
"""Names of the dimensions of space by the number of all."""


def refuse(lacks: Mapping[str, bool]) -> None:
    """Raise Unsupported for the first of these that is true: what JAX does not have, in words."""
    for what, lacking in lacks.items():
        if lacking:
            raise Unsupported(f"JAX has no {what}")


# -- activations -------------------------------------------------------------------------------------------------------


def of_input(function: Callable[..., Any], **names: str) -> Callable[..., Any]:
    """A function of the input alone, and of these settings by the names they have there."""
    return lambda inputs, settings: function(inputs["input"], **{theirs: settings[ours] for ours, theirs in names.items()})


def softplus(inputs, settings):
    """`jax.nn.softplus`, whose beta is 1."""
    refuse({"beta in its softplus": settings["beta"] != 1})
    return jax.nn.softplus(inputs["input"])


def logsumexp(inputs, settings):
    """`jax.nn.logsumexp`; the dimensions as a tuple."""
    dim = settings["dim"]
    return jax.nn.logsumexp(inputs["input"], axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=settings["keepdim"])


# -- convolution and products ------------------------------------------------------------------------------------------


def dimensions(x: Any) -> tuple[str, str, str]:
    """The layouts of input, kernel and output, which are PyTorch's."""
    space = SPATIAL[x.ndim]
    return f"NC{space}", f"OI{space}", f"NC{space}"


def with_bias(y: Any, bias: Any) -> Any:
    """y plus a number for each channel, if there is one."""
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


def conv(inputs, settings):
    """`lax.conv_general_dilated`, which takes the padding as pairs, or as SAME."""
    x, padding = inputs["input"], settings["padding"]
    y = lax.conv_general_dilated(
        x, inputs["weight"], settings["stride"], "SAME" if padding == "same" else [(p, p) for p in padding],
        dimension_numbers=dimensions(x), rhs_dilation=settings["dilation"], feature_group_count=settings["groups"])
    return with_bias(y, inputs.get("bias"))


def downsample_conv2d(inputs, settings):
    """The same with a width for each side."""
    x, (left, right, top, below) = inputs["input"], settings["padding"]
    y = lax.conv_general_dilated(x, inputs["weight"], settings["stride"], [(top, below), (left, right)], dimension_numbers=dimensions(x))
    return with_bias(y, inputs.get("bias"))


def conv_transpose(inputs, settings):
    """`lax.conv_transpose`, whose padding is that of the stretched input: what the kernel reaches less what PyTorch cuts off."""
    refuse({"groups in its conv_transpose": settings["groups"] != 1})
    x, weight = inputs["input"], inputs["weight"]
    reach = [d * (k - 1) for d, k in zip(settings["dilation"], weight.shape[2:])]
    padding = [(r - p, r - p + more) for r, p, more in zip(reach, settings["padding"], settings["output_padding"])]
    y = lax.conv_transpose(x, weight, settings["stride"], padding, rhs_dilation=settings["dilation"], dimension_numbers=dimensions(x),
                           transpose_kernel=True)
    return with_bias(y, inputs.get("bias"))


def linear(inputs, settings):
    """x W^T + b."""
    y = inputs["input"] @ inputs["weight"].T
    return y + inputs["bias"] if "bias" in inputs else y


# -- resampling --------------------------------------------------------------------------------------------------------


def window(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a window that slides over the last two dimensions."""
    size, stride = settings["kernel_size"], settings["stride"] or settings["kernel_size"]
    refuse({"windows that reach over the edge": settings["ceil_mode"], "indices of its windows": settings.get("return_indices", False)})
    return {"window_dimensions": (1, 1, *size), "window_strides": (1, 1, *stride),
            "padding": ((0, 0), (0, 0), *((p, p) for p in settings["padding"])),
            "window_dilation": (1, 1, *settings.get("dilation", (1, 1)))}


def max_pool2d(inputs, settings):
    """`lax.reduce_window` with the maximum."""
    refuse({"gradient of a largest value in a window with gaps": max(settings["dilation"]) > 1})
    return lax.reduce_window(inputs["input"], -jnp.inf, lax.max, **window(settings))


def avg_pool2d(inputs, settings):
    """`lax.reduce_window` with the sum, divided by how many count."""
    x, where = inputs["input"], window(settings)
    count = settings["divisor_override"] or int(np.prod(settings["kernel_size"]))
    if not settings["count_include_pad"]:
        count = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, **where)
    return lax.reduce_window(x, 0.0, lax.add, **where) / count


RESIZES = {"nearest": "nearest", "nearest-exact": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear",
           "bicubic": "cubic", "lanczos": "lanczos3"}


def interpolate(inputs, settings):
    """`jax.image.resize`, to a size."""
    x, mode, factor = inputs["input"], settings["mode"], settings["scale_factor"]
    refuse({f"resize with mode {mode}": mode not in RESIZES, "resize with aligned corners": bool(settings["align_corners"]),
            "resize by a factor that the sizes do not have": factor is not None and settings["recompute_scale_factor"] is False})
    size = settings["size"] or [int(old * f) for old, f in zip(x.shape[2:], factor)]
    return jax.image.resize(x, (*x.shape[:2], *size), RESIZES[mode], antialias=settings["antialias"])


def pad(inputs, settings):
    """`jnp.pad`, whose widths are pairs from the first dimension on."""
    x, widths = inputs["input"], settings["pad"]
    refuse({"padding that crops": min(widths) < 0})
    pairs = list(zip(widths[::2], widths[1::2]))[::-1]
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[settings["mode"]]
    value = {"constant_values": settings["value"] or 0.0} if mode == "constant" else {}
    return jnp.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, mode, **value)


# -- norms, attention, embeddings --------------------------------------------------------------------------------------


def layer_norm(inputs, settings):
    """`jax.nn.standardize` over the last dimensions, then weight and bias."""
    axes = tuple(range(-len(settings["normalized_shape"]), 0))
    y = jax.nn.standardize(inputs["input"], axis=axes, epsilon=settings["eps"])
    return y * inputs["weight"] + inputs["bias"] if "weight" in inputs else y


def instance_norm(inputs, settings):
    """`jax.nn.standardize` over the positions, then weight and bias."""
    x = inputs["input"]
    refuse({"norm with known statistics": not settings["use_input_stats"]})
    y = jax.nn.standardize(x, axis=tuple(range(2, x.ndim)), epsilon=settings["eps"])
    channels = (-1, *[1] * (x.ndim - 2))
    return y * inputs["weight"].reshape(channels) + inputs["bias"].reshape(channels) if "weight" in inputs else y


def scaled_dot_product_attention(inputs, settings):
    """It wants the heads behind the positions."""
    q, k, v = (inputs[name] for name in ("query", "key", "value"))
    refuse({"attention without batch and heads": q.ndim != 4, "attention whose values have another size than its keys": k.shape != v.shape,
            "attention that broadcasts keys": q.shape[0] != k.shape[0]})
    mask = inputs.get("attn_mask")
    if mask is not None:
        mask = jnp.broadcast_to(mask, (*[1] * (4 - mask.ndim), *mask.shape))
    added = mask is not None and jnp.issubdtype(mask.dtype, jnp.floating)
    y = jax.nn.dot_product_attention(
        *(x.swapaxes(1, 2) for x in (q, k, v)), bias=mask if added else None, mask=None if added or mask is None else mask != 0,
        scale=settings["scale"], is_causal=settings["is_causal"])
    return y.swapaxes(1, 2)


OPERATIONS = {
    "relu": of_input(jax.nn.relu),
    "leaky_relu": of_input(jax.nn.leaky_relu, negative_slope="negative_slope"),
    "silu": of_input(jax.nn.silu),
    "gelu": lambda inputs, settings: jax.nn.gelu(inputs["input"], approximate=settings["approximate"] == "tanh"),
    "sigmoid": of_input(jax.nn.sigmoid),
    "tanh": of_input(jnp.tanh),
    "softplus": softplus,
    "logsigmoid": of_input(jax.nn.log_sigmoid),
    "softmax": of_input(jax.nn.softmax, dim="axis"),
    "log_softmax": of_input(jax.nn.log_softmax, dim="axis"),
    "logsumexp": logsumexp,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), conv_transpose),
    "downsample_conv2d": downsample_conv2d,
    "linear": linear,
    "matmul": lambda inputs, settings: jnp.matmul(inputs["input"], inputs["other"]),
    "einsum": lambda inputs, settings: jnp.einsum(settings["equation"], *factors(inputs)),
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "interpolate": interpolate,
    "pad": pad,
    "layer_norm": layer_norm,
    "instance_norm": instance_norm,
    "scaled_dot_product_attention": scaled_dot_product_attention,
}


class Jax:
    """JAX in float32."""

    def __init__(self) -> None:
        self.name = f"JAX {jax.__version__} float32 on {jax.default_backend()}"
        self.operations = OPERATIONS

    def run(self, task: Task) -> dict[str, np.ndarray]:
        """The outputs by name. Raises Unsupported for an operation that JAX does not have."""
        if task.operation not in self.operations:
            raise Unsupported(f"{self.name} has no {task.operation}")
        inputs = {name: jnp.asarray(values) for name, values in task.inputs.items()}
        cotangents = {output: inputs.pop(name) for name in task.inputs if (output := cotangent_of(name))}
        names, settings = task.gradients, dict(task.settings)
        call = lambda *wanted: by_name(self.operations[task.operation]({**inputs, **dict(zip(names, wanted))}, settings))
        outputs, gradients = self.with_gradients(call, [inputs[name] for name in names], cotangents)
        return {name: np.asarray(x) for name, x in (outputs | dict(zip([f"grad.{name}" for name in names], gradients))).items()}

    def with_gradients(self, call: Callable[..., Any], wanted: Sequence[Any], cotangents: Mapping[str, Any]) -> tuple[dict, Sequence[Any]]:
        """The outputs, and the gradients of the sum over them of (output * cotangent).sum() for the arguments."""
        if not wanted:
            return call(), []
        outputs, back = jax.vjp(call, *wanted)
        return outputs, back({name: cotangents.get(name, jnp.zeros_like(x)) for name, x in outputs.items()})


def implementation() -> Jax:
    """JAX, as it is installed."""
    return Jax()
