"""Fast versions of a few operations. Each has its readable twin in `minidiff.functional`, and a test holds the two together.

    layout.py         channels-last memory, and how work is cut
    convolution.py    convolution, its transpose and its weight gradient
    normalization.py  GroupNorm
    activation.py     SiLU and GELU
    attention.py      scaled dot-product attention
    pooling.py        max pooling
    product.py        matrix products
    elementwise.py    sums and products of large arrays, and moving their elements
    summation.py      sums over long axes that keep their digits

Importing this package tells the operations about their kernels; a kernel answers NotImplemented to arrays that it does not take,
and then the twin runs.
"""

from minidiff.autograd.walk import summed
from minidiff.functional.activation import gelu_erf, gelu_tanh, silu
from minidiff.functional.attention import attended
from minidiff.functional.convolution import convolution as _convolution
from minidiff.functional.convolution import convolution_input, convolution_weight
from minidiff.functional.elementwise import mul, plus
from minidiff.functional.linear import product as _product
from minidiff.functional.normalization import grouped
from minidiff.functional.pooling import pooled_max
from minidiff.functional.reduction import total
from minidiff.functional.shape import joined, reshaped

from . import activation, attention, convolution, elementwise, normalization, pooling, product, summation

_convolution.kernel = convolution.convolve
convolution_input.kernel = convolution.convolve_input
convolution_weight.kernel = convolution.convolve_weight
pooled_max.kernel = pooling.max_pool
grouped.kernel = normalization.group_norm
silu.kernel = activation.silu
gelu_erf.kernel = activation.gelu_erf
gelu_tanh.kernel = activation.gelu_tanh
attended.kernel = attention.attention
_product.kernel = product.matmul
total.kernel = summed.kernel = summation.total
plus.kernel = elementwise.add
mul.kernel = elementwise.mul
reshaped.kernel = elementwise.merge_into_channels
joined.kernel = elementwise.join_channels
