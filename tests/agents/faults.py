"""How a fault of a provider ended, in the words of the tables in `docs/models.md`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.errors import ModelError, ModelKeyRefusedError, ModelRefusedError, ModelUnavailableError
from agents.health import LocalHealth
from agents.models import ModelAnswer

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
ENDINGS = ("in the same call", "no other model left", "bill of the failed call", "circuit")


@dataclass
class Observed:
    """What became of one fault."""

    outcome: ModelAnswer | ModelError
    asked: list[str]
    reserved_again: bool
    circuit: str

    def error(self) -> ModelError:
        assert isinstance(self.outcome, ModelError)
        return self.outcome


def written(begin: str, end: str) -> str:
    """What the page shows between two marks."""
    return PAGE.read_text().partition(begin)[2].partition(end)[0].strip()


def rewrite(begin: str, end: str, shown: str) -> None:
    """Bring the page up to date."""
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(f"{before}{begin}\n{shown}\n{end}{rest.partition(end)[2]}")


def headed(*names: str) -> tuple[str, str]:
    """The head of a table."""
    return line(*names), "|---" * len(names) + "|"


def line(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def endings(alone: Observed, two: Observed, second: str) -> tuple[str, ...]:
    """How a fault ended where one model was there, and where a second one was."""
    return _in_the_call(two, "first", second), _alone(alone), _bill(alone, two), alone.circuit


async def circuit_of(health: LocalHealth) -> str:
    """What the fault did to the circuits."""
    found = await health.circuits()
    if not found:
        return "untouched"
    [(name, circuit)] = found.items()
    owner = "model" if "/" in name else "provider"
    return f"counts against the {owner}" if circuit.failures else f"the {owner} rests as long as asked"


def _in_the_call(seen: Observed, first: str, second: str) -> str:
    firsts = seen.asked.count(first)
    again = "the same model with a shortened conversation" if firsts == 2 else ""
    if isinstance(seen.outcome, ModelError):
        return "nobody else is asked"
    following = "the next model" if seen.outcome.model == second else ""
    return ", then ".join(filter(None, (again, following)))


def _alone(seen: Observed) -> str:
    match seen.outcome:
        case ModelAnswer():
            return "-"
        case ModelKeyRefusedError():
            return "retry, with the key read again"
        case ModelRefusedError():
            return "the run ends as failed"
        case ModelUnavailableError(retry_after=None):
            return "retry with back-off"
        case ModelUnavailableError(retry_after=seconds):
            return f"retry after {seconds:g} s"
        case other:
            raise AssertionError(other)


def _bill(alone: Observed, two: Observed) -> str:
    if isinstance(alone.outcome, ModelAnswer):
        return "none"
    if not alone.error().may_be_billed:
        assert not two.reserved_again
        return "none"
    assert two.reserved_again
    return "in doubt, charged at the bound"
