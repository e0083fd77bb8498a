"""`draw`: the text is the graph."""

import re

import numpy as np
import pytest

from minidiff import functional as F
from minidiff.autograd import checkpoint, draw, gradient, tensor

BOX = re.compile(r'    (\w+)(?:\["([^"]*)"\]|\(\["([^"]*)"\]\))')
EDGE = re.compile(r'    (\w+) -->(?:\|"([^"]*)"\|)? (\w+)')


def parsed(text):
    """{id: label} and [(from, label, to)]; every line must be one or the other, and what an edge names must have a box."""
    first, *lines = text.splitlines()
    assert first == "flowchart TD" and text.endswith("\n")
    boxes, edges = {}, []
    for line in lines:
        box, edge = BOX.fullmatch(line), EDGE.fullmatch(line)
        assert bool(box) != bool(edge), line
        if box:
            assert box[1] not in boxes
            boxes[box[1]] = box[2] or box[3]
        else:
            edges.append(edge.groups())
    assert {end for a, _, b in edges for end in (a, b)} <= set(boxes)
    return boxes, edges


def leaf(*shape):
    return tensor(np.ones(shape), requires_grad=True)


def test_boxes_and_edges_are_those_of_the_graph():
    """sin(x w) + x: two leaves, three operations, five edges, and the output."""
    x, w = leaf(2, 3), leaf(3)
    boxes, edges = parsed(draw(F.sin(x * w) + x, {"x": x, "w": w}))
    named = sorted((boxes[a], label, boxes[b]) for a, label, b in edges)
    assert named == sorted([
        ("x (2, 3) float64", "(2, 3)", "mul"), ("w (3,) float64", "(3,)", "mul"), ("mul", "(2, 3)", "sin"), ("sin", "(2, 3)", "add"),
        ("x (2, 3) float64", "(2, 3)", "add"), ("add", None, "output (2, 3) float64"),
    ])
    assert len(boxes) == 6


def test_a_value_used_twice_has_two_edges_and_one_box():
    """x x, and a leaf without a name."""
    x = leaf(2)
    boxes, edges = parsed(draw(x * x))
    assert sorted(boxes.values()) == ["leaf (2,) float64", "mul", "output (2,) float64"] and len(edges) == 3
    y = x
    for _ in range(60):  # 2^60 paths
        y = y + y
    assert len(parsed(draw(y))[0]) == 62


def test_several_outputs_share_their_graph():
    """Each has a box; a leaf can be an output; a name inside shows."""
    x = leaf(2)
    h = F.exp(x)
    boxes, edges = parsed(draw([h * 2.0, h.sum(), x], {"h": h}))
    assert sorted(boxes.values()) == sorted([
        "leaf (2,) float64", "h = exp", "mul", boxes["n3"], "output 0 (2,) float64", "output 1 () float64", "output 2 (2,) float64"])
    assert len(edges) == 6


def test_gradients_and_checkpoints_can_be_drawn():
    """A recorded backward pass is a graph like any other."""
    x = leaf(2)
    parsed(draw(gradient((x * x * x).sum(), x, create_graph=True)))
    boxes, _ = parsed(draw(checkpoint(lambda u: (u * 2.0, F.exp(u)), x)))
    assert list(boxes.values()).count("checkpoint") == 3


def test_names_cannot_break_the_text():
    """Quotes, brackets, arrows, markdown, line ends and letters of the world become character codes that spell the name."""
    for name in ('say "hi"', "a]b[c", "x --> y", "`code`", "line\nend", "é<br>#35;", "block.0.weight"):
        x = leaf(2)
        boxes, _ = parsed(draw(x * 2.0, {name: x}))
        (label,) = [label for label in boxes.values() if label.endswith(" (2,) float64") and not label.startswith("output")]
        assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label) == f"{name} (2,) float64"
        assert not set(label) & set('"<>`\n&{}|')


def test_what_cannot_be_drawn_is_refused():
    """No graph, a freed one, one too large for a picture."""
    x = leaf(2)
    with pytest.raises(ValueError, match=r"^draw: the output has no graph"):
        draw(tensor(1.0))
    y = F.exp(x).sum()
    gradient(y, x)
    with pytest.raises(RuntimeError, match="draw before backward"):
        draw(y)
    y = x
    for _ in range(199):
        y = y + 1.0
    assert len(parsed(draw(y))[0]) == 201
    with pytest.raises(ValueError, match="more than 200 nodes"):
        draw(y + 1.0)
