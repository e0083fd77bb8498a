"""`minidiff info`: what computes here."""

import argparse

SUMMARY = "show versions, devices and threads"
EXAMPLES = """\
  minidiff info
  OMP_NUM_THREADS=1 minidiff info
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`minidiff info` has no options."""


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.report.environment import devices, versions

    rows = [*versions().items(), *(("device", device) for device in devices())]
    for name, value in rows:
        print(f"{name:<12} {value}")
    return 0
