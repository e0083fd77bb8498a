"""The page: well-formed, complete in itself, and nothing in a name can become markup."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidiff.data import Dataset
from minidiff.models import Classifier
from minidiff.random import Generator
from minidiff.report import environment, page, verdict

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Every tag opened, closed in the right order; all attributes; all text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def whole_page(name="Bag", image=None):
    image = image or Image.new("RGB", (4, 3), "red")
    return page.page(name, name, page.section(
        name, page.paragraph(name), page.figures({name: name}), page.picture(image, name, name), page.table({name: name}),
        page.shares([name, name], {name: [0.25]}, (name, [1.0])), page.command(name)), footer=name)


def test_the_page_is_well_formed_and_fetches_nothing():
    """Tags nest; no script, no link; every source is a data URI, and the policy forbids the rest."""
    read = Reader(whole_page())
    assert not {"script", "link", "iframe", "object"} & set(read.tags)
    sources = [value for name, value in read.attributes if name in ("src", "href", "srcset", "action")]
    assert sources and all(value.startswith("data:image/png;base64,") for value in sources)
    assert "http://" not in whole_page() and "https://" not in whole_page() and "url(" not in whole_page()
    assert any(name == "content" and "default-src 'none'" in value for name, value in read.attributes)


def test_pictures_come_out_of_the_page_as_they_went_in():
    """Decode the data URI with Pillow."""
    pixels = np.random.default_rng().integers(0, 256, (5, 7, 3), dtype=np.uint8)
    read = Reader(whole_page(image=Image.fromarray(pixels)))
    source = dict(read.attributes)["src"].partition(",")[2]
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(source, validate=True)))) == pixels).all()


@given(st.one_of(st.text(), st.sampled_from(["<script>alert(1)</script>", '"><img src=x>', "a&b", "'", "</title>", "&lt;"])))
def test_no_name_becomes_markup(name):
    """Put any text everywhere: the tags are those of a page with a plain name, and the text comes out as it was."""
    name = name.replace("\r", "\n").replace("\0", "")       # HTML itself turns these two into others
    read = Reader(whole_page(name))
    assert read.tags == Reader(whole_page()).tags
    assert name in "".join(read.text)
    assert dict(read.attributes)["alt"] == name


def test_a_share_has_its_number_and_a_bar_as_long():
    """0.25 is written as 25 % and is the length of the bar."""
    html = page.shares(["class", "real"], {"Bag": [0.25]}, ("all", [1.0]))
    assert "--share: 25.0%" in html and "25 %" in "".join(Reader(html).text)


def test_a_page_is_saved_whole_and_over_nothing(tmp_path):
    """Read it back; the second time it is refused."""
    page.save_page(whole_page("é"), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == whole_page("é")
    with pytest.raises(FileExistsError):
        page.save_page("other", tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_verdict_on_a_set_is_the_mean_of_its_classes_by_their_size():
    """Classes of 2, 5 and 9 images: the shares weighted by these give the share of the whole."""
    labels = np.repeat(np.arange(3), [2, 5, 9])
    images = np.random.default_rng().integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
    found = verdict.judge(Classifier(3, 1, 8, width=4, generator=Generator(1)).eval(), {"noise": Dataset(images, labels, ("a", "b", "c"))})
    assert np.average(found.per_class["noise"], weights=[2, 5, 9]) == pytest.approx(found.overall["noise"])
    assert found.sentence() == f"{100 * found.overall['noise']:.1f} % of noise"


def test_versions_and_devices_say_what_is_here():
    """NumPy's own word for its version; the CPU is always there."""
    found = environment.versions()
    assert found["numpy"] == np.__version__ and found["BLAS"] and found["CuPy"]
    assert environment.devices()[0].startswith("cpu: ")
