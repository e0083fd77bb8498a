"""`draw`: a small graph as a Mermaid flowchart, which GitHub, GitLab and many editors show as a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .operation import Node
from .tensor import Tensor

LARGEST = 200


def draw(output: Tensor | Sequence[Tensor], names: Mapping[str, Tensor] | None = None) -> str:
    """The graph of one or several outputs as the text of a Mermaid flowchart, from the leaves down to the outputs.

    Round boxes are leaves and outputs, with name, shape and dtype; square ones are operations; on an edge stands the shape of what flows
    along it. Constants are not in a graph, so they are not drawn. names: name -> Tensor, such as `dict(model.named_parameters())`; also
    of values inside, whose box then shows the name. Raises ValueError for an output without a graph, and above 200 boxes, RuntimeError
    for a graph that was freed.
    """
    outputs = [output] if isinstance(output, Tensor) else list(output)
    named = {id(tensor.node or tensor): name for name, tensor in (names or {}).items()}
    places = _places(outputs)
    number = {id(place): f"n{k}" for k, place in enumerate(places)}
    lines = ["flowchart TD"]
    for place in places:
        name = named.get(id(place))
        if isinstance(place, Node):
            label = place.name if name is None else f"{name} = {place.name}"
            lines.append(f'    {number[id(place)]}["{_escaped(label)}"]')
        else:
            lines.append(f'    {number[id(place)]}(["{_described(name or "leaf", place)}"])')
    for place in places:
        if isinstance(place, Node):
            lines += [f'    {number[id(parent)]} -->|"{_escaped(str(tuple(parent.shape)))}"| {number[id(place)]}'
                      for parent in place.parents if parent is not None]
    for k, out in enumerate(outputs):
        title = "output" if len(outputs) == 1 else f"output {k}"
        lines += [f'    out{k}(["{_described(title, out)}"])', f"    {number[id(out.node or out)]} --> out{k}"]
    return "\n".join(lines) + "\n"


def _places(outputs: Sequence[Tensor]) -> list[Any]:
    """All nodes and leaves of the graph, leaves first, then in the order in which they were computed."""
    places: dict[int, Any] = {}
    stack = []
    for out in outputs:
        if not isinstance(out, Tensor) or not out.requires_grad:
            raise ValueError("draw: the output has no graph: nothing that it was computed from requires gradients")
        stack.append(out.node or out)
    while stack:
        place = stack.pop()
        if id(place) in places:
            continue
        places[id(place)] = place
        if len(places) > LARGEST:
            raise ValueError(f"draw: the graph has more than {LARGEST} nodes, too many for a picture; draw a part of it, such as one block")
        if isinstance(place, Node):
            if place.parents is None:
                raise RuntimeError("draw: this graph was walked and freed; draw before backward, or pass it retain_graph=True")
            stack.extend(parent for parent in place.parents if parent is not None)
    return sorted(places.values(), key=lambda place: place.order if isinstance(place, Node) else 0)


def _described(name: str, x: Any) -> str:
    return _escaped(f"{name} {tuple(x.shape)} {x.dtype}")


def _escaped(text: str) -> str:
    """Text inside quotes: what could end them, or mean something to Mermaid, as a character code."""
    return re.sub(r"[^\w .,:;=()\[\]+*/-]", lambda found: f"#{ord(found[0])};", text, flags=re.ASCII)
