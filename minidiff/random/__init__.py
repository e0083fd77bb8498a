"""Random numbers that depend on the seed alone: the same on every device, at every batch size, after every restart.

`philox.py` makes the random words: Philox, a counter-based generator, bit for bit NumPy's. `generator.py` turns words
into uniforms, normals, integers and permutations, and remembers how far it has come. `replay.py` is for
computations that draw the same numbers a second time. Stands on `backend`. Read `philox.py` first.
"""

from .generator import Generator

__all__ = ["Generator"]
