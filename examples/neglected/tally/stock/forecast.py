"""How long the stock will last: a simulation with a fixed sequence, so that it says the same every time."""

import math
from typing import Iterator, List


def demand(seed: int, mean: int) -> Iterator[int]:
    """Daily demand between 0 and twice the mean, from a linear congruential sequence."""
    state = seed
    while True:
        state = (1103515245 * state + 12345) % 2147483648
        yield (state >> 16) % (2 * mean + 1)


def days_until_empty(on_hand: int, mean: int, seed: int) -> int:
    days = 0
    for wanted in demand(seed, mean):
        if wanted > on_hand:
            return days
        on_hand -= wanted
        days += 1
    return days


def spread(on_hand: int, mean: int, runs: int) -> List[int]:
    """Sorted days until empty over many runs."""
    results = list([days_until_empty(on_hand, mean, seed) for seed in range(runs)])
    return list(sorted(results))


def safe_days(on_hand: int, mean: int, runs: int = 200) -> int:
    """Days that the stock lasts in nine of ten runs."""
    return spread(on_hand, mean, runs)[runs // 10]
