"""Rows survive what happens in hours of runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.evaluation import rows
from backend.evaluation.rows import Row, Rows
from backend.evaluation.runs import Run

RUN = Run("3d", "default", "time_prior", 30, "a red mug", 0)
ROW = Row(RUN, {"f_score": 0.25, "r_precision": 1.0}, 1.5, (0.25, -0.5), "cells", "")
FACTS = {"model": "builtin", "defaults": {"cfg": 7.5, "range": [1, 2]}, "versions": {"torch": "1"}}


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    made = Rows(tmp_path / "new", "3d", FACTS, resume=False)
    assert made.read() == {}
    other = replace(ROW, run=replace(RUN, seed=1), failure="the loss is not finite")
    made.append(ROW)
    made.append(other)
    assert made.read() == {RUN: ROW, other.run: other}
    assert rows.read_facts(tmp_path / "new" / "rows-3d.jsonl")["model"] == "builtin"


def test_rows_that_are_there_are_not_mixed_with_new_ones_by_accident(tmp_path: Path) -> None:
    Rows(tmp_path, "3d", FACTS, resume=False).append(ROW)
    with pytest.raises(UserError, match="--resume"):
        Rows(tmp_path, "3d", FACTS, resume=False)
    assert Rows(tmp_path, "3d", FACTS, resume=True).read() == {RUN: ROW}
    assert Rows(tmp_path, "2d", FACTS, resume=False).read() == {}


def test_rows_of_other_facts_are_refused_but_for_versions(tmp_path: Path) -> None:
    Rows(tmp_path, "3d", FACTS, resume=False).append(ROW)
    with pytest.raises(UserError, match=r"\(defaults differ\)"):
        Rows(tmp_path, "3d", {**FACTS, "defaults": {"cfg": 4.0}}, resume=True)
    Rows(tmp_path, "3d", {**FACTS, "versions": {"torch": "2"}}, resume=True)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_row_that_was_cut_off_costs_only_itself(tmp_path: Path, cut: int) -> None:
    made = Rows(tmp_path, "3d", FACTS, resume=False)
    second, third = (replace(ROW, run=replace(RUN, seed=seed)) for seed in (1, 2))
    made.append(ROW)
    made.append(second)
    path = tmp_path / "rows-3d.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = Rows(tmp_path, "3d", FACTS, resume=True)
    whole = {RUN: ROW, second.run: second} if cut == 1 else {RUN: ROW}
    assert again.read() == whole
    again.append(third)
    assert again.read() == whole | {third.run: third}


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows-3d.jsonl").write_text("hello\n")
    with pytest.raises(UserError, match="holds no rows"):
        Rows(tmp_path, "3d", FACTS, resume=True)


@pytest.mark.parametrize("left", [b"", b'{"facts":{"mod'])
def test_a_file_without_a_first_line_is_begun_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "rows-3d.jsonl").write_bytes(left)
    made = Rows(tmp_path, "3d", FACTS, resume=False)
    made.append(ROW)
    assert made.read() == {RUN: ROW}
    assert rows.read_facts(tmp_path / "rows-3d.jsonl")["model"] == "builtin"


def test_a_whole_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    made = Rows(tmp_path, "3d", FACTS, resume=False)
    made.append(ROW)
    path = tmp_path / "rows-3d.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"seconds"', b'"hours"'))
    with pytest.raises(UserError, match=r"line 2 of .* is no row of this version"):
        made.read()
