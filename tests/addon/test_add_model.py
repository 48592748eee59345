"""A model from the hub, and one from a file, by the panel's own buttons: both are those of the guidance's tests."""

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "in_blender"


def _guidance(name: str) -> ModuleType:
    """A module of tests/guidance."""
    spec = importlib.util.spec_from_file_location(f"guidance_{name}", ROOT / "tests" / "guidance" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """The address of a hub that offers a tiny Stable Diffusion."""
    _guidance("conftest").stable_diffusion("epsilon").save_pretrained(tmp_path / "offered")
    with _guidance("test_hub_over_http").Hub(tmp_path / "offered") as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{hub.server_port}"
        hub.shutdown()


def test_a_model_is_added_and_used(
    blender: Path, run_blender: Callable[..., str], endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    files = _guidance("models_in_one_file")
    path = tmp_path / "models" / "dreamshaper_8.safetensors"
    files.save(path, files.checkpoint("sd1", files.made("sd1")))
    said = run_blender(blender, HERE / "add_model.py", sys.executable, ROOT, path, environment=own)
    assert "added and used" in said
