from pathlib import Path

from click.testing import CliRunner

from backend.prior import evaluate
from backend.prior.evaluate import Scores

SCORES = Scores(*(0.9 + 0.008 * i for i in range(12)))


def test_the_table_has_a_row_for_every_score() -> None:
    lines = evaluate.table(SCORES).splitlines()
    assert len(lines) == 2 + 12
    assert lines[2].endswith("| 90.0 % |")


def test_the_card_is_rewritten_between_its_marks_only(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("before\n<!-- scores -->\noutdated\n<!-- /scores -->\nafter\n")
    evaluate.write_card(tmp_path, SCORES)
    evaluate.write_card(tmp_path, SCORES)
    text = card.read_text()
    assert text.startswith("before\n<!-- scores -->\n| measured")
    assert text.endswith("<!-- /scores -->\nafter\n")
    assert "outdated" not in text


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(evaluate.main, ["--model", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no model" in result.output
