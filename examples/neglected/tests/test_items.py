import pytest

from tally.stock.items import Item, Shelf
from tally.stock.units import convert

FLOUR = Item("flour", minimum=1000, batch=500)


def test_put_and_take() -> None:
    shelf = Shelf()
    shelf.put(FLOUR, 1500)
    assert shelf.take("flour", 400) == 1100
    assert shelf.on_hand("flour") == 1100


def test_take_more_than_there_is() -> None:
    shelf = Shelf()
    shelf.put(FLOUR, 10)
    with pytest.raises(ValueError, match="not enough flour"):
        shelf.take("flour", 11)


def test_nothing_on_hand_of_an_unknown_item() -> None:
    assert Shelf().on_hand("salt") == 0


@pytest.mark.parametrize(("quantity", "unit", "expected"), [(2.5, "kg", 2500), (3, "dozen", 36), (7, "piece", 7)])
def test_convert(quantity: float, unit: str, expected: int) -> None:
    assert convert(quantity, unit) == expected


def test_unknown_unit() -> None:
    with pytest.raises(ValueError, match="unknown unit: stone"):
        convert(1, "stone")
