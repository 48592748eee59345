"""The gallery from the command line, around objects that cost nothing."""

from pathlib import Path

import pytest
import torch

from backend.cli import main
from backend.evaluation.gallery import Marks
from backend.pipeline.request import Request


def test_a_gallery_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def marks_for(request: Request, judge: object, references: object, out: Path) -> Marks:
        if len(made) == 2:
            raise MemoryError
        made.append(request.prompt)
        none = dict.fromkeys(("facing", "colour", "f_score", "f_score_loose"))
        return Marks(request.prompt, True, True, True, **none, psnr=30.0, silhouette_iou=1.0, faces=9, components=1,
                     degenerate=0, watertight=True, seconds=1.0)  # fmt: skip

    monkeypatch.setattr("backend.commands.gallery.marks_for", marks_for)
    monkeypatch.setattr("backend.commands.gallery.read_glb", lambda mesh: (mesh, {}))
    monkeypatch.setattr("backend.commands.gallery.shown", lambda asset: torch.zeros(2, 3, 8, 8))
    options = ["gallery", "--prompts", "3", "--out", str(tmp_path)]
    with pytest.raises(MemoryError):
        main([*options, "--resume"])  # of nothing, too: it may have been stopped before its first object was done
    first, second = made
    made.clear()
    assert main([*options, "--resume"]) == 0
    assert len({first, second, *made}) == 3, "those that are done are not made again"
    assert "| prompts | 3 |" in capsys.readouterr().out
    assert (tmp_path / "gallery.png").is_file()

    (tmp_path / "marks.json").write_text('[{"prompt": "a mug"}]')
    assert main([*options, "--resume"]) == 2
    assert "leave out --resume" in capsys.readouterr().err
