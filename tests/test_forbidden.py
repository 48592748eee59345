"""What shipped code must not hold, since each of it can run what a stranger sent."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("backend", "shared", "blender_addon", "build_addon.py")

MODULES = frozenset({"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve"})
BUILTINS = frozenset({"eval", "exec"})
METHODS = frozenset({"recv_pyobj", "send_pyobj"})
QUALIFIED = frozenset({("torch", "load"), ("yaml", "load")})
TRUSTING = "trust_remote_code"


def shipped() -> list[Path]:
    found = []
    for name in SHIPPED:
        path = ROOT / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.exists()
    return found


def forbidden(source: str) -> Iterator[str]:
    """What is in a module that must not be, as "line: name"."""
    for node in ast.walk(ast.parse(source)):
        for name in _names(node):
            yield f"{getattr(node, 'lineno', 0)}: {name}"


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom):
        base = (node.module or "").split(".")[0]
        for alias in node.names:
            if base in MODULES or (base, alias.name) in QUALIFIED or alias.name in MODULES:
                yield f"{node.module}.{alias.name}"
    elif isinstance(node, ast.Name) and node.id in BUILTINS:
        yield node.id
    elif isinstance(node, ast.Attribute):
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if node.attr in METHODS or (base, node.attr) in QUALIFIED or (base == "builtins" and node.attr in BUILTINS):
            yield f"{base}.{node.attr}"
    elif isinstance(node, ast.keyword) and node.arg == TRUSTING:
        if not (isinstance(node.value, ast.Constant) and node.value.value is False):
            yield TRUSTING
    elif isinstance(node, ast.Constant) and node.value in METHODS | {TRUSTING}:  # by getattr, or in a dictionary
        yield str(node.value)


def test_shipped_code_holds_nothing_that_runs_what_a_stranger_sent() -> None:
    files = shipped()
    assert {path.relative_to(ROOT).parts[0] for path in files} >= {"backend", "shared", "blender_addon"}
    found = [f"{path.relative_to(ROOT)}:{what}" for path in files for what in forbidden(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "import os, marshal",
        "def f():\n    import shelve",
        "from dill import loads",
        "from six.moves import cPickle",
        "import cloudpickle.compat",
        "socket.recv_pyobj()",
        "self.socket.send_pyobj(1)",
        "getattr(socket, 'recv_pyobj')()",
        "torch.load(path)",
        "load = torch.load",
        "from torch import load",
        "eval('1')",
        "run = exec",
        "import builtins\nbuiltins.eval('1')",
        "yaml.load(text)",
        "from yaml import load as read",
        "Model.from_pretrained(name, trust_remote_code=True)",
        "Model.from_pretrained(name, trust_remote_code=chosen)",
        "Model.from_pretrained(name, **{'trust_remote_code': True})",
    ],
)
def test_each_is_found(source: str) -> None:
    assert len(list(forbidden(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "cursor.execute('select 1')",
        "json.load(file)",
        "yaml.safe_load(text)",
        "from safetensors.torch import load_file",
        "Model.from_pretrained(name, trust_remote_code=False)",
        "'a pickle is refused'",
        "from backend.prior import model\nmodel.load(folder)",
    ],
)
def test_what_is_harmless_is_let_be(source: str) -> None:
    assert list(forbidden(source)) == []
