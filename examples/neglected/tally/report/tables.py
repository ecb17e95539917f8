"""Plain text tables."""

import sys
from typing import List, Tuple, Union

Cell = Union[str, int]


def widths(rows: List[Tuple[Cell, ...]]) -> List[int]:
    columns = zip(*rows)
    return [max([len(str(cell)) for cell in column]) for column in columns]


def is_number(cell: Cell) -> bool:
    if isinstance(cell, int) or isinstance(cell, float):
        return True
    else:
        return False


def table(rows: List[Tuple[Cell, ...]]) -> str:
    """Rows as lines; numbers to the right, text to the left."""
    if len(rows) == 0:
        return ""
    sizes = widths(rows)
    lines = []
    for row in rows:
        cells = []
        for cell, size in zip(row, sizes):
            if is_number(cell):
                text = str(cell).rjust(size)
            else:
                text = str(cell).ljust(size)
            cells.append(text)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
