"""Which triangles lie beside which.

Letters: F triangles.
"""

import numpy as np
from jaxtyping import Int32, Int64


def opposite(triangles: Int32[np.ndarray, "F 3"]) -> Int64[np.ndarray, "F 3"]:
    """For each side of each face the number of the same side as the face beyond has it, or -1 where there is none.

    Side c of face f, from its corner c on, is number 3 f + c. Of more than two faces at an edge some are left out.
    """
    sides = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    order = np.lexsort(sides.T)
    same = np.flatnonzero((sides[order[1:]] == sides[order[:-1]]).all(axis=1))
    beyond = np.full(len(sides), -1)
    beyond[order[same]], beyond[order[same + 1]] = order[same + 1], order[same]
    return beyond.reshape(-1, 3)
