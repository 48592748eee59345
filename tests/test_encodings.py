"""Text files hold UTF-8 on every system: no shipped code leaves that to what the system is used to."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("backend", "shared", "blender_addon")
ENCODINGS = {"utf-8", "utf-8-sig", "ascii"}
OTHERS = {"Image.open", "os.open"}  # of bytes


def left_open(source: str) -> list[int]:
    """Lines of calls that read or write text without saying how."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _is_open(node)]


def _is_open(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {part.value for part in (*call.args, *(word.value for word in call.keywords)) if _is_text(part)}
    if name in {"read_text", "write_text"}:
        return not given & ENCODINGS
    if name not in {"open", "fdopen"} or ast.unparse(call.func) in OTHERS:
        return False
    return not given & ENCODINGS and not any("b" in text for text in given if set(text) <= set("rwxab+t"))


def _is_text(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and isinstance(part.value, str)


def test_every_text_file_is_utf_8() -> None:
    paths = [path for room in SHIPPED for path in sorted((ROOT / room).rglob("*.py"))]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in left_open(path.read_text("utf-8"))]
    assert len(paths) > 100
    assert found == []


@pytest.mark.parametrize(
    ("source", "is_left_open"),
    [
        ("path.read_text()", True),
        ("path.write_text('utf')", True),
        ("path.open('w')", True),
        ("path.open()", True),
        ("open(path)", True),
        ("os.fdopen(handle, 'w')", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text, 'utf-8')", False),
        ("path.open('w', encoding='utf-8')", False),
        ("path.open('a+b')", False),
        ("os.open(path, os.O_RDONLY)", False),
    ],
)
def test_each_is_told_apart(source: str, is_left_open: bool) -> None:
    assert bool(left_open(source)) == is_left_open
