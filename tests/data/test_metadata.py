"""A folder of pictures with captions in metadata.jsonl, through `load`."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidiff.data import DataError, load

CAPTION = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
GOOD = '{"file_name": "a.png", "text": "a"}'


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)


def write(folder, *lines):
    folder.mkdir(exist_ok=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


@given(captions=st.lists(st.one_of(CAPTION, st.lists(CAPTION, min_size=1, max_size=3)), min_size=1, max_size=4),
       key=st.sampled_from(["text", "captions"]), escaped=st.booleans(), order=st.randoms())
def test_each_image_gets_the_captions_of_its_line(captions, key, escaped, order):
    """Any text, as itself or escaped, one or a list, in any order of lines; images in the order of the lines, all of one class."""
    with tempfile.TemporaryDirectory() as folder:
        entries = [{"file_name": f"{'below/' * (value % 2)}{value}.png", key: text, "other": 1} for value, text in enumerate(captions)]
        for value, entry in enumerate(entries):
            picture(Path(folder) / entry["file_name"], value)
        order.shuffle(entries)
        write(Path(folder), *(json.dumps(entry, ensure_ascii=escaped) for entry in entries))
        dataset = load(folder)
    assert dataset.class_names == ("image",) and dataset.labels.tolist() == [0] * len(captions)
    for image, of_image in zip(dataset.images, dataset.captions, strict=True):
        text = captions[image[0, 0, 0]]
        assert of_image == ((text,) if isinstance(text, str) else tuple(text))


def test_line_ends_of_every_system_and_empty_lines_are_fine(tmp_path):
    """A byte order mark, CR LF, empty lines, no line end at the end."""
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    text = '\ufeff{"file_name": "./a.png", "text": "ä"}\r\n\r\n  \n{"file_name": "b.png", "text": "b\u2028c"}'
    (tmp_path / "metadata.jsonl").write_bytes(text.encode())
    assert load(tmp_path).captions == (("ä",), ("b\u2028c",))


@pytest.mark.parametrize(("lines", "message"), [
    (["not JSON"], "line 1: not JSON"),
    ([GOOD, '{"file_name": "b.png",'], "line 2: not JSON"),
    (["[" * 100_000], "line 1: not JSON"),
    (["file_name,text", "a.png,a"], "line 1: not JSON"),
    ([GOOD, '["b.png", "b"]'], "line 2: not a JSON object"),
    (["7"], "line 1: not a JSON object"),
    ([""], "no lines; there must be one for each image"),
    ([GOOD, {"text": "b"}], 'line 2: no string "file_name"; there are text;'),
    ([{"file": "a.png", "text": "b"}], 'line 1: no string "file_name"; there are file, text;'),
    ([{"file_name": 3, "text": "b"}], 'line 1: no string "file_name"'),
    ([{}], 'line 1: no string "file_name"; there are none'),
    ([GOOD, {"file_name": "b.png"}], 'line 2: expected one of "text" and "captions"; there are file_name'),
    ([{"file_name": "a.png", "prompt": "x"}], 'line 1: expected one of "text" and "captions"; there are file_name, prompt'),
    ([{"file_name": "a.png", "text": "x", "captions": ["y"]}], 'line 1: expected one of "text" and "captions"'),
    ([GOOD, {"file_name": "b.png", "text": ""}], "line 2: text must be a caption or a list of captions, .* not empty, got ''"),
    ([{"file_name": "a.png", "text": " \n"}], "line 1: text must be"),
    ([{"file_name": "a.png", "captions": []}], r"line 1: captions must be .* got \[\]"),
    ([{"file_name": "a.png", "captions": ["x", ""]}], r"line 1: captions must be .* got \['x', ''\]"),
    ([{"file_name": "a.png", "text": ["x", 3]}], r"line 1: text must be .* got \['x', 3\]"),
    ([{"file_name": "a.png", "text": None}], "line 1: text must be .* got None"),
    ([{"file_name": "a.png", "text": {"en": "x"}}], "line 1: text must be"),
    (['{"file_name": "a.png", "text": "\\ud83d"}'], "line 1: text must be"),
    ([GOOD, "", GOOD], "line 3: a.png stands in line 1 already"),
    ([GOOD, {"file_name": "./a.png", "text": "b"}], "line 2: a.png stands in line 1 already"),
    ([{"file_name": "../a.png", "text": "b"}], r"line 1: file_name \.\./a.png leads out of the folder"),
    ([{"file_name": "below/../a.png", "text": "b"}], "line 1: file_name .* leads out of the folder"),
    ([{"file_name": "/a.png", "text": "b"}], "line 1: file_name /a.png leads out of the folder"),
    ([GOOD], "1 of the images below its folder have no line in it: b.png; write"),
])
def test_a_wrong_line_is_named(lines, message, tmp_path):
    """With the file and the number of the line, before a picture is opened (they are damaged)."""
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "b.png").write_text("no picture")
    write(tmp_path, *lines)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path / "metadata.jsonl") in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["c.png", "", "below", "a.png/b.png", "x" * 5000, "a\0.png", "\ud800.png"])
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    """Also names that no file can have, and a folder."""
    picture(tmp_path / "a.png")
    picture(tmp_path / "below" / "b.png")
    write(tmp_path, GOOD, {"file_name": name, "text": "c"})
    with pytest.raises(FileNotFoundError, match="line 2: no such file") as caught:
        load(tmp_path)
    assert str(tmp_path / "metadata.jsonl") in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path):
    """Latin-1 in the second line."""
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_bytes(GOOD.encode() + b'\n{"file_name": "b.png", "text": "caf\xe9"}')
    with pytest.raises(DataError, match=r"metadata.jsonl, line 2: not JSON"):
        load(tmp_path)


def test_all_images_without_captions_are_counted_and_some_named(tmp_path):
    """Three of five, sorted, with their folders; hidden ones and other files do not count."""
    for name in ("a.png", "z.png", "y/5.PNG", "y/4.png", "y/z/3.png", "2.jpg", ".hidden.png", ".cache/1.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    write(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"5 of the images .* no line in it: 2.jpg, y/4.png, y/5.PNG, \.\.\.; write"):
        load(tmp_path)


def test_a_picture_is_checked_as_everywhere(tmp_path):
    """Another size, and a file that is no picture."""
    picture(tmp_path / "a.png")
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    write(tmp_path, GOOD, {"file_name": "b.png", "text": "b"})
    with pytest.raises(DataError, match="images of different sizes"):
        load(tmp_path)
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(DataError, match=r"b.png: cannot be read as an image"):
        load(tmp_path)


def test_train_and_test_have_captions_of_their_own(tmp_path):
    """A file in each; other sub-folders in one of them do not matter."""
    for split in ("train", "test"):
        picture(tmp_path / split / f"of {split}" / "a.png", 100 if split == "test" else 0)
        write(tmp_path / split, {"file_name": f"of {split}/a.png", "text": f"for {split}"})
    for split in ("train", "test"):
        dataset = load(tmp_path, split=split)
        assert dataset.captions == ((f"for {split}",),) and np.unique(dataset.images) == (100 if split == "test" else 0)


@pytest.mark.parametrize("places", [["."], ["train"], ["test"], [".", "train"], [".", "train", "test"]])
def test_captions_of_half_a_set_are_refused(places, tmp_path):
    """In one split only, or beside the splits."""
    for split in ("train", "test"):
        picture(tmp_path / split / "x" / "a.png")
    for place in places:
        write(tmp_path / place, {"file_name": "x/a.png", "text": "a"})
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"captions are in a metadata.jsonl in each of the two; there is one in") as caught:
            load(tmp_path, split=split)
        assert all(str(tmp_path / place) in str(caught.value) for place in places)


def test_captions_are_not_passed_over(tmp_path):
    """In the folder of a class, where they would be: the train folder of a set without test, say."""
    picture(tmp_path / "train" / "a.png")
    write(tmp_path / "train", GOOD)
    with pytest.raises(DataError, match=r"train/metadata.jsonl: captions in the folder of a class; .*/train be the data source"):
        load(tmp_path)
    assert load(tmp_path / "train").captions == (("a",),)


def test_without_a_test_folder_there_is_no_test_split(tmp_path):
    """The message says how one is made."""
    picture(tmp_path / "a.png")
    write(tmp_path, GOOD)
    with pytest.raises(ValueError, match=r"no test split; .* or a metadata.jsonl each"):
        load(tmp_path, split="test")
