"""Patch candidates for suspect lines: pure generation, ordered by suspicion and by how often such a patch mends a bug.

The templates are those of the literature on generate-and-validate repair (GenProg, PAR, TBar) that fit Python; the order is
suspicion (Ochiai) times the template's weight. Every candidate keeps the file's formatting and parses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import islice

from agents.offline import calls, naming, operators, statements, values
from agents.offline.sites import FileNames, Function, Hints, Rewrite, Site, enclosing, file_names, heads
from agents.offline.source import Edit, Source

_EXPRESSION_RULES = (*operators.RULES, *values.RULES, *calls.RULES, *naming.RULES)
_PER_LINE = 90


@dataclass(frozen=True)
class Candidate:
    """One possible patch. `score` orders candidates; `weight` is the template's part of it."""

    path: str
    line: int
    template: str
    edits: tuple[Edit, ...]
    before: str
    after: str
    score: float
    weight: float

    @property
    def title(self) -> str:
        """The patch in one line."""
        return f"{self.path}:{self.line} [{self.template}] `{self.before}` -> `{self.after}`"


@lru_cache(maxsize=256)
def candidates(path: str, text: str, suspects: tuple[tuple[int, float], ...], hints: Hints) -> tuple[Candidate, ...]:
    """All candidates for one file, best first.

    Args:
        path: Path of the file, as the edits shall name it.
        text: Its content.
        suspects: Lines with their suspicion, from 0 to 1.
        hints: What the failing tests tell.
    """
    source = Source(path, text)
    if source.tree is None:
        return ()
    found: dict[tuple[Edit, ...], Candidate] = {}
    for site in sites(source, dict(suspects), hints):
        made = sorted(_site_candidates(site), key=lambda c: -c.score)
        # Parsing is what takes long, so the best are tried first and the rest never.
        parsing = (c for c in made if parses_after(source, c.edits, site.statement))
        for candidate in islice(parsing, _PER_LINE):
            known = found.get(candidate.edits)
            if known is None or known.score < candidate.score:
                found[candidate.edits] = candidate
    return tuple(sorted(found.values(), key=lambda c: (-c.score, c.line, c.template, c.after)))


def sites(source: Source, suspects: dict[int, float], hints: Hints) -> Iterator[Site]:
    """The statements under suspicion, the definitions around them, and the module's constants they use."""
    assert source.tree is not None
    names = file_names(source)
    scores: dict[ast.AST, float] = {}
    for node in ast.walk(source.tree):
        score = _head_score(node, suspects)
        if score > 0:
            scores[node] = max(scores.get(node, 0.0), score)
    for node, score in list(scores.items()):
        function = enclosing(source, node, Function)
        if function is not None:
            scores[function] = max(scores.get(function, 0.0), 0.6 * score)
    for node, score in _constants_used(source, scores):
        scores[node] = max(scores.get(node, 0.0), score)
    for node, score in scores.items():
        yield _site(source, node, score, hints, names)


def _site(source: Source, node: ast.AST, score: float, hints: Hints, names: FileNames) -> Site:
    function = node if isinstance(node, Function) else enclosing(source, node, Function)
    owner = enclosing(source, node, ast.ClassDef)
    assert function is None or isinstance(function, Function)
    assert owner is None or isinstance(owner, ast.ClassDef)
    return Site(source, node, function, owner, score, hints, names, heads(node))


def _head_score(node: ast.AST, suspects: dict[int, float]) -> float:
    """The highest suspicion among the lines of a statement's head."""
    roots = heads(node)
    line = getattr(node, "lineno", None)
    if not roots or line is None or isinstance(node, Function):
        return 0.0
    last = max(getattr(root, "end_lineno", None) or line for root in roots)
    return max((suspects.get(number, 0.0) for number in range(line, last + 1)), default=0.0)


