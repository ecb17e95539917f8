import pytest

from tally.orders.levels import Level, is_due, order_list, order_quantity


def flour(on_hand: int) -> Level:
    return Level(on_hand, minimum=1000, batch=300)


def test_not_due_above_the_minimum() -> None:
    assert not is_due(flour(1001))


def test_due_below_the_minimum() -> None:
    assert is_due(flour(999))


def test_due_at_the_minimum() -> None:
    assert is_due(flour(1000))


@pytest.mark.parametrize(("on_hand", "expected"), [(0, 2100), (800, 1200), (1999, 300), (2000, 0), (2500, 0)])
def test_order_quantity_is_whole_batches(on_hand: int, expected: int) -> None:
    assert order_quantity(flour(on_hand)) == expected


def test_order_list_names_what_is_due() -> None:
    assert order_list({"flour": flour(1000), "salt": Level(51, minimum=50)}) == {"flour": 1200}
