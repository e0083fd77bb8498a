"""The downloader against servers on this machine: good, without ranges, cut off, wrong, and out of order."""

import errno
import hashlib
import os
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from minidiff.data import DataError, download_fashion_mnist
from minidiff.data.download import FASHION_MNIST_CLASSES, FASHION_MNIST_FILES, OFFICIAL_URL

CONTENT = {"one.gz": os.urandom(300_000), "two.gz": os.urandom(1_000), "empty.gz": b""}
FILES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT, byte ranges too; `requests` remembers the file and the range of each request."""

    ranges, cut, content = True, None, CONTENT

    def do_GET(self):
        name = self.path.removeprefix("/fashion/")
        wanted = self.headers.get("Range")
        self.server.requests.append((name, wanted))
        if name not in self.content:
            return self.send_error(404)
        whole, start = self.content[name], 0
        if wanted and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(whole):
                return self.send_error(416)
        self.send_response(206 if wanted and self.ranges else 200)
        if wanted and self.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        self.wfile.write(whole[start:][:self.cut])

    def log_message(self, *_):
        pass


class WithoutRanges(Server):
    ranges = False


class CutsTheConnection(Server):
    cut = 100_000


class WrongBytes(Server):
    content = MappingProxyType({name: content[::-1] + b"!" for name, content in CONTENT.items()})


class NothingThere(Server):
    content = MappingProxyType({})


class NotHttp(Server):
    def handle(self):
        self.request.recv(1000)
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n")


@contextmanager
def serving(handler):
    """Yields the base URL and the list of requests."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fashion", server.requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def download(directory, url, **options):
    return download_fashion_mnist(directory, url, files=FILES, progress=False, **options)


def assert_complete(directory):
    assert {path.name for path in directory.iterdir()} == {*CONTENT, "class_names.txt"}
    for name, content in CONTENT.items():
        assert (directory / name).read_bytes() == content


@pytest.mark.parametrize("slash", ["", "/"])
def test_all_files_arrive_under_their_names(slash, tmp_path):
    """Byte for byte, into a folder that was not there, with the class names; no partial file stays."""
    with serving(Server) as (url, requests):
        assert download(tmp_path / "new" / "folder", url + slash) == dict.fromkeys(CONTENT, "downloaded")
    assert_complete(tmp_path / "new" / "folder")
    assert requests == [(name, None) for name in CONTENT]
    names = (tmp_path / "new" / "folder" / "class_names.txt").read_text(encoding="utf-8")
    assert tuple(names.splitlines()) == FASHION_MNIST_CLASSES


def test_files_already_there_are_kept(tmp_path):
    """A second run asks the server for nothing; a third for the one file that went missing."""
    with serving(Server) as (url, requests):
        download(tmp_path, url)
        requests.clear()
        assert download(tmp_path, url) == dict.fromkeys(CONTENT, "kept")
        assert not requests
        (tmp_path / "two.gz").unlink()
        assert download(tmp_path, url) == {"one.gz": "kept", "two.gz": "downloaded", "empty.gz": "kept"}
        assert requests == [("two.gz", None)]


def test_a_cut_download_goes_on_where_it_stopped(tmp_path):
    """Each run gets 100,000 bytes further and says how to go on; a good server then sends the rest only."""
    with serving(CutsTheConnection) as (url, requests):
        for run in (1, 2):
            with pytest.raises(ConnectionError, match=r"one.gz: download failed .* running again resumes"):
                download(tmp_path, url)
            assert (tmp_path / "one.gz.part").read_bytes() == CONTENT["one.gz"][:100_000 * run]
        assert not (tmp_path / "one.gz").exists()
    with serving(Server) as (url, requests):
        download(tmp_path, url)
    assert requests[0] == ("one.gz", "bytes=200000-")
    assert_complete(tmp_path)


def test_a_server_without_ranges_sends_all_again(tmp_path):
    """It answers 200 to a request for a range: the partial file is begun anew."""
    (tmp_path / "one.gz.part").write_bytes(CONTENT["one.gz"][:5000])
    with serving(WithoutRanges) as (url, requests):
        download(tmp_path, url)
    assert requests[0] == ("one.gz", "bytes=5000-")
    assert_complete(tmp_path)


