"""Arrays of any library: the few things beyond arithmetic that the formulas of this room need.

A formula adds and multiplies what it is given, so NumPy, CuPy, PyTorch and JAX arrays and Tensors all serve. What
arithmetic cannot say is here: a column of host numbers beside a batch, exp and log, a sum of several arrays in one pass,
and the checks that arrays belong together. Nothing is imported for it: a PyTorch tensor brings PyTorch along. Stands on
`minidiff.backend`. Read `lookup` next.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidiff.backend import array_module, asarray, device_of, is_foreign, to_array


def is_tensor(x: Any) -> bool:
    """Whether x is a minidiff Tensor."""
    return to_array(x) is not x


def namespace(x: Any) -> Any:
    """The module with the functions of an array's library: numpy, cupy, torch, jax.numpy."""
    if not is_foreign(x):
        return array_module(x)
    return x.__array_namespace__() if hasattr(x, "__array_namespace__") else sys.modules[_root(x)]


def _root(x: Any) -> str:
    root = type(x).__module__.partition(".")[0]
    return "jax" if root == "jaxlib" else root  # where JAX keeps its arrays; its tracers are at home in jax


def apply(function: str, x: Any) -> Any:
    """function(x) for a function of one array, "exp", "log", "sqrt", "tanh": the array's method if it has one, else its library's.

    Of a plain number a plain number, so that it does not upcast float32 data.
    """
    if isinstance(x, (int, float)):
        return float(getattr(np, function)(x))
    method = getattr(x, function, None)
    return getattr(namespace(x), function)(x) if method is None else method()


def like(values: Any, x: Any) -> Any:
    """Host numbers as an array in the library, device and dtype of x (a Tensor's: the plain array it holds)."""
    if not is_foreign(x):
        return asarray(values, device=device_of(x), dtype=x.dtype)
    if hasattr(x, "new_tensor"):
        return x.new_tensor(values)
    return namespace(x).asarray(values, dtype=x.dtype, device=getattr(x, "device", None))  # what jax.jit traces is nowhere yet


def column(values: np.ndarray, x: Any) -> Any:
    """(N,) host numbers as (N, 1, ..., 1), to multiply the batch x (N, ...)."""
    return like(np.asarray(values).reshape((-1,) + (1,) * (len(x.shape) - 1)), x)


def number(factor: Any) -> Any:
    """A plain number as a Python float, so that a NumPy scalar does not upcast float32 data; an array unchanged."""
    return factor if getattr(factor, "shape", ()) else float(factor)


def astype(x: Any, dtype: Any) -> Any:
    """x in another dtype of its library; `float` is the widest it computes with: float64, or float32 for JAX as it is delivered."""
    return x.to(dtype) if hasattr(x, "new_tensor") else x.astype(dtype)


def log_sum_exp(x: Any, axis: int) -> Any:
    """log sum exp(x) along an axis, which stays with length 1; nothing overflows, and not all can underflow."""
    largest = _largest(x, axis)
    return largest + apply("log", apply("exp", x - largest).sum(axis=axis, keepdims=True))


def log_softmax(x: Any, axis: int) -> Any:
    """x - log sum exp(x) along an axis: the logarithms of shares that sum to 1, however large x is."""
    off = x - _largest(x, axis)  # first: log_sum_exp of -10,000 in float32 has three decimal places, too few for the logarithm of a share
    return off - apply("log", apply("exp", off).sum(axis=axis, keepdims=True))


def _largest(x: Any, axis: int) -> Any:
    return (x.amax if hasattr(x, "amax") else x.max)(axis=axis, keepdims=True)  # torch's max returns the positions too


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, y elsewhere, elementwise."""
    return x.where(condition, y) if is_tensor(x) else namespace(x).where(condition, x, y)


def sort(x: Any) -> Any:
    """x in ascending order along its last axis."""
    return x.sort(dim=-1)[0] if is_tensor(x) or hasattr(x, "new_tensor") else namespace(x).sort(x, axis=-1)


def constant(x: Any) -> Any:
    """x for the formulas, but no way for gradients: detached, or stopped (JAX)."""
    if hasattr(x, "detach"):
        return x.detach()
    return sys.modules["jax"].lax.stop_gradient(x) if _root(x) == "jax" else x


def mean_flat(x: Any) -> Any:
    """The mean over all dimensions but the batch's: (N,)."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:])).mean(axis=1)


