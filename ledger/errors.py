"""
Every error of the ledger, grouped by what the caller does next.

    LedgerError
    |__RejectedError                 nothing written; send a different request
    |  |__MalformedJsonError         the text is not one JSON value two readers would read alike
    |  |__MalformedEffectError       a member is missing, unknown or wrong
    |  |  |__PersonalDataError       hashed text seems to name a person
    |  |  |__BadReferenceError       the body names something that is not there
    |  |__TooLargeError              over a stated limit
    |  |__IdempotencyConflictError   the key already names another request
    |  |__PossibleRepeatError        the business key is already taken by another effect
    |  |__CorrectionError            the effect is history; this correction does not fit it
    |  |  |__OverRefundError         more than what remains
    |  |     |__RemainderHeldError   more than open intents leave of it
    |  |__TransitionError            the intent is not in a state that allows this step
    |  |  |__IntentUnknownError       its outcome is unknown: only evidence leads on
    |  |  |__HandedOffError           it is history already
    |  |  |__StaleTokenError          somebody else has taken it over
    |  |  |__ApprovalRequiredError    a person has to approve exactly this first
    |  |  |__SelfApprovalError        whoever approves may not be whoever acts
    |  |  |__IntentChangedError       it moved while it was being handed off; send it again
    |  |__AbandonedError             another item of the same atomic batch was refused
    |  |__LedgerExistsError          the name or origin is taken
    |  |__PeriodError                no such period can be closed
    |  |  |__PeriodSpanError         its moments are not those of a period
    |  |  |__PeriodOpenError         it is not over
    |  |  |__SelfReviewError         whoever prepares a close may not review it
    |  |  |__PeriodClosedError       it is closed already, or others stand in its way
    |  |__BreakError               a break of a reconciliation does not stand so
    |  |__SettingsError              a setting or command argument is missing or wrong
    |__AccessError
    |  |__UnauthenticatedError       no credential, or one we do not know
    |  |__ForbiddenError             the credential does not reach that far
    |__NotFoundError                 nothing under that name
    |  |__NotCosignedYetError        no quorum of witnesses has seen it yet; ask again later
    |  |__NotTimestampedYetError     no timestamp covers it yet; ask again later
    |__PushbackError                 nothing written; send the same request later
    |  |__OverloadedError            too many requests wait already
    |  |__DatabaseUnavailableError   the database is away
    |  |__ClockUntrustedError        the database clock cannot be believed
    |  |__SignerUnavailableError     nobody can show the base to the signer
    |__OutcomeUnknownError           commit unconfirmed; send the same key again
    |__LedgerBrokenError             this ledger takes no more writes; reads go on
    |  |__RolledBackError            the database is older than what was signed
    |  |__ForkedError                the database holds another history than was signed
    |  |__ForeignSignerError         another signer owns this origin
    |__VerificationError             recorded bytes do not prove what they claim
       |__MalformedProofError        the text is not in the form it claims
       |__ChainBreakError, InclusionError, ConsistencyError, SignatureError, CommitmentError
       |__TimestampError             a timestamp is not one, or not over this
"""

from __future__ import annotations

from typing import Any


