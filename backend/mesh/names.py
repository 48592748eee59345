"""Names of what the mesh stage can be told. Imports next to nothing: the server checks requests by them."""

from typing import Literal, get_args

ShadingName = Literal["auto", "smooth", "flat"]
SHADINGS: tuple[ShadingName, ...] = get_args(ShadingName)