def is_floating(x: Any) -> bool:
    """Whether the elements are floating-point numbers, of any library."""
    if type(x) is np.ndarray:
        return x.dtype.kind == "f"  # the usual case: NumPy takes longer to say its dtype's name than to multiply a small array
    return "float" in str(getattr(x, "dtype", "float"))


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Arrays one after the other, along the batch or another axis."""
    first = to_array(arrays[0])
    return namespace(first).concatenate([to_array(x) for x in arrays], axis)


def check_alike(where: str, **arrays: Any) -> None:
    """Refuse arrays of different shapes or dtypes, which would broadcast or upcast silently, and of different devices.

    Raises ValueError (shapes), TypeError (dtypes, libraries), backend.DeviceError (devices); `where` begins the message.
    """
    (first_name, first), *others = arrays.items()
    for name, other in others:
        if type(first) is type(other) is np.ndarray and first.shape == other.shape and first.dtype == other.dtype:
            continue  # the usual case, in a tenth of the time
        if is_foreign(first) != is_foreign(other) or (is_foreign(first) and _root(first) != _root(other)):
            raise TypeError(f"{where}: expected {name} to be an array of the library of {first_name}, {_kind(first)}, got {_kind(other)}")
        for what, error in {"shape": ValueError, "dtype": TypeError}.items():
            expected, got = getattr(first, what, "a plain number"), getattr(other, what, "a plain number")
            if expected != got:
                raise error(f"{where}: expected {name} to have the {what} of {first_name}, {expected}, got {got}")
        array_module(first, other)


def _kind(x: Any) -> str:
    return f"{_root(x)}.{type(x).__name__}"


def check_batch(where: str, x: Any, name: str = "x", of_something: bool = False) -> None:
    """Refuse what is no batch, an array (N, ...) of floating-point numbers; of_something: also an empty one, of which there is no mean.

    Raises TypeError or ValueError; `where` begins the message.
    """
    if not hasattr(x, "dtype") or len(x.shape) == 0:
        raise ValueError(f"{where}: expected {name} of shape (N, ...), got {_shown(x)}; a batch of one has shape (1, ...)")
    if not is_floating(x):
        raise TypeError(f"{where}: expected {name} to be floating-point numbers, got dtype {x.dtype}; convert images to [-1, 1] first")
    if of_something and 0 in x.shape:
        raise ValueError(f"{where}: expected at least one number, to take a mean of; got {name} of shape {tuple(x.shape)}")


def check_numbers(where: str, **values: Any) -> None:
    """Raise TypeError, which begins with `where`, for a setting that is no real number."""
    for name, value in values.items():
        if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
            raise TypeError(f"{where}: expected {name} to be a number, got {_shown(value)}")


def check_counts(where: str, least: int = 1, **values: Any) -> None:
    """Raise TypeError for a count that is no int, ValueError for one below `least`; `where` begins the message."""
    for name, value in values.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            raise TypeError(f"{where}: expected {name} to be an int, got {_shown(value)}")
        if value < least:
            raise ValueError(f"{where}: expected {name} of at least {least}, got {value}")


def _shown(x: Any) -> str:
    shown = repr(x)
    return shown if len(shown) < 60 else f"a {type(x).__module__}.{type(x).__name__}"


def all_finite(x: Any) -> bool:
    """Whether no element is NaN or infinite."""
    x = to_array(x)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.dtype.itemsize >= 4 and x.flags.forc:
        flat = x.ravel(order="K")
        if math.isfinite(np.vdot(flat, flat)):  # one reading at BLAS's speed; an overflowing sum of squares proves nothing
            return True
    return bool((abs(x) < math.inf).all())  # false for NaN too


BLOCK = 1 << 19
"""Elements of each array that are worked on at a time: a few such pieces fit into a processor's cache."""