def _constants_used(source: Source, scores: dict[ast.AST, float]) -> list[tuple[ast.AST, float]]:
    """Assignments of module and class level whose names the suspect statements use.

    They run at import, so coverage of single tests cannot suspect them.
    """
    assert source.tree is not None
    used: dict[str, float] = {}
    for node, score in scores.items():
        for root in heads(node):
            for part in ast.walk(root):
                name = part.id if isinstance(part, ast.Name) else getattr(part, "attr", None)
                if isinstance(name, str):
                    used[name] = max(used.get(name, 0.0), 0.55 * score)
    found: list[tuple[ast.AST, float]] = []
    bodies = [source.tree.body, *(n.body for n in source.tree.body if isinstance(n, ast.ClassDef))]
    for statement in (s for body in bodies for s in body):
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            score = max((used.get(t.id, 0.0) for t in targets if isinstance(t, ast.Name)), default=0.0)
            if score > 0:
                found.append((statement, score))
    return found


def _site_candidates(site: Site) -> Iterator[Candidate]:
    for rewrite in _rewrites(site):
        edits = _edits(site, rewrite)
        if edits is None:
            continue
        before, after = _shown(site, edits)
        if before == after:
            continue
        score = site.score * rewrite.weight * _size_factor(before, after)
        line = edits[0].start
        yield Candidate(site.source.path, line, rewrite.template, edits, before, after, score, rewrite.weight)


def _rewrites(site: Site) -> Iterator[Rewrite]:
    for node in site.nodes():
        for rule in _EXPRESSION_RULES:
            yield from rule(site, node)
    for rule in statements.RULES:
        yield from rule(site, site.statement)


def _edits(site: Site, rewrite: Rewrite) -> tuple[Edit, ...] | None:
    if rewrite.whole is not None:
        return (rewrite.whole, *rewrite.more)
    if site.source.text[rewrite.start : rewrite.end] == rewrite.text:
        return None
    return (site.source.replace(rewrite.start, rewrite.end, rewrite.text), *rewrite.more)


def _size_factor(before: str, after: str) -> float:
    """Between equally likely patches the one that changes less of the line goes first."""
    return 0.8 + 0.2 * SequenceMatcher(None, before, after, autojunk=False).ratio()


def _shown(site: Site, edits: tuple[Edit, ...]) -> tuple[str, str]:
    edit = edits[0]
    before = "".join(site.source.lines[edit.start - 1 : edit.end])
    if before.split() == edit.text.split():  # only the indentation differs
        return before.rstrip(), edit.text.rstrip()
    return " ".join(before.split()), " ".join(edit.text.split())


def parses_after(source: Source, edits: tuple[Edit, ...], statement: ast.AST) -> bool:
    """Whether the file still parses; only the innermost definition or the top-level statement around is, for speed."""
    block = _enclosing_block(source, statement, edits)
    if block is None:
        return _parses("".join(_apply(source.lines, 0, edits)))
    first, last = block
    text = "".join(_apply(source.lines[first - 1 : last], first - 1, edits))
    indent = source.indent(first)
    return _parses(f"if True:\n{text}" if indent else text)


def _apply(lines: list[str], shift: int, edits: tuple[Edit, ...]) -> list[str]:
    changed = list(lines)
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        changed[edit.start - 1 - shift : edit.end - shift] = [edit.text]
    return changed


def _enclosing_block(source: Source, statement: ast.AST, edits: tuple[Edit, ...]) -> tuple[int, int] | None:
    node: ast.AST | None = statement
    while node is not None:
        parent = source.parents.get(node)
        if isinstance(node, Function) or (isinstance(node, ast.stmt) and isinstance(parent, ast.Module | ast.ClassDef)):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            last = node.end_lineno or node.lineno
            if all(first <= edit.start and edit.end <= last for edit in edits):
                return first, last
        node = parent
    return None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def ranked(found: Iterable[Candidate], limit: int) -> list[Candidate]:
    """The best candidates of several files, with the same order each time."""
    return sorted(found, key=lambda c: (-c.score, c.path, c.line, c.template, c.after))[:limit]
