"""Every limit of the protocol: a name, a number, and the reason for it. Sizes are in bytes, times in seconds."""

KIB, MIB, GIB = 2**10, 2**20, 2**30

HEADER_BYTES = 64 * KIB
"""A message's JSON header; checked before it is parsed."""

BODY_BYTES = MIB
"""A message's raw frame: a chunk of a file, or previews."""

FRAME_BYTES = 2 * MIB
"""ZeroMQ's own limit per frame (MAXMSGSIZE): what is larger closes the connection. It counts encryption's overhead
too, so it lies well above BODY_BYTES."""

FRAMES = 3
"""Frames of a message: magic, header, body."""

JSON_DEPTH = 12
"""Nesting of a header."""

CHUNK_BYTES = 128 * KIB
"""What a client fetches or sends at once: little enough that even at 50 kB/s one arrives within REPLY_SECONDS."""

CHUNKS_IN_FLIGHT = 32
"""Chunks that a client asks for ahead: 4 MiB, enough for 80 MB/s at 50 ms of round trip."""

QUEUED_MESSAGES = 64
"""ZeroMQ's high-water marks: messages that wait in one direction of one connection."""

ASSET_BYTES = 512 * MIB
"""The largest result that a client accepts."""

PREVIEW_BYTES = 64 * KIB
"""A preview picture."""

COARSE_BYTES = 128 * KIB
"""A coarse preview mesh."""

MESH_VERTICES = MESH_TRIANGLES = 1_000_000
"""Of a mesh that a job begins from."""

PICTURE_PIXELS = 4096
"""A side of a picture that a job begins from."""

PICTURE_BYTES = 64 * MIB
"""Such a picture: a PNG that does not compress has as many, in 8 bits a colour."""

INPUTS_BYTES = GIB
INPUTS = 200
"""What is kept of one artist's inputs at the same time; those that no waiting or running job needs make room, the ones
used least recently first."""

WORDS_BYTES = MIB
"""The file of all words that a model knows."""

KNOWN_WORDS = 20_000
"""Words of one kind in such a file: some ten times as many as a model of a thousand objects knows."""

NEAREST_OBJECTS = 8
"""Known objects that come with the refusal of an unknown one."""

PROMPT_CHARACTERS = 300
NAME_CHARACTERS = 200
"""Names of models, presets and the like."""

TEXT_CHARACTERS = 500
"""Sentences and reasons."""

VARIATIONS = 8
"""Jobs of one request."""

LISTED_JOBS = 40
"""Jobs in one answer to LIST; ask again from the last one for more. Long prompts still fit the header."""

LISTED_EVENTS = 40
"""Events in one answer to EVENTS."""

LISTED_DEVICES = 64
"""Devices, and what is wrong with them, in one answer to HELLO."""

LIVE_JOBS = 4
"""Running jobs whose progress and previews come with one answer to EVENTS; the most recent ones."""

JOBS_UNFINISHED = 500
"""Jobs that one artist may have waiting and running."""

POLLS_PER_ARTIST = 64
"""Connections of one artist that may wait for news at once."""

REQUESTS_PER_SECOND = 4000
REQUEST_BURST = 8000
"""How fast one artist may ask; fetching at full speed stays below."""

LONG_POLL_SECONDS = 10.0
"""How long an EVENTS request may wait for news. A connection that died silently is noticed after this and
REPLY_SECONDS."""

LIVE_SECONDS = 0.25
"""Progress is sent at most this often to one client."""

REPLY_SECONDS = 3.0
"""How long a client waits for an answer, beyond what it told the server to wait."""

STOP_SECONDS = 0.1
"""How soon a client that waits notices that it shall not."""

BACKOFF_FIRST_SECONDS, BACKOFF_MOST_SECONDS = 0.25, 2.0
"""Waits between attempts to reach a server double from the first to the most: short enough to be back within 5 s."""

HANDSHAKE_SECONDS = 3.0
KEEPALIVE_SECONDS = 60.0
"""When the operating system begins to ask whether a silent peer is still there."""

RECONNECT_FIRST_SECONDS, RECONNECT_MOST_SECONDS = 0.1, 1.0

RETENTION_SECONDS = 30 * 24 * 3600.0
RETENTION_BYTES = 20 * GIB
"""How long and how much the server keeps of finished jobs."""

DEFAULT_PORT = 7391

SEEDS = 2**31
"""Seeds are 0 to this, without it."""
