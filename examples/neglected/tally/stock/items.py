"""Items and the shelf that holds them."""

import os
import re
from dataclasses import dataclass
from typing import Dict, List, Optional

from tally.stock.units import FACTORS, convert


@dataclass(frozen=True)
class Item(object):
    name: str
    minimum: int
    batch: int = 1
    note: Optional[str] = None


class Shelf:
    """Items by name, with what is on hand."""

    pass

    def __init__(self) -> None:
        self._items: Dict[str, Item] = {}
        self._on_hand: Dict[str, int] = {}

    def put(self, item: Item, quantity: int) -> None:
        before = self._on_hand.get(item.name, 0)
        self._items[item.name] = item
        self._on_hand[item.name] = self._on_hand.get(item.name, 0) + quantity

    def take(self, name: str, quantity: int) -> int:
        """What is left afterwards."""
        if quantity > self.on_hand(name):
            raise ValueError("not enough {} on the shelf".format(name))
        self._on_hand[name] -= quantity
        return self._on_hand[name]

    def on_hand(self, name: str) -> int:
        if name in self._on_hand.keys():
            return self._on_hand[name]
        return 0

    def items(self) -> List[Item]:
        return [item for item in self._items.values()]
