"""Sphinx's settings. `.ci/docs` builds the site: plain files, which ask no other machine for anything."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions")]

import unstride  # noqa: E402

project = "unstride"
author = "The unstride developers"
copyright = author
version = release = unstride.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "computed",  # tables and pages that unstride computes
    "references",  # links from docstrings
]
exclude_patterns = ["_*", "Thumbs.db"]
nitpicky = True

# Prose
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# Docstrings. Types stand in their "Parameters" sections.
default_role = "py:obj"
add_module_names = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Names of other projects. The inventories are short lists of the names that we use, so that no build needs a network.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "_intersphinx/python.inv"),
    "numpy": ("https://numpy.org/doc/stable", "_intersphinx/numpy.inv"),
    "torch": ("https://docs.pytorch.org/docs/stable", "_intersphinx/torch.inv"),
}

html_theme = "furo"
html_title = "unstride"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["explorer.js"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fae", "color-brand-content": "#1f5fae"},
    "dark_css_variables": {"color-brand-primary": "#7db2f5", "color-brand-content": "#7db2f5"},
}
