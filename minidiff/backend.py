"""Which array library, which device, how many threads.

Everything in minidiff computes on plain arrays of one of two libraries, NumPy on the CPU and CuPy on an NVIDIA GPU, and
takes the library from the arrays it is given (`array_module`) or from the device it is asked for (`get_library`). The few
primitives that the two spell differently (`erf`, copies to and from the host) live here, and so do the
threads: `parallel` cuts CPU work into pieces. No differentiation. Read `minidiff.autograd` next.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np


class DeviceError(RuntimeError):
    """A device was asked for that this machine cannot give, or arrays of two devices met in one operation."""


# -- libraries -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """What differs between array libraries. `module` is the array library itself, used as `xp` everywhere."""

    name: str
    module: Any
    array_type: type
    from_numpy: Callable[[np.ndarray], Any]
    to_numpy: Callable[[Any], np.ndarray]
    erf: Callable[[Any], Any]
    synchronize: Callable[[], None] = lambda: None


def _scipy_erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf  # a quarter of a second of import that most programs never need

    return erf(x)


NUMPY = Library(
    name="cpu", module=np, array_type=np.ndarray, from_numpy=np.asarray, to_numpy=np.asarray,
    erf=_scipy_erf,
)
_by_type: dict[type, Library] = {np.ndarray: NUMPY}
_by_name: dict[str, Library] = {"cpu": NUMPY}


def register(library: Library) -> None:
    """Make a further array library known under its device name (CuPy; the stand-in of the tests)."""
    _by_type[library.array_type] = library
    _by_name[library.name] = library


def _register_cupy() -> Library:
    """Import CuPy and find a GPU, or say what is missing."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed: pip install 'minidiff[gpu]' (CUDA 12) or "
            "'minidiff[gpu13]' (CUDA 13), or use device 'cpu'"
        ) from error
    if not cupy.cuda.is_available():
        raise DeviceError(
            "device 'cuda' needs an NVIDIA GPU with its driver; CuPy is installed but finds none: use device 'cpu'"
        )

    def erf(x: Any) -> Any:
        from cupyx.scipy.special import erf as cupy_erf

        return cupy_erf(x)

    register(Library(
        name="cuda", module=cupy, array_type=cupy.ndarray, from_numpy=cupy.asarray, to_numpy=cupy.asnumpy,
        erf=erf, synchronize=lambda: cupy.cuda.get_current_stream().synchronize(),
    ))
    return _by_name["cuda"]


def _library(device: str) -> Library:
    if device == "cuda" and device not in _by_name:
        return _register_cupy()
    if device not in _by_name:
        raise DeviceError(f"unknown device {device!r}: expected 'cpu' or 'cuda' (of several GPUs, CUDA_VISIBLE_DEVICES chooses the one)")
    return _by_name[device]


def get_library(device: str) -> ModuleType:
    """The array library of a device: numpy for 'cpu', cupy for 'cuda'.

    Raises DeviceError for an unknown device, and for 'cuda' without CuPy or without a GPU (it says what to install).
    """
    return _library(device).module


def _library_of(x: Any) -> Library | None:
    """The library of an array or of a Tensor (whose `data` is an array); None for Python and NumPy scalars, lists, None."""
    x = to_array(x)
    kind = type(x)
    found = _by_type.get(kind)
    if found is None and kind.__module__.partition(".")[0] == "cupy":
        _register_cupy()
        found = _by_type.get(kind)
    if found is None and isinstance(x, np.ndarray):  # a subclass of ndarray
        found = NUMPY
    return found


def is_foreign(x: Any) -> bool:
    """Whether x is an array of a library that minidiff does not compute with (PyTorch, JAX ...): it offers DLPack, and is not known."""
    return hasattr(x, "__dlpack__") and not isinstance(x, np.generic) and _library_of(x) is None


def array_module(*arrays: Any) -> ModuleType:
    """The array library (`xp`) that the given arrays or Tensors belong to; NumPy if there are only scalars.

    Raises DeviceError when arrays of two libraries meet: nothing is moved between devices silently.
    """
    found = None
    for x in arrays:
        library = _library_of(x)
        if library is not None and library is not found:
            if found is not None:
                raise DeviceError(
                    f"arrays on two devices in one operation: {found.name} and {library.name}; "
                    "move one of them first: minidiff.tensor(x, device=...), or Module.to(device)"
                )
            found = library
    return NUMPY.module if found is None else found.module


def to_array(x: Any) -> Any:
    """The plain array inside a Tensor; anything else unchanged."""
    return x.data if hasattr(x, "requires_grad") and type(x).__module__.startswith("minidiff.") else x


def asarray(x: Any, device: str | None = None, dtype: Any = None) -> Any:
    """`x` (array, Tensor, list, number, or another library's array) as a plain array on `device` ('cpu', 'cuda'; None: where it is).

    Copies only when the device or the dtype changes; what another library offers by DLPack shares its memory. Raises DeviceError
    for a device that is not there, TypeError for elements that neither NumPy nor CuPy has.
    """
    x = _of_others(to_array(x))
    source = _library_of(x)
    target = _library(device) if device is not None else source or NUMPY
    if source is target:
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)
    host = source.to_numpy(x) if source else np.asarray(x)
    return target.from_numpy(host if dtype is None else host.astype(dtype, copy=False))


