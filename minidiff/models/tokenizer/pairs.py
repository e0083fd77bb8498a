"""Byte-pair encoding (Sennrich, Haddow, Birch 2016, Algorithm 1): which symbols to join, learned from words, and applied to them.

A word is a tuple of symbols, a symbol a string. What the symbols stand for (letters, bytes) does not matter here. Read `tokenizer.py` next.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

Pair = tuple[str, str]
Symbols = tuple[str, ...]


def join(symbols: Symbols, pair: Pair) -> Symbols:
    """Join the two symbols of `pair` wherever they are neighbours, from the left: join(a b a b a, (a, b)) = ab ab a."""
    joined, i = [], 0
    while i < len(symbols):
        width = 2 if symbols[i:i + 2] == pair else 1
        joined.append("".join(symbols[i:i + width]))
        i += width
    return tuple(joined)


def segment(symbols: Symbols, ranks: Mapping[Pair, int]) -> Symbols:
    """Cut a word: join the neighbours that were learned first, until no neighbours were learned.

    ranks: pair -> its place in the list that `learn` returns.
    """
    while learned := [pair for pair in pairwise(symbols) if pair in ranks]:
        symbols = join(symbols, min(learned, key=ranks.__getitem__))
    return symbols


def learn(counts: Mapping[Symbols, int], number: int) -> list[Pair]:
    """Choose the pair of neighbours that occurs most often, join it everywhere, and so on, `number` times.

    counts: word -> how often it occurs. Returns the pairs in the order in which they were chosen. Of pairs that occur equally often it
    takes the first in the order of the strings (by code points), so the result depends on the counts alone. Ends early when no pair
    occurs twice: a token for it would never be seen again.

    Only the words in which the chosen pair occurs are counted again; the counts wait in a heap. Counting everything again each time would
    give the same list.
    """
    words, weights = list(counts), list(counts.values())
    occurs, where = Counter(), defaultdict(set)                # pair -> how often, and in which words it is, or was
    for n, word in enumerate(words):
        for pair in pairwise(word):
            occurs[pair] += weights[n]
            where[pair].add(n)
    heap = [(-count, pair) for pair, count in occurs.items()]
    heapify(heap)
    chosen = []
    while heap and len(chosen) < number:
        count, pair = heappop(heap)
        if -count != occurs[pair]:                             # an old entry: the pair has another with its present count
            continue
        if -count < 2:
            break
        chosen.append(pair)
        changed = set()
        for n in where.pop(pair):
            before, words[n] = words[n], join(words[n], pair)
            for gone in pairwise(before):
                occurs[gone] -= weights[n]
            for come in pairwise(words[n]):
                occurs[come] += weights[n]
                where[come].add(n)
            changed.update(pairwise(before), pairwise(words[n]))
        for other in changed:
            heappush(heap, (-occurs[other], other))
    return chosen
