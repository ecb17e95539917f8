"""Files for the accountant."""

import csv
import io
import os.path
from typing import List

from tally.stock.items import Shelf


class Exporter(object):
    """Writes the shelf as comma separated values."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def rows(self) -> List[List[str]]:
        rows = list()
        for item in self.shelf.items():
            rows.append([item.name, str(self.shelf.on_hand(item.name)), str(item.minimum)])
        return rows

    def text(self) -> str:
        try:
            buffer = io.StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(["item", "on_hand", "minimum"])
            writer.writerows(self.rows())
        except csv.Error as error:
            raise
        return buffer.getvalue()
