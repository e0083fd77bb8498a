"""Tables and sinusoids, number by number in 50 digits."""

from __future__ import annotations

import numpy as np
from mpmath import cos, mpf, power, sin

from reference.oracles.oracle import Oracle


def embedding(inputs, settings, expected):
    """The rows, exactly. Their gradients: the sum of the cotangents of their places; 0 for the padding, which is no derivative."""
    index, weight, cotangent = inputs["input"], inputs["weight"], inputs["cotangent"]
    for place in np.ndindex(index.shape):
        np.testing.assert_array_equal(expected["output"][place], weight[index[place]].astype(float))
    for row in range(len(weight)):
        places = [cotangent[place] for place in np.ndindex(index.shape) if index[place] == row and row != settings["padding_idx"]]
        right = sum(places, np.full(cotangent.shape[-1], mpf(0), dtype=object))
        np.testing.assert_allclose(expected["grad.weight"][row], right.astype(float), rtol=1e-14, atol=1e-15)
    return "output", "grad.weight"


def one_hot(inputs, settings):
    """1 at the class, else 0; as many classes as are said, or as the largest needs."""
    index = inputs["input"]
    count = settings["num_classes"] if settings["num_classes"] > 0 else max(index.flat) + 1
    return {"output": np.array([[1 if k == i else 0 for k in range(count)] for i in index.flat]).reshape(*index.shape, count)}


def timestep_embedding(inputs, settings):
    """sin and cos of scale t / max_period^(i / (half - shift)), and a 0 if the dimension is odd."""
    half, odd = divmod(settings["dim"], 2)
    last = half - mpf(settings["downscale_freq_shift"])
    rows = []
    for t in inputs["timesteps"].tolist():
        angles = [mpf(settings["scale"]) * t / power(settings["max_period"], i / last) for i in range(half)]
        first, second = (cos, sin) if settings["flip_sin_to_cos"] else (sin, cos)
        rows.append([first(a) for a in angles] + [second(a) for a in angles] + [mpf(0)] * odd)
    return {"output": rows}


def token_position_embedding(inputs, settings):
    """The row of the token plus the row of its place."""
    ids, tokens, places = (inputs[name] for name in ("input_ids", "token_embedding.weight", "position_embedding.weight"))
    return {"output": [[[tokens[token, d] + places[l, d] for d in range(tokens.shape[1])] for l, token in enumerate(row)] for row in ids]}


def patch_position_embedding(inputs, settings):
    """The token of the class, then each patch times the kernel, each plus the row of its place."""
    pixels, first, weight, places = (inputs[name] for name in (
        "pixel_values", "class_embedding", "patch_embedding.weight", "position_embedding.weight"))
    width, p = weight.shape[0], weight.shape[2]
    out = []
    for image in pixels:
        rows = [[first[d] + places[0, d] for d in range(width)]]
        for top in range(0, image.shape[1], p):
            for left in range(0, image.shape[2], p):
                patch = image[:, top:top + p, left:left + p]
                rows.append([sum(a * b for a, b in zip(weight[d].flat, patch.flat)) + places[len(rows), d] for d in range(width)])
        out.append(rows)
    return {"output": out}


def class_embedding(inputs, settings):
    """The time's embedding plus the row of the class, or of no class where it is dropped."""
    table, out = inputs["class_embedding.weight"], []
    for emb, label, dropped in zip(inputs["emb"], inputs["labels"], inputs["drop"]):
        row = table[settings["num_classes"] if dropped == 1 else label]
        out.append([a + b for a, b in zip(emb, row)])
    return {"output": out}


KIND = "mpmath, 50 digits, naive loops"
ORACLES = {function.__name__: Oracle(KIND, function) for function in (
    one_hot, timestep_embedding, token_position_embedding, patch_position_embedding, class_embedding)}
ORACLES["embedding"] = Oracle("mpmath, 50 digits, row by row", check=embedding)
