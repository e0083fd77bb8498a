"""What computed this: versions, devices, threads."""

import importlib.util
import platform
from importlib import metadata

from minidiff import __version__, backend


def versions() -> dict[str, str]:
    """Everything that may explain why another machine gives other digits or another speed: name -> version or state."""
    found = {
        "minidiff": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }
    for package in ("numpy", "scipy", "pillow", "safetensors", "tqdm"):
        found[package] = metadata.version(package)
    found["BLAS"] = blas()
    found["CuPy"] = cupy()
    return found


def blas() -> str:
    """The linear algebra that NumPy and SciPy have brought along."""
    import scipy.linalg.blas  # noqa: F401  (loads its own copy)
    from threadpoolctl import threadpool_info

    names = {f"{library['internal_api']} {library['version']} ({library.get('architecture', 'generic')})"
             for library in threadpool_info() if library["user_api"] == "blas"}
    return ", ".join(sorted(names)) or "none that can be recognized"


def cupy() -> str:
    """The version of CuPy, or why there is none."""
    if importlib.util.find_spec("cupy") is None:
        return "not installed"
    try:
        return backend.get_library("cuda").__version__
    except backend.DeviceError as error:
        return str(error)


def devices() -> list[str]:
    """What minidiff can compute on, under the names that `--device` takes, with a description."""
    found = [f"cpu: {backend.get_threads()} threads"]
    try:
        runtime = backend.get_library("cuda").cuda.runtime
    except backend.DeviceError:
        return found
    gpu = runtime.getDeviceProperties(runtime.getDevice())
    return [*found, f"cuda: {gpu['name'].decode()}, {gpu['totalGlobalMem'] / 2**30:.0f} GiB"]
