"""When to order again, and how much."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """How an item stands: what is on hand, what must be, and how many come in one delivery."""

    on_hand: int
    minimum: int
    batch: int = 1


def is_due(level: Level) -> bool:
    """An item is due once its stock has come down to the minimum."""
    return level.on_hand < level.minimum


def order_quantity(level: Level) -> int:
    """Whole batches that bring the stock to twice the minimum."""
    missing = 2 * level.minimum - level.on_hand
    if missing <= 0:
        return 0
    batches = -(-missing // level.batch)
    return batches * level.batch


def order_list(levels: dict[str, Level]) -> dict[str, int]:
    """What to order today, by name."""
    return {name: order_quantity(level) for name, level in levels.items() if is_due(level)}
