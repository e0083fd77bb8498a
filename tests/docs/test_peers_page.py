"""What the page of the peers claims has a test: every test it names exists, and every test of its own files is named."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "peers-diffusion.md").read_text(encoding="utf-8")
OWN = ["test_schedules_and_timesteps", "test_ddpm_and_ddim_schedulers", "test_sigma_schedulers", "test_dpm_solver_schedulers",
       "test_k_diffusion", "test_guided_diffusion"]
NOT_ON_THE_PAGE = {"test_one_karras_sigma_is_the_largest_in_both", "test_their_samplers_keep_gaussian_data"}
"""A corner of a list, and a check of the comparison itself."""


def names_in(path):
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_the_page_names_exists():
    """In the comparisons or in the tests of diffusion."""
    known = {name for folder in ("peers", "diffusion") for path in (ROOT / "tests" / folder).glob("test_*.py") for name in names_in(path)}
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= known


def test_every_comparison_is_on_the_page():
    """So that none of them says something that only its code knows."""
    compared = {name for file in OWN for name in names_in(ROOT / "tests" / "peers" / f"{file}.py")}
    assert compared - set(re.findall(r"`(test_\w+)`", PAGE)) == NOT_ON_THE_PAGE
