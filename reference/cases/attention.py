"""Attention: the scale, the masks, and how the heads lie in the channels.

Stands alone as a function of query, key and value, and with its projections as PyTorch, diffusers and OpenAI lay out the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.autograd import tensor
from minidiff.verify.adapters.minidiff.attention import OPERATIONS as RIGHT
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#4-attention"

OPERATIONS = {
    "scaled_dot_product_attention": Operation(
        equation="y_i = sum_j w_ij value_j, w_i = softmax over the keys j of (scale <query_i, key_j> + mask_ij), no dropout; "
                 "a query that sees no key gets zeros",
        chapter=CHAPTER,
        inputs={
            "query": "(..., L, E); with enable_gqa (..., H, L, E)",
            "key": "(..., S, E); with enable_gqa (..., Hk, S, E)",
            "value": "(..., S, Ev); with enable_gqa (..., Hk, S, Ev)",
            "attn_mask": "may be missing; broadcast to (..., L, S); int64: 1 where the key takes part, 0 where it does not; "
                         "floating point: added to the scaled scores",
        },
        settings={
            "is_causal": "true: query i sees the keys 0 to i, counted from the first query and the first key, whatever L and S",
            "scale": "a number, or null for 1 / sqrt(E)",
            "enable_gqa": "true: head h of the query uses head floor(h Hk / H) of key and value",
        },
        outputs={"output": "(..., L, Ev)"},
    ),
    "multi_head_attention": Operation(
        equation="y = W_o [head_1, ..., head_h] + b_o; head_i attends with the features i d to (i + 1) d of q = W_q query + b_q, "
                 "k = W_k key + b_k, v = W_v value + b_v, d = embed_dim / num_heads, scores scaled by 1 / sqrt(d)",
        chapter=CHAPTER,
        inputs={
            "query": "(N, L, embed_dim), or (L, N, embed_dim) without batch_first",
            "key": "(N, S, kdim), or (S, N, kdim); if missing: query",
            "value": "(N, S, vdim), or (S, N, vdim); if missing: query",
            "in_proj_weight": "(3 embed_dim, embed_dim): W_q, W_k, W_v one above the other; or the next three instead",
            "q_proj_weight": "(embed_dim, embed_dim)", "k_proj_weight": "(embed_dim, kdim)", "v_proj_weight": "(embed_dim, vdim)",
            "in_proj_bias": "(3 embed_dim,): b_q, b_k, b_v; if missing: zeros",
            "out_proj.weight": "(embed_dim, embed_dim)", "out_proj.bias": "(embed_dim,); if missing: zeros",
            "key_padding_mask": "may be missing; (N, S) int64: 1 where the key is padding and is NOT seen",
            "attn_mask": "may be missing; (L, S), or (N num_heads, L, S) with the heads of a sample side by side; int64: 1 where the key "
                         "is NOT seen; floating point: added to the scaled scores",
        },
        settings={
            "num_heads": "how many heads embed_dim is cut into",
            "batch_first": "true: the batch is the first dimension, else the second",
            "need_weights": "true: the attention weights are returned too",
            "average_attn_weights": "true: the returned weights are the mean over the heads",
        },
        outputs={"output": "like query", "weights": "with need_weights: (N, L, S), or (N, num_heads, L, S) if they are not averaged"},
    ),
    "cross_attention": Operation(
        equation="y = W_o [head_1, ..., head_h] + b_o; head_i attends with the features i d to (i + 1) d of q = W_q x + b_q, "
                 "k = W_k c + b_k, v = W_v c + b_v, d = (rows of W_q) / heads, scores scaled by 1 / sqrt(d)",
        chapter=CHAPTER,
        inputs={
            "hidden_states": "x: (N, L, C)", "encoder_hidden_states": "c: (N, S, D); if missing: x",
            "to_q.weight": "(heads d, C)", "to_k.weight": "(heads d, D)", "to_v.weight": "(heads d, D)",
            "to_q.bias": "(heads d,); if missing: zeros", "to_k.bias": "(heads d,); if missing: zeros",
            "to_v.bias": "(heads d,); if missing: zeros",
            "to_out.0.weight": "(C, heads d)", "to_out.0.bias": "(C,)",
        },
        settings={"heads": "the number of heads, not the size of one", "is_causal": "true: token i sees the tokens 0 to i"},
        outputs={"output": "(N, L, C)"},
    ),
    "qkv_attention": Operation(
        equation="attention of each head over the positions, scores scaled by 1 / sqrt(C / num_heads), where a convolution has put "
                 "queries, keys and values into the channels",
        chapter=CHAPTER,
        inputs={"qkv": "(N, 3 C, L)"},
        settings={
            "num_heads": "how many heads C is cut into",
            "use_new_attention_order": "true: the channels are (q | k | v), each cut into heads; false: (head 1 | head 2 | ...), each "
                                       "cut into q, k, v",
        },
        outputs={"output": "(N, C, L), the heads one after the other"},
    ),
}

NOTES = {
    "attention-scale": Note(
        kind="formula",
        about="The scores are scaled by 1 / sqrt(size of a head): not by nothing, not by the number of heads, not by the full width.",
        effect="Attention that is too sharp or too flat. A network trained so is only worse; loaded weights give broken images.",
    ),
    "attention-softmax-dim": Note(
        kind="indexing",
        about="The softmax goes over the keys (the last dimension of the scores); with as many queries as keys the other one runs too.",
        effect="Weights of a query do not sum to 1: positions that nobody looks at fade, others blow up.",
    ),
    "attention-mask-sense": Note(
        kind="convention",
        about="In scaled_dot_product_attention True means that a key takes part; in MultiheadAttention, in the mask and in the padding, "
              "that it does not.",
        effect="The model reads the padding and ignores the text: conditioning looks random.",
        seen=("torch.nn.functional.scaled_dot_product_attention and torch.nn.MultiheadAttention differ on purpose",),
    ),
    "attention-mask-added": Note(
        kind="formula",
        about="A mask of numbers is added to the scores after they were scaled; a mask of booleans is no number to add.",
        effect="Relative position biases weaken by sqrt(d); masked keys leak.",
    ),
    "attention-no-key": Note(
        kind="numerics",
        about="A query that may see no key: zeros here; a softmax of -inf is NaN, one of -1e9 the mean of all the values.",
        effect="NaN after the first fully padded sample of a batch; or padding that is read where everything is masked.",
        seen=("torch.nn.MultiheadAttention with need_weights=True gives NaN",),
    ),
    "attention-causal": Note(
        kind="indexing",
        about="Token i sees the tokens 0 to i, itself too. With fewer queries than keys PyTorch counts from the upper left corner.",
        effect="CLIP's text embeddings see the future or miss their own token: prompts are understood half.",
        seen=("flash-attn from version 2.1 on counts from the lower right corner",),
    ),
    "attention-overflow": Note(
        kind="numerics",
        about="exp of scores above 88 is infinite in float32, above 11 in float16: the largest score of a row is subtracted first.",
        effect="NaN, or black images, for some prompts or in half precision only.",
    ),
    "attention-heads": Note(
        kind="convention",
        about="A head is a block of neighbouring channels, view(L, heads, d). heads is their number; attention_head_dim is the size of one "
              "in some configurations, the number of heads in others.",
        effect="Trained from scratch nothing shows; with loaded weights every head mixes parts of others: texture without structure.",
        seen=("diffusers: UNet2DConditionModel reads attention_head_dim as the number of heads",),
    ),
    "attention-head-merge": Note(
        kind="indexing",
        about="(N, heads, L, d) goes back to (N, L, heads d) by a transposition and then a reshape; a reshape alone mixes positions.",
        effect="Positions are scrambled: blocks of the image appear elsewhere.",
    ),
    "attention-packed-order": Note(
        kind="convention",
        about="What was packed for one product has an order: q, k, v in PyTorch; in OpenAI's code also q, k, v of each head.",
        effect="Loads without an error, since the shapes are the same, and gives noise.",
        seen=("guided-diffusion/unet.py: QKVAttentionLegacy and QKVAttention",),
    ),
    "attention-batch-first": Note(
        kind="convention",
        about="torch.nn.MultiheadAttention takes (L, N, E) unless batch_first=True.",
        effect="Samples of a batch attend to each other: images of one batch resemble each other, and batch size changes the result.",
    ),
    "attention-grouped": Note(
        kind="indexing",
        about="With fewer key heads than query heads, neighbouring query heads share one (repeat_interleave), not every third (tile).",
        effect="Loaded weights give noise.",
    ),
    "attention-bias": Note(
        kind="default",
        about="torch.nn.MultiheadAttention and CLIP have biases for q, k, v; the U-Net of Stable Diffusion has one for the output only.",
        effect="A bias that is left out shifts all features by a constant: colours and contrast drift.",
    ),
    "attention-key-value": Note(
        kind="indexing",
        about="Keys and values both come from the context in cross-attention.",
        effect="The prompt has no effect, or shapes do not fit.",
    ),
    "attention-weights-mean": Note(
        kind="convention",
        about="The returned weights are the mean over the heads by default, not their sum and not those of the first.",
        effect="Attention maps shown in pictures are of another scale or of one head.",
    ),
}

NO_SCALE = Mutant("your attention does not scale the scores", "attention-scale", settings={"scale": 1.0})


def _changed(operation: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Callable[[Any, Any], Any]:
    """The operation, done right on inputs that are wrong."""
    return lambda inputs, settings: RIGHT[operation]({**inputs, **change(inputs)}, settings)


# -- query, key, value -----------------------------------------------------------------------------------------------


def _over_queries(inputs, settings):
    query, key, value = (inputs[name] for name in ("query", "key", "value"))
    return F.matmul(F.softmax(F.matmul(query, F.transpose(key, -1, -2)) / math.sqrt(query.shape[-1]), dim=-2), value)


def _filled(inputs, settings):
    query, key, value = (inputs[name] for name in ("query", "key", "value"))
    scores = F.matmul(query, F.transpose(key, -1, -2)) / math.sqrt(query.shape[-1])
    return F.matmul(F.softmax(F.where(inputs["attn_mask"] == 1, scores, -1e9), dim=-1), value)


def _seeing(mask_of: Callable[[Mapping[str, Any]], Any]) -> Callable[[Any, Any], Any]:
    """Attention with this mask in the place of the case's."""
    def compute(inputs, settings):
        return RIGHT["scaled_dot_product_attention"]({**inputs, "attn_mask": mask_of(inputs)}, {**settings, "is_causal": False})

    return compute


