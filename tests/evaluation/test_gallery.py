"""The table of marks."""

from backend.evaluation.gallery import Marks, table

CLEAN = {"faces": 10, "components": 1, "degenerate": 0, "watertight": True, "seconds": 2.0}


def marks(first: bool, psnr: float, **told: float | bool | None) -> Marks:
    optional = dict.fromkeys(("facing", "colour", "f_score", "f_score_loose"))
    return Marks("a", first, True, first, **{**optional, **told}, psnr=psnr, silhouette_iou=0.9, **CLEAN)


def test_the_table_counts() -> None:
    printed = table([marks(True, 30.0), marks(False, 20.0)])
    assert "(R-precision) | 50 % |" in printed
    assert "| right object among the first 5 | 100 % |" in printed
    assert "25.0 (lowest 20.0)" in printed


def test_means_are_over_what_has_the_measure() -> None:
    told = {"facing": True, "colour": 8.0, "f_score": 0.5, "f_score_loose": 0.75}
    printed = table([marks(True, 30.0), marks(True, 30.0, **told), marks(True, 30.0, **told | {"colour": 12.0})])
    assert "facing right, of objects with a front | 100 % |" in printed
    assert "| CIEDE2000 from the colour asked for | 10.0 (highest 12.0) |" in printed
    assert "0.05 m | 0.50 (lowest 0.50) |" in printed
    assert "| CIEDE2000 from the colour asked for | - |" in table([marks(True, 30.0)])
