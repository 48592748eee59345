"""Files that the backend has for its clients."""

from dataclasses import dataclass

from .limits import ASSET_BYTES
from .records import Record, between, checked, matching

SHA256 = matching(r"[0-9a-f]{64}")
_FILE_NAME = matching(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Asset(Record):
    """A file, of a result for example. sha256: of its bytes, and what it is fetched by."""

    name: str = checked(_FILE_NAME)
    sha256: str = checked(SHA256)
    size: int = checked(between(0, ASSET_BYTES))
