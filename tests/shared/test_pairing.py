import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Trouble
from shared.pairing import KEY_BYTES, Pairing, PairingError

PAIRING = Pairing("studio-3.lan", 7391, bytes(range(32)), bytes(range(100, 132)))
LINE = str(PAIRING)
HOSTS = ("localhost", "127.0.0.1", "studio_3.example.org", "::1", "fe80::1:2", "x", "a" * 253)
SYMBOLS = string.ascii_letters + string.digits + string.punctuation + " \u00e9\u2019\u0663"

pairings = st.builds(
    Pairing,
    st.sampled_from(HOSTS),
    st.integers(1, 65535),
    st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES),
    st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES),
)


@given(pairings)
def test_a_line_gives_back_its_pairing(pairing: Pairing) -> None:
    line = str(pairing)
    assert line.isascii()
    assert len(line.split()) == 1
    assert Pairing.parse(line) == pairing


def test_what_a_line_looks_like() -> None:
    assert LINE.startswith("dreamtime://studio-3.lan:7391/AAECAwQFBgcICQ")
    # 32 + 32 + 4 bytes in base64 without padding are 91 characters.
    assert len(LINE.removeprefix("dreamtime://studio-3.lan:7391/")) == 91


@pytest.mark.parametrize("around", ['"{}"', "'{}'", "  {}\n", "<{}>", "`{}`", "\u201c{}\u201d", ' "{}" \r\n'])
def test_quotes_and_white_space_do_not_matter(around: str) -> None:
    assert Pairing.parse(around.format(LINE)) == PAIRING


@pytest.mark.parametrize(
    "invisible", ["\ufeff", "\u200b", "\u200d", "\u00ad", "\u2060", "\u200e", "\u00a0", "\0", "\x1b"]
)
def test_invisible_characters_do_not_matter(invisible: str) -> None:
    for at in (0, len("dream"), LINE.index("7391"), len(LINE)):
        assert Pairing.parse(LINE[:at] + invisible + LINE[at:]) == PAIRING


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_file_of_any_encoding_is_read(encoding: str) -> None:
    assert Pairing.from_file(f"\u201c{LINE}\u201d\r\n".encode(encoding)) == PAIRING


@given(st.binary())
def test_whatever_a_file_holds_is_refused(content: bytes) -> None:
    with pytest.raises(PairingError):
        Pairing.from_file(content)


def test_a_line_that_a_letter_broke_in_two_is_read() -> None:
    assert Pairing.parse(f"{LINE[:78]}\n  {LINE[78:]}") == PAIRING


@settings(max_examples=500)
@given(pairings, st.data())
def test_every_change_of_one_character_is_refused(pairing: Pairing, data: st.DataObject) -> None:
    line = str(pairing)
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.sampled_from(SYMBOLS).filter(lambda symbol: symbol != line[at]))
    with pytest.raises(PairingError):
        Pairing.parse(line[:at] + other + line[at + 1 :])


@given(pairings, st.data())
def test_every_missing_and_every_added_character_is_refused(pairing: Pairing, data: st.DataObject) -> None:
    line = str(pairing)
    at = data.draw(st.integers(0, len(line) - 1))
    with pytest.raises(PairingError):
        Pairing.parse(line[:at] + line[at + 1 :])
    with pytest.raises(PairingError):
        Pairing.parse(line[:at] + "x" + line[at:])


def test_every_change_of_one_character_of_this_line_is_refused() -> None:
    for at in range(len(LINE)):
        for other in string.ascii_letters + string.digits + string.punctuation:
            if other != LINE[at]:
                with pytest.raises(PairingError):
                    Pairing.parse(LINE[:at] + other + LINE[at + 1 :])


def test_every_truncation_is_refused() -> None:
    for length in range(len(LINE)):
        with pytest.raises(PairingError):
            Pairing.parse(LINE[:length])
        with pytest.raises(PairingError):
            Pairing.parse(LINE[length + 1 :])


@given(st.text())
def test_whatever_is_pasted_is_refused_with_a_sentence_and_a_remedy(text: str) -> None:
    for line in (text, f"dreamtime://{text}", f"dreamtime://{text}:7391/{LINE[-91:]}"):
        with pytest.raises(PairingError) as caught:
            Pairing.parse(line)
        assert caught.value.sentence
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "there is no pairing line; copy the whole line"),
        (' "" ', "there is no pairing line"),
        ("https://example.org/abc", "begins with dreamtime://"),
        (LINE[:-1], "is not whole"),
        ("dreamtime://", "is not whole"),
        ("dreamtime://" + LINE[-91:], "is not whole"),
        (LINE[:-5] + "\u00e9\u00e9\u00e9\u00e9\u00e9", "is not whole"),
        (LINE[:-1] + "/", "is not whole"),
        (LINE[:-2] + "__", "checksum is wrong"),
        (LINE.replace("studio-3", "studio-4"), "checksum is wrong"),
        (LINE.replace(":7391", ":7392"), "checksum is wrong"),
        (LINE.replace(":7391", ":07391"), "checksum is wrong"),
        (LINE.replace(":7391", ":007391"), "no port where it should"),
        (LINE.replace(":7391", ":0731"), "checksum is wrong"),
        (LINE.replace(":7391", ""), "no port where it should"),
        (LINE.replace("7391", ""), "no port where it should"),
        (LINE.replace("7391", "\u0667\u0663"), "no port where it should"),
        (LINE.replace("7391", "0"), "0 is no port; give one from 1 to 65535"),
        (LINE.replace("7391", "70000"), "70000 is no port"),
        (LINE.replace("studio-3.lan", "studio/3"), "is no address of a machine; give its name"),
        (LINE.replace("studio-3.lan", ""), "is no address of a machine"),
        (LINE.replace("studio-3.lan", "[studio]:"), "is no address of a machine"),
    ],
)
def test_what_is_wrong_is_said(line: str, says: str) -> None:
    with pytest.raises(PairingError) as caught:
        Pairing.parse(line)
    assert says in str(caught.value)
    assert isinstance(caught.value, Trouble)


@pytest.mark.parametrize("host", ["", "a b", "-a", "a-", "a" * 254, "fe80::1%eth0", "[::1]", "1:2", "caf\u00e9", "a\n"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(PairingError, match="is no address of a machine"):
        replace(PAIRING, host=host)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(PairingError, match="is no port"):
        replace(PAIRING, port=port)


@pytest.mark.parametrize("lengths", [(31, 32), (32, 33)])
def test_a_key_has_32_bytes(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Pairing("studio", 7391, bytes(lengths[0]), bytes(lengths[1]))


def test_the_secret_is_not_shown_where_values_are() -> None:
    pairing = replace(PAIRING, secret=b"\xee" * 32)
    for shown in (repr(pairing), f"{pairing!r}", repr([pairing])):
        assert "studio-3.lan" in shown
        assert "xee" not in shown
        assert "secret" not in shown


def test_errors_do_not_show_the_secret() -> None:
    secret = LINE[-48:-6]
    for line in (LINE[:-1], LINE[:-2] + "__", LINE.replace("7391", "0"), LINE + LINE, LINE.replace("studio-3.lan", "")):
        with pytest.raises(PairingError) as caught:
            Pairing.parse(line)
        assert not any(secret[at : at + 4] in str(caught.value) for at in range(len(secret) - 3))
