"""When a provider or a model is left alone, and when it is tried again. Pure: times come in as seconds since the epoch.

The circuit breaker of Nygard's "Release It!": closed while calls succeed, open after several failures in a row, half-open
when its rest is over: one call, the probe, then decides between closed and a rest twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

THRESHOLD = 5
"""Failures in a row that open the circuit. One is chance; a worker with 50 runs sees five within a second of an outage."""
FIRST_REST_S = 10.0
LONGEST_REST_S = 300.0
"""An outage of hours still costs one probe in five minutes, and its end is noticed as soon."""


@dataclass(frozen=True)
class Circuit:
    """What is known of one provider or model. The one of a name nobody has had trouble with is `Circuit()`."""

    failures: int = 0
    """In a row, since the last success."""
    trips: int = 0
    """How often in a row it opened; each time doubles the rest."""
    rests_until: float = 0.0
    reason: str = ""

    def wait_s(self, now: float) -> float:
        """Seconds until it may be asked; 0 where it may be asked now."""
        return max(0.0, self.rests_until - now)

    def needs_probe(self, now: float) -> bool:
        """Whether the next call decides for all: its rest is over, and nobody has succeeded since."""
        return self.trips > 0 and now >= self.rests_until


def failed(circuit: Circuit, now: float, reason: str, rest_s: float | None = None) -> Circuit:
    """The circuit after a failure.

    Args:
        circuit: Before it.
        now: When it failed.
        reason: For people.
        rest_s: How long the provider asked to be left alone (Retry-After); nothing is counted then, since it answers.
    """
    if rest_s is not None:
        until = max(circuit.rests_until, now + min(rest_s, LONGEST_REST_S))
        return replace(circuit, rests_until=until, reason=reason)
    if circuit.wait_s(now) > 0:
        return circuit  # asked before it opened: it says nothing new
    failures = circuit.failures + 1
    if failures < THRESHOLD and not circuit.trips:
        return replace(circuit, failures=failures, reason=reason)
    rest = min(FIRST_REST_S * 2**circuit.trips, LONGEST_REST_S)
    return Circuit(failures=failures, trips=min(circuit.trips + 1, 16), rests_until=now + rest, reason=reason)
