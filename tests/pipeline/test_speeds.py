"""What steps took is kept from job to job, by device, model and preset."""

from pathlib import Path

import pytest

from backend.home import VARIABLE
from backend.pipeline import speeds
from backend.pipeline.request import Request


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home" / speeds.FILE


def test_the_last_of_each_is_kept(kept: Path) -> None:
    assert speeds.known("a card") == {}
    speeds.remember("a card", "builtin", "draft", 0.5)
    speeds.remember("a card", "owner/name", "draft", 3.0)
    speeds.remember("another", "builtin", "draft", 9.0)
    speeds.remember("a card", "builtin", "draft", 0.25)
    assert speeds.known("a card") == {("builtin", "draft"): 0.25, ("owner/name", "draft"): 3.0}
    assert speeds.known("another") == {("builtin", "draft"): 9.0}
    assert kept.is_file()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "[" * 100_000, '{"a card": 1}', '{"a card": {"m": 1}}', '{"a card": {"m": {"draft": "soon"}}}']
    + [f'{{"a card": {{"m": {{"draft": {value}}}}}}}' for value in ("-1", "0", "NaN", "Infinity", "null")],
)
def test_a_spoilt_file_counts_as_none_and_is_written_anew(kept: Path, content: str) -> None:
    kept.parent.mkdir()
    kept.write_text(content)
    assert speeds.known("a card") == {}
    speeds.remember("a card", "builtin", "draft", 0.5)
    assert speeds.known("a card") == {("builtin", "draft"): 0.5}


def test_a_job_does_not_fail_because_its_speed_cannot_be_kept(kept: Path) -> None:
    kept.parent.write_text("no folder")
    speeds.remember("a card", "builtin", "draft", 0.5)
    assert speeds.known("a card") == {}


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    speeds.remember("a card", "builtin", "draft", 0.5)
    assert speeds.known("a card") == {}


def test_only_what_leaves_the_preset_its_cost_is_usual() -> None:
    assert speeds.usual(Request("a mug", steps=7, seed=3, cfg=2.0, faces=100))
    others = (
        Request("a mug", field="sdf"),
        Request("a mug", rule="vsd"),
        Request("a mug", latent_field=True),
        Request("a mug", start=Path("mug.glb")),
        Request("a mug", paint=True),
    )
    assert not any(map(speeds.usual, others))
