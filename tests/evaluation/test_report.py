"""The report on rows whose truth is known."""

import json
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from backend.engine.names import SCHEDULES
from backend.errors import UserError
from backend.evaluation import presets, report, statistics
from backend.evaluation.prompts import Prompts
from backend.evaluation.report import Found
from backend.evaluation.rows import Row, Rows
from backend.evaluation.runs import Run, Suite, planned_runs
from backend.evaluation.tables import brackets
from backend.pipeline.presets import PRESETS

FACTS = {
    "model": "builtin",
    "revision": "sha256:0123456789abcdef",
    "device": "cpu",
    "precision": "bf16",
    "judge": "sha256:0123",
    "clip": None,
    "objects": None,
    "field": "voxel",
    "view_mode": "always",
    "perp_neg": False,
    "defaults": {"weight": "one", "cfg": 7.5, "final_rate": 0.3},
    "versions": {},
}


OF_SHAPES = {"objects": "1669 objects, sha256:4567"}
PROMPTS = tuple(f"a thing {number}" for number in range(24))
ASKED = Prompts(tuple(f"a preset's thing {number}" for number in range(120)), PROMPTS, PROMPTS[:12], PROMPTS[:20])


def made(
    folder: Path,
    suite: Suite,
    score: Callable[[Run, random.Random], float],
    seconds: float = 1.0,
    spread: float = 0.5,
) -> Found:
    """Rows as if each run had scored so. spread: how far the results of time_prior lie apart; of others it is 0.5."""
    draw = random.Random(0)
    kept = Rows(folder, suite, FACTS if suite == "2d" else FACTS | OF_SHAPES, resume=True)
    for run in planned_runs(suite, ASKED, 12, 2, SCHEDULES, (30, 60)):
        value = min(max(score(run, draw), 0.0), 1.0)
        right = float(value > 0.5)
        measures = {"r_precision": right, "view_precision": value, "few": 1.0, "confidence": value}
        if suite != "2d":
            measures |= {"grey": right, "f_score": value, "janus": 0.0}
        if suite in ("presets", "parts"):
            measures |= {f"mesh_{name}": measures[name] for name in ("r_precision", "few", "grey", "f_score")}
        ours = run.schedule == "time_prior"
        angle = (spread if ours else 0.5) * (run.seed + 0.1 * draw.random())
        kept.append(Row(run, measures, seconds if ours else 1.0, (math.cos(angle), math.sin(angle))))
    return report.read(folder)


def hardness(prompt: str) -> float:
    return random.Random(prompt).uniform(-0.2, 0.2)


def better_by(gain: float) -> Callable[[Run, random.Random], float]:
    """time_prior scores better than all the others by `gain`, at every budget; twice the steps give 0.1."""

    def score(run: Run, draw: random.Random) -> float:
        level = 0.5 + hardness(run.prompt) + 0.1 * (run.steps == 60) + draw.gauss(0, 0.01)
        return level + gain * (run.schedule == "time_prior")

    return score


def verdicts(folder: Path, found: Found) -> dict[tuple[str, str], str]:
    (answers,) = report.write(found, "a machine").values()
    assert (folder / report.MARKDOWN).exists()
    return {(answer.claim, answer.measure): answer.verdict for answer in answers}


def test_a_true_gain_is_found_with_its_size(tmp_path: Path) -> None:
    found = verdicts(tmp_path, made(tmp_path, "3d", better_by(0.15)))
    assert found["At equal budget time_prior is better than uniform", "F-score"] == "reproduced"
    assert found["time_prior in half the steps is as good as uniform", "F-score"] == "reproduced"
    assert found["For comparison, uniform in half the steps is as good as uniform", "F-score"] == "not reproduced"
    assert found["After 60 steps time_prior is better than uniform", "F-score"] == "reproduced"
    kept = json.loads((tmp_path / report.JSON).read_text())["findings"]["Objects"]
    (gain,) = [
        one
        for one in kept
        if "equal budget time_prior is better than uniform" in one["claim"] and one["measure"] == "F-score"
    ]
    assert gain["difference"]["mean"] == pytest.approx(0.15, abs=0.01)
    assert gain["difference"]["low"] > 0.13
    assert gain["difference"]["count"] == 12


def test_no_gain_is_not_made_up(tmp_path: Path) -> None:
    found = verdicts(tmp_path, made(tmp_path, "3d", better_by(0.0)))
    assert found["At equal budget time_prior is better than uniform", "F-score"] == "not reproduced"
    assert found["time_prior in half the steps is as good as uniform", "F-score"] == "not reproduced"


def test_what_costs_more_is_said_to(tmp_path: Path) -> None:
    (answers,) = report.write(made(tmp_path, "2d", better_by(0.0), seconds=1.5), "a machine").values()
    (cost,) = [answer for answer in answers if "longer" in answer.claim]
    assert cost.verdict == "not reproduced"
    assert "+0.500" in cost.sentence


