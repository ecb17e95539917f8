"""Errors of the agents' room: one root, the docstring is the default message."""

from __future__ import annotations

from agents.runs import PendingCall
from ledger.vocabulary import Exceeded

MAX_TAIL = 2_000
"""Characters of a program's output that an error may carry."""


class AgentError(Exception):
    """An agent could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class RepositoryError(AgentError):
    """The repository cannot be used; the message says why and what to do."""


class ProjectUsedError(AgentError):
    """A project of this id is on the record already; a record is never begun again."""

    def __init__(self, project: str, why: str) -> None:
        super().__init__(
            f"project id {project!r} {why}, and its record stays; choose another project_id, or leave it out"
        )


class GitError(AgentError):
    """A git command on our own store failed, which no repository should be able to cause."""


class DiskFullError(AgentError):
    """The disk is full."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the disk is full ({where}); free space, and the work goes on by itself")


class BranchMovedError(AgentError):
    """The branch is no longer where it was expected; read it again and decide anew."""

    def __init__(self, branch: str, expected: str | None, actual: str | None) -> None:
        super().__init__(f"branch {branch} was expected at {expected or 'nothing'} and stands at {actual or 'nothing'}")
        self.branch = branch
        self.actual = actual


class PathEscapeError(AgentError):
    """The path leaves the worktree."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"path {path!r} is refused: {reason}")
        self.path = path
        self.reason = reason


class SandboxMissingError(AgentError):
    """Programs of the repository cannot be confined on this machine."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"programs of the repository are not run because they cannot be confined: {reason}. Install bubblewrap with "
            "your distribution's package manager (such as `apt-get install bubblewrap`) and allow unprivileged user "
            "namespaces, or set SYNDIC_UNSAFE_COMMANDS=1 to run them with your own rights: they could then read and "
            "change whatever you can."
        )
        self.reason = reason


class SetupFailedError(AgentError):
    """The target's environment could not be built."""

    def __init__(self, command: str, exit_code: int | None, tail: str) -> None:
        how = (
            "was stopped at a limit of time, memory or processes"
            if exit_code is None
            else f"ended with exit code {exit_code}"
        )
        super().__init__(
            f"setting up the repository's environment failed: `{command}` {how}. Name the commands that install it under "
            f"`setup:` in the brief. Its last lines:\n{tail[-MAX_TAIL:]}"
        )
        self.command = command
        self.exit_code = exit_code
        self.tail = tail[-MAX_TAIL:]


class RunStoppedError(AgentError):
    """No new step starts: the run was asked to stop."""


class HaltedError(AgentError):
    """The standing of the project, the task or the agent forbids new steps."""


class ConfirmationNeededError(AgentError):
    """A person has to say whether a tool call may be made."""

    def __init__(self, call: PendingCall) -> None:
        super().__init__(f"wants to call {call.tool}: {call.why}")
        self.call = call


class OverBudgetError(AgentError):
    """The budget does not allow the next model call."""

    def __init__(self, message: str | None = None, exceeded: Exceeded | None = None) -> None:
        super().__init__(message)
        self.exceeded = exceeded
        """Which limit; None where an earlier bill blocks the budget."""


class LostLeaseError(AgentError):
    """Another run has taken this thread over; this one ends without another write."""


class DivergenceError(AgentError):
    """The journal holds another request at this step: the code changed under a running thread."""

    def __init__(self, thread: str, ordinal: int, detail: str) -> None:
        super().__init__(f"thread {thread} diverges from its journal at step {ordinal}: {detail}")
        self.thread = thread
        self.ordinal = ordinal
        self.detail = detail


class InvalidStepError(AgentError):
    """The record refused a step as malformed."""


class AlreadyReadError(AgentError):
    """A message was read by another step, or put aside, meanwhile."""


class MailWaitsError(AgentError):
    """A message came that the run has not heard; nothing was asked."""


class UndeliverableMessageError(AgentError):
    """A message cannot be sent: there is no such addressee, it has finished, its inbox is full, or it is too large."""


class EnvelopeError(AgentError):
    """An envelope cannot be read."""


class ModelError(AgentError):
    """A model could not be asked."""

    def __init__(self, message: str | None = None, *, may_be_billed: bool = False) -> None:
        super().__init__(message)
        self.may_be_billed = may_be_billed
        """A request was sent and its answer lost: it may stand on the provider's bill."""


class ModelUnavailableError(ModelError):
    """No model of the chain can answer at the moment."""

    def __init__(self, message: str, retry_after: float | None = None, *, may_be_billed: bool = False) -> None:
        super().__init__(message, may_be_billed=may_be_billed)
        self.retry_after = retry_after
        """Seconds after which the provider wants to be asked again."""


class ModelRefusedError(ModelError):
    """No model of the chain can serve the request as such; asking again changes nothing."""


class ThoughtTooLongError(ModelError):
    """The models of the chain have not answered in the time that an agent may think."""


class ModelKeyRefusedError(ModelRefusedError):
    """Providers refuse the key; with another one the same request may be served."""


class NoModelKeyError(ModelError):
    """There is no key for the model's provider."""


class UnpricedModelError(ModelError):
    """The model's price is not known, so no upper bound can be reserved."""


class VaultError(ModelError):
    """Provider keys cannot be read from Vault."""


class RecordingError(AgentError):
    """A recording of models' answers cannot be used."""


class ReplayError(ModelError):
    """A run that is served from a recording asks what was not recorded; asking again changes nothing."""
