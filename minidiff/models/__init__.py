"""Networks: `UNet` with its configurations, the `Classifier` that judges its pictures, an `MLP` for points.

Built of `minidiff.nn`; nothing here trains.
"""

from .classifier import Classifier
from .mlp import MLP
from .unet import PRESETS, UNet, UNetConfig, preset

__all__ = ["MLP", "PRESETS", "Classifier", "UNet", "UNetConfig", "preset"]
