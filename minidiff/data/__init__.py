"""Files in, `Dataset` out: images as uint8 (N, C, H, W), labels as int64 (N,), and the names of the classes.

Begin with `load`, in `source.py`; points in the plane instead of images are in `toys.py`. Stands on NumPy, Pillow and the
standard library; knows nothing of networks.
"""

from minidiff.data.dataset import Dataset, to_uint8
from minidiff.data.download import OFFICIAL_URL, download_fashion_mnist
from minidiff.data.errors import DataError
from minidiff.data.idx import read_idx, write_idx
from minidiff.data.source import load
from minidiff.data.toys import TOYS, dark_pixels, toy

__all__ = ["OFFICIAL_URL", "TOYS", "DataError", "Dataset", "dark_pixels", "download_fashion_mnist", "load", "read_idx", "to_uint8",
           "toy", "write_idx"]