@pytest.mark.parametrize(("spread", "verdict"), [(0.8, "reproduced"), (0.2, "not reproduced"), (0.5, "not reproduced")])
def test_more_diverse_results_are_told_from_less_diverse_ones(tmp_path: Path, spread: float, verdict: str) -> None:
    found = verdicts(tmp_path, made(tmp_path, "2d", lambda run, draw: 0.8 + draw.gauss(0, 0.01), spread=spread))
    claim = "Correct results of time_prior differ more from seed to seed than those of uniform"
    assert found[claim, "how the judge sees them"] == verdict


def test_runs_that_ended_early_are_named_and_are_not_fast(tmp_path: Path) -> None:
    found = made(tmp_path, "2d", better_by(0.0))
    kept = Rows(tmp_path, "2d", FACTS, resume=True)
    for row in found.rows["2d"]:
        if row.run.schedule == "time_prior" and row.run.seed == 1:
            kept.append(replace(row, seconds=0.01, failure="the gradient is not finite at step 3"))
    (answers,) = report.write(report.read(tmp_path), "a machine").values()
    (cost,) = [answer for answer in answers if "longer" in answer.claim]
    assert cost.difference is not None
    assert cost.difference.mean == pytest.approx(0.0)
    assert "Ended early: 24 of default, time_prior." in (tmp_path / report.MARKDOWN).read_text()


def test_the_whole_report(tmp_path: Path) -> None:
    for suite in ("2d", "3d", "rules", "parts", "ablations"):
        made(tmp_path, suite, better_by(0.1))
    made(tmp_path, "starts", lambda run, draw: {"picture": 0.9}.get(run.variant, 0.3))
    found = made(tmp_path, "presets", lambda run, draw: 0.2 + 0.0005 * run.steps)
    assert set(report.write(found, "a machine")) == {"Images", "Objects", "Rules"}
    text = (tmp_path / report.MARKDOWN).read_text()
    heads = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    parts = [
        "Images",
        "Objects",
        "Rules",
        "Parts",
        "Changes to the defaults",
        "The presets",
        "What an object begins from",
        "How to read this",
    ]
    assert heads == ["The paper's claims", *parts]
    for name in {part.split(")")[0] for part in text.split("](")[1:]}:
        assert (tmp_path / name).stat().st_size > 1000, name
    assert "| standard | common 40 |" in text
    assert "| standard | all 120 |" in text
    gain = "+0.250 (+0.250 to +0.250)"  # of 800 over 300 steps, in R-precision and F-score
    assert re.search(rf"\| high minus standard \| common .*\| {re.escape(gain)} \|", text)
    assert text.count("| m1=700 minus default |") == 1, "once for each number of steps"
    assert "| picture | common 10 | 1.000 (1.000 to 1.000) |" in text
    assert "| picture | all 20 | 1.000 (1.000 to 1.000) |" in text
    assert "| sketch | all 10 | 0.000 (0.000 to 0.000) |" in text
    assert text.count("F-scores are against 1669 objects.") == 5, "in all but images and starts"
    assert "gradient weight one, cfg 7.5, learning rate falling to 0.3" in text
    kept = json.loads((tmp_path / report.JSON).read_text())
    assert {row["steps"] for row in kept["means"]["3d"]} == {30, 60}


def test_gains_are_told_apart_by_budget(tmp_path: Path) -> None:
    kept = Rows(tmp_path, "3d", FACTS, resume=False)
    for prompt in PROMPTS:
        for steps in (30, 60):
            for schedule, score in (("uniform", 0.4), ("time_prior", 0.4 + steps / 300)):
                kept.append(Row(Run("3d", "default", schedule, steps, prompt, 0), {"f_score": score}, 1.0))
    report.write(report.read(tmp_path), "a machine")
    text = (tmp_path / report.MARKDOWN).read_text()
    assert "| after 30 steps | 24 | +0.100 (+0.100 to +0.100) |" in text
    assert "| after 60 steps | 24 | +0.200 (+0.200 to +0.200) |" in text


def test_a_mean_is_over_what_can_be_measured_so(tmp_path: Path) -> None:
    kept = Rows(tmp_path, "presets", FACTS, resume=False)
    for prompt, colour in (("a mug", None), ("a red fox", 8.0), ("a blue owl", 12.0)):
        for preset in PRESETS:
            measures = {"mesh_few": 1.0} | ({} if colour is None else {"mesh_colour": colour})
            kept.append(Row(Run("presets", preset, "time_prior", 60, prompt, 0), measures, 1.0))
    text = presets.section(list(kept.read().values()), "So made.")
    (standard,) = re.findall(r"\| standard \| common 3 \|.*", text)
    assert brackets(statistics.interval([8.0, 12.0])) in standard
    assert "1.000 (1.000 to 1.000)" in standard
    (gain,) = re.findall(r"\| high minus standard \| common 3 \|.*", text)
    assert gain.count("+0.000 (+0.000 to +0.000)") == 2


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no rows"):
        report.read(tmp_path)


