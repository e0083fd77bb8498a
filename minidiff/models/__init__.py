"""Networks: `UNet` with its configurations, and the `Classifier` that judges its pictures. Built of `minidiff.nn`; nothing here trains."""

from .classifier import Classifier
from .unet import PRESETS, UNet, UNetConfig, preset

__all__ = ["PRESETS", "Classifier", "UNet", "UNetConfig", "preset"]
