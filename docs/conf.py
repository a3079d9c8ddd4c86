"""How Sphinx makes the documentation: `make docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

# Importing Locust would patch the whole process.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import ampswarm

project: Final = "Ampswarm"
copyright = ""  # noqa: A001  Sphinx's name; the licence stands in LICENSE
html_show_copyright: Final = False
version = release = ampswarm.__version__
extensions: Final = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns: Final = ["build"]

html_theme: Final = "furo"
html_title: Final = f"Ampswarm {release}"
html_static_path: Final = ["_static"]
html_css_files: Final = ["wide.css"]
html_copy_source: Final = False
html_show_sourcelink: Final = False

# Every link has to lead somewhere: a page, a heading, an object, a file of the repository.
nitpicky: Final = True
myst_heading_anchors: Final = 4
# Types of other projects, and of what a locustfile never sees.
nitpick_ignore_regex: Final = [
    ("py:.*", r"(locust|gevent|collections|typing|argparse|ssl)\b.*"),
    ("py:.*", r"ampswarm\..*|ChargingBehaviour"),
]

# Single backticks in docstrings are code.
default_role: Final = "code"
autodoc_member_order: Final = "bysource"
autodoc_typehints: Final = "description"
autodoc_typehints_description_target: Final = "documented"
napoleon_numpy_docstring: Final = False
