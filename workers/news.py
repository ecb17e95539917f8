"""Events of the live feed in words."""

from __future__ import annotations

from ledger.vocabulary import Json


def is_news(event: dict[str, Json]) -> bool:
    """Whether an event tells more than that an agent goes from one step to the next."""
    kind = event.get("type")
    if kind == "state":
        # An error has an event of its own beside the state.
        return " " in str(event.get("text") or "") and (event.get("data") or {}).get("state") != "error"
    return kind not in ("thinking", "artifact")


def is_partial(event: dict[str, Json]) -> bool:
    """Whether it is text of an answer that is still coming in."""
    return event.get("type") == "thinking" and bool((event.get("data") or {}).get("partial"))


def event_line(event: dict[str, Json]) -> str:
    """One event of the feed on one line; empty where it says nothing."""
    who, task = str(event.get("agent") or ""), str(event.get("task") or "")
    text = " ".join(str(event.get("text") or "").split())
    kind = str(event.get("type") or "")
    if not text and not kind:
        return ""
    shown = "..." + text[-117:] if is_partial(event) and len(text) > 117 else text[:120]
    return f"{who:<22} {task:<20} {kind:<9} {shown}".rstrip()
