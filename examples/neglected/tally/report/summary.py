"""The morning's summary."""

import json
from typing import Dict, Optional

from tally.orders.levels import Level, order_list
from tally.report.tables import table
from tally.stock.items import Shelf, convert


def summary(shelf: Shelf, title: Optional[str] = None) -> str:
    levels = {item.name: Level(shelf.on_hand(item.name), item.minimum, item.batch) for item in shelf.items()}
    orders = order_list(levels)
    rows = [(item.name, shelf.on_hand(item.name), orders.get(item.name, 0)) for item in shelf.items()]
    heading = title if title else "Stock"
    total = sum([row[1] for row in rows])
    return "{}\n{}".format(heading, table([("item", "on hand", "order")] + rows))


def totals(deliveries: Dict[str, Dict[str, float]]) -> Dict[str, int]:
    """Base units by item from deliveries such as `{"flour": {"kg": 2.5, "g": 300}}`."""
    return dict((name, sum(convert(amount, unit) for unit, amount in parts.items())) for name, parts in deliveries.items())
