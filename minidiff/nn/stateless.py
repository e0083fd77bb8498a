"""Layers without parameters: a function of `minidiff.functional` with fixed options, which are the constructor's arguments.

They are a table. `layer_of(F.leaky_relu)` is a class whose constructor takes what `F.leaky_relu` takes after its input, and whose forward
calls it; the arguments are attributes of the layer. Arrays among them (class weights of a loss) are buffers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import backend
from minidiff import functional as F
from minidiff.random import Generator

from .module import Module, generator_or_fresh


class Function(Module):
    """A function without parameters as a module, with fixed options: Function(F.gelu), Function(F.max_pool2d, 2)."""

    def __init__(self, function: Any, *args: Any, **options: Any) -> None:
        self.function, self.args, self.options = function, args, options

    def forward(self, input: Any) -> Any:
        """function(x, *args, **options)."""
        return self.function(input, *self.args, **self.options)

    def extra_repr(self) -> str:
        options = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.options.items())]
        return ", ".join([getattr(self.function, "__name__", repr(self.function)), *options])


def refuse_inplace(kind: str, inplace: bool) -> None:
    """Raise TypeError for inplace=True, which stands in much code; False says nothing."""
    if inplace:
        raise TypeError(f"{kind}: inplace=True is not offered: arrays are values, nothing writes into its input; leave it out")


class _Stateless(Module):
    """A function with fixed options; see `layer_of`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        refuse_inplace(type(self).__name__, options.pop("inplace", False))
        if len(args) == len(self.__signature__.parameters) + 1 and isinstance(args[-1], bool):  # ReLU(True), LeakyReLU(0.2, True)
            *args, inplace = args
            refuse_inplace(type(self).__name__, inplace)
        try:
            arguments = self.__signature__.bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}; it takes {self.__signature__}") from None
        arguments.apply_defaults()
        for name, value in arguments.arguments.items():
            if hasattr(backend.to_array(value), "dtype"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Any, **named_inputs: Any) -> Any:
        """function(*inputs, **options)."""
        options = {name: getattr(self, name) for name in self.__signature__.parameters}
        return type(self).function(*inputs, **named_inputs, **options)

    def extra_repr(self) -> str:
        options = {name: getattr(self, name) for name in self.__signature__.parameters}
        return ", ".join(f"{name}={value!r}" for name, value in options.items()
                         if value is not None and not hasattr(value, "dtype"))


