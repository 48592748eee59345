"""Files on their way: in pieces, whole or not at all, and nowhere but in the task's folder."""

from pathlib import Path

import pytest

from backend.service.cluster import parcels
from backend.service.cluster.parcels import Arrival, Entry


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def send(source: Path, target: Path) -> None:
    """All that is in `source`, as it is there now."""
    arrival = Arrival(target)
    for entry in parcels.listed(source).values():
        for offset in range(0, max(entry.size, 1), parcels.PIECE_BYTES):
            data = parcels.piece(source, entry, offset)
            assert data is not None
            assert len(data) <= parcels.PIECE_BYTES
            arrival.add(entry.path, offset, data)
    arrival.settle()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("size", [0, 1, parcels.PIECE_BYTES - 1, parcels.PIECE_BYTES, parcels.PIECE_BYTES + 1])
def test_a_file_arrives_as_it_was(size: int, tmp_path: Path) -> None:
    write(tmp_path / "a" / "out" / "mesh.glb", bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    send(tmp_path / "a", tmp_path / "b")
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_what_is_being_written_stays_where_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a" / "checkpoint.json.partial", b"{")
    write(tmp_path / "a" / "step-000000020.partial" / "facts.json", b"{}")
    write(tmp_path / "a" / "step-000000010" / "facts.json", b"{}")
    send(tmp_path / "a", tmp_path / "b")
    assert contents(tmp_path / "b") == {"step-000000010/facts.json": b"{}"}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert parcels.listed(tmp_path / "nowhere") == {}


def test_nothing_is_in_its_place_before_everything_has_come(tmp_path: Path) -> None:
    write(tmp_path / "step-1" / "facts.json", b"old")
    before = contents(tmp_path)
    arrival = Arrival(tmp_path)
    arrival.add("step-2/tensors", 0, b"12")
    assert set(parcels.listed(tmp_path)) == set(before)
    arrival.add("step-2/tensors", 2, b"34")
    arrival.add("step-2/facts.json", 0, b"new")
    arrival.settle(["step-1/facts.json"])
    assert contents(tmp_path) == {"step-2/tensors": b"1234", "step-2/facts.json": b"new"}
    assert not (tmp_path / "step-1").exists()


def test_a_piece_that_comes_twice_counts_once(tmp_path: Path) -> None:
    arrival = Arrival(tmp_path)
    for offset, data in ((0, b"ab"), (0, b"ab"), (2, b"cd"), (2, b"cd")):
        arrival.add("file", offset, data)
    arrival.settle()
    assert contents(tmp_path) == {"file": b"abcd"}


def test_what_did_not_arrive_whole_is_forgotten(tmp_path: Path) -> None:
    Arrival(tmp_path).add("file", 0, b"half")
    Arrival(tmp_path).settle()
    assert contents(tmp_path) == {}


def test_a_newer_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    write(tmp_path / "out" / "report.json", b"old")
    write(tmp_path / "out" / "mesh.glb", b"mesh")
    arrival = Arrival(tmp_path)
    arrival.add("out/report.json", 0, b"new")
    arrival.settle()
    assert contents(tmp_path) == {"out/report.json": b"new", "out/mesh.glb": b"mesh"}


@pytest.mark.parametrize("change", ["longer", "gone"])
def test_a_file_that_changed_meanwhile_is_not_sent(change: str, tmp_path: Path) -> None:
    write(tmp_path / "file", b"1234")
    entry = parcels.listed(tmp_path)["file"]
    if change == "gone":
        (tmp_path / "file").unlink()
    else:
        write(tmp_path / "file", b"12345")
    assert parcels.piece(tmp_path, entry, 0) is None


@pytest.mark.parametrize("path", ["../other", "out/../../other", "/etc/passwd", "", "."])
def test_paths_that_lead_elsewhere_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out"):
        Arrival(tmp_path / "task").add(path, 0, b"x")
    with pytest.raises(ValueError, match="leads out"):
        parcels.piece(tmp_path / "task", Entry(path, 1, 0), 0)
