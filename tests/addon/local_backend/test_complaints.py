"""Failures that are recognised, in the words of pip and Python."""

from pathlib import Path
from typing import Any

import pytest

UNREACHABLE = (
    "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by "
    "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object>: Failed to establish a new connection"
    ": [Errno -3] Temporary failure in name resolution')': /simple/click/"
)
NO_VERSION = "ERROR: No matching distribution found for click>=8.1"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
            "disk became",
        ),
        (["OSError: [WinError 112] There is not enough space on the disk"], "disk became"),
        (
            [
                "ERROR: Could not install packages due to an OSError: [Errno 2] No such file or directory: 'x'",
                "HINT: This error might have occurred since this system does not have Windows Long Path support",
            ],
            "path is too long",
        ),
        (["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."], "damaged"),
        (["WARNING: ... after connection broken by 'ProxyError('Cannot connect to proxy.'", NO_VERSION], "the proxy"),
        (
            ["Could not fetch URL https://pypi.org: SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE"],
            "was refused",
        ),
        ([UNREACHABLE, NO_VERSION], "not be reached"),
        (
            ["pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out."],
            "not be reached",
        ),
        (
            ["ERROR: Could not find a version that satisfies the requirement x", NO_VERSION],
            "not offered",
        ),
        (["ERROR: Cannot install a because these package versions have conflicting dependencies."], "not offered"),
        (["/usr/bin/python3: No module named ensurepip"], "without ensurepip"),
        (["The virtual environment was not created successfully because ensurepip is not available."], "ensurepip"),
        (["python: No module named venv"], "without venv"),
        (["ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'"], "be written"),
        (["PermissionError: [WinError 32] The process cannot access the file because it is being used"], "be written"),
        (["MemoryError"], "memory was too small"),
        (["something unheard of", ""], "trying the backend failed"),
        ([], "trying the backend failed"),
    ],
)
def test_each_is_said_in_a_sentence_with_a_remedy(m: Any, lines: list[str], says: str) -> None:
    error = m.complaints.explain("trying the backend", ["Collecting click", *lines], Path("/logs/install.log"))
    assert says in error.sentence
    assert error.remedy
    assert error.log_tail == ("Collecting click", *(line for line in lines if line))


def test_an_unknown_failure_names_the_log(m: Any) -> None:
    assert "/logs/install.log" in m.complaints.explain("it", [], Path("/logs/install.log")).remedy


def test_the_end_of_a_long_log_is_read(m: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert m.complaints.last_lines(log) == ()
    log.write_text("".join(f"line {number}\n\n" for number in range(5000)))
    assert m.complaints.last_lines(log) == tuple(f"line {number}" for number in range(4988, 5000))
