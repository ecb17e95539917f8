"""A request on the screen: who asks what, the whole of what a decision is about, and how it is answered.

Everything a digest covers is shown. What agents wrote stands as text: without markup, and without what a terminal obeys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

import yaml
from rich.text import Text

from ledger.vocabulary import Json
from workers.console import plain
from workers.exhibits import Exhibit, fits, reference_of
from workflows.approval_models import ApprovalView, Vote

WIDTH = 110
"""Where long lines of a subject are broken."""
DIFF_STYLES = {"+++": "bold", "---": "bold", "diff": "bold", "index": "dim", "@@": "cyan", "+": "green", "-": "red"}
"""Begin of a line -> style; the first that fits."""
STATES = {"open": "bold yellow", "approved": "bold green", "rejected": "bold red", "expired": "bold red"}


class _Dumper(yaml.SafeDumper):
    """Several lines stay several lines, and what stands there twice is shown twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)


def page(view: ApprovalView, exhibits: Sequence[Exhibit], commands: Mapping[str, str], now: datetime) -> Iterator[Text]:
    """The lines of `syndic show`; `commands` say how it is answered, by their purpose."""
    yield _styled(f"{view.id}  {view.kind.value}  ", "bold", view.state, STATES.get(view.state, "bold"))
    yield Text(plain(view.summary))
    yield Text()
    for name, value in _facts(view, now):
        yield _styled(f"  {name:<9} ", "dim", plain(value))
    yield _digest(view)
    yield from _consequences(view)
    yield from _heading("What it is about")
    yield from (_outlined(line) for line in outline(view.subject).splitlines())
    for exhibit in exhibits:
        if exhibit.text is not None or exhibit.fault:
            yield from _exhibit(exhibit)
    yield from _unread([exhibit for exhibit in exhibits if exhibit.text is None and not exhibit.fault])
    if view.state == "open":
        yield from _heading("How it is answered")
        yield from (Text(f"  {command}") for command in commands.values())


def outline(subject: Json) -> str:
    """A JSON value as YAML, without what is empty; documents are named by their digests."""
    text = yaml.dump(_filled(subject), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    return text.rstrip("\n")


def _filled(value: Json) -> Json:
    if isinstance(value, Mapping):
        part = cast("Mapping[str, Json]", value)
        if (reference := reference_of(part)) is not None:
            return f"document {plain(reference.name)} sha256:{reference.digest}"
        return {plain(name): _filled(item) for name, item in part.items() if item not in (None, "", [], {}, ())}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_filled(item) for item in cast("Sequence[Json]", value)]
    return plain(value.expandtabs(4)) if isinstance(value, str) else value


def _facts(view: ApprovalView, now: datetime) -> Iterator[tuple[str, str]]:
    yield "asked by", view.workflow_id
    yield "since", f"{view.requested_at:%Y-%m-%d %H:%M} UTC ({ago(now - view.requested_at)})"
    if view.state == "open":
        left = ago(view.expires_at - now)
        yield "expires", f"{view.expires_at:%Y-%m-%d %H:%M} UTC (in {left}), then: {view.on_expiry.value}"
    yield "risk", view.risk.value
    if view.who or view.signed or view.bound or view.quorum > 1:
        yield "answered", "; ".join(_rules(view))
    for vote in view.votes:
        yield "decision", _vote(vote)
    if not view.votes and view.decided_by is not None:
        claimed = "verified" if view.decided_key else "a claim"
        yield "decided", f"{view.state} by {view.decided_by} ({claimed}) {view.comment}".rstrip()
    if view.consumed is not None:
        yield "then", view.consumed


def _rules(view: ApprovalView) -> Iterator[str]:
    yield f"by {', '.join(view.who) or 'any approver'}"
    if view.quorum > 1:
        yield f"{view.quorum} different persons"
    if view.signed:
        yield "signed only"
    if view.bound:
        yield "with the digest only"


def _vote(vote: Vote) -> str:
    key = f"verified, key {vote.key}" if vote.key else "a claim"
    return f"{vote.decision.value} by {vote.by} ({key}) at {vote.at:%Y-%m-%d %H:%M} UTC {vote.comment}".rstrip()


def _digest(view: ApprovalView) -> Text:
    if fits(view):
        return _styled("  digest    ", "dim", f"{view.digest}, of all that stands below")
    return _styled("  digest    ", "dim", f"{view.digest} IS NOT THAT OF WHAT STANDS BELOW: do not decide", "bold red")


def _consequences(view: ApprovalView) -> Iterator[Text]:
    for name, text in (("approve", view.on_approve), ("reject", view.on_reject), ("revise", view.on_revise)):
        if text:
            yield _styled(f"  {name:<9} ", "dim", plain(text))


def _exhibit(exhibit: Exhibit) -> Iterator[Text]:
    yield from _heading(_named(exhibit))
    yield Text(f"sha256:{exhibit.reference.digest}", style="dim")
    if exhibit.fault:
        yield Text(f"cannot be shown: {plain(exhibit.fault)}", style="bold red")
    lines = plain((exhibit.text or "").expandtabs(4)).splitlines()
    yield from (_diff_line(line) if exhibit.is_diff else Text(line) for line in lines)


def _unread(exhibits: Sequence[Exhibit]) -> Iterator[Text]:
    if exhibits:
        yield from _heading("Other documents, shown with --documents")
        yield from (Text(f"  {_named(exhibit)}") for exhibit in exhibits)


def _named(exhibit: Exhibit) -> str:
    reference = exhibit.reference
    whose = f" of {plain(exhibit.task)}" if exhibit.task else ""
    return f"{plain(reference.name)}{whose} ({plain(reference.media_type)}, {reference.size:,} bytes)"


def _diff_line(line: str) -> Text:
    style = next((style for begin, style in DIFF_STYLES.items() if line.startswith(begin)), "")
    return Text(line, style=style)


def _outlined(line: str) -> Text:
    name, colon, rest = line.partition(":")
    return _styled(f"  {name}{colon}", "cyan", rest) if colon and " " not in name.strip(" -") else Text(f"  {line}")


def _heading(text: str) -> Iterator[Text]:
    yield Text()
    yield Text(text, style="bold underline")


def _styled(*parts: str) -> Text:
    """Alternately text and its style; the last text may go without one."""
    text = Text()
    for place in range(0, len(parts), 2):
        text.append(parts[place], style=parts[place + 1] if place + 1 < len(parts) else "")
    return text


def ago(span: timedelta) -> str:
    """A span of time as people say it.

    >>> [ago(timedelta(seconds=seconds)) for seconds in (-3, 59, 3600, 90000)]
    ['0 s', '59 s', '60 min', '25 h']
    """
    seconds = max(int(span.total_seconds()), 0)
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < size * most:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86400} days"
