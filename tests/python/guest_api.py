"""Prints the name of every RPC method that Trove's client of the guest API calls or casts, one a line, sorted.

Reads `trove/guestagent/api.py` of the installed package as a syntax tree and imports nothing of it. Called by
`tests/tests/guest_api.rs`.
"""

import ast
import importlib.metadata
import sys
from pathlib import Path


def methods(tree: ast.AST) -> set[str]:
    """The first argument of each `self._call(…)` and `self._cast(…)`."""
    names = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in ("_call", "_cast"):
            continue
        first = node.args[0] if node.args else None
        if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
            sys.exit(f"line {node.lineno}: the method is not a literal text")
        names.add(first.value)
    return names


def main() -> None:
    """Prints the version of the package first."""
    package = importlib.metadata.distribution("trove")
    source = Path(str(package.locate_file("trove/guestagent/api.py"))).read_text(encoding="utf-8")
    print(package.version)
    print("\n".join(sorted(methods(ast.parse(source)))))


main()
