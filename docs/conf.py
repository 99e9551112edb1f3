"""Settings of the site: ``sphinx-build -W docs build/site`` writes it, without a warning and without the network."""

import re
from pathlib import Path
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

# Only quotes: the options of commands begin with two hyphens.
smartquotes_action = "q"

html_theme = "furo"
html_title = "tfbundle"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
python_maximum_signature_line_length = 100
# Docstrings name many types of other packages, whose documentation is not reachable without the network.
nitpicky = False


# Classes that users create. Of the others, only dataclasses show their constructors, which list the fields.
_CREATED = {"CheckpointWriter", "EventTroubles", "TfBundleError"}


def _skip(_app: object, _what: str, name: str, member: Any, skip: bool, _options: object) -> bool | None:
    """Skip constructors that are not for users, and those of named tuples."""
    if name == "__new__":
        return True
    if name != "__init__" or skip or member.__module__.startswith("tfbundle.train"):
        return None
    return member.__qualname__.partition(".")[0] not in _CREATED and bool(member.__doc__)


def _link(_app: object, _what: str, name: str, _member: object, _options: object, lines: list[str]) -> None:
    """Turn public names in docstrings into links, and drop the docstrings that named tuples give to their fields."""

    def link(match: re.Match[str]) -> str:
        target = f"tfbundle.{match[1]}"
        is_public = match[1].partition(".")[0] in tfbundle.__all__ and target != name
        return f":py:obj:`{match[1]} <{target}>`" if is_public else match[0]

    lines[:] = [re.sub(r"``([A-Za-z_]\w*(?:\.\w+)?)``", link, line) for line in lines]
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


_PROTOS = Path(__file__).resolve().parents[1] / "protos"
# A field of a message, after the lines of its comment.
_FIELD = re.compile(r"((?:^ *//.*\n)+) *(repeated )?(\w+) (\w+) = \d+;", re.MULTILINE)
_TYPES = {"string": "str", "int32": "int", "float": "float", "double": "float", "bool": "bool"}


def _document_message(_app: object, _what: str, _name: str, member: Any, _options: object, lines: list[str]) -> None:
    """Document a message and its fields with the comments of its schema, which the generated class lacks."""
    descriptor = getattr(member, "DESCRIPTOR", None)
    if descriptor is None:
        return
    schema = (_PROTOS / descriptor.file.name).read_text(encoding="utf-8")
    start = schema.index(f"message {descriptor.name} {{")
    lines[:] = [f"A protobuf message. {_comment_before(schema, start)}", ""]
    documented = {name: (comment, repeated, kind) for comment, repeated, kind, name in _FIELD.findall(schema, start)}
    for field in descriptor.fields:
        comment, repeated, kind = documented[field.name]
        type = _TYPES.get(kind, "int")  # Other types here are enumerations.
        lines += [f".. py:attribute:: {field.name}", "   :no-index:"]
        lines += [f"   :type: {f'list[{type}]' if repeated else type}", "", f"   {_uncomment(comment)}", ""]


def _comment_before(schema: str, position: int) -> str:
    found = re.search(r"((?:^//.*\n)+)\Z", schema[:position], re.MULTILINE)
    assert found is not None
    return _uncomment(found[1])


def _uncomment(comment: str) -> str:
    return " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())


def _escape(_app: object, _context: object, lines: list[str]) -> None:
    """Escape what is emphasis in reStructuredText: help texts are plain, and have globs."""
    lines[:] = [line.replace("*", "\\*") if not line.startswith((".. ", "**")) else line for line in lines]


def setup(app: Any) -> None:
    """Connect the handlers."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _document_message)
    app.connect("autodoc-process-docstring", _link)
    for part in ("description", "epilog", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", _escape)
