"""When to order again, and how much."""

from tally.stock.items import Item, Shelf


def is_due(item: Item, on_hand: int) -> bool:
    """An item is due once its stock has come down to the minimum."""
    return on_hand < item.minimum


def order_quantity(item: Item, on_hand: int) -> int:
    """Whole batches that bring the stock to twice the minimum."""
    missing = 2 * item.minimum - on_hand
    if missing <= 0:
        return 0
    batches = -(-missing // item.batch)
    return batches * item.batch


def order_list(shelf: Shelf) -> dict[str, int]:
    """What to order today, by name."""
    orders = {}
    for item in shelf.items():
        on_hand = shelf.on_hand(item.name)
        if is_due(item, on_hand):
            orders[item.name] = order_quantity(item, on_hand)
    return orders
