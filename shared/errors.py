"""What can go wrong between a client and the backend, as one tree.

    Trouble
    ├── ProtocolError       the bytes are no message
    │   └── VersionError    they are one of another protocol version
    ├── LinkError           no answer could be had
    │   ├── Unreachable     nobody answers at this address
    │   ├── ConnectionLost  it was there, and broke
    │   ├── NotPaired       the backend does not know this computer's key
    │   └── WrongBackend    another backend answers there, or something else does
    ├── TransferError       what arrived is not what was promised
    ├── Stopped             this side ended the conversation
    └── Refusal             the backend answered no
        ├── Malformed       it could not read the message
        ├── OtherVersion    it speaks another protocol version
        ├── Invalid         what was asked for cannot be done
        ├── UnknownJob      it has no such job of this artist
        ├── UnknownAsset    it has no such file for this artist
        ├── UnknownInput    it has no such input of this artist, or not all of it
        ├── Spoilt          an input arrived with other bytes than announced
        ├── Conflict        the job's id was used for another request
        ├── NotFinished     the job still waits or runs
        ├── TooMuch         more than one artist may have or ask
        └── Storage         its disk is full or cannot be written

Each carries one sentence that says what is wrong and one that says what to do. A `Refusal` crosses the
wire by its code.
"""

from typing import ClassVar


class Trouble(Exception):
    """sentence: what is wrong. remedy: what to do about it; a usual one per class."""

    usual_remedy: ClassVar[str]

    def __init__(self, sentence: str, remedy: str = "") -> None:
        self.sentence = sentence
        self.remedy = remedy or self.usual_remedy
        super().__init__(f"{self.sentence}; {self.remedy}")


class ProtocolError(Trouble):
    """The only thing that decoding raises, whatever the bytes."""

    usual_remedy = "use the same version of DreamTime on both sides"


class VersionError(ProtocolError):
    """A message of another protocol version. theirs: that version."""

    def __init__(self, theirs: int, ours: int) -> None:
        self.theirs = theirs
        super().__init__(
            f"the other side speaks protocol {theirs} and this one {ours}",
            f"update DreamTime {'here' if theirs > ours else 'on the other side'}",
        )


class LinkError(Trouble):
    """No answer could be had; what was asked may or may not have been done, and can be asked again."""

    usual_remedy = "try again"


class Unreachable(LinkError):
    usual_remedy = "start it with dreamtime serve, and check the address and the firewall"


class ConnectionLost(LinkError):
    usual_remedy = "try again; if it stays away, see whether the backend still runs"


class NotPaired(LinkError):
    usual_remedy = "run dreamtime pair NAME on its machine and paste the line that it prints"


class WrongBackend(LinkError):
    usual_remedy = "check the address; if the backend was set up anew, pair with it again"


class TransferError(Trouble):
    usual_remedy = "fetch it again"


class Stopped(Trouble):
    usual_remedy = "begin another one"


class Refusal(Trouble):
    """The backend answered no. code: what it is called on the wire. nearest: known objects to ask for instead."""

    code: ClassVar[str]

    def __init__(self, sentence: str, remedy: str = "", nearest: tuple[str, ...] = ()) -> None:
        self.nearest = nearest
        super().__init__(sentence, remedy)


class Malformed(Refusal):
    code = "malformed"
    usual_remedy = "use the same version of DreamTime on both sides"


class OtherVersion(Refusal):
    code = "version"
    usual_remedy = "update DreamTime on the older side"


class Invalid(Refusal):
    code = "invalid"
    usual_remedy = "change the request"


class UnknownJob(Refusal):
    code = "unknown_job"
    usual_remedy = "submit it anew"


class UnknownAsset(Refusal):
    code = "unknown_asset"
    usual_remedy = "generate it again: results are kept for a limited time"


class UnknownInput(Refusal):
    code = "unknown_input"
    usual_remedy = "choose it again: inputs are kept for a limited time"


class Spoilt(Refusal):
    code = "spoilt"
    usual_remedy = "send it again"


class Conflict(Refusal):
    code = "conflict"
    usual_remedy = "submit it under a new id"


class NotFinished(Refusal):
    code = "not_finished"
    usual_remedy = "cancel it first"


class TooMuch(Refusal):
    code = "too_much"
    usual_remedy = "wait until some of it is done"


class Storage(Refusal):
    code = "storage"
    usual_remedy = "make room on the backend's disk"


_BY_CODE: dict[str, type[Refusal]] = {
    kind.code: kind
    for kind in (
        Malformed,
        OtherVersion,
        Invalid,
        UnknownJob,
        UnknownAsset,
        UnknownInput,
        Spoilt,
        Conflict,
        NotFinished,
        TooMuch,
        Storage,
    )
}


def refusal(code: str, sentence: str, remedy: str, nearest: tuple[str, ...] = ()) -> Refusal:
    """The refusal that the wire's `code` stands for; one that this version does not know is a plain Refusal."""
    return _BY_CODE.get(code, _Unnamed)(sentence, remedy, nearest)


class _Unnamed(Refusal):
    code = "refused"
    usual_remedy = "update DreamTime here"