def _triangle(inputs, below: int = 0, transposed: bool = False):
    """1 where query i sees key j: j <= i - below."""
    seen = np.tri(inputs["query"].shape[-2], inputs["key"].shape[-2], -below, dtype=np.int64)
    return tensor(seen.T if transposed else seen)


OVER_QUERIES = Mutant("your attention's softmax goes over the queries", "attention-softmax-dim", compute=_over_queries)
INVERTED = Mutant("your attention's boolean mask says which keys are not seen", "attention-mask-sense",
                  compute=_seeing(lambda inputs: 1 - inputs["attn_mask"]))
BOOLEANS_ADDED = Mutant("your attention adds its boolean mask, as 0 and 1, to the scores", "attention-mask-added",
                        compute=_seeing(lambda inputs: inputs["attn_mask"] * 1.0))
BEFORE_SCALING = Mutant("your attention adds its mask before it scales the scores", "attention-mask-added",
                        compute=_seeing(lambda inputs: inputs["attn_mask"] / math.sqrt(inputs["query"].shape[-1])))
FINITE_FILL = Mutant("your attention fills in -1e9 where a key is not seen, so a query without keys gets the mean of all values",
                     "attention-no-key", compute=_filled)
STRICT = Mutant("your causal mask hides a token from itself", "attention-causal", compute=_seeing(lambda inputs: _triangle(inputs, 1)))
AHEAD = Mutant("your causal mask shows the next token", "attention-causal", compute=_seeing(lambda inputs: _triangle(inputs, -1)))
BACKWARDS = Mutant("your causal mask is transposed: tokens see the future", "attention-causal",
                   compute=_seeing(lambda inputs: _triangle(inputs, transposed=True)))
