"""Makes the site of Markdown that is written for a git host.

Pages outside docs/ become pages of the site, links are turned to where things are there, files that are linked and are no
pages come along, and lists are indented as Python-Markdown wants them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

# Files of the repository, and the pages that they become.
OUTSIDE = {
    "README.md": "source.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "control-plane/README.md": "control-plane-setup.md",
    "packaging/README.md": "packaging.md",
    "packaging/cloud-init/README.md": "packaging-cloud-init.md",
    "packaging/dib/trove-couchdb-agent/README.rst": "image-element.md",
}

FENCE = re.compile(r"^ *(```|~~~)")
ITEM = re.compile(r"^( *)([-*+] +|\d+[.)] +)")
LINK = re.compile(r"(\]\()([^()\s]+)(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "docs/site/site.css")))
    pages = {page.src_uri: f"docs/{page.src_uri}" for page in files.documentation_pages()}
    pages |= {uri: source for source, uri in OUTSIDE.items()}
    for uri, source in pages.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source.endswith(".rst"):
            text = of_restructured_text(text)
        text, linked = with_links(text, source, uri)
        for path in linked:
            if files.get_file_from_path(f"files/{path}") is None:
                files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
        if (there := files.get_file_from_path(uri)) is not None:
            files.remove(there)
        files.append(File.generated(config, uri, content=for_python_markdown(text)))
    return files


def of_restructured_text(text: str) -> str:
    """An element's README is reStructuredText by diskimage-builder's custom; it is shown as it is written."""
    title = next(line for line in text.splitlines() if line.strip("= "))
    return f"# {title}: an element for diskimage-builder\n\n```rst\n{text}```\n"


def with_links(text: str, source: str, uri: str) -> tuple[str, list[str]]:
    """The text with relative links as they are on the site, and the files they want that are no pages."""
    linked: list[str] = []

    def turned(match: re.Match[str]) -> str:
        target, hash_sign, anchor = match[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in OUTSIDE:
            there = OUTSIDE[path]
        elif path.startswith("docs/"):
            there = path.removeprefix("docs/")
        elif (ROOT / path).is_file():
            linked.append(path)
            there = f"files/{path}"
        else:
            return match[0]
        here = posixpath.relpath(there, posixpath.dirname(uri) or ".")
        return f"{match[1]}{here}{hash_sign}{anchor}{match[3]}"

    lines, fenced = [], False
    for line in text.splitlines():
        fenced ^= bool(FENCE.match(line))
        lines.append(line if fenced else LINK.sub(turned, line))
    return "\n".join(lines) + "\n", linked


def for_python_markdown(text: str) -> str:
    """What CommonMark takes and Python-Markdown does not: items indented by the width of their marker, a list right
    below a paragraph, and `\\|` for a bar in a cell's code."""
    lines: list[str] = []
    items: list[int] = []  # where the text of each open item begins
    fenced = False
    for line in text.splitlines():
        if not line.strip():
            lines.append(line)
            continue
        indent = len(line) - len(line.lstrip(" "))
        item = None if fenced else ITEM.match(line)
        if not fenced:
            was = len(items)
            blank = not lines or not lines[-1].strip()
            while items and indent < items[-1] and (item or blank):
                items.pop()
            if item and was == 0 and not blank:
                lines.append("")
        base = items[-1] if items else 0
        lines.append(" " * (4 * len(items) + max(indent - base, 0)) + line.lstrip(" "))
        if item:
            items.append(len(item[0]))
        fenced ^= bool(FENCE.match(line))
        if not fenced and line.lstrip().startswith("|"):
            lines[-1] = re.sub(r"`[^`]*`", lambda code: code[0].replace("\\|", "|"), lines[-1])
    return "\n".join(lines) + "\n"
