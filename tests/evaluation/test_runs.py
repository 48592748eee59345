"""What is compared."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from backend.engine.names import SCHEDULES
from backend.evaluation.prompts import Prompts
from backend.evaluation.runs import ABLATIONS, DEFAULT, PARTS, RULED, Run, meshed, picture_of, planned_runs
from backend.evaluation.suites import job_of

ASKED = Prompts(
    *(
        tuple(f"{kind} {number}" for number in range(count))
        for kind, count in zip("pcts", (120, 24, 12, 20), strict=True)
    )
)


def test_every_pair_is_complete() -> None:
    runs = planned_runs("3d", ASKED, 4, 2, SCHEDULES, (30, 60))
    assert len(set(runs)) == len(runs) == 4 * 2 * len(SCHEDULES) * 2
    pairs = Counter((run.prompt, run.seed, run.steps) for run in runs)
    assert set(pairs.values()) == {len(SCHEDULES)}
    assert len({picture_of(run, Path("out")) for run in runs}) == len(runs)


def test_presets_are_compared_on_the_same_prompts_and_standard_is_tried_on_all() -> None:
    runs = planned_runs("presets", ASKED, 1, 1, (), ())
    made = Counter(run.variant for run in runs)
    assert made == {"draft": 40, "standard": 120, "high": 40}
    assert {run.prompt for run in runs if run.variant == "standard"} == set(ASKED.presets)
    assert meshed(runs) == set(runs)


def test_half_of_the_starts_are_begun_in_every_way() -> None:
    runs = planned_runs("starts", ASKED, 1, 1, (), ())
    assert Counter(run.variant for run in runs) == {
        "nothing": 20,
        "paint": 20,
        "blockout": 10,
        "picture": 20,
        "sketch": 10,
    }
    assert {run.prompt for run in runs} == set(ASKED.starts)
    assert len(set(runs)) == len(runs) == len({picture_of(run, Path("out")) for run in runs})


def test_sixty_of_the_fields_become_meshes() -> None:
    runs = planned_runs("3d", ASKED, 20, 3, SCHEDULES, (30, 60, 120))
    drawn = meshed(runs)
    assert len(drawn) == 60
    assert drawn == meshed(runs)
    assert len({run.schedule for run in drawn}) == len(SCHEDULES)
    assert meshed(planned_runs("2d", ASKED, 2, 1, SCHEDULES, (30,))) == set()


@pytest.mark.parametrize("variant", ABLATIONS)
def test_an_ablation_changes_one_thing(variant: str) -> None:
    def settings(name: str) -> dict[str, object]:
        job = job_of(Run("ablations", name, "time_prior", 60, "a red mug", 0), "builtin", "cpu")
        return asdict(job.optimisation) | {"field": job.field}

    default, changed = settings(DEFAULT), settings(variant)
    differing = {name for name in default if default[name] != changed[name]}
    # Fields have learning rates of their own, and distances have to be some.
    of_fields = {"hashgrid": {"field", "learning_rate"}, "sdf": {"field", "regularisation"}}
    assert differing == of_fields[variant] if variant in of_fields else len(differing) == 1


def test_rules_are_tried_on_all_compared_prompts_and_vsd_on_half_by_two_schedules() -> None:
    runs = planned_runs("rules", ASKED, 1, 1, (), ())
    tried = Counter((run.variant, run.schedule) for run in runs)
    of_all = dict.fromkeys(((rule, "time_prior") for rule in (DEFAULT, "csd", "asd", "sdi", "x0")), 48)
    assert tried == of_all | {("vsd", "time_prior"): 24, ("vsd", "uniform"): 24}
    assert len({picture_of(run, Path("out")) for run in runs}) == len(set(runs)) == len(runs)


@pytest.mark.parametrize("rule", RULED)
def test_a_rule_changes_nothing_else(rule: str) -> None:
    default, ruled = (
        job_of(Run("rules", name, "time_prior", 60, "a red mug", 0), "builtin", "cpu").optimisation
        for name in (DEFAULT, rule)
    )
    assert ruled == replace(default, rule=rule)


def test_parts_are_compared_as_meshes_on_half_of_the_prompts() -> None:
    runs = planned_runs("parts", ASKED, 1, 1, (), ())
    assert Counter(run.variant for run in runs) == dict.fromkeys((DEFAULT, *PARTS), 24)
    assert {run.prompt for run in runs} == set(ASKED.compared[:12])
    assert meshed(runs) == set(runs)
    painted = job_of(Run("parts", "painted", "time_prior", 60, "a red mug", 0), "builtin", "cpu")
    assert painted.painting is not None
    assert painted.painting.steps == painted.optimisation.steps


def test_ablations_leave_the_schedule_to_time_prior_and_compared_prompts_alone() -> None:
    runs = planned_runs("ablations", ASKED, 1, 1, SCHEDULES, (5,))
    assert {(run.schedule, run.steps) for run in runs} == {("time_prior", 120)}
    assert Counter(run.variant for run in runs) == dict.fromkeys((DEFAULT, *ABLATIONS), len(ASKED.tuning))
    assert {run.prompt for run in runs} == set(ASKED.tuning)


def test_pictures_of_all_runs_have_names_of_their_own_that_are_files() -> None:
    prompts = ("a b", "a_b", "A b", "/etc/passwd", "../up", "ein " + "langes " * 60 + "Wort", "красная " * 30, 'a:"*?')
    runs = [Run("3d", DEFAULT, "uniform", 30, prompt, 0) for prompt in prompts]
    paths = [picture_of(run, Path("out")) for run in runs]
    assert len({str(path).lower() for path in paths}) == len(prompts)
    assert {path.parent for path in paths} == {Path("out/3d")}
    assert max(len(path.name.encode()) for path in paths) < 255
