"""Functions of one element, with broadcasting."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, broadcastable, shapes, values


def of_one(**options):
    return st.builds(lambda source, shape: Call((source(*shape, **options),)), values(), shapes(smallest=0))


def of_two(**options):
    return st.builds(lambda source, pair: Call(tuple(source(*shape, **options) for shape in pair)), values(), broadcastable(smallest=0))


CASES = [
    Case("exp", of_one()),
    Case("log", of_one(positive=True)),
    Case("mul", of_two(), refused=(Call((np.ones((2, 3)), np.ones((4, 3)))),)),
    Case("maximum", of_two()),
]
