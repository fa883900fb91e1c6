"""The documentation that the installed CPython carries: its topics and its docstrings.

Sources are parsed and never imported, so nothing runs and no module is missing on any platform.
"""

import ast
import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Tests are no documentation; the others are left out by some distributions, or are not CPython's.
SKIPPED = {
    "test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3", "idlelib",
    "turtledemo", "pydoc_data", "__pycache__",
}  # fmt: skip
LICENCE = "PSF-2.0"

Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def pydocs(split: str) -> list[str]:
    """One document a module and a topic; which split it is in depends on its name alone."""
    library = Path(sysconfig.get_path("stdlib"))
    named = [(f"topic {name}", text) for name, text in _topics(library).items()]
    documents = [text for name, text in named if _split_of(name) == split]
    modules = (path for path in _modules(library) if _split_of(_dotted(path, library)) == split)
    documents += [_module_document(path, name=_dotted(path, library)) for path in modules]
    documents = [document for document in documents if document]
    if not documents:
        raise ValueError(f"{library} holds no sources; use a CPython that has its standard library")
    return documents


def _split_of(name: str) -> str:
    """90, 5 and 5 % of the names."""
    percent = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100
    return "train" if percent < 90 else "validation" if percent < 95 else "test"


def _topics(library: Path) -> dict[str, str]:
    path = library / "pydoc_data" / "topics.py"
    if not path.exists():
        return {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign):
            return ast.literal_eval(node.value)
    raise ValueError(f"{path} holds no table of topics; is this CPython complete?")


def _modules(folder: Path) -> Iterator[Path]:
    """All modules below, by name, so that the order is the same on every machine."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in SKIPPED:
            yield from _modules(path)
        elif path.suffix == ".py":
            yield path


def _dotted(path: Path, library: Path) -> str:
    return ".".join(path.relative_to(library).with_suffix("").parts)


def _module_document(path: Path, *, name: str) -> str:
    """The module's docstring, then each class and function with its signature and docstring."""
    tree = ast.parse(path.read_bytes())
    entries = list(_entries(tree, prefix=name))
    docstring = ast.get_docstring(tree)
    if docstring:
        entries.insert(0, f"{name}\n\n{docstring}")
    return "\n\n\n".join(entries)


def _entries(tree: ast.Module | Documented, *, prefix: str) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, Documented):
            name = f"{prefix}.{node.name}"
            if docstring := ast.get_docstring(node):
                yield f"{_heading(node, name=name)}\n\n{docstring}"
            yield from _entries(node, prefix=name)


def _heading(node: Documented, *, name: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        return f"class {name}({bases})" if bases else f"class {name}"
    return f"{name}({ast.unparse(node.args)})"
