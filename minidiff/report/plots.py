"""matplotlib, if it is there: the one optional package that draws axes and arrows.

Imported only by the pictures that need it (the extra `plots`); everything else in this room is drawn with Pillow.
"""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any

from PIL import Image

BLUE, ORANGE, INK, PALE = "#1f5fb4", "#d9762b", "#102a54", "#c9d3e3"


class PlotsMissing(ImportError):
    """matplotlib is not installed."""


def pyplot() -> ModuleType:
    """matplotlib.pyplot, drawing into memory. Raises PlotsMissing that says what to install."""
    try:
        import matplotlib
    except ImportError:
        raise PlotsMissing("this draws with matplotlib, which is not installed: pip install 'minidiff[plots]'") from None
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 10, "axes.edgecolor": "#8a94a6", "axes.titlesize": 11, "figure.dpi": 110})
    return plt


def png(figure: Any) -> bytes:
    """A figure as a PNG file's content; the figure is closed."""
    content = io.BytesIO()
    figure.savefig(content, format="png", bbox_inches="tight", pad_inches=0.15)
    pyplot().close(figure)
    return content.getvalue()


def frame(figure: Any) -> Image.Image:
    """A figure as a picture of its full size; the figure is closed."""
    figure.canvas.draw()
    picture = Image.frombuffer("RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()).convert("RGB")
    pyplot().close(figure)
    return picture
