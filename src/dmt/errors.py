"""The errors a user can cause. What only we can cause is an `assert`, not one of these."""


class DmtError(Exception):
    """Base of every error whose cure is in the user's hands: one sentence, exit code 2.

    The sentence says what is wrong, which file or setting it is, and how to mend it.
    """


class DataError(DmtError):
    """A folder, file, label or image that cannot be used as it is."""


class SettingError(DmtError):
    """An unknown key, or a value a key does not take."""


class RunError(DmtError):
    """A run folder that is in use, is no run, or does not fit what is asked of it."""


class EnvironmentFault(DmtError):
    """A device, package or download that this machine does not have."""


class TrainingError(DmtError):
    """Training cannot go on, for example because the loss is not finite."""


class Interrupted(DmtError):
    """The run was asked to stop; what it did is saved and `dmt resume` goes on from there."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class LeftAlone(EnvironmentFault):
    """Another rank has ended, which has said why if it could."""