def fits(*arrays: Any) -> bool:
    """Whether these arrays are worth cutting into pieces: large, and all laid out in the same way."""
    first = arrays[0]
    return type(first) is np.ndarray and first.size > BLOCK and first.dtype in (np.float32, np.float64) and all(
        type(x) is np.ndarray and x.flags.c_contiguous and x.shape == first.shape and x.dtype == first.dtype for x in arrays)


def combine(*terms: tuple[float, Any]) -> Any:
    """c_1 x_1 + c_2 x_2 + ..., of arrays alike, in their dtype; terms whose factor is 0 are not read.

    On large NumPy arrays the sum is taken piece by piece, so that each array crosses the memory once.
    """
    terms = tuple((float(c), x) for c, x in terms if c != 0) or ((0.0, terms[0][1]),)
    first = terms[0][1]
    if fits(*(x for _, x in terms)):
        return _combine_in_pieces(terms)
    (c, x), *others = terms
    total = x if c == 1 and others else c * x
    for c, x in others:
        if total is first or type(total) is not np.ndarray:
            total = total + c * x
        else:
            total += c * x  # our own array: no need for another
    return total


def _combine_in_pieces(terms: tuple[tuple[float, np.ndarray], ...]) -> np.ndarray:
    first = terms[0][1]
    total, scaled = np.empty_like(first), np.empty(BLOCK, first.dtype)
    flat, parts = total.reshape(-1), [(c, x.reshape(-1)) for c, x in terms]
    for start in range(0, flat.size, BLOCK):
        piece = slice(start, min(start + BLOCK, flat.size))
        add_up([(c, x[piece]) for c, x in parts], flat[piece], scaled[:piece.stop - start])
    return total


def add_up(terms: Sequence[tuple[float, np.ndarray]], out: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """c_1 x_1 + c_2 x_2 + ... written to `out`; terms whose factor is 0 are not read. scaled: space for one term."""
    begun = False
    for c, x in terms:
        if begun and c != 0:
            out += np.multiply(x, c, out=scaled)
        elif c != 0:
            np.multiply(x, c, out=out)
            begun = True
    return out if begun else np.multiply(terms[0][1], 0.0, out=out)


def fresh_noise(where: str, x: Any, draws: int, generator: Any, noise: Sequence[Any] | None) -> Iterator[Any]:
    """`draws` arrays of standard normal noise like x, one after the other, from the one source that was given.

    generator: draws them when they are wanted, by its method standard_normal(shape, dtype); or noise: the arrays themselves.
    Raises, at once, ValueError for no source, two, or a wrong number of arrays, and as `check_alike`; `where` begins the message.
    """
    if generator is not None and noise is not None:
        raise ValueError(f"{where}: expected either a generator or noise, got both")
    if noise is None:
        if generator is None and draws > 0:
            raise ValueError(f"{where}: fresh noise is drawn {draws} times; give a generator, or the arrays as noise")
        if draws > 0:
            check_generator(where, generator)
        return (draw(where, x, generator) for _ in range(draws))
    if not hasattr(noise, "__len__"):
        raise TypeError(f"{where}: expected noise as a list of arrays, got {_shown(noise)}")
    if len(noise) != draws:
        raise ValueError(f"{where}: expected {draws} arrays of noise, one for each draw, got {len(noise)}")
    for one in noise:
        check_alike(where, x=x, noise=one)
    return iter(noise)


def check_generator(where: str, generator: Any, method: str = "standard_normal") -> None:
    """Raise TypeError, which begins with `where`, for what cannot draw."""
    if not hasattr(generator, method):
        raise TypeError(
            f"{where}: expected a generator with the method {method}, such as minidiff.random.Generator(seed), got {_shown(generator)}"
        )


def draw(where: str, x: Any, generator: Any) -> Any:
    """One array of standard normal noise like x, from a generator. Raises as `check_alike`; TypeError for one that does not serve x."""
    try:
        noise = generator.standard_normal(tuple(x.shape), x.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{where}: the generator draws no {_kind(x)} of {x.dtype} ({error}); give the noise as arrays, or an object with a method "
            "standard_normal(shape, dtype) that does"
        ) from error
    check_alike(where, x=x, noise=noise)
    return noise
