"""Files in, `Dataset` out: images as uint8 (N, C, H, W), labels as int64 (N,), the names of the classes, and captions.

Begin with `load`, in `source.py`; what can be said of an image is in `captions.py`; points in the plane instead of images
are in `toys.py`. Stands on NumPy, SciPy, Pillow and the standard library; knows nothing of networks.
"""

from minidiff.data.captions import captions_of, class_captions
from minidiff.data.dataset import Dataset, to_floats, to_uint8
from minidiff.data.download import OFFICIAL_URL, download_fashion_mnist
from minidiff.data.errors import DataError
from minidiff.data.idx import read_idx, write_idx
from minidiff.data.source import load
from minidiff.data.toys import TOYS, dark_pixels, toy

__all__ = ["OFFICIAL_URL", "TOYS", "DataError", "Dataset", "captions_of", "class_captions", "dark_pixels", "download_fashion_mnist", "load",
           "read_idx", "to_floats", "to_uint8", "toy", "write_idx"]
