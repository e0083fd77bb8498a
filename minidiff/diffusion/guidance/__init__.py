"""Guidance: steering a sampler by a condition. Each guidance takes a model and gives a model. Reading order:

    classifier_free   one network that knows two answers; their difference enlarged
    classifier        the gradient of a classifier, or of anything else one would like to see, added to the score
    interval          guidance only where there is neither too much nor too little noise
"""

from minidiff.diffusion.guidance import (
    classifier,
    classifier_free,
    interval,
)
from minidiff.diffusion.guidance.classifier import *
from minidiff.diffusion.guidance.classifier_free import *
from minidiff.diffusion.guidance.interval import *

_FILES = (classifier_free, classifier, interval)
__all__ = [name for file in _FILES for name in file.__all__]
