"""Networks: `UNet` with its configurations, `AutoencoderKL` for latent diffusion, `CLIP` for pictures and texts, the `Tokenizer`
that reads the texts, the `Prior` from texts to pictures' embeddings, the `Classifier` that judges pictures, an `MLP` for points.

Built of `minidiff.nn`; nothing here trains.
"""

from .autoencoder import AutoencoderConfig, AutoencoderKL, DiagonalGaussian
from .classifier import Classifier
from .clip import CLIP, CLIPConfig, load_clip, save_clip
from .mlp import MLP
from .prior import Prior, PriorConfig
from .tokenizer import Tokenizer
from .unet import PRESETS, UNet, UNetConfig, preset

__all__ = [
    "CLIP", "MLP", "PRESETS", "AutoencoderConfig", "AutoencoderKL", "CLIPConfig", "Classifier", "DiagonalGaussian", "Prior", "PriorConfig",
    "Tokenizer", "UNet", "UNetConfig", "load_clip", "preset", "save_clip",
]
