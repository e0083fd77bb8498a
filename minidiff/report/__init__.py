"""What a run shows: pictures, one page, and the demo that makes them all.

    text.py, pictures.py    grids and strips of images, with names
    loss_curve.py           the loss curve
    files.py                files and folders that are whole or not there
    samples.py              drawing from a run, with a bar, and into a folder
    verdict.py              what the classifier recognizes
    evaluation.py           the figures of an evaluation as a table and as files
    environment.py          what computed this
    page.py, style.py       the pieces of a web page that is one file
    demo.py, demo_page.py   the whole way from data to report.html

Stands on `minidiff.training`, Pillow and the standard library. Read `demo.py` first.
"""

from .demo import DEMO, Demo, run_demo
from .environment import devices, versions
from .evaluation import table_text, write_evaluation
from .files import check_free, free_name, write_new
from .loss_curve import curve
from .pictures import captioned, forward_strip, grid, reverse_strip, save_png
from .samples import Row, class_rows, draw_with_bar, prompt_rows, write_samples
from .verdict import Verdict, judge

__all__ = [
    "DEMO", "Demo", "Row", "Verdict", "captioned", "check_free", "class_rows", "curve", "devices", "draw_with_bar", "forward_strip",
    "free_name", "grid", "judge", "prompt_rows", "reverse_strip", "run_demo", "save_png", "table_text", "versions", "write_evaluation",
    "write_new", "write_samples",
]
