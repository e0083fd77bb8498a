"""Numbers for what is no number: tokens, places, classes, points in time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.verify.adapters.minidiff.embedding import OPERATIONS as RIGHT
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#5-embeddings"

OPERATIONS = {
    "embedding": Operation(
        equation="y[i] = weight[input[i]]; the gradient of a row is the sum over all the places where it was asked for",
        chapter=CHAPTER,
        inputs={"input": "(...) int64, in [0, rows)", "weight": "(rows, D)"},
        settings={"padding_idx": "a row that gets no gradient, or null"},
        outputs={"output": "(..., D)"},
    ),
    "one_hot": Operation(
        equation="y[i, k] = 1 if k = input[i], else 0",
        chapter=CHAPTER,
        inputs={"input": "(...) int64, in [0, num_classes)"},
        settings={"num_classes": "how many classes there are; -1: the largest of the input, plus 1"},
        outputs={"output": "(..., num_classes) int64"},
    ),
    "timestep_embedding": Operation(
        equation="f_i = max_period^(-i / (h - downscale_freq_shift)), h = floor(dim / 2), i = 0 .. h - 1; the sines and the cosines of "
                 "scale t f_i, all of the one before all of the other; an odd dim ends in a column of zeros",
        chapter="docs/layers.md#5-embeddings",
        inputs={"timesteps": "t: (N,), int64 or floating point"},
        settings={
            "dim": "length of the embedding", "max_period": "the longest period divided by 2 pi",
            "flip_sin_to_cos": "true: (cosines, sines), as OpenAI's; false: (sines, cosines), as Ho's",
            "downscale_freq_shift": "0: OpenAI's frequencies, which end before 1 / max_period; 1: Ho's, which end there",
            "scale": "times are multiplied by it first",
        },
        outputs={"output": "(N, dim)"},
    ),
    "token_position_embedding": Operation(
        equation="y[n, l] = token_embedding[input_ids[n, l]] + position_embedding[l]",
        chapter=CHAPTER,
        inputs={"input_ids": "(N, L) int64", "token_embedding.weight": "(V, D)", "position_embedding.weight": "(Lmax, D), Lmax >= L"},
        outputs={"output": "(N, L, D)"},
    ),
    "patch_position_embedding": Operation(
        equation="y[n, 0] = class_embedding + position_embedding[0]; y[n, 1 + i] = sum over c, u, v of patch_embedding[:, c, u, v] "
                 "times pixel (u, v) of channel c of patch i, plus position_embedding[1 + i]; the patches in rows from the upper left",
        chapter=CHAPTER,
        inputs={"pixel_values": "(N, C, H, W), divisible by p", "class_embedding": "(D,)",
                "patch_embedding.weight": "(D, C, p, p), no bias",
                "position_embedding.weight": "(1 + H W / p^2, D)"},
        outputs={"output": "(N, 1 + H W / p^2, D)"},
    ),
    "class_embedding": Operation(
        equation="y[n] = emb[n] + class_embedding[label]; label = num_classes (the null label, the last row) where drop[n] is 1, "
                 "else labels[n]",
        chapter="docs/guidance.md#5-classifier-free-guidance",
        inputs={"emb": "(N, E), of the time", "labels": "(N,) int64, in [0, num_classes]",
                "drop": "(N,) int64: 1 where the class is dropped", "class_embedding.weight": "(num_classes + 1, E)"},
        settings={"num_classes": "how many classes there are, without the null label"},
        outputs={"output": "(N, E)"},
    ),
}

NOTES = {
    "embedding-repeated": Note(
        kind="indexing",
        about="A row that is asked for several times gets the sum of the gradients, not the last one.",
        effect="Frequent tokens and classes learn too slowly.",
        seen=("NumPy: g[index] += x adds once for repeated indices; np.add.at adds all",),
    ),
    "embedding-padding-index": Note(
        kind="default",
        about="The row of the padding gets no gradient where padding_idx is set, and one where it is not (the default).",
        effect="A padding row that learns changes all padded texts together.",
    ),
    "embedding-offset": Note(
        kind="indexing",
        about="Tokens, classes and places are counted from 0.",
        effect="The last class is out of range and every class is drawn as its neighbour.",
    ),
    "timestep-order": Note(
        kind="convention",
        about="(sines, cosines) in Ho et al.'s code, (cosines, sines) in OpenAI's; flip_sin_to_cos says which. Vaswani et al. 2017 "
              "wrote sines and cosines in turn.",
        effect="Trained from scratch nothing shows; loaded weights read another time: noise, or over-smoothed images.",
        seen=("diffusers #3981", "up to 1.93 from each other"),
    ),
    "timestep-shift": Note(
        kind="convention",
        about="The exponent is divided by half - 1 (Ho; downscale_freq_shift 1) or half (OpenAI; 0).",
        effect="Slow frequencies differ most: with loaded weights late times are read as others.",
        seen=("diffusers: get_timestep_embedding has 1 as its default, UNet2DModel and UNet2DConditionModel pass 0",),
    ),
    "timestep-frequencies": Note(
        kind="formula",
        about="Frequencies fall geometrically from 1 to 1 / max_period over half the dimension, not over all of it and not to another end.",
        effect="With loaded weights every time is read as another.",
    ),
    "timestep-odd": Note(
        kind="convention",
        about="An odd dimension ends in a zero.",
        effect="All entries are shifted by one.",
    ),
    "timestep-time": Note(
        kind="convention",
        about="What goes in: t from 0 to T - 1, fractions kept; a time in [0, 1] is scaled first, often by 1000.",
        effect="A time in [0, 1] that is not scaled makes all times nearly alike: the network cannot tell noise levels apart. A "
               "fraction that is cut off makes second-order samplers first order.",
        seen=("score_sde_pytorch: models/utils.py, a time in [0, 1] times 999",),
    ),
    "timestep-precision": Note(
        kind="numerics",
        about="In half precision an angle of 999 is off by up to 0.25 (float16) or 2 (bfloat16): the angle must be computed in float32.",
        effect="Neighbouring times get the same embedding; late steps flicker.",
    ),
    "position-order": Note(
        kind="indexing",
        about="Positions count from 0 at the left; in CLIP's image tower the class token has position 0 and the patches follow row by row.",
        effect="Prompts lose their word order; images are read transposed.",
    ),
    "patch-order": Note(
        kind="indexing",
        about="Patches are numbered row by row, and a patch is read as channel, row, column.",
        effect="Images are read transposed: similarity to texts falls slightly, which is hard to see.",
    ),
    "null-label": Note(
        kind="convention",
        about="No class is a row of its own, the last of num_classes + 1: not class 0 and not zeros.",
        effect="With class 0 as null, guidance pushes away from class 0 and the unconditional model draws it.",
        seen=("guided models of class labels: DiT's LabelEmbedder has the extra row; NVIDIA's course multiplies a one-hot vector by 0",),
    ),
}


# -- tables ----------------------------------------------------------------------------------------------------------


def _last_only(inputs, settings):
    """The same values, but only the last place of each row passes its gradient on."""
    index, found = inputs["input"].numpy(), RIGHT["embedding"](inputs, settings)
    flat = index.ravel()
    last = np.array([row not in flat[i + 1:] for i, row in enumerate(flat)]).reshape(index.shape)
    return F.where(last[..., None], found, found.detach())


def _lookup(
    name: str, reason: str, input: np.ndarray, rows: int, width: int, padding_idx: int | None, mutants: Mapping[str, Mutant],
) -> Case:
    id = f"embedding/{name}"
    inputs = {"input": input.astype(np.int64), "weight": draw(f"{id}:weight", rows, width),
              "cotangent": draw(f"{id}:cotangent", *input.shape, width)}
    return Case(id, reason, inputs, {"padding_idx": padding_idx}, ("weight",), mutants)


def _next_row(inputs, settings):
    return RIGHT["embedding"]({**inputs, "weight": F.roll(inputs["weight"], -1, 0)}, settings)


LAST_ONLY = Mutant("your embedding keeps only the last gradient of a row that is used several times", "embedding-repeated",
                   compute=_last_only)


def _table_cases() -> Iterator[Case]:
    yield _lookup("repeated", "rows asked for several times, one never", np.array([[2, 0, 2], [5, 2, 0]]), 7, 3, None, {
        "last-gradient": LAST_ONLY,
        "from-one": Mutant("your embedding counts its rows from 1", "embedding-offset", compute=_next_row)})
    yield _lookup("padding", "a row without a gradient", np.array([1, 3, 3, 0, 1]), 5, 2, 3, {
        "padding-learns": Mutant("your embedding ignores padding_idx", "embedding-padding-index", settings={"padding_idx": None}),
        "last-gradient": LAST_ONLY})
    yield _lookup("one-row", "a single index without dimensions to spare", np.array([4]), 5, 7, None, {
        "from-one": Mutant("your embedding counts its rows from 1", "embedding-offset", compute=_next_row)})
    labels = {"input": np.array([[3, 0], [4, 4], [1, 3]])}
    from_one = Mutant("your one-hot vectors count from 1", "embedding-offset", compute=lambda inputs, settings: F.one_hot(
        (inputs["input"] + settings["num_classes"] - 1) % settings["num_classes"], settings["num_classes"]))
    yield Case("one_hot/classes", "more classes than occur", labels, {"num_classes": 7}, (), {"from-one": from_one})
    yield Case("one_hot/largest", "as many classes as the input needs", labels, {"num_classes": -1}, (), {
        "one-more": Mutant("your one-hot vectors have one class too many", "embedding-offset", settings={"num_classes": 6})})


# -- time ------------------------------------------------------------------------------------------------------------


def _in_turn(inputs, settings):
    """Sine, cosine, sine, cosine ...: Vaswani et al. 2017, Sec. 3.5."""
    halves = RIGHT["timestep_embedding"](inputs, settings).reshape(-1, 2, settings["dim"] // 2)
    return halves.swapaxes(1, 2).reshape(-1, settings["dim"])


def _over_all(inputs, settings):
    """The exponent over the whole dimension."""
    return RIGHT["timestep_embedding"](inputs, {**settings, "max_period": math.sqrt(settings["max_period"])})


def _cut_off(inputs, settings):
    return RIGHT["timestep_embedding"]({"timesteps": F.floor(inputs["timesteps"])}, settings)


def _zero_first(inputs, settings):
    return np.roll(RIGHT["timestep_embedding"](inputs, settings), 1, axis=1)


def _one_later(inputs, settings):
    return RIGHT["timestep_embedding"]({"timesteps": inputs["timesteps"] + 1}, settings)


SINES_FIRST = Mutant("your time embedding has (sines, cosines)", "timestep-order", settings={"flip_sin_to_cos": False})
COSINES_FIRST = Mutant("your time embedding has (cosines, sines)", "timestep-order", settings={"flip_sin_to_cos": True})
IN_TURN = Mutant("your time embedding has sines and cosines in turn", "timestep-order", compute=_in_turn)
BY_HALF = Mutant("your time embedding divides the exponent by half", "timestep-shift", settings={"downscale_freq_shift": 0.0})
BY_LESS = Mutant("your time embedding divides the exponent by half - 1", "timestep-shift", settings={"downscale_freq_shift": 1.0})
OVER_ALL = Mutant("your time embedding's frequencies fall over the whole dimension", "timestep-frequencies", compute=_over_all)
FROM_ONE = Mutant("your time embedding counts times from 1", "timestep-time", compute=_one_later)


def _time(
    name: str, reason: str, timesteps: Any, dim: int, mutants: Mapping[str, Mutant], *, flip: bool = True, shift: float = 0.0,
    max_period: float = 10000.0, scale: float = 1.0, flags: tuple[str, ...] = (),
) -> Case:
    times = np.array(timesteps)
    times = times.astype(np.int64 if times.dtype.kind == "i" else np.float32)
    settings = {"dim": dim, "max_period": max_period, "flip_sin_to_cos": flip, "downscale_freq_shift": shift, "scale": scale}
    return Case(f"timestep_embedding/{name}", reason, {"timesteps": times}, settings, (), mutants, flags=flags)


def _time_cases() -> Iterator[Case]:
    openai = {"sines-first": SINES_FIRST, "half-1": BY_LESS}
    yield _time("openai", "cosines first, divided by half", [1, 17, 500], 16, {**openai, "in-turn": IN_TURN, "from-one": FROM_ONE})
    yield _time("ho", "sines first, divided by half - 1", [1, 17, 500], 16, {
        "cosines-first": COSINES_FIRST, "half": BY_HALF, "in-turn": IN_TURN, "over-all": OVER_ALL}, flip=False, shift=1.0)
    yield _time("sines-half", "sines first, divided by half", [3, 250], 8, {"cosines-first": COSINES_FIRST, "half-1": BY_LESS}, flip=False)
    yield _time("cosines-half-1", "cosines first, divided by half - 1", [3, 250], 8, {"sines-first": SINES_FIRST, "half": BY_HALF},
                shift=1.0)
    yield _time("shift-between", "a shift that is neither 0 nor 1", [3, 250], 12, {"half": BY_HALF, "half-1": BY_LESS}, shift=0.5)
    yield _time("start", "t = 0: zeros and ones, exactly", [0], 10, {"sines-first": SINES_FIRST, "from-one": FROM_ONE})
    yield _time("end", "t = 999: the largest angle, where digits are lost first", [999], 32, {**openai, "over-all": OVER_ALL},
                flags=("timestep-precision",))
    yield _time("wide", "320 numbers, as in Stable Diffusion", [981, 1], 320, openai, flags=("timestep-precision",))
    yield _time("fractions", "times between the steps", [0.25, 12.625, 499.5], 10, {
        "cut-off": Mutant("your time embedding cuts fractions of a time off", "timestep-time", compute=_cut_off), **openai})
    yield _time("odd", "an odd dimension ends in a zero", [2, 77], 11, {
        "zero-first": Mutant("your time embedding begins with the zero", "timestep-odd", compute=_zero_first), "half-1": BY_LESS})
    yield _time("short-period", "another longest period", [1, 30], 8, {
        "10000": Mutant("your time embedding's max_period is 10000, whatever is given", "timestep-frequencies", settings={
            "max_period": 10000.0}), **openai}, max_period=100.0)
    yield _time("unit-interval", "a time in [0, 1], times 1000", [0.0009765625, 0.5, 0.9375], 8, {
        "not-scaled": Mutant("your time embedding does not scale a time in [0, 1]", "timestep-time", settings={"scale": 1.0}),
        "999": Mutant("your time embedding scales a time in [0, 1] by 999", "timestep-time", settings={"scale": 999.0})}, scale=1000.0)
    yield _time("small-scale", "t = 1 .. 299 of 300 as t / 1000: all angles below 1", [1, 150, 299], 8, {
        "not-scaled": Mutant("your time embedding does not scale its time", "timestep-time", settings={"scale": 1.0}), **openai},
        scale=1e-3)


# -- places and classes ----------------------------------------------------------------------------------------------


def _positions(shift: int):
    """Position embeddings moved along."""
    def compute(inputs, settings):
        weight = F.roll(inputs["position_embedding.weight"], -shift, 0)
        return RIGHT["token_position_embedding"]({**inputs, "position_embedding.weight": weight}, settings)

    return compute


def _token_case(name: str, reason: str, ids: np.ndarray, vocabulary: int, longest: int, width: int) -> Case:
    id = f"token_position_embedding/{name}"
    inputs = {"input_ids": ids.astype(np.int64), "token_embedding.weight": draw(f"{id}:token", vocabulary, width),
              "position_embedding.weight": draw(f"{id}:position", longest, width), "cotangent": draw(f"{id}:cotangent", *ids.shape, width)}
    return Case(id, reason, inputs, {}, ("token_embedding.weight", "position_embedding.weight"), {
        "from-one": Mutant("your positions count from 1", "position-order", compute=_positions(1)),
        "right-aligned": Mutant("your positions are aligned with the end", "position-order", compute=_positions(longest - ids.shape[1]))})


def _patches(change):
    return lambda inputs, settings: RIGHT["patch_position_embedding"]({**inputs, **change(inputs)}, settings)


def _class_last(inputs, settings):
    """The class token after the patches."""
    weight = F.roll(inputs["position_embedding.weight"], 1, 0)
    return F.roll(RIGHT["patch_position_embedding"]({**inputs, "position_embedding.weight": weight}, settings), -1, 1)


def _columns(inputs, settings):
    """The patches column by column: the transposed image, with transposed patches."""
    return _patches(lambda inputs: {"pixel_values": F.transpose(inputs["pixel_values"], 2, 3), "patch_embedding.weight": F.transpose(
        inputs["patch_embedding.weight"], 2, 3)})(inputs, settings)


def _patch_case() -> Case:
    id = "patch_position_embedding/clip"
    shapes = {"pixel_values": (2, 3, 4, 6), "class_embedding": (5,), "patch_embedding.weight": (5, 3, 2, 2),
              "position_embedding.weight": (7, 5)}
    inputs = {name: draw(f"{id}:{name}", *shape) for name, shape in shapes.items()}
    cotangent = draw(f"{id}:cotangent", 2, 7, 5)
    reason = "class token first, patches row by row, each with its position"
    return Case(id, reason, {**inputs, "cotangent": cotangent}, {}, tuple(inputs), {
        "class-last": Mutant("your class token comes after the patches", "position-order", compute=_class_last),
        "columns": Mutant("your patches are numbered column by column", "patch-order", compute=_columns),
        "transposed-patch": Mutant("your patches are read column by column inside", "patch-order", compute=_patches(lambda inputs: {
            "patch_embedding.weight": F.transpose(inputs["patch_embedding.weight"], 2, 3)}))})


def _null_as(row: int | None):
    """Another row as the null label; None: zeros."""
    def compute(inputs, settings):
        weight, count = inputs["class_embedding.weight"], settings["num_classes"]
        null = weight[count] * 0.0 if row is None else weight[row]
        return RIGHT["class_embedding"]({**inputs, "class_embedding.weight": F.cat([weight[:count], F.unsqueeze(null, 0)])}, settings)

    return compute


def _class_case(name: str, reason: str, labels: list[int], drop: list[int]) -> Case:
    id = f"class_embedding/{name}"
    inputs = {"emb": draw(f"{id}:emb", len(labels), 7), "labels": np.array(labels), "drop": np.array(drop),
              "class_embedding.weight": draw(f"{id}:weight", 6, 7), "cotangent": draw(f"{id}:cotangent", len(labels), 7)}
    return Case(id, reason, inputs, {"num_classes": 5}, ("emb", "class_embedding.weight"), {
        "null-zero": Mutant("your null label is class 0", "null-label", compute=_null_as(0)),
        "null-nothing": Mutant("your null label adds nothing", "null-label", compute=_null_as(None))})


def cases() -> Iterator[Case]:
    """Tables; times in all settings; positions of tokens and patches; classes with a null label."""
    yield from _table_cases()
    yield from _time_cases()
    yield _token_case("text", "repeated tokens, fewer places than positions", np.array([[7, 2, 2, 10], [2, 0, 7, 10]]), 11, 6, 3)
    yield _patch_case()
    yield _class_case("dropped", "two of five samples lose their class", [3, 0, 4, 3, 1], [0, 0, 1, 0, 1])
    yield _class_case("all-dropped", "no sample has a class: the unconditional half of guidance", [2, 0, 4], [1, 1, 1])
    yield _class_case("null-given", "the null label given as a label", [5, 1], [0, 0])