def to_numpy(x: Any) -> np.ndarray:
    """A host copy (or, on the CPU, a view) of an array, a Tensor, or another library's array."""
    x = _of_others(to_array(x))
    library = _library_of(x)
    return library.to_numpy(x) if library else np.asarray(x)


_CPU, _CUDA, _CUDA_HOST, _CUDA_MANAGED = 1, 2, 3, 13  # DLDeviceType in dlpack.h


def _of_others(x: Any) -> Any:
    """The array of another library (PyTorch, JAX ...) as NumPy's or CuPy's, in the same memory, by DLPack; anything else unchanged."""
    if type(x) in _by_type or isinstance(x, np.generic) or not hasattr(x, "__dlpack_device__") or _library_of(x) is not None:
        return x
    whose = f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}"
    if getattr(x, "requires_grad", False):
        raise TypeError(f"a {whose} that requires gradients in its own library: detach it first, x.detach()")
    device, _ = x.__dlpack_device__()
    if device not in (_CPU, _CUDA, _CUDA_HOST, _CUDA_MANAGED):
        raise DeviceError(f"a {whose} on a device that is neither a CPU nor an NVIDIA GPU: move it to the CPU first")
    try:
        return (np if device in (_CPU, _CUDA_HOST) else get_library("cuda")).from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, DeviceError):
            raise
        raise TypeError(f"a {whose} of {getattr(x, 'dtype', 'unknown elements')} cannot be shared ({error}): convert it to float16, "
                        "float32, float64, an integer or a boolean type first") from None


def device_of(x: Any) -> str:
    """Where an array or Tensor lives: 'cpu' or 'cuda'."""
    return (_library_of(x) or NUMPY).name


def erf(x: Any) -> Any:
    """The error function of an array, elementwise, in the array's dtype."""
    return (_library_of(x) or NUMPY).erf(x)


def synchronize() -> None:
    """Wait until all devices have done what they were asked to do; the CPU always has."""
    for library in tuple(_by_name.values()):
        library.synchronize()


def add_at(target: Any, index: Any, values: Any) -> None:
    """`target[index] += values`, where indices that occur several times add up. Writes into `target`."""
    array_module(target).add.at(target, index, values)


# -- threads ---------------------------------------------------------------------------------------------------------

_threads: int | None = None
_pool: ThreadPoolExecutor | None = None
_inside = threading.local()
_scratch = threading.local()


def get_threads() -> int:
    """How many threads CPU work is spread over: `set_threads`, else OMP_NUM_THREADS, else the cores this process may use."""
    if _threads is not None:
        return _threads
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int | None) -> None:
    """Spread CPU work over `count` threads from now on (None: the default again). Results do not depend on it."""
    global _threads, _pool
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ValueError(f"set_threads: expected a whole number of at least 1, got {count!r}")
    _threads = count
    if _pool is not None:
        _pool.shutdown()
        _pool = None


def _blas_libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


_blas: list[Any] | None = None
_blas_depth = 0
_blas_before: list[int] = []
_blas_lock = threading.Lock()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS at one thread: minidiff's own threads work side by side, and the bits do not depend on the machine."""
    global _blas, _blas_depth, _blas_before
    with _blas_lock:
        if _blas is None:
            _blas = _blas_libraries()
        if _blas_depth == 0:
            _blas_before = [library.get_num_threads() for library in _blas]
            for library in _blas:
                library.set_num_threads(1)
        _blas_depth += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_depth -= 1
            if _blas_depth == 0:
                for library, count in zip(_blas, _blas_before):
                    library.set_num_threads(count)


def parallel(function: Callable[[int], None], count: int) -> None:
    """Call `function(0) ... function(count - 1)`, spread over the threads, with BLAS at one thread inside.

    The pieces must not depend on each other. How work is cut into pieces must not depend on the number of threads:
    then neither do the results. The first exception of a piece is raised here.
    """
    global _pool
    with one_blas_thread():
        workers = min(get_threads(), count)
        if workers <= 1 or getattr(_inside, "piece", False):
            for index in range(count):
                function(index)
            return
        if _pool is None:
            _pool = ThreadPoolExecutor(max_workers=max(1, get_threads() - 1), thread_name_prefix="minidiff")
        pieces = itertools.count()

        def work() -> None:
            _inside.piece = True
            try:
                while (index := next(pieces)) < count:
                    function(index)
            finally:
                _inside.piece = False

        others = [_pool.submit(work) for _ in range(workers - 1)]
        try:
            work()
        finally:
            errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error


def keep_freed_memory() -> None:
    """Ask the C library (glibc only) to keep freed memory for the next step instead of giving it back to the system at once.

    A step of training frees and asks again for the same hundreds of megabytes; each page that the system takes back must be cleared
    before it is handed out again, which costs some 5 % of the time. The setting is for the whole process, so it is the
    programs that ask for it (training, drawing, the benchmark), not the import.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD in malloc.h
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 1 << 30)


def scratch(key: str, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """A buffer of this thread, kept between calls so that it stays in cache; its content is what was left in it.

    One buffer exists for each `key`: asking again under the same key hands out the same memory.
    """
    buffers = _scratch.__dict__
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = buffers.get(key)
    if memory is None or memory.nbytes < size:
        memory = buffers[key] = np.empty(size, np.uint8)
    return np.ndarray(shape, dtype, memory)
