"""What views, schedules, rules and fields are called. Nothing here imports torch: the server offers them too."""

from typing import Literal, get_args

View = Literal["front", "side", "back", "above"]
VIEWS: tuple[View, ...] = get_args(View)

ScheduleName = Literal["time_prior", "time_prior_ddpm", "linear", "sqrt", "uniform", "window"]
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)

RuleName = Literal["sds", "csd", "asd", "sdi", "bridge", "x0", "vsd"]
RULES: tuple[RuleName, ...] = get_args(RuleName)

FieldName = Literal["voxel", "hashgrid", "sdf"]
FIELDS: tuple[FieldName, ...] = get_args(FieldName)
