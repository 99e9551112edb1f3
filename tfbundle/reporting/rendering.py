"""The page as HTML: the template with its style and script, and the rules that make every text harmless.

Three things keep what a file states from becoming markup or code. The template engine escapes every value. Before that,
``finalize`` replaces characters that do not show, such as those that turn the direction of writing, and cuts texts of
any length. And the page's policy (``Content-Security-Policy``) lets the browser run only the script with the hash that
it states, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from tfbundle.errors import UnsupportedError
from tfbundle.reporting.drawing_payload import encode_drawings
from tfbundle.reporting.facts import Page
from tfbundle.reporting.payload import encode, shown

# In this order: each may use what those before it define.
_SCRIPTS = ("elements.js", "pictures.js", "tensors.js", "curves.js", "layers.js", "drawings.js")


def render(page: Page) -> bytes:
    """Return a page as HTML in UTF-8; raises ``UnsupportedError`` if jinja2 is not installed."""
    style, script = _resource("page.css"), _script()
    template, as_markup = _template()
    drawings = encode_drawings(page.drawings)
    text: str = template.render(
        page=page,
        style=as_markup(style),
        script=as_markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=as_markup(encode(page, len(drawings))),
        drawings=as_markup(drawings),
    )
    return text.encode()


@cache
def _template() -> tuple[Any, Callable[[str], Any]]:
    """Return the template, and what marks a text as one that is ours and not escaped."""
    try:
        from jinja2 import Environment, StrictUndefined  # type: ignore[import-not-found, unused-ignore]
        from markupsafe import Markup  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UnsupportedError('reports need jinja2; pip install "tfbundle[report]"') from None

    def finalize(value: Any) -> Any:
        return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        autoescape=True, finalize=finalize, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("page.html.jinja")), Markup


def _script() -> str:
    """Return all scripts as one, whose names are those of the page alone."""
    return "\n".join(["(() => {", '"use strict";', *map(_resource, _SCRIPTS), "})();", ""])


def _resource(name: str) -> str:
    return files("tfbundle.reporting").joinpath("page").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
