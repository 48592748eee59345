"""The table of marks."""

from backend.evaluation.gallery import Marks, table


def test_the_table_counts() -> None:
    clean = {"faces": 10, "components": 1, "degenerate": 0, "watertight": True}
    common = {"f_score": 0.5, "f_score_loose": 0.7, "seconds": 2.0, **clean}
    good = Marks("a", True, True, True, psnr=30.0, silhouette_iou=0.99, **common)
    poor = Marks("b", False, True, False, psnr=20.0, silhouette_iou=0.9, **common)
    printed = table([good, poor])
    assert "(R-precision) | 50 % |" in printed
    assert "| right object | 100 % |" in printed
    assert "25.0 (lowest 20.0)" in printed
