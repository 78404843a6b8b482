"""Makes the site of Markdown that is written for a git host.

Pages outside docs/ become pages of the site, links lead to the places of the site, linked files that are no pages are
copied, lists are indented as Python-Markdown needs it, and columns of long text get a width that can be read on a phone.
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
BAR = re.compile(r"(?<!\\)\|")
#: A cell with more letters than this makes its column `wide` (site.css).
LONG = 40


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
        files.append(File.generated(config, uri, content=for_python_markdown(with_wide_columns(text))))
    return files


def of_restructured_text(text: str) -> str:
    """An element's README is reStructuredText by diskimage-builder's custom; this knows what it uses of that."""
    text = re.sub(r"\A=+\n(.+)\n=+\n", r"# \1: an element for diskimage-builder\n", text)
    text = re.sub(r"^(.+)\n-+$", r"## \1", text, flags=re.MULTILINE)
    text = re.sub(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", fenced, text, flags=re.MULTILINE)
    text = re.sub(r"``([\w/-]+\.md)``", r"[\1](../../../\1)", text)
    text = text.replace("``", "`")
    text = re.sub(r"^([A-Z_]+)$", r"### `\1`\n", text, flags=re.MULTILINE)
    return re.sub(r"^  :(\w+): ", r"- \1: ", text, flags=re.MULTILINE)


def fenced(block: re.Match[str]) -> str:
    lines = "\n".join(line.removeprefix("   ") for line in block[2].strip("\n").split("\n"))
    return f"~~~{block[1]}\n{lines}\n~~~\n\n"


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


def with_wide_columns(text: str) -> str:
    """The text with an attribute at the longest cell of each column of long text."""
    lines, rows, fenced = [], [], False
    for line in [*text.splitlines(), ""]:
        fenced ^= bool(FENCE.match(line))
        if not fenced and line.lstrip().startswith("|"):
            rows.append(BAR.split(line))
            continue
        for column in range(1, len(rows[0]) - 1 if rows else 1):
            longest = max((row for row in rows if column < len(row) - 1), key=lambda row: shown(row[column]))
            if shown(longest[column]) > LONG:
                longest[column] = f"{longest[column].rstrip()} {{: .wide }} "
        lines += ["|".join(row) for row in rows]
        rows = []
        lines.append(line)
    return "\n".join(lines[:-1]) + "\n"


def shown(cell: str) -> int:
    """How many letters of a cell a reader sees."""
    return len(LINK.sub("", cell.strip()))


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
