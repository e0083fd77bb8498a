"""The emoji inside the package, against what their README says and, where they are at hand, the files they were made from."""

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

import minidiff.data
from minidiff.data import load
from minidiff.data.embed_emoji import base_name, captions_in_lines, choose_test, distances, embed_emoji, families

FOLDER = Path(minidiff.data.__file__).parent / "emoji"
SHARED = Path(os.environ.get("MINIDIFF_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "emoji"
IMAGES, CAPTIONS = SHARED / "emoji-32.npz", SHARED / "captions.json"
GROUPS = ("Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects", "Symbols",
          "Flags")
SIZES = (168, 380, 158, 130, 218, 85, 262, 223, 8)
needs_sources = pytest.mark.skipif(not IMAGES.is_file(), reason=f"the files that the emoji were made from are not in {SHARED}")


@pytest.fixture(scope="module")
def train():
    return load("emoji")


@pytest.fixture(scope="module")
def test():
    return load("emoji", split="test")


def test_sizes_and_groups(train, test):
    """32 x 32 in colour, nine groups; every group has its share of the test set, to a half of one picture."""
    assert train.images.shape == (1432, 3, 32, 32) and test.images.shape == (200, 3, 32, 32)
    assert train.class_names == test.class_names == GROUPS
    of_test = np.bincount(test.labels, minlength=9)
    assert (np.bincount(train.labels) + of_test).tolist() == list(SIZES)
    assert np.abs(of_test - np.array(SIZES) * 200 / 1632).max() <= 0.5


def test_names_come_first_and_no_caption_twice(train, test):
    """1,632 different names; the captions of an image differ from each other."""
    captions = train.captions + test.captions
    assert len({of_image[0] for of_image in captions}) == 1632
    assert all(len(set(of_image)) == len(of_image) for of_image in captions)
    assert {of_image[0]: of_image for of_image in captions}["rocket"] == ("rocket", "launch", "rockets", "space", "travel")


@pytest.mark.parametrize("thing", ["heart", "circle", "square", "book", "apple"])
@pytest.mark.parametrize(("colour", "channel"), [("red", 0), ("green", 1), ("blue", 2)])
def test_a_picture_has_the_colour_of_its_name(colour, channel, thing, train, test):
    """More of that colour than of the two others: images and captions belong together, and the channels are red, green, blue."""
    for dataset in (train, test):
        for image, captions in zip(dataset.images, dataset.captions, strict=True):
            if captions[0] == f"{colour} {thing}":
                assert image.mean(axis=(1, 2)).argmax() == channel
                return
    assert (colour, thing) in {("red", "book"), ("blue", "apple")}, "it must be there"


def test_no_test_image_is_near_a_training_image(train, test):
    """20 of 255 apart at least, root mean square, also when mirrored."""
    pixels = train.images.reshape(1432, -1).astype(np.float64)
    for pictures in (test.images, test.images[..., ::-1]):
        assert cdist(pictures.reshape(200, -1).astype(np.float64), pixels).min() >= 20 * np.sqrt(3 * 32 * 32)


def test_variants_are_on_the_same_side(train, test):
    """Names that differ by the sex or the direction only, and the clock faces."""
    side = {of_image[0]: split for split, dataset in (("train", train), ("test", test)) for of_image in dataset.captions}
    pairs = 0
    for name in side:
        variants = {name.replace("woman", "man"), name.replace("woman", "person"), re.sub("^woman ", "", name),
                    name.replace("women", "people"), name.removesuffix(" facing right")} - {name}
        for variant in variants & set(side):
            assert side[name] == side[variant], (name, variant)
            pairs += 1
    assert pairs > 190
    assert {side[name] for name in side if name.endswith(("o’clock", "-thirty"))} == {"train"}
    assert len({side[name] for name in ("mermaid", "merman", "merperson")}) == len({side["prince"], side["princess"]}) == 1


def test_any_stretch_is_mixed(train, test):
    """No group fills more of a tenth than the largest one, 23.5 % of all, by chance in one of 10^6 (4.8 standard deviations)."""
    for dataset in (train, test):
        for part in np.array_split(dataset.labels, 10):
            assert np.bincount(part).max() <= 0.235 * len(part) + 4.8 * np.sqrt(0.235 * 0.765 * len(part))


def test_the_folder_has_its_licences_and_its_true_checksum():
    """The README states size, SHA-256, the sources and that the pictures have been changed; at most 2.2 MB."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    (name, size, digest), = re.findall(r"^\| `(.+?)` \| ([\d,]+) \| `(\w{64})` \|$", readme, re.MULTILINE)
    content = (FOLDER / name).read_bytes()
    assert (int(size.replace(",", "")), digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert "Google Inc., Noto Emoji" in readme and "have been changed" in readme
    licences = {"LICENSE-Apache": "Apache License", "LICENSE-Unicode": "UNICODE LICENSE V3", "LICENSE-MIT": "emoji.json"}
    for licence, beginning in licences.items():
        assert f"`{licence}`" in readme
        assert (FOLDER / licence).read_text(encoding="utf-8").strip().startswith(beginning)
    assert {path.name for path in FOLDER.iterdir()} == {name, "README.md", *licences}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_200_000


def test_what_the_readme_counts(train, test):
    """The nearest pair and the median distance, to the digits given; lines of captions."""
    readme = re.sub(r"\s+", " ", (FOLDER / "README.md").read_text(encoding="utf-8"))
    nearest = distances(test.images, np.concatenate([train.images, train.images[..., ::-1]]))
    of_test, of_train = np.unravel_index(nearest.argmin(), nearest.shape)
    assert f"differs by {nearest.min():.1f} or more" in readme and f"the median {np.median(nearest.min(axis=1)):.0f}." in readme
    pair = test.captions[of_test][0], train.captions[of_train % len(train)][0]
    assert "the nearest pair is {} (test) and {} (training)".format(*pair) in readme
    counts = [len(of_image) for of_image in train.captions + test.captions]
    assert f"{min(counts)} to {max(counts)} lines, about {np.mean(counts):.0f})" in readme


@pytest.mark.parametrize(("name", "base"), [
    ("teacher", "teacher"), ("woman teacher", "teacher"), ("kiss: woman, man", "kiss"), ("woman and man holding hands", "holding hands"),
    ("people holding hands", "holding hands"), ("man", ""), ("woman: red hair", ""), ("women’s room", "’s room"), ("mango", "mango"),
    ("snowman", "snowman"), ("mermaid", "merperson"), ("old man", "older"), ("older person", "older"), ("boy", "child"),
    ("keycap: 3", "keycap"),
])
def test_base_names(name, base):
    """Words for people only as whole words, and what stands before a colon."""
    assert base_name(name) == base


@given(x=arrays(np.uint8, (3, 2, 2, 3)), y=arrays(np.uint8, (2, 2, 2, 3)))
def test_distances_are_those_of_the_definition(x, y):
    """Pair by pair. The squares are whole numbers, so nothing is lost in their sums."""
    for i, j in np.ndindex(3, 2):
        expected = np.sqrt(np.mean((x[i].astype(float) - y[j]) ** 2))
        np.testing.assert_allclose(distances(x, y)[i, j], expected, rtol=1e-14)


def test_a_family_is_a_chain_of_variants():
    """By name, by a mirrored picture, by one that differs by 19, and by way of another; one that differs by 20 is alone."""
    rng = np.random.default_rng()
    images = rng.integers(0, 200, (6, 8, 8, 3)).astype(np.uint8)
    images[1] = images[0, :, ::-1]
    images[2] = images[1] + np.uint8(19)
    images[4] = images[3] + np.uint8(20)
    names = ["left fist", "right fist", "bright fist", "man cook", "pot", "woman cook"]
    family = families(images, names)
    assert family[0] == family[1] == family[2] and family[3] == family[5]
    assert len(set(family)) == 3


@given(sizes=st.lists(st.integers(1, 9), min_size=20, max_size=120), groups=st.integers(1, 4))
def test_whole_families_make_the_test_set(sizes, groups):
    """No family is torn, none of more than six is in it, no group has more than its share."""
    family = np.repeat(np.arange(len(sizes)), sizes)
    group = family % groups
    test = choose_test(family, group, [f"{number}" for number in range(len(family))])
    for number, size in enumerate(sizes):
        assert test[family == number].sum() in ({0, size} if size <= 6 else {0})
    for number in range(groups):
        assert test[group == number].sum() <= 200 * (group == number).mean() + 0.5


def test_a_keyword_that_is_the_name_or_comes_twice_is_said_once():
    """In the order given."""
    assert captions_in_lines({"name": "robot", "keywords": ["face", "robot", "monster", "face"]}) == "robot\nface\nmonster"


def test_a_set_is_written_and_read(tmp_path):
    """400 pictures of noise, each by its name: with its label and captions, once, in the order of the SHA-256 of its captions."""
    pixels = np.random.default_rng().integers(0, 256, (400, 6, 6, 3), np.uint8)
    entries = [{"name": f"n{i}", "group": "yxzw"[i % 4], "keywords": [f"k{i}", "é"]} for i in range(400)]
    np.savez(tmp_path / "images.npz", images=pixels)
    (tmp_path / "captions.json").write_text(json.dumps(entries), encoding="utf-8")
    embed_emoji(tmp_path / "images.npz", tmp_path / "captions.json", tmp_path / "emoji.npz")
    assert {path.name for path in tmp_path.iterdir()} == {"images.npz", "captions.json", "emoji.npz"}
    seen = []
    for split, size in (("train", 200), ("test", 200)):
        dataset = load(tmp_path / "emoji.npz", split=split)
        assert dataset.class_names == tuple("yxzw") and len(dataset) == size
        order = [hashlib.sha256("\n".join(of_image).encode()).digest() for of_image in dataset.captions]
        assert order == sorted(order)
        for image, label, captions in zip(dataset.images, dataset.labels, dataset.captions, strict=True):
            i = int(captions[0][1:])
            assert captions == (f"n{i}", f"k{i}", "é") and label == i % 4 and (image.transpose(1, 2, 0) == pixels[i]).all()
            seen.append(i)
    assert sorted(seen) == list(range(400))


def test_images_without_entries_are_refused(tmp_path):
    """Nothing is written."""
    np.savez(tmp_path / "images.npz", images=np.zeros((2, 2, 2, 3), np.uint8))
    (tmp_path / "captions.json").write_text('[{"name": "a", "group": "g", "keywords": []}]')
    with pytest.raises(ValueError, match=r"2 images in .*images.npz, but 1 entries in .*captions.json"):
        embed_emoji(tmp_path / "images.npz", tmp_path / "captions.json", tmp_path / "emoji.npz")
    assert not list(tmp_path.glob("emoji*"))


@needs_sources
def test_every_emoji_is_there_once_with_its_picture_and_its_words(train, test):
    """Looked up by name in the source files."""
    with np.load(IMAGES) as archive:
        pixels = archive["images"]
    words = json.loads(CAPTIONS.read_text(encoding="utf-8"))
    entries = {entry["name"]: (picture, entry) for picture, entry in zip(pixels, words, strict=True)}
    for dataset in (train, test):
        for image, label, captions in zip(dataset.images, dataset.labels, dataset.captions, strict=True):
            picture, entry = entries.pop(captions[0])
            assert (image.transpose(1, 2, 0) == picture).all() and entry["group"] == GROUPS[label]
            assert set(captions) == {entry["name"], *entry["keywords"]}
    assert not entries


@needs_sources
def test_sequences_of_code_points_agree_on_variants(train, test):
    """Unicode's own way to say man, woman, person and facing right: emoji that are equal without these are on the same side."""
    side = {of_image[0]: split for split, dataset in (("train", train), ("test", test)) for of_image in dataset.captions}
    sides: dict[str, set[str]] = {}
    members: dict[str, int] = {}
    for entry in json.loads(CAPTIONS.read_text(encoding="utf-8")):
        plain = re.sub(r" FE0F| 200D (2640|2642|27A1)", "", entry["codepoints"].replace(" FE0F", ""))
        plain = re.sub("1F46[89]", "1F9D1", plain)
        sides.setdefault(plain, set()).add(side[entry["name"]])
        members[plain] = members.get(plain, 0) + 1
    assert sum(count > 1 for count in members.values()) > 70
    assert all(len(split) == 1 for split in sides.values())


@needs_sources
def test_it_can_be_made_again(tmp_path, train, test):
    """The script's result holds the same arrays in the same order; the bytes may differ with the version of liblzma."""
    embed_emoji(IMAGES, CAPTIONS, tmp_path / "again.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["again.npz"]
    for split, ours in (("train", train), ("test", test)):
        again = load(tmp_path / "again.npz", split=split)
        np.testing.assert_array_equal(ours.images, again.images)
        np.testing.assert_array_equal(ours.labels, again.labels)
        assert ours.captions == again.captions and ours.class_names == again.class_names
