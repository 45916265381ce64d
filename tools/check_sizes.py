"""Fail when a file is longer than 350 lines or a function longer than 40."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 350
FUNCTION_LINES = 40
ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("celerytop", "tests", "tools", "benchmarks")


def too_long(path: Path) -> Iterator[str]:
    """One sentence for each budget that ``path`` breaks."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{name}: {lines} lines, at most {FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"


def main() -> int:
    """Print every break; exit status 1 if there is one."""
    files = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    broken = [sentence for path in files for sentence in too_long(path)]
    print("\n".join(broken) if broken else "sizes: well within budget")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