LOWER_RIGHT = Mutant("your causal mask counts from the lower right corner", "attention-causal",
                     compute=_seeing(lambda inputs: _triangle(inputs, inputs["query"].shape[-2] - inputs["key"].shape[-2])))
NOT_CAUSAL = Mutant("your attention is not causal", "attention-causal", settings={"is_causal": False})
TILED = Mutant("your grouped attention gives key head h to the query heads h, h + Hk, h + 2 Hk", "attention-grouped",
               compute=_changed("scaled_dot_product_attention", lambda inputs: {
                   name: F.tile(inputs[name], (inputs["query"].shape[-3] // inputs[name].shape[-3], 1, 1)) for name in ("key", "value")}))


def _scaled(scale: float, words: str) -> Mutant:
    return Mutant(f"your attention scales by 1 / sqrt({words})", "attention-scale", settings={"scale": scale})


def _attention(
    name: str, reason: str, query: tuple[int, ...], key: tuple[int, ...], width: int, mutants: Mapping[str, Mutant], *,
    scale: float | None = None, is_causal: bool = False, enable_gqa: bool = False, sizes: tuple[float, float, float] = (1.0, 1.0, 1.0),
    means: tuple[float, float, float] = (0.0, 0.0, 0.0), mask: np.ndarray | None = None, flags: tuple[str, ...] = (),
) -> Case:
    """query, key: shapes; width: Ev; sizes and means: of query, key and value."""
    id = f"scaled_dot_product_attention/{name}"
    lead = np.broadcast_shapes(query[:-2], key[:-2]) if not enable_gqa else query[:-2]
    shapes = {"query": query, "key": key, "value": (*key[:-1], width)}
    inputs = {x: draw(f"{id}:{x}", *shape, scale=size, mean=mean) for (x, shape), size, mean in zip(shapes.items(), sizes, means)}
    inputs["cotangent"] = draw(f"{id}:cotangent", *lead, query[-2], width)
    gradients = ("query", "key", "value")
    if mask is not None:
        inputs["attn_mask"] = mask
        gradients += ("attn_mask",) if mask.dtype == np.float32 else ()
    return Case(id, reason, inputs, {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}, gradients, mutants, flags=flags)


MASK = np.array([[1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0, 1]])
PADDING = np.array([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]]).reshape(2, 1, 1, 7)
NO_KEY = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]])


def _equal_keys() -> Case:
    """Four keys alike: every weight is 1/4, and the mean of these values is exact."""
    id = "scaled_dot_product_attention/equal-keys"
    inputs = {
        "query": draw(f"{id}:query", 1, 2, 3, 5), "key": np.ones((1, 2, 4, 5), np.float32) * np.float32(0.75),
        "value": np.round(4 * draw(f"{id}:value", 1, 2, 4, 3)).astype(np.float32), "cotangent": draw(f"{id}:cotangent", 1, 2, 3, 3),
    }
    settings = {"is_causal": False, "scale": None, "enable_gqa": False}
    return Case(id, "keys that are equal: the mean of the values, exactly", inputs, settings, ("query", "key", "value"),
                {"softmax-over-queries": OVER_QUERIES})


def _attention_cases() -> Iterator[Case]:
    heads, width = _scaled(1 / math.sqrt(3), "the number of heads"), _scaled(1 / math.sqrt(21), "the width of all heads together")
    yield _attention("self", "as many queries as keys: every mistake runs", (2, 3, 5, 7), (2, 3, 5, 7), 7, {
        "no-scale": NO_SCALE, "scale-heads": heads, "scale-width": width, "softmax-over-queries": OVER_QUERIES})
    yield _attention("cross", "L, S, E and Ev all different", (2, 3, 5, 3), (2, 3, 7, 3), 2, {
        "no-scale": NO_SCALE, "scale-value": _scaled(1 / math.sqrt(2), "the size of a value"), "softmax-over-queries": OVER_QUERIES})
    yield _attention("two-dimensional", "no batch, no heads", (5, 3), (2, 3), 7, {"no-scale": NO_SCALE})
    yield _attention("broadcast", "keys and values shared by the batch", (2, 3, 5, 2), (1, 3, 7, 2), 3, {"no-scale": NO_SCALE})
    yield _attention("head-of-one", "E = 1: the scale is 1", (1, 2, 3, 1), (1, 2, 5, 1), 2, {"scale-heads": _scaled(
        1 / math.sqrt(2), "the number of heads")})
    yield _attention("boolean-mask", "True takes part", (2, 3, 5, 3), (2, 3, 7, 3), 2, {
        "inverted": INVERTED, "added": BOOLEANS_ADDED}, mask=MASK.astype(np.int64))
    yield _attention("padding-mask", "keys of a sample that are padding, for all queries and heads", (2, 3, 5, 2), (2, 3, 7, 2), 3, {
        "inverted": INVERTED, "added": BOOLEANS_ADDED}, mask=PADDING.astype(np.int64))
    yield _attention("no-key", "a query that may see nothing gets zeros, and no gradient", (1, 2, 3, 5), (1, 2, 4, 5), 3, {
        "finite-fill": FINITE_FILL}, mask=NO_KEY.astype(np.int64))
    yield _attention("additive-mask", "numbers that are added, others for each head, with gradients", (2, 3, 5, 2), (2, 3, 7, 2), 3, {
        "before-scaling": BEFORE_SCALING}, mask=draw("scaled_dot_product_attention/additive-mask:attn_mask", 3, 5, 7))
    yield _attention("causal", "query i sees the keys 0 to i", (2, 3, 5, 2), (2, 3, 5, 2), 3, {
        "strict": STRICT, "ahead": AHEAD, "backwards": BACKWARDS, "none": NOT_CAUSAL}, is_causal=True)
    yield _attention("causal-fewer-queries", "counted from the upper left corner", (1, 2, 3, 5), (1, 2, 7, 5), 3, {
        "lower-right": LOWER_RIGHT, "strict": STRICT}, is_causal=True)
    yield _attention("causal-more-queries", "later queries see all the keys", (1, 2, 7, 5), (1, 2, 3, 5), 2, {
        "lower-right": LOWER_RIGHT, "ahead": AHEAD}, is_causal=True)
    yield _attention("explicit-scale", "a scale that is given", (2, 3, 5, 3), (2, 3, 7, 3), 2, {
        "ignored": Mutant("your attention ignores the scale that it is given", "attention-scale", settings={"scale": None}),
        "no-scale": NO_SCALE}, scale=0.3125)
    yield _attention("scale-and-mask", "a mask is not scaled", (1, 2, 5, 3), (1, 2, 7, 3), 2, {
        "scaled-mask": Mutant("your attention adds its mask before it scales the scores", "attention-mask-added",
                              compute=_seeing(lambda inputs: inputs["attn_mask"] * 2.5))},
        scale=2.5, mask=draw("scaled_dot_product_attention/scale-and-mask:attn_mask", 5, 7))
    yield _attention("large-logits", "scores around 160: exp of them overflows in float32", (1, 2, 5, 3), (1, 2, 7, 3), 2, {
        "scale-heads": _scaled(1 / math.sqrt(2), "the number of heads")},
        sizes=(2.0, 0.125, 1.0), means=(8.0, 12.0, 0.0), flags=("attention-overflow",))
    yield _attention("small-scores", "scores of 1e-6: nearly the mean of the values", (1, 3, 5, 2), (1, 3, 7, 2), 3, {
        "softmax-over-queries": OVER_QUERIES}, sizes=(1e-3, 1e-3, 1.0))
    yield _attention("large-values", "values around 1000", (1, 3, 5, 2), (1, 3, 7, 2), 3, {"no-scale": NO_SCALE},
                     means=(0.0, 0.0, 1000.0))
    yield _attention("one-key", "a softmax of one number is 1", (2, 3, 5, 2), (2, 3, 1, 2), 3, {"softmax-over-queries": OVER_QUERIES})
    yield _attention("grouped", "6 heads of the query, 2 of key and value", (2, 6, 5, 3), (2, 2, 7, 3), 2, {"tiled": TILED},
                     enable_gqa=True)
    yield _equal_keys()


# -- PyTorch's module ------------------------------------------------------------------------------------------------


def _packed(pattern: str, heads: int):
    """The rows of in_proj in another order."""
    return lambda inputs: {name: F.rearrange(inputs[name], pattern.replace(" e", " e" if inputs[name].ndim == 2 else ""), three=3, h=heads)
                           for name in ("in_proj_weight", "in_proj_bias") if name in inputs}


def _interleaved(heads: int):
    """Weights with which blocked heads do what interleaved heads would do with the right ones."""
    def change(inputs):
        return {**_packed("(three d h) e -> (three h d) e", heads)(inputs),
                "out_proj.weight": F.rearrange(inputs["out_proj.weight"], "e (d h) -> e (h d)", h=heads)}

    return change


def _queries_times(factor: float):
    """Weights of in_proj that make the queries larger: another scale."""
    def change(inputs):
        parts = {name: F.chunk(inputs[name], 3) for name in ("in_proj_weight", "in_proj_bias")}
        return {name: F.cat([q * factor, k, v]) for name, (q, k, v) in parts.items()}

    return change


def _multi(name: str, words: str, flag: str, change) -> dict[str, Mutant]:
    return {name: Mutant(f"your multi-head attention {words}", flag, compute=_changed("multi_head_attention", change))}


def _heads_first(inputs, settings):
    """attn_mask (heads N, L, S) in the place of (N heads, L, S)."""
    mask = F.rearrange(inputs["attn_mask"], "(h n) l s -> (n h) l s", h=settings["num_heads"])
    return RIGHT["multi_head_attention"]({**inputs, "attn_mask": mask}, settings)


def _summed(inputs, settings):
    outputs = RIGHT["multi_head_attention"](inputs, settings)
    return {**outputs, "weights": outputs["weights"] * settings["num_heads"]}


def _multi_head(
    name: str, reason: str, heads: int, shapes: Mapping[str, tuple[int, ...]], mutants: Mapping[str, Mutant], *, bias: bool = True,
    batch_first: bool = True, need_weights: bool = False, average: bool = True, masks: Mapping[str, np.ndarray] | None = None,
) -> Case:
    """shapes: of query and, if they are there, key and value; a key of other features asks for separate projections."""
    id = f"multi_head_attention/{name}"
    e = shapes["query"][-1]
    kdim, vdim = (shapes.get(x, shapes["query"])[-1] for x in ("key", "value"))
    weights = {"in_proj_weight": (3 * e, e)} if kdim == vdim == e else {
        "q_proj_weight": (e, e), "k_proj_weight": (e, kdim), "v_proj_weight": (e, vdim)}
    weights |= {"in_proj_bias": (3 * e,), "out_proj.weight": (e, e), "out_proj.bias": (e,)} if bias else {"out_proj.weight": (e, e)}
    inputs = {x: draw(f"{id}:{x}", *shape, scale=1.0 if x in shapes else 0.5) for x, shape in {**shapes, **weights}.items()}
    gradients = tuple(inputs)
    outer = shapes["query"][:2] if batch_first else shapes["query"][1::-1]
    keys = shapes.get("key", shapes["query"])[1 if batch_first else 0]
    inputs |= masks or {}
    if need_weights:
        seen = (*outer, keys) if average else (outer[0], heads, outer[1], keys)
        inputs |= {f"cotangent.{x}": draw(f"{id}:cotangent.{x}", *shape) for x, shape in (("output", shapes["query"]), ("weights", seen))}
    else:
        inputs["cotangent"] = draw(f"{id}:cotangent", *shapes["query"])
    settings = {"num_heads": heads, "batch_first": batch_first, "need_weights": need_weights, "average_attn_weights": average}
    return Case(id, reason, inputs, settings, gradients, mutants)


SEQUENCES = {"query": (2, 5, 6), "key": (2, 7, 6), "value": (2, 7, 6)}
KEYS_HIDDEN = np.array([[0, 0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1, 1]])


def _multi_head_cases() -> Iterator[Case]:
    yield _multi_head("packed", "one product for queries, keys and values; 3 heads of 2", 3, {"query": (2, 5, 6)}, {
        **_multi("interleaved", "interleaves its heads: view(L, d, heads)", "attention-heads", _interleaved(3)),
        **_multi("k-q-v", "reads in_proj as k, q, v", "attention-packed-order", lambda inputs: {
            name: F.cat([F.chunk(inputs[name], 3)[i] for i in (1, 0, 2)]) for name in ("in_proj_weight", "in_proj_bias")}),
        **_multi("v-k-q", "reads in_proj as v, k, q", "attention-packed-order", lambda inputs: {
            name: F.cat([F.chunk(inputs[name], 3)[i] for i in (2, 1, 0)]) for name in ("in_proj_weight", "in_proj_bias")}),
        **_multi("per-head", "reads in_proj as q, k, v of each head", "attention-packed-order",
                 _packed("(h three d) e -> (three h d) e", 3)),
        **_multi("no-scale", "does not scale the scores", "attention-scale", _queries_times(math.sqrt(2))),
        **_multi("scale-width", "scales by 1 / sqrt(embed_dim)", "attention-scale", _queries_times(math.sqrt(1 / 3))),
        **_multi("scale-heads", "scales by 1 / sqrt(num_heads)", "attention-scale", _queries_times(math.sqrt(2 / 3))),
        "head-size": Mutant("your multi-head attention takes num_heads for the size of a head", "attention-heads",
                            settings={"num_heads": 2}),
    })
    yield _multi_head("sequence-first", "(L, N, E), as PyTorch has it without batch_first", 3, {"query": (5, 2, 6)}, {
        "batch-first": Mutant("your multi-head attention takes the first dimension for the batch", "attention-batch-first",
                              settings={"batch_first": True})}, batch_first=False)
    yield _multi_head("cross", "queries, keys and values from three places", 2, SEQUENCES, {
        **_multi("exchanged", "exchanges keys and values", "attention-key-value", lambda inputs: {
            "key": inputs["value"], "value": inputs["key"]}),
        **_multi("interleaved", "interleaves its heads: view(L, d, heads)", "attention-heads", _interleaved(2))})
    yield _multi_head("separate-projections", "keys and values of other widths have weights of their own", 3, {
        "query": (2, 5, 6), "key": (2, 7, 5), "value": (2, 7, 3)}, _multi(
            "bias-order", "reads in_proj_bias as k, q, v", "attention-packed-order", lambda inputs: {
                "in_proj_bias": F.cat([F.chunk(inputs["in_proj_bias"], 3)[i] for i in (1, 0, 2)])}))
    yield _multi_head("without-bias", "no bias anywhere", 2, {"query": (1, 5, 6)}, _multi(
        "interleaved", "interleaves its heads: view(L, d, heads)", "attention-heads", _interleaved(2)), bias=False)
    yield _multi_head("key-padding", "True is padding: the key is not seen", 3, SEQUENCES, _multi(
        "inverted", "takes key_padding_mask for the keys that are seen", "attention-mask-sense",
        lambda inputs: {"key_padding_mask": 1 - inputs["key_padding_mask"]}), masks={"key_padding_mask": KEYS_HIDDEN})
    yield _multi_head("causal-and-padding", "two masks: a key is seen if both allow it", 3, {"query": (2, 7, 6)}, {
        **_multi("mask-inverted", "takes attn_mask for what is seen", "attention-mask-sense", lambda inputs: {
            "attn_mask": 1 - inputs["attn_mask"]}),
        **_multi("mask-only", "forgets key_padding_mask when there is attn_mask", "attention-mask-sense", lambda inputs: {
            "key_padding_mask": None}),
        **_multi("ahead", "shows the next token in its causal mask", "attention-causal", lambda inputs: {
            "attn_mask": F.triu(inputs["attn_mask"], 2)})},
        masks={"key_padding_mask": KEYS_HIDDEN, "attn_mask": 1 - np.tri(7, dtype=np.int64)})
    id = "multi_head_attention/mask-for-each-head"
    yield _multi_head("mask-for-each-head", "(N heads, L, S): the heads of a sample side by side", 3, SEQUENCES, {
        "heads-first": Mutant("your multi-head attention reads attn_mask as (heads N, L, S)", "attention-heads", compute=_heads_first)},
        masks={"attn_mask": draw(f"{id}:attn_mask", 6, 5, 7)})
    yield _multi_head("mean-weights", "the weights too, their mean over the heads", 3, SEQUENCES, {
        "summed": Mutant("your multi-head attention returns the sum of its heads' weights", "attention-weights-mean", compute=_summed)},
        need_weights=True)
    yield _multi_head("weights-of-heads", "the weights of each head", 2, SEQUENCES, _multi(
        "interleaved", "interleaves its heads: view(L, d, heads)", "attention-heads", _interleaved(2)), need_weights=True, average=False)


# -- diffusers' and OpenAI's ----------------------------------------------------------------------------------------


def _not_transposed(inputs, settings):
    """(N, heads, L, d) reshaped to (N, L, heads d) as it lies."""
    context, heads = inputs.get("encoder_hidden_states", inputs["hidden_states"]), settings["heads"]
    projected = [F.linear(x, inputs[f"{name}.weight"], inputs.get(f"{name}.bias"))
                 for x, name in ((inputs["hidden_states"], "to_q"), (context, "to_k"), (context, "to_v"))]
    q, k, v = (F.rearrange(x, "n l (h d) -> n h l d", h=heads) for x in projected)
    seen = F.scaled_dot_product_attention(q, k, v, is_causal=settings["is_causal"])
    merged = F.reshape(seen, (seen.shape[0], seen.shape[2], heads * seen.shape[3]))
    return F.linear(merged, inputs["to_out.0.weight"], inputs["to_out.0.bias"])


def _queries_scaled(factor: float, words: str) -> Mutant:
    return Mutant(f"your cross-attention scales {words}", "attention-scale", compute=_changed("cross_attention", lambda inputs: {
        name: inputs[name] * factor for name in ("to_q.weight", "to_q.bias") if name in inputs}))


def _split(heads: int):
    def change(inputs):
        rows = {name: F.rearrange(inputs[name], "(d h) e -> (h d) e", h=heads) for name in ("to_q.weight", "to_k.weight", "to_v.weight")}
        return {**rows, "to_out.0.weight": F.rearrange(inputs["to_out.0.weight"], "e (d h) -> e (h d)", h=heads)}

    return change


INTERLEAVED_HEADS = Mutant("your cross-attention interleaves its heads: view(L, d, heads)", "attention-heads", compute=_changed(
    "cross_attention", _split(3)))
NOT_TRANSPOSED = Mutant("your cross-attention merges its heads without transposing them back", "attention-head-merge",
                        compute=_not_transposed)


def _cross(
    name: str, reason: str, tokens: tuple[int, ...], context: tuple[int, ...] | None, heads: int, head_dim: int,
    mutants: Mapping[str, Mutant], *, bias: bool = False, is_causal: bool = False,
) -> Case:
    id, c, inner = f"cross_attention/{name}", tokens[-1], heads * head_dim
    d = (context or tokens)[-1]
    shapes = {"hidden_states": tokens, "encoder_hidden_states": context, "to_q.weight": (inner, c), "to_k.weight": (inner, d),
              "to_v.weight": (inner, d), "to_out.0.weight": (c, inner), "to_out.0.bias": (c,)}
    shapes |= {f"to_{x}.bias": (inner,) for x in "qkv"} if bias else {}
    inputs = {x: draw(f"{id}:{x}", *shape, scale=0.5 if x.startswith("to_") else 1.0) for x, shape in shapes.items() if shape is not None}
    gradients = tuple(inputs)
    return Case(id, reason, {**inputs, "cotangent": draw(f"{id}:cotangent", *tokens)}, {"heads": heads, "is_causal": is_causal},
                gradients, mutants)


def _cross_cases() -> Iterator[Case]:
    yield _cross("self", "the heads together are wider than the tokens; a bias for the output only", (2, 5, 7), None, 3, 5, {
        "head-size": Mutant("your cross-attention takes the number of heads for the size of one", "attention-heads", settings={"heads": 5}),
        "interleaved": INTERLEAVED_HEADS, "not-transposed": NOT_TRANSPOSED,
        "no-scale": _queries_scaled(math.sqrt(5), "nothing"), "scale-heads": _queries_scaled(math.sqrt(5 / 3), "by 1 / sqrt(heads)"),
        "scale-width": _queries_scaled(math.sqrt(1 / 3), "by 1 / sqrt(heads d)")})
    yield _cross("context", "keys and values from a text of another width and length", (2, 5, 6), (2, 7, 5), 3, 2, {
        "exchanged": Mutant("your cross-attention exchanges the weights of keys and values", "attention-key-value", compute=_changed(
            "cross_attention", lambda inputs: {"to_k.weight": inputs["to_v.weight"], "to_v.weight": inputs["to_k.weight"]})),
        "head-size": Mutant("your cross-attention takes the number of heads for the size of one", "attention-heads", settings={"heads": 2}),
        "interleaved": INTERLEAVED_HEADS})
    yield _cross("clip", "CLIP's text: biases everywhere, causal", (2, 7, 6), None, 3, 2, {
        "none": NOT_CAUSAL, "no-scale": _queries_scaled(math.sqrt(2), "nothing"), "not-transposed": NOT_TRANSPOSED,
        "no-bias": Mutant("your attention has no biases for q, k and v", "attention-bias", compute=_changed(
            "cross_attention", lambda inputs: {f"to_{x}.bias": inputs[f"to_{x}.bias"] * 0.0 for x in "qkv"}))}, bias=True, is_causal=True)


def _channels(name: str, reason: str, heads: int, head_dim: int, new: bool) -> Case:
    id, c = f"qkv_attention/{name}", heads * head_dim
    inputs = {"qkv": draw(f"{id}:qkv", 2, 3 * c, 7), "cotangent": draw(f"{id}:cotangent", 2, c, 7)}
    other = {"other-order": Mutant(
        f"your attention cuts its channels {'into heads first, then into q, k, v' if new else 'into q, k, v first, then into heads'}",
        "attention-packed-order", settings={"use_new_attention_order": not new})} if heads > 1 else {}
    scale = {"no-scale": Mutant("your attention does not scale the scores", "attention-scale", compute=_channels_not_scaled)}
    return Case(id, reason, inputs, {"num_heads": heads, "use_new_attention_order": new}, ("qkv",), {**other, **scale})


def _channels_not_scaled(inputs, settings):
    blocks = 1 if settings["use_new_attention_order"] else settings["num_heads"]  # of queries, keys and values
    q, k, v = F.rearrange(inputs["qkv"], "n (h three d) l -> three n h d l", three=3, h=blocks)
    larger = q * math.sqrt(inputs["qkv"].shape[1] / 3 / settings["num_heads"])
    return RIGHT["qkv_attention"]({"qkv": F.rearrange(F.stack([larger, k, v]), "three n h d l -> n (h three d) l")}, settings)


def cases() -> Iterator[Case]:
    """Attention by itself; PyTorch's module; the projections of diffusers and CLIP; OpenAI's packed channels."""
    yield from _attention_cases()
    yield from _multi_head_cases()
    yield from _cross_cases()
    yield _channels("heads-first", "OpenAI's older order: q, k, v of each head", 3, 2, False)
    yield _channels("q-k-v-first", "OpenAI's newer order: all q, all k, all v", 3, 2, True)
    yield _channels("one-head", "with one head both orders are the same", 1, 5, True)
