"""The `minidiff` command: one file for each sub-command, thin over the library.

`main.py` has the table of sub-commands and turns expected errors into one line. Imports of the library are inside the functions that
need it, so that `minidiff --help` answers at once.
"""

from .main import main

__all__ = ["main"]
