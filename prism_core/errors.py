"""Every error that PRISM Studio raises on purpose.

One base class, so that the UI and the command line can tell a mistake they should explain from a
defect they should not hide. Each subclass also inherits the fitting standard error, so that code
which knows only Python's own exceptions still catches it.
"""

from typing import Literal

Failure = Literal["limited", "away", "failed", "lost"]
"""Why an endpoint gave no answer this time.

`limited`: it asks to be asked more slowly (429); `away`: nothing was sent, or a gateway says that
the server is down (502, 503, 504); `failed`: it says that it failed (500); `lost`: the request was
taken and its answer did not come whole, so it may have to be paid.
"""


class PrismError(Exception):
    """Base of all errors whose message is written for the person who made the mistake."""


class InputError(PrismError, ValueError):
    """A value that a person gave is not allowed; the message quotes it and says what is."""


class NotFoundError(PrismError, LookupError):
    """A named persona, model, adapter, run or data set does not exist."""


class ModelError(PrismError, RuntimeError):
    """A model could not be fetched, read or used."""


class RemoteError(ModelError):
    """A remote endpoint refused, failed or did not answer."""


class PassingError(RemoteError):
    """An endpoint gave no answer for a reason that may pass: the same request may succeed later."""

    def __init__(self, message: str, kind: Failure, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds that the endpoint asks to wait; None where it does not say."""


class SpendingLimitError(PrismError, RuntimeError):
    """The next request might cost more than what is left of a limit in money."""


class StorageError(PrismError, OSError):
    """The store or a run's folder could not be read or written."""


class CancelledError(PrismError, RuntimeError):
    """Work stopped because a person asked it to stop."""


class StatisticsError(PrismError, ValueError):
    """A number was asked for that the data at hand cannot define."""
