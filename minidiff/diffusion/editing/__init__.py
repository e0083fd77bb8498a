"""Editing: what a model can do with data that is already there, without being trained for it. Reading order:

    source       where the noise of an edit comes from
    inpainting   a known region is put back at every level; resampling (RePaint) lets the rest agree with it; outpainting
    renoising    SDEdit: noise, but not up to pure noise, and back
    inversion    from data to the noise that it would come from; counterfactuals
"""

from minidiff.diffusion.editing import (
    inpainting,
    inversion,
    renoising,
)
from minidiff.diffusion.editing.inpainting import *
from minidiff.diffusion.editing.inversion import *
from minidiff.diffusion.editing.renoising import *

_FILES = (inpainting, renoising, inversion)
__all__ = [name for file in _FILES for name in file.__all__]
