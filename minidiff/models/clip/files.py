"""CLIPs from files and into files: safetensors, in which nothing can be hidden that runs.

Whatever is wrong with a file is found before a model exists, or on the way into a new one: nothing of the caller's is ever half
overwritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.random import Generator

from .config import CLIPConfig
from .layouts import OPENAI, TRANSFORMERS, Layout, Place, config_from_shapes, config_from_transformers, recognized
from .model import CLIP

DTYPES = {"F16": np.float32, "F32": np.float32, "F64": np.float64}
"""Of the weights in a file, as safetensors calls them: what they become."""


def load_clip(path: str | os.PathLike, config: CLIPConfig | None = None) -> CLIP:
    """A CLIP with the weights in a safetensors file, in transformers' layout, in OpenAI's, or as `save_clip` wrote it.

    config: what it is made of. None: what `save_clip` wrote into the file; else, for transformers' layout, the config.json beside it; else
    what the shapes tell, and for the rest what OpenAI's own CLIPs have: heads 64 wide, quick_gelu, the end of text at the largest id.
    OpenCLIP's files have OpenAI's layout, but mostly another activation: beside an open_clip_config.json `config` has to be given.
    float16 becomes float32, one float64 makes all of them float64. Buffers without weights (position_ids) are passed over.

    Raises FileNotFoundError for no file, ValueError that names the file and says what it is instead: a pickle (nothing is unpickled),
    cut short, another layout, other names or shapes than those of the configuration, bfloat16, NaN or infinity.
    """
    path = Path(path)
    header = _read_header(path)
    try:
        layout = recognized(header.shapes)
        config = config or _config(path, header, layout)
    except KeyError as missing:
        raise ValueError(f"{path}: is in the layout of {layout.owner}, but not a whole CLIP: missing {missing.args[0]}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    clip = CLIP(config, generator=_Zeros(0))
    places = {name: layout.place(name) for name, _ in clip.named_parameters()}
    _check_header(path, header, layout, places, {name: parameter.shape for name, parameter in clip.named_parameters()})
    dtype = np.result_type(*(DTYPES[header.dtypes[place.name]] for place in places.values()))
    for name, parameter in clip.named_parameters():
        parameter.data = _read(path, places[name], dtype)
    return clip


def save_clip(path: str | os.PathLike, clip: CLIP) -> None:
    """Put a CLIP into a safetensors file, which takes the place of one that is there at once: a reader finds the old or the new one whole.

    The names are those of transformers' `CLIPModel`, which takes the file's tensors as its state; the configuration is in the metadata,
    as JSON under the key "minidiff". Raises ValueError for NaN or infinity, OSError for a full disk or a folder that cannot be written to.
    Then the old file is as it was.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = Path(path)
    tensors = {name: np.asarray(backend.to_numpy(array), order="C") for name, array in clip.state_dict().items()}
    for name, array in tensors.items():
        _check_finite(f"{path}: not saved", name, array)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        # One key, because safetensors writes several in an order that changes from run to run
        save_file(tensors, temporary, metadata={"minidiff": json.dumps({"clip": clip.config.to_json()})})
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:  # an OSError inside
        raise OSError(f"{path}: not saved ({error}); see that its folder exists, has room and can be written to") from None
    finally:
        temporary.unlink(missing_ok=True)


# -- what a file says it holds ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    """shapes, dtypes: tensor -> shape, dtype in safetensors' words. metadata: the file's texts."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]


_CONVERT = ("reading a pickle can run any program that is hidden in it, so nothing is unpickled here. Convert it once, where you trust it: "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), 'clip.safetensors'); for OpenAI's own archives, "
            "torch.jit.load(path).state_dict() in the place of torch.load")
_BEGINNINGS = {  # of files that are given by mistake
    b"PK\x03\x04": f"a zip archive, as PyTorch's .pt and .bin are, with a pickle inside; {_CONVERT}",
    b"\x80": f"a pickle, as PyTorch's old .pt and .bin are; {_CONVERT}",
    b"version https://git-lfs": "a pointer of Git LFS: the weights themselves were not downloaded; git lfs pull fetches them",
    b"<": "a web page, not what was to be downloaded",
}


