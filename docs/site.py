"""What `mkdocs build` changes in the pages of docs/, which are written to be read in the repository too."""

from __future__ import annotations

import posixpath
import re
from typing import Any

import ilforge

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?[.]?([^<]+)</code>")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Name files outside docs/ instead of linking to them; describe Python objects one by one, with their types."""
    if page.file.src_uri == "python.md":
        return reference()
    folder = posixpath.dirname(page.file.src_uri)

    def without_outside(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        outside = target.startswith("../")
        return f"{link[1]} (`{target.removeprefix('../')}` in the repository)" if outside else link[0]

    return _LINK.sub(without_outside, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show the last part of the name of an object that a docstring mentions."""
    return _ROLE.sub(lambda role: f"<code>{role[1].rpartition('.')[2]}</code>", html)


def reference() -> str:
    """The Python reference: every public name by mkdocstrings."""
    lines = ["# Python", "", "Everything below is there after `import ilforge`.", ""]
    for name, module in ilforge.public_names().items():
        lines += [f"::: {module}.{name}", ""]
    return "\n".join(lines)
