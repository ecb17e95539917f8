"""The pictures of the README are there, small, and nothing else lies beside them."""

from __future__ import annotations

import re
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LARGEST_KB = 250
WIDEST = 1600


def test_each_picture_is_shown_small_and_described() -> None:
    shown = re.findall(r"!\[(.+?)\]\((docs/images/\S+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(path for _, path in shown) == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "images").iterdir()
    )
    for words, path in shown:
        content = (ROOT / path).read_bytes()
        assert len(words.split()) > 4
        assert content.startswith(b"\x89PNG")
        assert len(content) < LARGEST_KB * 1000
        assert struct.unpack(">I", content[16:20])[0] <= WIDEST