def test_a_partial_file_that_is_complete_only_gets_its_name(tmp_path):
    """The run before was stopped between the last byte and the renaming: the server answers 416."""
    (tmp_path / "one.gz.part").write_bytes(CONTENT["one.gz"])
    with serving(Server) as (url, _):
        download(tmp_path, url)
    assert_complete(tmp_path)


@pytest.mark.parametrize("rest", [b"garbage", b"g" * 400_000], ids=["shorter", "longer"])
def test_a_partial_file_of_something_else_is_removed(rest, tmp_path):
    """Its SHA-256 tells; the run after begins anew."""
    (tmp_path / "one.gz.part").write_bytes(rest)
    with serving(Server) as (url, _):
        with pytest.raises(DataError, match=f"one.gz: wrong content, expected SHA-256 {FILES['one.gz']}, got"):
            download(tmp_path, url)
        assert not list(tmp_path.iterdir())
        download(tmp_path, url)
    assert_complete(tmp_path)


def test_wrong_bytes_are_removed_and_named(tmp_path):
    """Expected and got, by their SHA-256."""
    got = hashlib.sha256(WrongBytes.content["one.gz"]).hexdigest()
    with serving(WrongBytes) as (url, _), pytest.raises(DataError, match=f"{FILES['one.gz']}, got {got}"):
        download(tmp_path, url)
    assert not list(tmp_path.iterdir())


def test_a_file_with_other_content_is_not_overwritten(tmp_path):
    """Refused before anything is asked for."""
    (tmp_path / "two.gz").write_text("mine")
    with serving(Server) as (url, requests), pytest.raises(FileExistsError, match=r"two.gz: exists with other content"):
        download(tmp_path, url)
    assert not requests and [path.name for path in tmp_path.iterdir()] == ["two.gz"]
    assert (tmp_path / "two.gz").read_text() == "mine"


def test_an_http_error_is_one_clear_error(tmp_path):
    """404, with the address."""
    message = "/one.gz: download failed .*404.* running again resumes"
    with serving(NothingThere) as (url, _), pytest.raises(ConnectionError, match=message):
        download(tmp_path, url)


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path):
    """The port of a server that has just gone."""
    with serving(Server) as (url, _):
        pass
    with pytest.raises(ConnectionError, match=r"download failed .*refused.* running again resumes"):
        download(tmp_path, url)


def test_an_answer_that_is_not_http_is_one_clear_error(tmp_path):
    """Another protocol on that port."""
    with serving(NotHttp) as (url, _), pytest.raises(ConnectionError, match="running again resumes"):
        download(tmp_path, url)


@pytest.mark.parametrize("url", ["file:///etc/", "ftp://example.org/", "example.org"])
def test_only_http_is_spoken(url, tmp_path):
    """Another scheme is refused before the folder is made."""
    with pytest.raises(ValueError, match="base_url must begin with http"):
        download(tmp_path / "new", url)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, the device that is always full")
def test_a_full_disk_is_one_clear_error(tmp_path):
    """The partial file is a link to the device that has no room."""
    (tmp_path / "one.gz.part").symlink_to("/dev/full")
    with serving(Server) as (url, _), pytest.raises(OSError, match="the disk is full; make room") as caught:
        download(tmp_path, url)
    assert caught.value.errno == errno.ENOSPC


def test_the_bar_counts_what_was_there_before(tmp_path, capfd):
    """5 of 300 kB at the start, 300 kB at the end; on the error stream, so that output can be piped."""
    (tmp_path / "one.gz.part").write_bytes(CONTENT["one.gz"][:5000])
    with serving(Server) as (url, _):
        download_fashion_mnist(tmp_path, url, files={"one.gz": FILES["one.gz"]})
    out, err = capfd.readouterr()
    assert not out and "one.gz:" in err and "300k/300k" in err


def test_the_official_files_are_those_of_the_original():
    """Four files by their published names; the address is the makers'."""
    assert set(FASHION_MNIST_FILES) == {f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k")
                                        for kind in ("images-idx3", "labels-idx1")}
    assert OFFICIAL_URL.startswith("http://fashion-mnist.")
