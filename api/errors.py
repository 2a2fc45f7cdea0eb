"""
Errors only a request can make: the HTTP side of the tree in `ledger.errors`.

    LedgerError
    |__RequestError                    nothing written; send a different request
    |  |__MissingKeyError              a write without its idempotency key
    |  |__MalformedRequestError        headers or framing are not what this path takes
    |  |__HeadTooLargeError            there are too many headers, or they are too long
    |  |__UriTooLongError              path and query are too long
    |  |__LateRequestError             the request does not come, or comes too slowly
    |  |__UnsatisfiableRangeError      no octet that is asked for is there
    |  |__AheadError                   the position is beyond all that this ledger has
    |  |__InvalidParameterError        a parameter is unknown, missing or wrong
    |  |__NoSuchPathError              there is no such path
    |  |__MethodNotAllowedError        the path does not take this method
    |     |__HistoryIsPermanentError   the method would change history
    |__PushbackError
    |  |__StoppingError                the service ends; the next one takes the same request
    |__UnexpectedError                 a bug of ours; nothing was to be written
    |__UnexpectedWriteError            a bug of ours; whether something was written is not known
"""

from __future__ import annotations

from ledger.errors import LedgerError, PushbackError, RejectedError


class RequestError(RejectedError):
    """The request is not one this service takes. Nothing was written."""


class MissingKeyError(RequestError):
    """A write came without its idempotency key. Nothing was written."""


class MalformedRequestError(RequestError):
    """Headers or framing are not what this path takes. Nothing was written."""


class HeadTooLargeError(RequestError):
    """There are too many headers, or they are too long. Nothing was written."""


class UriTooLongError(RequestError):
    """Path and query are too long. Nothing was written."""


class LateRequestError(RequestError):
    """The request did not come in time. Nothing was written; the same one may be sent again."""


class UnsatisfiableRangeError(RequestError):
    """No octet of the range that is asked for is there. Nothing was written."""


class AheadError(RequestError):
    """Who asks has seen more entries than there are. Nothing was written."""


class InvalidParameterError(RequestError):
    """A parameter is unknown, missing or wrong. Nothing was written."""


class NoSuchPathError(RequestError):
    """There is no such path. Nothing was written."""


class MethodNotAllowedError(RequestError):
    """The path does not take this method. Nothing was written."""


class HistoryIsPermanentError(MethodNotAllowedError):
    """The method would change or delete history. Nothing was written."""


class StoppingError(PushbackError):
    """The service ends. Nothing was written; the same request may be sent to the next one."""


class UnexpectedError(LedgerError):
    """The service failed in a way it does not know. Nothing was to be written."""


class UnexpectedWriteError(LedgerError):
    """The service failed in a way it does not know; the same key tells the outcome."""
