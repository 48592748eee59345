"""Feed the decoder what no client sends. python tests/faults/malformed.py --inputs 1000000 --seed 0

The contract: any frames decode to a message, which encodes to the same message again, or raise ProtocolError, and
nothing else; memory stays as it is. Exit code 1 if not.
"""

import argparse
import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil

from shared.errors import ProtocolError
from shared.inputs import Start
from shared.jobs import Event, Generation, Live, new_job_id
from shared.limits import BODY_BYTES, HEADER_BYTES
from shared.messages import (
    Cancel,
    Chunk,
    Fetch,
    GetEvents,
    GetList,
    GetState,
    Held,
    Hello,
    Jobs,
    Message,
    News,
    Refused,
    Submit,
    Upload,
    decode,
    encode,
)

GROWTH_BYTES = 50 * 2**20
SHA = "ab" * 32
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**53,
    2**63,
    1e308,
    "",
    "\0",
    "\ud800",
    "x" * 400,
    [],
    {},
    [[]],
    {"": None},
    "../x",
]
ODD_TEXT = [b"NaN", b"1e999", b"-0", b"\xff", b"[" * 2000, b"{}" * 9, b'"\\ud800"', b"9" * 5000, b"\0", b"\xef\xbb\xbf"]

Frames = list[bytes]


def samples() -> list[Frames]:
    """Frames of messages that are in order."""
    job = new_job_id()
    messages: list[Message] = [
        Hello("1"),
        Submit((job, new_job_id()), Generation("a red mug", steps=5, cfg=7.5)),
        Submit((job,), Generation("a red mug", start=Start("mesh", SHA, "Mug"), strength=0.5, paint_only=True)),
        GetState(job),
        GetList(5),
        GetEvents(None, 0, 10.0),
        Cancel(job),
        Fetch(SHA, 0, 512),
        Upload("picture", SHA, 9, 2, b"bytes"),
        Held(SHA, 7),
        Jobs(()),
        News(job, 1, 1, (Event(1, job, "done", 1, 1.0),), (Live(job, 1, "x", 1, 2, 3, 4.0, 1, 1),), b"ab"),
        Chunk(SHA, 0, 3, b"abc"),
        Refused("invalid", "no", "yes"),
    ]
    return [encode(message, number) for number, message in enumerate(messages)]


def bytes_changed(frames: Frames, draw: random.Random) -> Frames:
    changed = [bytearray(frame) for frame in frames]
    for _ in range(draw.randint(1, 4)):
        frame = draw.choice(changed)
        place = draw.randint(0, len(frame))
        match draw.randrange(4):
            case 0:
                frame[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del frame[place : place + draw.randint(1, 9)]
            case 2:
                frame[place:place] = draw.choice(ODD_TEXT)
            case 3:
                frame[place:place] = frame[: draw.randint(0, 40)]
    return [bytes(frame) for frame in changed]


def values_changed(frames: Frames, draw: random.Random) -> Frames:
    header = json.loads(frames[1])
    part: Any = header
    while True:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        if not keys:
            break
        key = draw.choice(keys)
        if isinstance(part[key], dict | list) and draw.random() < 0.7:
            part = part[key]
            continue
        if isinstance(part, dict) and draw.random() < 0.2:
            del part[key]
        elif isinstance(part, dict) and draw.random() < 0.2:
            part[draw.choice(["kind", "body", "x", ""])] = draw.choice(ODD)
        else:
            part[key] = draw.choice(ODD)
        break
    return [frames[0], json.dumps(header).encode(), *frames[2:]]


def frames_changed(frames: Frames, draw: random.Random) -> Frames:
    match draw.randrange(5):
        case 0:
            return draw.sample(frames, len(frames))
        case 1:
            return frames[: draw.randrange(len(frames))]
        case 2:
            return [*frames, draw.randbytes(draw.randrange(30))]
        case 3:
            return [b"DT" + draw.randbytes(draw.randrange(5)), *frames[1:]]
    return [frames[0], frames[1], bytes(draw.randrange(20))]


def random_bytes(frames: Frames, draw: random.Random) -> Frames:
    return [draw.choice([frames[0], draw.randbytes(4)]), *(draw.randbytes(draw.randrange(60)) for _ in frames[1:])]


def too_large(frames: Frames, draw: random.Random) -> Frames:
    if draw.random() < 0.99:  # rarely: they are slow
        return bytes_changed(frames, draw)
    return draw.choice(
        [
            [frames[0], b'{"a":"' + b"x" * HEADER_BYTES + b'"}'],
            [*frames[:2], bytes(BODY_BYTES + 1)],
            [frames[0], b"[" * HEADER_BYTES],
            [frames[0], b'{"a":' * 9000],
        ]
    )


WAYS: list[Callable[[Frames, random.Random], Frames]] = [
    bytes_changed,
    values_changed,
    frames_changed,
    random_bytes,
    too_large,
]


def outcome(frames: Frames) -> str:
    """What became of the frames. Raises whatever breaks the contract."""
    try:
        number, message = decode(frames)
    except ProtocolError:
        return "refused"
    if decode(encode(message, number)) != (number, message):
        raise AssertionError(f"{message} is not the same after another journey")
    return "still a message"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, valid = random.Random(options.seed), samples()
    counts: Counter[str] = Counter()
    for _ in range(min(20_000, options.inputs // 10)):  # until caches are full
        outcome(draw.choice(WAYS)(draw.choice(valid), draw))
    gc.collect()
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    while counts["refused"] < options.inputs:
        frames = draw.choice(WAYS)(draw.choice(valid), draw)
        try:
            counts[outcome(frames)] += 1
        except Exception as error:  # whatever it is, it is the finding
            print(f"input {counts.total()} of seed {options.seed} broke the contract: {error!r}\n{frames!r:.2000}")
            return 1
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    print(
        f"malformed inputs: {counts['refused']:,} refused, {counts['still a message']:,} were messages still, "
        f"other exceptions 0, memory grew by {grown / 2**20:.1f} MiB, "
        f"{time.monotonic() - began:.0f} s"
    )
    return int(grown > GROWTH_BYTES)


if __name__ == "__main__":
    sys.exit(main())
