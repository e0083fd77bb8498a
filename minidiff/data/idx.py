"""IDX, the format of MNIST and its kin: a header, then the bytes of an array of uint8.

    0x00 0x00 0x08 ndim | ndim sizes, 4 bytes each, big-endian | the elements, last axis fastest

`.gz` and `.xz` files are the same, compressed. A header is a promise, not a fact: nothing is read or allocated because
of it alone, and a compressed file is never unpacked further than one byte past what its header promises.
"""

import gzip
import lzma
import math
import os
import zlib
from pathlib import Path

import numpy as np

from minidiff.data.errors import DataError

UINT8 = 0x08
TYPE_NAMES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
MAX_BYTES = 2**31          # 2 GiB: 45 times MNIST; a header that promises more is more likely damaged than true
MAX_DIMENSIONS = 64        # what NumPy can hold
CHUNK = 2**20
SUFFIXES = ("", ".gz", ".xz")

_OPEN = {".gz": gzip.open, ".xz": lzma.open}


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in an IDX file (http://yann.lecun.com/exdb/mnist); plain, or compressed if named .gz or .xz.

    Returns uint8 of the shape in the header. Raises FileNotFoundError, and DataError for a file that is not IDX, holds
    another type than uint8, has fewer or more bytes than its header promises, promises more than 2 GiB, or is a damaged
    gzip or xz stream.
    """
    path = Path(path)
    with _OPEN.get(path.suffix, open)(path, "rb") as stream:
        try:
            shape = _read_header(stream, path)
            promised = math.prod(shape)
            if promised > MAX_BYTES:
                raise DataError(f"{path}: the header promises {promised} bytes, shape {shape}; at most {MAX_BYTES} "
                                "are read. The file is damaged, or must be cut into parts")
            elements = _read_at_most(stream, promised + 1)
        except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"{path}: not a sound {path.suffix} stream ({error}); get the file again") from error
        except EOFError as error:
            raise DataError(f"{path}: truncated, the {path.suffix} stream stops before its end; "
                            "get the file again") from error
    if len(elements) < promised:
        raise DataError(f"{path}: truncated, expected {promised} bytes after the header, shape {shape}, "
                        f"got {len(elements)}")
    if len(elements) > promised:
        raise DataError(f"{path}: trailing bytes, expected {promised} bytes after the header, shape {shape}, got more")
    return np.frombuffer(elements, np.uint8).reshape(shape)


def write_idx(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write an array as an IDX file, compressed if the name ends in .gz or .xz; the same array gives the same bytes.

    array: uint8, at most 64 dimensions, each size below 2**32. Raises DataError for another dtype.
    """
    path = Path(path)
    if array.dtype != np.uint8:
        raise DataError(f"{path}: only uint8 arrays are written as IDX, got {array.dtype}")
    header = bytes([0, 0, UINT8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = header + array.tobytes()
    part = path.with_name(path.name + ".part")
    part.write_bytes(_COMPRESS.get(path.suffix, bytes)(data))
    os.replace(part, path)


def _xz(data: bytes) -> bytes:
    # lc=4, pb=0: pixels are single bytes without alignment, each best predicted from the one before it.
    # The preset's dictionary of 64 MiB would be cleared for every file and asked of every reader.
    return lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME,
                                         "lc": 4, "lp": 0, "pb": 0, "dict_size": max(len(data), 4096)}])


_COMPRESS = {".gz": lambda data: gzip.compress(data, mtime=0), ".xz": _xz}


def _read_header(stream, path: Path) -> tuple[int, ...]:
    magic = _read_at_most(stream, 4)
    if len(magic) < 4:
        raise DataError(f"{path}: truncated, expected an IDX header of at least 4 bytes, got {len(magic)}")
    type_code, ndim = magic[2], magic[3]
    if magic[:2] != b"\0\0" or type_code not in TYPE_NAMES:
        raise DataError(f"{path}: not an IDX file, expected magic 0x000008nn (nn dimensions of uint8), "
                        f"got 0x{magic.hex()}")
    if type_code != UINT8:
        raise DataError(f"{path}: type code 0x{type_code:02x} ({TYPE_NAMES[type_code]}) is not supported, "
                        f"expected 0x{UINT8:02x} (uint8)")
    if ndim > MAX_DIMENSIONS:
        raise DataError(f"{path}: {ndim} dimensions, at most {MAX_DIMENSIONS} are supported")
    sizes = _read_at_most(stream, 4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"{path}: truncated, expected a header of {4 + 4 * ndim} bytes, got {4 + len(sizes)}")
    return tuple(np.frombuffer(sizes, ">u4").tolist())


def _read_at_most(stream, count: int) -> bytearray:
    """Grows with what is really there: read(count) would allocate what a damaged header promises."""
    data = bytearray()
    while len(data) < count and (chunk := stream.read(min(CHUNK, count - len(data)))):
        data += chunk
    return data