def _read_header(path: Path) -> _Header:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        inside = ", ".join(sorted(each.name for each in path.glob("*.safetensors"))) or "none"
        raise ValueError(f"{path}: is a folder; give one of the safetensors files in it: {inside}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the weights of a CLIP as safetensors")
    with open(path, "rb") as file:
        beginning = file.read(64)
    for first, what in _BEGINNINGS.items():
        if beginning.startswith(first) and beginning[8:9] != b"{":  # eight bytes say how long the header is, then it begins
            raise ValueError(f"{path}: is {what}")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            return _Header({name: tuple(each.get_shape()) for name, each in slices.items()},
                           {name: each.get_dtype() for name, each in slices.items()}, file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path}: cut short, damaged, or no safetensors file ({error}); fetch it again") from None


def _config(path: Path, header: _Header, layout: Layout) -> CLIPConfig:
    """The configuration in the file, beside it, or in its shapes. Raises ValueError, and KeyError as `config_from_shapes`."""
    if "minidiff" in header.metadata:
        about = _parsed("its description", header.metadata["minidiff"])
        if not isinstance(about, dict) or "clip" not in about:
            raise ValueError("was written by minidiff, but is no CLIP; give a file that save_clip wrote")
        return CLIPConfig.from_json(about["clip"])
    beside = path.with_name("config.json")
    if layout is TRANSFORMERS and beside.is_file():
        settings = _parsed(f"{beside.name} beside it", beside.read_text(encoding="utf-8"))
        try:
            return config_from_transformers(settings)
        except ValueError as error:
            raise ValueError(f"{beside.name} beside it: {error}") from None
    if layout is OPENAI and path.with_name("open_clip_config.json").is_file():
        raise ValueError("is OpenCLIP's (open_clip_config.json lies beside it): it has OpenAI's names, but not always its activation; "
                         "give config=CLIPConfig(...), with activation='gelu' unless open_clip_config.json says quick_gelu")
    return config_from_shapes(layout, header.shapes)


def _parsed(what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{what} is no JSON ({error})") from None


def _check_header(
    path: Path, header: _Header, layout: Layout, places: Mapping[str, Place], expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise ValueError that lists, in the file's own names, what is missing, unexpected, misshapen or of a dtype that cannot be read."""
    used = list(dict.fromkeys(place.name for place in places.values()))
    problems = [f"missing {name}" for name in used if name not in header.shapes]
    problems += [f"unexpected {name}" for name in header.shapes if name not in used and not layout.ignored.fullmatch(name)]
    for parameter, place in places.items():
        if place.name in header.shapes and (found := place.shape(header.shapes)) != expected[parameter]:
            part = place.name if place.name == parameter else f"{place.name}, for {parameter},"
            problems.append(f"{part} has shape {found}, expected {expected[parameter]}")
    problems += [f"{name} is {header.dtypes[name]}, expected F32, F16 or F64 (convert it with .float())" for name in used
                 if name in header.dtypes and header.dtypes[name] not in DTYPES]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{path}: is in the layout of {layout.owner}, but does not hold the weights of this CLIP: "
                         f"{'; '.join(problems[:5])}{more}")


# -- the weights -----------------------------------------------------------------------------------------------------


class _Zeros(Generator):
    """Draws nothing: for parameters that get their values from a file."""

    def random(self, size: Any, dtype: Any = "float32") -> np.ndarray:
        return np.zeros(size, dtype)

    standard_normal = random


def _read(path: Path, place: Place, dtype: Any) -> np.ndarray:
    """The values of one parameter. Raises ValueError for NaN or infinity."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:  # anew for each: what has been read counts as memory until the file is closed
        if place.third is None:
            values = file.get_tensor(place.name)
        else:
            rows = file.get_slice(place.name)
            third = rows.get_shape()[0] // 3
            values = rows[place.third * third:(place.third + 1) * third]
    values = np.asarray(values.T if place.transposed else values, dtype, order="C")
    _check_finite(str(path), place.name, values)
    return values


def _check_finite(where: str, name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: NaN or infinity in {name}")