def layer_of(function: Callable[..., Any], *names: str, inputs: int = 1, **defaults: Any) -> type[_Stateless]:
    """A class of modules that call `function` on `inputs` arrays with fixed options.

    names: of the options, in the constructor's order; without any, all that follow the inputs. defaults: where they differ from the
    function's. The class is named after the variable it is assigned to.
    """
    parameters = inspect.signature(function).parameters
    chosen = [parameters[name].replace(default=defaults.get(name, parameters[name].default), kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
              for name in names or [*parameters][inputs:]]
    return type("layer", (_Stateless,), {
        "__module__": __name__, "__doc__": f"`functional.{function.__name__}` as a layer. {function.__doc__ or ''}",
        "function": staticmethod(function), "__signature__": inspect.Signature(chosen)})


# -- activations -----------------------------------------------------------------------------------------------------

ReLU = layer_of(F.relu)
LeakyReLU = layer_of(F.leaky_relu)
SiLU = layer_of(F.silu)
GELU = layer_of(F.gelu)
Sigmoid = layer_of(F.sigmoid)
Tanh = layer_of(F.tanh)
Softplus = layer_of(F.softplus)
LogSigmoid = layer_of(F.logsigmoid)
Softmax = layer_of(F.softmax, "dim")
LogSoftmax = layer_of(F.log_softmax, "dim")

# -- pooling ---------------------------------------------------------------------------------------------------------

MaxPool1d, MaxPool2d, MaxPool3d = (
    layer_of(function, "kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")
    for function in (F.max_pool1d, F.max_pool2d, F.max_pool3d))
AvgPool1d, AvgPool2d, AvgPool3d = (layer_of(function) for function in (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d))
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = (
    layer_of(function) for function in (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d))
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = (
    layer_of(function) for function in (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d))

# -- shape and resampling --------------------------------------------------------------------------------------------

Flatten = layer_of(F.flatten, start_dim=1)
Unfold = layer_of(F.unfold)
Fold = layer_of(F.fold)
PixelShuffle = layer_of(F.pixel_shuffle)
PixelUnshuffle = layer_of(F.pixel_unshuffle)
Upsample = layer_of(F.interpolate, "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")


def unflatten(input: Any, dim: int, unflattened_size: tuple[int, ...]) -> Any:
    """`functional.unflatten`, with the layer's name for the sizes."""
    return F.unflatten(input, dim, unflattened_size)


Unflatten = layer_of(unflatten)


def padding_of(dimensions: int, mode: str, **value: Any) -> type[_Stateless]:
    """A layer that pads the last dimensions: by an int on all sides, or by (left, right, top, bottom, ...)."""
    def pad(input: Any, padding: int | tuple[int, ...], value: float | None = None) -> Any:
        return F.pad(input, (padding,) * (2 * dimensions) if isinstance(padding, int) else padding, mode, value)

    return layer_of(pad, "padding", *value, **value)


ConstantPad1d, ConstantPad2d, ConstantPad3d = (
    padding_of(dimensions, "constant", value=inspect.Parameter.empty) for dimensions in (1, 2, 3))
ZeroPad1d, ZeroPad2d, ZeroPad3d = (padding_of(dimensions, "constant") for dimensions in (1, 2, 3))
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = (padding_of(dimensions, "reflect") for dimensions in (1, 2, 3))
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = (padding_of(dimensions, "replicate") for dimensions in (1, 2, 3))
CircularPad1d, CircularPad2d, CircularPad3d = (padding_of(dimensions, "circular") for dimensions in (1, 2, 3))

# -- losses and similarity -------------------------------------------------------------------------------------------

MSELoss = layer_of(F.mse_loss, "size_average", "reduce", "reduction")
L1Loss = layer_of(F.l1_loss, "size_average", "reduce", "reduction")
SmoothL1Loss = layer_of(F.smooth_l1_loss, inputs=2)
HuberLoss = layer_of(F.huber_loss, "reduction", "delta")
CrossEntropyLoss = layer_of(F.cross_entropy, inputs=2)
NLLLoss = layer_of(F.nll_loss, inputs=2)
BCELoss = layer_of(F.binary_cross_entropy, inputs=2)
BCEWithLogitsLoss = layer_of(F.binary_cross_entropy_with_logits, inputs=2)
KLDivLoss = layer_of(F.kl_div, inputs=2)
CosineSimilarity = layer_of(F.cosine_similarity, inputs=2)


# -- dropout ---------------------------------------------------------------------------------------------------------


class _Dropout(Module):
    """Dropout while training; the identity in evaluation. The generator is used, and moved on, at every call."""

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        refuse_inplace(type(self).__name__, inplace)
        if not isinstance(p, (int, float, np.number)):
            raise TypeError(f"{type(self).__name__}: p={p!r}; expected a number")
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{type(self).__name__}: p={p}; expected a probability, 0 to 1")
        self.p, self.generator = p, generator_or_fresh(generator)

    def forward(self, input: Any) -> Any:
        """Any shape -> the same shape."""
        return type(self).function(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout_of(function: Callable[..., Any]) -> type[_Dropout]:
    """A layer that calls one of the dropout functions."""
    return type("layer", (_Dropout,), {
        "__module__": __name__, "__doc__": f"{_Dropout.__doc__} {function.__doc__}", "function": staticmethod(function)})


Dropout, Dropout1d, Dropout2d, Dropout3d = (
    dropout_of(function) for function in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d))


__all__ = ["Function"]
for _name, _layer in list(globals().items()):
    if isinstance(_layer, type) and issubclass(_layer, (_Stateless, _Dropout)) and not _name.startswith("_"):
        _layer.__name__ = _layer.__qualname__ = _name
        __all__ += [_name]
