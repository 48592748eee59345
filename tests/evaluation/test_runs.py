"""What is compared."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from backend.engine.names import SCHEDULES
from backend.evaluation.runs import (
    ABLATIONS,
    DEFAULT,
    PROMPTS,
    Run,
    meshed,
    patterned_captions,
    picture_of,
    planned_runs,
)
from backend.evaluation.suites import job_of
from backend.prior.captions import every_caption, example_prompts
from backend.prior.vocabulary import Vocabulary


def test_the_prompts_are_known_and_many_of_them_are_hard() -> None:
    assert len(set(PROMPTS)) == len(PROMPTS) == 24
    found = [Vocabulary().knows(prompt) for prompt in PROMPTS]
    assert not [known.unknown for known in found if known.unknown]
    assert sum(known.subject.pattern is not None for known in found) >= 8


def test_every_pair_is_complete() -> None:
    runs = planned_runs("3d", 4, 2, SCHEDULES, (30, 60))
    assert len(set(runs)) == len(runs) == 4 * 2 * len(SCHEDULES) * 2
    pairs = Counter((run.prompt, run.seed, run.steps) for run in runs)
    assert set(pairs.values()) == {len(SCHEDULES)}
    assert len({picture_of(run, Path("out")) for run in runs}) == len(runs)


def test_captions_cover_everything_and_mix_it() -> None:
    captions = every_caption()
    assert len(set(captions)) == len(captions) == 22 * 12
    assert captions[:22] == example_prompts()
    colours = Counter(Vocabulary().knows(caption).subject.colour for caption in captions[:44])
    assert max(colours.values()) <= 4


def test_patterned_captions_are_of_many_kinds_and_name_a_pattern_each() -> None:
    captions = patterned_captions()
    assert len(set(captions)) == len(captions) == 60
    found = [Vocabulary().knows(caption).subject for caption in captions]
    assert all(subject.pattern and subject.colour for subject in found)
    assert set(Counter((subject.shape, subject.pattern) for subject in found).values()) == {2}
    assert len({subject.colour for subject in found}) == 12


def test_presets_are_compared_on_the_same_captions_and_standard_is_tried_on_all() -> None:
    runs = planned_runs("presets", 1, 1, (), ())
    made = Counter(run.variant for run in runs)
    assert made == {"draft": 44, "standard": 264 + 60, "high": 44}
    assert meshed(runs) == set(runs)


def test_sixty_of_the_fields_become_meshes() -> None:
    runs = planned_runs("3d", 20, 3, SCHEDULES, (30, 60, 120))
    drawn = meshed(runs)
    assert len(drawn) == 60
    assert drawn == meshed(runs)
    assert len({run.schedule for run in drawn}) == len(SCHEDULES)
    assert meshed(planned_runs("2d", 2, 1, SCHEDULES, (30,))) == set()


@pytest.mark.parametrize("variant", ABLATIONS)
def test_an_ablation_changes_one_thing(variant: str) -> None:
    def settings(name: str) -> dict[str, object]:
        job = job_of(Run("ablations", name, "time_prior", 60, "a red mug", 0), "builtin", "cpu")
        return asdict(job.optimisation) | {"field": job.field}

    default, changed = settings(DEFAULT), settings(variant)
    differing = {name for name in default if default[name] != changed[name]}
    # Fields have learning rates of their own.
    assert differing == {"field", "learning_rate"} if variant == "hashgrid" else len(differing) == 1


def test_ablations_leave_the_schedule_to_time_prior() -> None:
    runs = planned_runs("ablations", 1, 1, SCHEDULES, (5,))
    assert {(run.schedule, run.steps) for run in runs} == {("time_prior", 60), ("time_prior", 180)}
    assert Counter(run.variant for run in runs) == dict.fromkeys((DEFAULT, *ABLATIONS), 48)
