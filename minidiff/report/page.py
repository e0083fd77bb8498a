"""A web page that is one file: pictures inside it, no script, nothing fetched.

Each piece is a function from plain values to HTML; `page` puts pieces under one another. Text is escaped where it enters a piece, so no
name of a class and no path can become markup. The page forbids itself (by a Content-Security-Policy) what it does not need.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from .files import write_new
from .pictures import png
from .style import CSS

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, lead: str, *pieces: str, footer: str = "") -> str:
    """A whole HTML page. title, lead (a sentence or two below it) and footer are text; pieces are HTML from the functions below."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{"".join(pieces)}<footer>{escape(footer)}</footer>
</main>
</body>
</html>
"""


def section(title: str, *pieces: str) -> str:
    """A heading and what belongs to it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(pieces)}</section>\n"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>\n"


def figures(values: Mapping[str, str]) -> str:
    """A row of large numbers, each with what it is below. values: what it is -> the number."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>\n" for name, value in values.items())
    return f'<dl class="figures">\n{items}</dl>\n'


def picture(image: Image.Image, alt: str, caption: str, scale: float = 1.0) -> str:
    """A picture, inside the page, with a caption. alt: what one who cannot see it should know. scale: shown so many times its size."""
    source = base64.b64encode(png(image)).decode("ascii")
    width, height = round(image.width * scale), round(image.height * scale)
    return (f'<figure>\n<img src="data:image/png;base64,{source}" width="{width}" height="{height}" alt="{escape(alt)}">\n'
            f"<figcaption>{escape(caption)}</figcaption>\n</figure>\n")


def table(rows: Mapping[str, Any]) -> str:
    """Names and their values, in two columns."""
    body = "".join(f"<tr><th scope=\"row\">{escape(name)}</th><td>{escape(str(value))}</td></tr>\n" for name, value in rows.items())
    return f'<div class="scroll"><table>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def shares(header: Sequence[str], rows: Mapping[str, Sequence[float]], total: tuple[str, Sequence[float]]) -> str:
    """A table of shares, each with a bar as long as the share. header: one name a column. rows: name -> shares in [0, 1].

    total: the name and the shares of the last row, which sums up.
    """
    def row(name: str, values: Sequence[float]) -> str:
        cells = "".join(f'<td class="share" style="--share: {100 * value:.1f}%">{100 * value:.0f} %</td>' for value in values)
        return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>\n'

    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(row(name, values) for name, values in rows.items())
    return (f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
            f"<tfoot>{row(*total)}</tfoot>\n</table></div>\n")


def command(line: str) -> str:
    """Something to type."""
    return f"<pre><code>{escape(line)}</code></pre>\n"


def save_page(html: str, path: str | os.PathLike) -> None:
    """Write a page, whole or not at all. Raises FileExistsError if there is a file already, OSError if it cannot be written."""
    write_new(path, html.encode())
