"""Settings of the site: ``sphinx-build -W docs build/site`` writes it, without a warning and without the network."""

from typing import Any

import tfbundle

project = "tfbundle"
version = release = tfbundle.__version__
copyright = "the tfbundle developers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# The prompts of the examples, and what they print, are not for the clipboard.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = "tfbundle"
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
python_maximum_signature_line_length = 100
# Docstrings name many types of other packages, whose documentation is not reachable without the network.
nitpicky = False


def _escape(_app: object, _context: object, lines: list[str]) -> None:
    """Escape what is emphasis in reStructuredText: help texts are plain, and have globs."""
    lines[:] = [line.replace("*", "\\*") if not line.startswith((".. ", "**")) else line for line in lines]


def setup(app: Any) -> None:
    """Connect the handlers."""
    for part in ("description", "epilog", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", _escape)
