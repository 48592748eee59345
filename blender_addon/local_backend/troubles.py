"""What can go wrong with the local backend: each says what is wrong and what to do about it."""

from collections.abc import Sequence

from ..shared.errors import Trouble


class CannotInstall(Trouble):
    """Known before anything was fetched or written."""

    usual_remedy = "run the backend on another computer, and pair with it"


class InstallError(Trouble):
    """The installation failed, and left nothing half-made. log_tail: the last lines of what it printed."""

    usual_remedy = "install it again, and read the log if that fails as well"

    def __init__(self, sentence: str, remedy: str = "", log_tail: Sequence[str] = ()) -> None:
        super().__init__(sentence, remedy)
        self.log_tail = tuple(log_tail)


class InstallStopped(InstallError):
    """The artist cancelled it."""

    usual_remedy = "install it again whenever you like; what was downloaded is kept"


class CannotRemove(Trouble):
    """Known before anything was deleted."""

    usual_remedy = "stop the backend first"


class RemovalError(Trouble):
    """Something of it is left."""

    usual_remedy = "close what uses it and remove the backend again"


class CannotStart(Trouble):
    usual_remedy = "install the backend first"


class ModelError(Trouble):
    """A model cannot be looked up or added."""

    usual_remedy = "try again later"
