"""Words in pictures: the one font that comes with Pillow, and how much room words take in it."""

import unicodedata
from functools import cache

from PIL import ImageFont

MAX_WIDTH_IN_SIZES = 14     # a longer name is cut: a class may be called anything


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font; it looks the same on every machine. size: in pixels."""
    return ImageFont.load_default(size)


def legible(text: str, size: int) -> str:
    """`text` in the characters that the font has, which is ASCII: accents fall away, others become "?"; cut if it is very long."""
    plain = "".join(character for character in unicodedata.normalize("NFKD", text) if not unicodedata.combining(character))
    plain = "".join(character if " " <= character <= "~" else "?" for character in plain)
    if width(plain, size) <= MAX_WIDTH_IN_SIZES * size:
        return plain
    while plain and width(plain + "...", size) > MAX_WIDTH_IN_SIZES * size:
        plain = plain[:-1]
    return plain + "..."


def width(text: str, size: int) -> int:
    """The width of a line of text, in pixels, rounded up."""
    return -int(-font(size).getlength(text) // 1)
