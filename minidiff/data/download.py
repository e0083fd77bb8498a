"""Getting the full Fashion-MNIST (31 MB, 70,000 images) from its makers, so that it arrives whole or not at all.

A file is received under the name `<file>.part` and gets its own name only when its SHA-256 is right. What a broken
connection leaves behind is where the next run goes on. Stands on urllib and tqdm.
"""

import errno
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from minidiff.data.errors import DataError
from minidiff.data.idx_folder import CLASS_NAMES

OFFICIAL_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
FASHION_MNIST_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                         "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
TIMEOUT = 30.0          # seconds without a byte
CHUNK = 2**16
RANGE_NOT_SATISFIABLE = 416
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def download_fashion_mnist(directory: str | os.PathLike, base_url: str = OFFICIAL_URL,
                           files: Mapping[str, str] = FASHION_MNIST_FILES, progress: bool = True) -> dict[str, str]:
    """Download what is missing of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747) into a folder `load` reads.

    base_url: http or https, the folder of the files. files: name -> SHA-256, in hexadecimal. progress: show a bar.
    Returns name -> "kept" (it was there, and right) or "downloaded". The class names are written beside the files.
    Raises FileExistsError for a file that is there with another content (it stays), ConnectionError when the network
    or the server fails (running again resumes), DataError for a wrong SHA-256, OSError for a full disk.
    """
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    outcome = {name: "kept" if (directory / name).exists() else "downloaded" for name in files}
    for name, result in outcome.items():
        if result == "kept" and _sha256(directory / name) != files[name]:
            raise FileExistsError(f"{directory / name}: exists with other content (SHA-256 {_sha256(directory / name)},"
                                  f" expected {files[name]}); move it away, or download into another folder")
    for name, result in outcome.items():
        if result == "downloaded":
            _download(f"{base_url.rstrip('/')}/{name}", directory / name, files[name], progress)
    names = directory / CLASS_NAMES
    if not names.exists():
        part = names.with_name(names.name + ".part")
        part.write_text("\n".join(FASHION_MNIST_CLASSES) + "\n", encoding="utf-8")
        os.replace(part, names)
    return outcome


def _download(url: str, path: Path, expected: str, progress: bool) -> None:
    part = path.with_name(path.name + ".part")
    try:
        _receive(url, part, progress)
    except NETWORK_ERRORS as error:
        raise ConnectionError(f"{url}: download failed ({error}); what has arrived is kept in {part}, "
                              "running again resumes") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, f"{part}: the disk is full; make room, running again resumes") from error
        raise
    got = _sha256(part)
    if got != expected:
        part.unlink()
        raise DataError(f"{url}: wrong content, expected SHA-256 {expected}, got {got}; it has been removed. "
                        "Try again, or another server")
    os.replace(part, path)


def _receive(url: str, part: Path, progress: bool) -> None:
    """Complete the partial file: from its end if the server can, else from the start."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == RANGE_NOT_SATISFIABLE:
            return              # nothing is missing; whether it is right, its SHA-256 will tell
        raise
    with response:
        resumes = response.status == http.client.PARTIAL_CONTENT
        missing = response.length           # Content-Length, or None
        received = 0
        bar = tqdm(desc=part.stem, total=missing and missing + start * resumes, initial=start * resumes,
                   unit="B", unit_scale=True, disable=not progress)
        with bar, open(part, "ab" if resumes else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if missing is not None and received < missing:
        # http.client ends a cut connection like a complete one
        raise ConnectionError(f"the connection ended after {received} of {missing} bytes")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
