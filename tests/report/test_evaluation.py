"""The figures of an evaluation as a table that can be read, and in a folder that is whole or not there."""

import json
import os

import pytest
from PIL import Image

from minidiff.metrics import Estimate
from minidiff.report import table_text, write_evaluation

TABLE = {
    "recognized": {"samples": Estimate(0.9, 0.85, 0.95, 100), "test images": Estimate(0.95, 0.93, 0.97, 1000)},
    "a long name of a figure": {"samples": Estimate(12.345, 11.0, 13.5, 100, 1000)},
    "chance only": {"chance": 0.16666},
}


def test_the_table_has_a_line_for_each_figure_and_a_column_for_each_that_was_judged():
    """In the order in which they come, each cell below its column's head, a blank where there is no value, no blanks at the ends."""
    lines = table_text(TABLE).splitlines()
    places = [0, *(lines[0].index(name) for name in ("samples", "test images", "chance"))]
    cells = [[line[start:end].strip() for start, end in zip(places, [*places[1:], None])] for line in lines]
    assert cells == [
        ["", "samples", "test images", "chance"],
        ["recognized", "0.900 (0.850 to 0.950; n = 100)", "0.950 (0.930 to 0.970; n = 1,000)", ""],
        ["a long name of a figure", "12.3 (11.0 to 13.5; 100 against 1,000)", "", ""],
        ["chance only", "", "", "0.167"]]
    for line, of_line in zip(lines, cells, strict=True):
        assert line == line.rstrip()
        for cell, place in zip(of_line, places):
            assert not cell or line.startswith(cell, place)
    assert places == [0, 25, 65, 100]   # the widest cell of each column, and two blanks


def test_the_figures_are_read_back_from_json_with_all_they_say(tmp_path):
    """Value, interval, counts and confidence; what was evaluated stands before them, the pictures beside."""
    picture = Image.new("RGB", (4, 3), "#123456")
    folder = write_evaluation(tmp_path / "a" / "evaluation", {"run": "runs/mine", "steps": 20}, TABLE, {"nearest": picture})
    assert sorted(os.listdir(folder)) == ["evaluation.json", "nearest.png"] and os.listdir(tmp_path / "a") == ["evaluation"]
    content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert list(content) == ["run", "steps", "figures"] and (content["run"], content["steps"]) == ("runs/mine", 20)
    assert {figure: {name: Estimate(**value) if isinstance(value, dict) else value for name, value in values.items()}
            for figure, values in content["figures"].items()} == TABLE
    assert Image.open(folder / "nearest.png").convert("RGB").getpixel((0, 0)) == (0x12, 0x34, 0x56)


def test_a_folder_that_exists_is_left_alone(tmp_path):
    """It holds somebody's work."""
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already, and nothing is overwritten"):
        write_evaluation(tmp_path, {}, TABLE, {})
    assert os.listdir(tmp_path) == ["diary.txt"]


@pytest.mark.parametrize("about, pictures", [({"generator": object()}, {}), ({}, {"nearest": "no picture"})])
def test_nothing_is_left_of_one_that_failed(about, pictures, tmp_path):
    """Something that JSON cannot say; something that is no picture, after the figures were written."""
    with pytest.raises((TypeError, AttributeError)):
        write_evaluation(tmp_path / "evaluation", about, TABLE, pictures)
    assert os.listdir(tmp_path) == []
