"""Fast versions of a few operations. Each has its readable twin in `minidiff.functional`, and a test holds the two together.

    layout.py         channels-last memory, blocks that fit the cache
    convolution.py    convolution, its transpose and its weight gradient
    normalization.py  GroupNorm
    activation.py     SiLU and GELU

Importing this package tells the operations about their kernels; a kernel answers NotImplemented to arrays that it does not take,
and then the twin runs.
"""

from minidiff.functional import activation as _activations
from minidiff.functional import convolution as _convolutions
from minidiff.functional import normalization as _normalizations

from . import activation, convolution, normalization

_convolutions.convolution.kernel = convolution.convolve
_convolutions.convolution_input.kernel = convolution.convolve_input
_convolutions.convolution_weight.kernel = convolution.convolve_weight
_normalizations.grouped.kernel = normalization.group_norm
_activations.silu.kernel = activation.silu
_activations.gelu_erf.kernel = activation.gelu_erf
_activations.gelu_tanh.kernel = activation.gelu_tanh
