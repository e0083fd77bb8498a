"""CLIP: a text encoder and an image encoder that put a sentence and its picture at the same place (Radford et al. 2021).

    config.py        `CLIPConfig`: what the two encoders are made of
    transformer.py   the layers that both share
    text.py          tokens to a vector: causal, read at the end-of-text token
    image.py         pixels to a vector: a vision transformer, or a small convolutional network
    contrast.py      how well pictures and texts fit, and the loss that teaches it
    model.py         `CLIP`: the encoders, the projections, the temperature
    pixels.py        a picture as the vision transformers of OpenAI want it
    layouts.py       the names that transformers and OpenAI give the weights, and what their configurations mean
    files.py         `load_clip`, `save_clip`

Parameter names are those of transformers' `CLIPModel`, and with its weights the results are the same. Stands on `nn` and on the
convolution blocks of the U-Net.
"""

from .config import CLIPConfig, ConvConfig, TextConfig, ViTConfig
from .contrast import clip_logits, clip_loss
from .files import load_clip, save_clip
from .model import CLIP
from .pixels import CLIP_MEAN, CLIP_STD, clip_pixels

__all__ = [
    "CLIP", "CLIP_MEAN", "CLIP_STD", "CLIPConfig", "ConvConfig", "TextConfig", "ViTConfig", "clip_logits", "clip_loss", "clip_pixels",
    "load_clip", "save_clip",
]
