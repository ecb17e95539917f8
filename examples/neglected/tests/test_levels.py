import pytest

from tally.stock.items import Item, Shelf
from tally.stock.levels import is_due, order_list, order_quantity

FLOUR = Item("flour", minimum=1000, batch=300)
SALT = Item("salt", minimum=50)


def test_not_due_above_the_minimum() -> None:
    assert not is_due(FLOUR, 1001)


def test_due_below_the_minimum() -> None:
    assert is_due(FLOUR, 999)


def test_due_at_the_minimum() -> None:
    assert is_due(FLOUR, 1000)


@pytest.mark.parametrize(("on_hand", "expected"), [(0, 2100), (800, 1200), (1999, 300), (2000, 0), (2500, 0)])
def test_order_quantity_is_whole_batches(on_hand: int, expected: int) -> None:
    assert order_quantity(FLOUR, on_hand) == expected


def test_order_list_names_what_is_due() -> None:
    shelf = Shelf()
    shelf.put(FLOUR, 1000)
    shelf.put(SALT, 51)
    assert order_list(shelf) == {"flour": 1200}
