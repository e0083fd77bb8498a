"""Do images and texts belong together? Retrieval in both directions, classes named by texts, and the CLIP score.

All of it is asked of a table of similarities, a row a query and a column a candidate; turn it (`similarity.T`) for the other direction.
**Ties** are broken by lot: a candidate that shares its place with others counts by the probability that it comes first. So a model that
finds everything equally similar has the score of chance, and no order of the columns can help. Stands on `intervals`. Read `compare` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import to_numpy
from minidiff.metrics.door import check_count, check_features, check_table
from minidiff.metrics.intervals import Estimate, share


def cosine_similarity(images: Any, texts: Any) -> np.ndarray:
    """cos(v_i, w_j) = v_i . w_j / (|v_i| |w_j|) for all pairs, in [-1, 1], float64: (N, D), (M, D) -> (N, M).

    Raises ValueError or TypeError for others, and for an embedding that is zero and has no direction.
    """
    images, texts = check_features("cosine_similarity", images=images, texts=texts)
    return (_directions("cosine_similarity", "images", images) @ _directions("cosine_similarity", "texts", texts).T).clip(-1, 1)


def clip_scores(images: Any, texts: Any, weight: float = 2.5) -> np.ndarray:
    """How well each text describes its image: (N, D), (N, D) embeddings of a CLIP model -> (N,).

        w max(cos(image, text), 0)                                            Hessel et al. 2021, Section 3, with their w = 2.5

    `bootstrap(clip_scores(...), generator)` is the mean with its interval. Others have w = 100 (torchmetrics: the mean of 100 cos, and 0 if
    that is negative). The same images and texts score differently in every CLIP model; compare only within one.
    Raises ValueError or TypeError for others, and as `cosine_similarity`.
    """
    images, texts = check_features("clip_scores", images=images, texts=texts)
    if images.shape != texts.shape:
        raise ValueError(f"clip_scores: expected one text for each image, got {len(images)} images and {len(texts)} texts")
    pairs = (_directions("clip_scores", "images", images) * _directions("clip_scores", "texts", texts)).sum(axis=1)
    return weight * pairs.clip(0, 1)


def _directions(where: str, name: str, x: np.ndarray) -> np.ndarray:
    x = x / np.maximum(abs(x).max(axis=1, keepdims=True).astype(np.float64), 1e-300)     # no square overflows or vanishes
    lengths = np.sqrt((x * x).sum(axis=1, keepdims=True))
    if (lengths < 0.5).any():
        raise ValueError(f"{where}: row {np.argmin(lengths)} of {name} is zero and has no direction")
    return x / lengths


def recall_at_k(similarity: Any, matches: Any, k: int = 1, confidence: float = 0.95) -> Estimate:
    """The share of queries with a match among their k most similar candidates.

    similarity: (N, M) finite floats. matches: (N, M) booleans, which candidates are right; at least one for each query (an image may have
    five captions). k from 1 to M. The interval is for other queries and the same candidates; queries that belong together (five captions of
    one image) are counted as independent, so then it is too narrow.
    Raises ValueError or TypeError for others.
    """
    similarity = check_table("recall_at_k", "similarity", similarity)
    matches = _checked_matches("recall_at_k", matches)
    if matches.shape != similarity.shape:
        raise ValueError(f"recall_at_k: expected matches like similarity, {similarity.shape}, got {matches.shape}")
    check_count("recall_at_k", "k", k, 1, similarity.shape[1], f"there are {similarity.shape[1]} candidates")
    best = np.where(matches, similarity, -np.inf).max(axis=1, keepdims=True)        # the most similar match of each query
    before = (similarity > best).sum(axis=1)
    equal, right = similarity == best, (similarity == best) & matches
    return share(_chance(equal.sum(axis=1), right.sum(axis=1), k - before), confidence)


def chance_of_recall_at_k(matches: Any, k: int = 1) -> float:
    """The recall at k of a model that orders the candidates by lot: the mean of 1 - C(M - m, k) / C(M, k), m matches among M.

    matches: as for `recall_at_k`, transposed for the other direction; for one match each it is k / M. Raises ValueError or TypeError.
    """
    matches = _checked_matches("chance_of_recall_at_k", matches)
    count = matches.shape[1]
    check_count("chance_of_recall_at_k", "k", k, 1, count, f"there are {count} candidates")
    right = matches.sum(axis=1)
    return float(_chance(np.full(len(right), count), right, np.full(len(right), k)).mean())


def zero_shot_accuracy(similarity: Any, labels: Any, k: int = 1, confidence: float = 0.95) -> Estimate:
    """How often the text of the right class is among the k most similar to the image (Radford et al. 2021, Section 3.1).

    similarity: (N, classes), of images and a text for each class ("a photo of a sneaker"; of several texts, the mean of their directions).
    labels: (N,) integers. Raises ValueError or TypeError for others.
    """
    similarity, labels = check_table("zero_shot_accuracy", "similarity", similarity), to_numpy(labels)
    n, classes = similarity.shape
    if labels.dtype.kind not in "iu" or labels.shape != (n,) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"zero_shot_accuracy: expected for each of {n} images an integer below {classes}, the classes, got {labels.dtype} "
                         f"of shape {labels.shape}")
    return recall_at_k(similarity, labels[:, None] == np.arange(classes), k, confidence)


def _chance(total: np.ndarray, right: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The probability that lots put one of the right ones among the first places: 1 - C(total - right, places) / C(total, places).

    All (N,) integers; fewer places than 0 are none, and more than there are ones all.
    """
    left = total - places.clip(0, total)
    none = np.ones(len(total))
    for i in range(right.max()):                # each right one in turn falls among those that are left over, one of which is then taken
        none *= np.where(i < right, (left - i).clip(0) / np.maximum(total - i, 1), 1)
    return 1 - none


def _checked_matches(where: str, matches: Any) -> np.ndarray:
    matches = to_numpy(matches)
    if matches.dtype != bool or matches.ndim != 2 or 0 in matches.shape:
        raise TypeError(f"{where}: expected matches as booleans (N, M), a row a query, got {matches.dtype} of shape {matches.shape}")
    if not matches.any(axis=1).all():
        raise ValueError(f"{where}: query {np.argmin(matches.any(axis=1))} has no match; leave such queries out")
    return matches