def test_rows_of_an_older_version_are_named(tmp_path: Path) -> None:
    old = {name: value for name, value in FACTS.items() if name != "objects"}
    kept = Rows(tmp_path, "3d", old, resume=False)
    kept.append(Row(Run("3d", "default", "time_prior", 30, PROMPTS[0], 0), {"r_precision": 1.0}, 1.0))
    with pytest.raises(UserError, match="are of an older version"):
        report.read(tmp_path)


def test_few_rows_are_undecided_and_no_error(tmp_path: Path) -> None:
    kept = Rows(tmp_path, "3d", FACTS, resume=False)
    kept.append(Row(Run("3d", "default", "time_prior", 30, PROMPTS[0], 0), {"r_precision": 1.0, "f_score": 0.5}, 1.0))
    (answers,) = report.write(report.read(tmp_path), "a machine").values()
    assert {answer.verdict for answer in answers} == {"undecided"}
    assert "too few" in answers[0].sentence


def test_where_no_claim_was_tried_none_is_answered(tmp_path: Path) -> None:
    kept = Rows(tmp_path, "ablations", FACTS, resume=False)
    for variant, score in (("default", 0.4), ("cfg=15", 0.5)):
        for prompt in PROMPTS[:2]:
            kept.append(Row(Run("ablations", variant, "time_prior", 60, prompt, 0), {"f_score": score}, 1.0))
    assert report.write(report.read(tmp_path), "a machine") == {}
    text = (tmp_path / "report.md").read_text()
    assert "## The paper's claims" not in text
    assert "| cfg=15 minus default | 2 | +0.100 (+0.100 to +0.100) |" in text


def test_rules_are_compared_with_the_default_and_with_themselves_by_other_timesteps(tmp_path: Path) -> None:
    scores = {("default", "time_prior"): 0.5, ("csd", "time_prior"): 0.6, ("vsd", "time_prior"): 0.5}
    found = made(tmp_path, "rules", lambda run, draw: scores.get((run.variant, run.schedule), 0.3))
    answers = {one.measure: one for one in report.write(found, "a machine")["Rules"]}
    assert {one.claim for one in answers.values()} == {"VSD by time_prior (TP-VSD) is better than by uniform timesteps"}
    prior = answers["F-score"]
    assert prior.verdict == "reproduced"
    assert prior.difference is not None
    assert prior.difference.mean == pytest.approx(0.2)
    assert prior.difference.count == 12
    text = (tmp_path / report.MARKDOWN).read_text()
    assert "- csd minus default: better in R-precision, better in the judge's confidence" in text
    assert "- asd minus default: worse in" in text
    assert "- vsd minus default: undecided in all; +0% seconds (+0% to +0%)." in text, "none of them differs"
    assert "| csd minus default | 48 | +1.000 (+1.000 to +1.000)" in text
    assert "vsd by uniform minus" not in text


def test_parts_are_judged_by_meshes(tmp_path: Path) -> None:
    kept = Rows(tmp_path, "parts", FACTS, resume=False)
    for variant, field, mesh in (("default", 0.2, 0.5), ("painted", 0.2, 0.7)):
        for prompt in PROMPTS[:8]:
            measures = {"confidence": field, "mesh_confidence": mesh}
            kept.append(Row(Run("parts", variant, "time_prior", 120, prompt, 0), measures, 1.0))
    assert report.write(report.read(tmp_path), "a machine") == {}
    text = (tmp_path / report.MARKDOWN).read_text()
    assert "- painted minus default: better in the judge's confidence; +0% seconds" in text
    assert "| painted | 8 | 0.700 (0.700 to 0.700) |" in text
    assert "| painted minus default | 8 | +0.200 (+0.200 to +0.200) |" in text


def test_what_a_variant_lacks_is_left_out_and_shifts_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def noted(axes: Axes, means: list[float], places: list[int], **_: object) -> None:
        drawn.append((axes, places))

    kept = Rows(tmp_path, "ablations", FACTS, resume=False)
    for variant, score in (("default", 0.4), ("cfg=15", 0.5), ("hashgrid", 0.6)):
        for prompt in PROMPTS[:2]:
            measures = {"r_precision": score} | ({} if variant == "cfg=15" else {"f_score": score})
            kept.append(Row(Run("ablations", variant, "time_prior", 60, prompt, 0), measures, 1.0))
    monkeypatch.setattr(Axes, "errorbar", noted)
    report.write(report.read(tmp_path), "a machine")
    assert {axes.get_title(): places for axes, places in drawn} == {"R-precision": [0, 1], "F-score": [1]}
    assert "| cfg=15 minus default | 2 | +0.100 (+0.100 to +0.100) |  |" in (tmp_path / report.MARKDOWN).read_text()
