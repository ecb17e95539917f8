from tally.report.export import Exporter
from tally.report.summary import summary, totals
from tally.report.tables import table
from tally.stock.items import Item, Shelf


def shelf() -> Shelf:
    shelf = Shelf()
    shelf.put(Item("flour", minimum=1000, batch=500), 400)
    shelf.put(Item("salt", minimum=50), 80)
    return shelf


def test_table_aligns_numbers_to_the_right() -> None:
    assert table([("a", 1), ("bcd", 20)]) == "a     1\nbcd  20"


def test_an_empty_table() -> None:
    assert table([]) == ""


def test_summary() -> None:
    assert summary(shelf(), "Monday").splitlines() == [
        "Monday",
        "item   on hand  order",
        "flour      400   2000",
        "salt        80      0",
    ]


def test_totals_of_deliveries() -> None:
    assert totals({"flour": {"kg": 2.5, "g": 300}, "eggs": {"dozen": 2}}) == {"flour": 2800, "eggs": 24}


def test_export() -> None:
    assert Exporter(shelf()).text() == "item,on_hand,minimum\nflour,400,1000\nsalt,80,50\n"
