"""Configuration of the documentation site: `python -m sphinx -W -n -b html docs docs/_build/html`.

The build needs no network. With DOCS_ONLINE=1 in the environment, references to other libraries become links.
"""

import os
import re
from itertools import groupby
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import restore_env

project = "restore_env"
author = "The restore_env authors"
copyright = author  # noqa: A001  # the name that Sphinx reads
release = version = restore_env.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings write code in single backticks

html_theme = "furo"
html_title = project

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

if os.environ.get("DOCS_ONLINE") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "gymnasium": ("https://gymnasium.farama.org", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "stable_baselines3": ("https://stable-baselines3.readthedocs.io/en/master", None),
    }

# Names without a page here: those of other libraries (links with DOCS_ONLINE=1), and "float32 (n, 3, h, w)" as a type.
_LIBRARIES: Final = "collections|os|pathlib|typing|abc|gymnasium|gym|numpy|np|torch|nn|stable_baselines3|sb3_contrib"
_ARRAYS: Final = r"u?int\d*|float\d*|bool|[a-z]|\d+"
_UNLISTED: Final = r"(restore_env\.envs\.common\.)?EnvOptions"  # the arguments of ImageRestoreEnv, as a type
nitpick_ignore_regex = [("py:.*", rf"({_LIBRARIES})\..*"), ("py:class", _ARRAYS), ("py:class", _UNLISTED)]


def markdown_to_rst(lines: list[str]) -> list[str]:
    """Turn the headings, tables, code blocks and links of a Markdown docstring into reStructuredText."""
    result: list[str] = []
    for is_table, block in groupby(lines, key=lambda line: line.startswith("| ")):
        rows = list(block)
        result += _list_table(rows) if is_table else rows
    in_code = False
    for number, line in enumerate(result):
        fence = re.fullmatch(r"```(\w*)", line)
        if fence:
            result[number] = "" if in_code else f".. code-block:: {fence[1] or 'text'}\n"
            in_code = not in_code
        elif in_code:
            result[number] = f"   {line}"
        else:
            result[number] = re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`__", line)
            result[number] = re.sub(r"^#+ (.+)", r".. rubric:: \1\n", result[number])
    return "\n".join(result).split("\n")


def _list_table(rows: list[str]) -> list[str]:
    """Return a Markdown table, a line each row, as the directive `list-table`; anything else as it is."""
    if len(rows) < 2 or not re.fullmatch(r"[|: -]+", rows[1].strip()):
        return rows
    heading, _, *body = [re.split(r"(?<!\\)\|", row.strip().strip("|")) for row in rows]
    lines = ["", ".. list-table::", "   :header-rows: 1", ""]
    for row in (heading, *body):
        lines += [f"   {'*' if number == 0 else ' '} - {cell.strip()}" for number, cell in enumerate(row)]
    return [*lines, ""]


def convert_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Convert a docstring that has Markdown headings or tables, as Gymnasium's environments have them."""
    lines[:] = markdown_to_rst(lines)


def skip_tuple_field(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a NamedTuple as members: its docstring describes them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, content: nodes.TextElement
) -> nodes.Element | None:
    """Link a class by its public name: annotations name the module that defines it, the pages do not."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("restore_env."):
        return None
    domain = env.domains["py"]
    name = target.rpartition(".")[2]
    public = [entry for entry in domain.objects if entry.startswith("restore_env.") and entry.endswith(f".{name}")]
    if len(public) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public[0], node, content)


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("autodoc-process-docstring", convert_docstring, priority=400)  # before Napoleon, which has 500
    app.connect("autodoc-skip-member", skip_tuple_field)
    app.connect("missing-reference", find_public_name)
