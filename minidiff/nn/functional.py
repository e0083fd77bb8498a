"""`minidiff.functional` under torch's path, so that `import minidiff.nn.functional as F` works."""

from minidiff.functional import *
from minidiff.functional import __all__ as __all__