class LedgerError(Exception):
    """Something in or around the ledger did not go as asked."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details
        """Values behind the message, safe to show to the caller."""


class RejectedError(LedgerError):
    """Nothing was written; a different request may succeed."""


class MalformedJsonError(RejectedError):
    """The text is not JSON that every reader reads alike. Nothing was written."""


class MalformedEffectError(RejectedError):
    """A member is missing, unknown or wrong. Nothing was written."""


class PersonalDataError(MalformedEffectError):
    """A text that would be hashed for ever seems to name a person. Nothing was written."""


class BadReferenceError(MalformedEffectError):
    """The body names an entry, key or unit that is not there. Nothing was written."""


class TooLargeError(RejectedError):
    """Something is over a stated limit. Nothing was written."""


class IdempotencyConflictError(RejectedError):
    """The key already names another request. Nothing was written."""


class PossibleRepeatError(RejectedError):
    """An effect of this kind and type already has this business key. Nothing was written."""


class CorrectionError(RejectedError):
    """The effect is history and this correction does not fit it. Nothing was written."""


class OverRefundError(CorrectionError):
    """The correction takes back more than remains. Nothing was written."""


class RemainderHeldError(OverRefundError):
    """There would be enough, but open intents hold it. Nothing was written."""


class TransitionError(RejectedError):
    """The intent is not in a state that allows this step. Nothing was written."""


class IntentUnknownError(TransitionError):
    """The outcome of the intent is unknown, and only evidence leads on. Nothing was written."""


class HandedOffError(TransitionError):
    """The intent became an entry of history before. Nothing was written."""


class StaleTokenError(TransitionError):
    """The fencing token is not the newest: somebody else acts. Nothing was written."""


class ApprovalRequiredError(TransitionError):
    """A person has to approve exactly this content first. Nothing was written."""


class SelfApprovalError(TransitionError):
    """Whoever approves an intent may not be whoever acts on it. Nothing was written."""


class IntentChangedError(TransitionError):
    """The intent moved while it was being handed off. Nothing was written."""


class AbandonedError(RejectedError):
    """Another item of the same atomic batch was refused. Nothing was written."""


class LedgerExistsError(RejectedError):
    """A ledger of this name or origin exists with other properties. Nothing was written."""


class PeriodError(RejectedError):
    """There is no such period. Nothing was written."""


class PeriodSpanError(PeriodError):
    """Its moments are no span, or not those of its name. Nothing was written."""


class PeriodOpenError(PeriodError):
    """The period is not over. Nothing was written."""


class SelfReviewError(PeriodError):
    """Whoever prepares a close may not review it. Nothing was written."""


class PeriodClosedError(PeriodError):
    """What is closed already does not allow this close. Nothing was written."""


class BreakError(RejectedError):
    """What is asked does not fit the break as it stands. Nothing was written."""


class SettingsError(RejectedError):
    """A setting or a command argument is missing or wrong. Nothing was started."""


class AccessError(LedgerError):
    """The caller may not do this. Nothing was written."""


class UnauthenticatedError(AccessError):
    """There is no credential, or one that is unknown, expired or revoked."""


class ForbiddenError(AccessError):
    """The credential is good and does not reach this far."""


class NotFoundError(LedgerError):
    """There is nothing under that name."""


class NotCosignedYetError(NotFoundError):
    """No checkpoint that covers the entry was cosigned by a quorum yet; ask again later."""


class NotTimestampedYetError(NotFoundError):
    """No checkpoint that covers the entry was timestamped yet; ask again later."""


class PushbackError(LedgerError):
    """Nothing was written; the same request may be sent later."""


class OverloadedError(PushbackError):
    """Too many requests wait already. Nothing was written; the same request may be sent later."""


class DatabaseUnavailableError(PushbackError):
    """The database does not answer. Nothing was written; the same request may be sent later."""


class ClockUntrustedError(PushbackError):
    """The database clock cannot be believed. Nothing was written."""


class SignerUnavailableError(PushbackError):
    """The signer could not be shown the base. Nothing was written."""


class OutcomeUnknownError(LedgerError):
    """The commit was sent and not confirmed; the same key tells the outcome."""


class LedgerBrokenError(LedgerError):
    """This ledger takes no more writes until a person has looked. Nothing was written."""


class RolledBackError(LedgerBrokenError):
    """The database is older than what was signed. Nothing was written."""


class ForkedError(LedgerBrokenError):
    """The database holds another history than was signed. Nothing was written."""


class ForeignSignerError(LedgerBrokenError):
    """Another signer owns this origin. Nothing was written."""


class VerificationError(LedgerError):
    """Recorded bytes do not prove what they claim."""


class MalformedProofError(VerificationError):
    """The text is not in the form it claims to be in."""


class ChainBreakError(VerificationError):
    """An entry does not follow the one before it."""


class InclusionError(VerificationError):
    """The proof does not place the entry in the tree."""


class ConsistencyError(VerificationError):
    """The larger tree does not extend the smaller one."""


class SignatureError(VerificationError):
    """A signature is missing or not good."""


class CommitmentError(VerificationError):
    """A payload is not the one its entry committed to."""


class TimestampError(VerificationError):
    """A timestamp is not over these octets, or not of an authority that is trusted."""
