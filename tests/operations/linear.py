"""Products of matrices: shapes that broadcast, vectors, empty sizes; equations of all kinds for einsum."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, broadcastable, values

size = st.integers(0, 3)
VECTOR, MATRIX, STACK = np.ones(3), np.ones((2, 3)), np.ones((2, 3, 4))


@st.composite
def matmuls(draw):
    """Vectors, matrices and stacks of matrices, in pairs; some of integers."""
    source, (n, k, m) = draw(values()), (draw(size) for _ in range(3))
    lead, other_lead = draw(broadcastable(2, most=2, smallest=0))
    left = draw(st.sampled_from([(k,), (*lead, n, k)]))
    right = draw(st.sampled_from([(k,), (*other_lead, k, m)]))
    if draw(st.integers(0, 4)) == 0:
        return Call((np.asarray(source.integers(-5, 5, left)), np.asarray(source.integers(-5, 5, right))))
    return Call((source(*left), source(*right))) if draw(st.booleans()) else Call((source(*left),), {"other": source(*right)})


@st.composite
def of_shapes(draw, *shapes, names=()):
    """Arrays whose sizes are given by letters: "nk", "km"."""
    source, sizes = draw(values()), {}
    arrays = [source(*(sizes.setdefault(letter, draw(size)) for letter in shape)) for shape in shapes]
    return Call(tuple(arrays)) if draw(st.booleans()) else Call(tuple(arrays[:1]), dict(zip(names, arrays[1:])))


@st.composite
def linears(draw):
    source, (inside, outside) = draw(values()), (draw(size) for _ in range(2))
    lead = draw(st.lists(size, max_size=3))
    weight = source(*draw(st.sampled_from([(outside, inside), (outside, inside), (inside,)])))
    bias = draw(st.sampled_from([None, "positional", "by name"])) if weight.ndim == 2 else None
    extra = source(*weight.shape[:-1])
    return Call((source(*lead, inside), weight, *[extra] * (bias == "positional")), {"bias": extra} if bias == "by name" else {})


@st.composite
def equations(draw, most=3, smallest=0):
    """An equation and operands: shared, lone and repeated letters, "..." that broadcasts, sizes of 1, a result written out or not."""
    source = draw(values())
    letters = draw(st.permutations("ikjAb"))[:draw(st.integers(1, 5))]
    sizes = {letter: draw(st.integers(smallest, 3)) for letter in letters}
    count = draw(st.integers(1, most))
    more = draw(st.lists(st.integers(smallest, 2), max_size=2)) if draw(st.booleans()) else None
    texts, operands = [], []
    for _ in range(count):
        own = draw(st.lists(st.sampled_from(letters), max_size=3))
        shape = [1 if own.count(letter) == 1 and draw(st.integers(0, 5)) == 0 else sizes[letter] for letter in own]
        if more is not None and draw(st.booleans()):
            place = draw(st.integers(0, len(own)))
            dots = [1 if draw(st.integers(0, 3)) == 0 else n for n in more[draw(st.integers(0, len(more))):]]
            own[place:place] = ["..."]
            shape[place:place] = dots
        texts.append(draw(st.sampled_from(["", " "])).join(own))
        operands.append(source(*shape))
    text = draw(st.sampled_from([",", ", "])).join(texts)
    used = [letter for letter in letters if letter in text]
    form = draw(st.sampled_from(["implicit", "explicit", "explicit"]))
    if form == "explicit":
        result = draw(st.permutations(used))[:draw(st.integers(0, len(used)))]
        if "..." in text and draw(st.integers(0, 3)):
            result.insert(draw(st.integers(0, len(result))), "...")
        text += "->" + "".join(result)
    return Call((text, operands)) if draw(st.booleans()) else Call((text, *operands))


MIXED = Call((MATRIX, MATRIX.T.astype(np.float32)))
CASES = [
    Case("matmul", matmuls(), examples=100, refused=(
        Call((MATRIX, MATRIX)), Call((VECTOR, np.ones(4))), Call((np.ones(()), VECTOR)), Call((STACK, np.ones((3, 4, 2)))),
        MIXED, Call((MATRIX > 0, MATRIX.T > 0)), Call((MATRIX, 2.0)))),
    Case("mm", of_shapes("nk", "km", names=("mat2",)), examples=24, refused=(Call((MATRIX, MATRIX)), Call((VECTOR, MATRIX.T)), MIXED)),
    Case("bmm", of_shapes("bnk", "bkm", names=("mat2",)), examples=24, refused=(
        Call((STACK, STACK)), Call((MATRIX, MATRIX.T)), Call((np.ones((1, 3, 4)), np.ones((2, 4, 3)))))),
    Case("dot", of_shapes("n", "n", names=("tensor",)), examples=24, refused=(Call((VECTOR, np.ones(4))), Call((MATRIX, MATRIX.T)))),
    Case("outer", of_shapes("n", "m", names=("vec2",)), examples=24, refused=(Call((VECTOR, MATRIX)),)),
    Case("linear", linears(), examples=60, refused=(
        Call((MATRIX, np.ones((4, 2)))), Call((MATRIX, np.ones((4, 3)), np.ones(3))), Call((MATRIX, np.ones((1, 4, 3)))),
        Call((np.ones(()), VECTOR)), Call((MATRIX, np.ones((4, 3), np.float32))))),
    Case("einsum", equations(), examples=100, refused=(
        Call(("ij->ij", VECTOR)), Call(("ij,jk", MATRIX)), Call(("i->ii", VECTOR)), Call(("ij->ik", MATRIX)), Call(("ii", MATRIX)),
        Call(("i1", MATRIX)), Call(("i..->i", MATRIX)), Call(("...i...", MATRIX)), Call(("ij,jk->ik", MATRIX, MATRIX)),
        Call(("i->i->", VECTOR)), Call(("ij->k", MATRIX)), Call((VECTOR, "i")),
        Call(("ij,jk->ik", MATRIX, MATRIX.T.astype(np.float32))), Call(("i...->...", np.ones(()))), Call(("ij->",)))),
    Case("einsum", equations(most=5, smallest=1), "of many", order=1, examples=40),
]
