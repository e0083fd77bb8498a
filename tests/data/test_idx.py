"""IDX files: what is written is read again, and every kind of damage gets one message that names the file."""

import gzip
import lzma
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minidiff.data import DataError, read_idx, write_idx

SUFFIXES = ["", ".gz", ".xz"]
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lambda data: lzma.compress(data, preset=0)}
ARRAYS = arrays(np.uint8, array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=5))


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(array=ARRAYS)
def test_reading_undoes_writing(suffix, array):
    """Any shape, empty ones too: same shape, same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"array{suffix}"
        write_idx(path, array)
        back = read_idx(path)
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]
    assert back.dtype == np.uint8 and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bytes_are_those_of_the_format(suffix, tmp_path):
    """A header packed by struct, as the format's page has it, against the reader and the writer."""
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    data = struct.pack(">BBBBII", 0, 0, 8, 2, 2, 3) + bytes(range(6))
    path = tmp_path / f"by-hand{suffix}"
    path.write_bytes(COMPRESS[suffix](data))
    np.testing.assert_array_equal(read_idx(path), array)
    write_idx(tmp_path / f"ours{suffix}", array)
    open_ = {"": open, ".gz": gzip.open, ".xz": lzma.open}[suffix]
    with open_(tmp_path / f"ours{suffix}", "rb") as stream:
        assert stream.read() == data


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.binary(max_size=200), compressed=st.booleans())
def test_no_bytes_whatever_bring_more_than_a_data_error(suffix, data, compressed):
    """Random bytes, raw or well compressed: an array, or a DataError with the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"noise{suffix}"
        path.write_bytes(COMPRESS[suffix](data) if compressed else data)
        try:
            assert read_idx(path).dtype == np.uint8
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(array=ARRAYS, data=st.data())
def test_a_file_cut_anywhere_is_refused(suffix, array, data):
    """Every proper prefix of a good file is bad."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"cut{suffix}"
        write_idx(path, array)
        whole = path.read_bytes()
        path.write_bytes(whole[:data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(DataError, match=r"truncated|not a sound") as caught:
            read_idx(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@given(position=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_a_changed_byte_never_changes_the_array(suffix, position, flip):
    """gzip and xz carry checksums; reading to the end of the stream makes them count."""
    array = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"flipped{suffix}"
        write_idx(path, array)
        damaged = bytearray(path.read_bytes())
        damaged[position % len(damaged)] ^= flip
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_idx(path), array)    # a byte of gzip's header that means nothing
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(("header", "message"), [
    (b"\x89PNG" + bytes(8), "expected magic 0x000008nn .*, got 0x89504e47"),
    (b"\0\0\x07\x01" + struct.pack(">I", 0), "expected magic 0x000008nn .*, got 0x00000701"),
    (b"\0\0\x0d\x01" + struct.pack(">I", 1) + bytes(4), r"type code 0x0d \(float32\) is not supported, expected 0x08"),
    (b"\0\0\x08\x41" + struct.pack(">65I", *[1] * 65) + b"\0", "65 dimensions, at most 64"),
    (b"\0\0\x08", "truncated, expected an IDX header of at least 4 bytes, got 3"),
    (b"\0\0\x08\x02" + bytes(5), "truncated, expected a header of 12 bytes, got 9"),
    (b"\0\0\x08\x01" + struct.pack(">I", 5) + bytes(3), r"truncated, expected 5 bytes after the header, .* got 3"),
    (b"\0\0\x08\x01" + struct.pack(">I", 5) + bytes(6), "trailing bytes, expected 5 bytes after the header"),
], ids=["png", "unknown type", "float32", "65 dimensions", "cut magic", "cut sizes", "too short", "too long"])
def test_a_wrong_header_is_named(header, message, tmp_path):
    """Each kind of wrong header, written by hand."""
    path = tmp_path / "wrong-idx1-ubyte"
    path.write_bytes(header)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("sizes", "message"), [((2**31 + 1,), "at most 2147483648"), ((2**32 - 1,) * 64, "at most"),
                                                ((2**31,), "truncated, expected 2147483648 bytes .* got 0")])
def test_a_promise_allocates_nothing(sizes, message, tmp_path):
    """A header alone that promises 2 GiB or more: refused with less than 4 MiB taken."""
    path = tmp_path / "promise"
    path.write_bytes(bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes))
    assert _peak_of_refusal(path, message) < 4 * 2**20


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_compression_bomb_is_not_unpacked(suffix, tmp_path):
    """10 promised bytes, 64 MiB of zeros behind them in 65 kB: refused with less than 4 MiB taken."""
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(COMPRESS[suffix](bytes([0, 0, 8, 1, 0, 0, 0, 10]) + bytes(64 * 2**20)))
    assert path.stat().st_size < 100_000
    assert _peak_of_refusal(path, "trailing bytes, expected 10") < 4 * 2**20


def _peak_of_refusal(path, message) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_only_bytes_are_written(tmp_path):
    """Another dtype is refused, and no file is left."""
    with pytest.raises(DataError, match=r"only uint8 arrays .* got float32"):
        write_idx(tmp_path / "floats", np.zeros(3, np.float32))
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    """Python's own error, which has the name."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere.gz")
