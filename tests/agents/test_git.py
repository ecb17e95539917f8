"""The store against real repositories, hostile ones among them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from agents.errors import BranchMovedError, GitError, PathEscapeError, RepositoryError
from agents.git import GitStore, resolve_inside


def run(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(folder)}
    identity = ("-c", "user.name=Person", "-c", "user.email=person@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True, input=stdin
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    run(path, "init", "-q", "-b", "main")
    (path / "a.py").write_text("A = 1\n")
    (path / "pkg").mkdir()
    (path / "pkg" / "b.py").write_text("B = 1\n" * 20)
    run(path, "add", ".")
    run(path, "commit", "-q", "-m", "first")
    return path


@pytest.fixture
async def store(tmp_path: Path) -> GitStore:
    made = GitStore(tmp_path / "state" / "repo.git")
    await made.create()
    return made


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content, `.git` included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def change(store: GitStore, branch: str, base: str, files: dict[str, str], tmp_path: Path) -> str:
    await store.create_branch(branch, base)
    tree = store.worktree(branch, tmp_path / "trees" / branch.replace("/", "-"))
    await tree.open()
    for name, text in files.items():
        (tree.path / name).parent.mkdir(parents=True, exist_ok=True)
        (tree.path / name).write_text(text)
    commit = await tree.commit(f"change {branch}", author="Ada")
    assert commit is not None
    return commit


async def test_fetch_copies_head_and_leaves_the_source_byte_for_byte(store: GitStore, repository: Path) -> None:
    before = snapshot(repository)
    fetched = await store.fetch(str(repository))
    assert (fetched.commit, fetched.base, fetched.warnings) == (run(repository, "rev-parse", "HEAD"), "main", ())
    assert snapshot(repository) == before
    run(store.path, "fsck", "--strict")


async def test_fetch_again_brings_only_what_is_new(store: GitStore, repository: Path) -> None:
    await store.fetch(str(repository))
    (repository / "a.py").write_text("A = 2\n")
    run(repository, "commit", "-q", "-a", "-m", "second")
    fetched = await store.fetch(f"file://{repository}", "main")
    assert fetched.commit == run(repository, "rev-parse", "HEAD")
    assert (await store.changes(f"{fetched.commit}~1", fetched.commit)).paths == ("a.py",)


async def test_tags_commits_and_a_detached_head_have_the_commit_as_base(store: GitStore, repository: Path) -> None:
    commit = run(repository, "rev-parse", "HEAD")
    run(repository, "tag", "-a", "v1", "-m", "one")
    run(repository, "checkout", "-q", "--detach")
    for ref in ("v1", commit[:10], None):
        fetched = await store.fetch(str(repository), ref)
        assert (fetched.commit, fetched.base, fetched.warnings) == (commit, commit, ())
    assert (await store.fetch(str(repository), "main")).base == "main"


async def test_a_dirty_checkout_is_a_warning_that_names_the_files(store: GitStore, repository: Path) -> None:
    (repository / "a.py").write_text("A = 3\n")
    (repository / "new.txt").write_text("x")
    (repository / "staged.txt").write_text("x")
    run(repository, "add", "staged.txt")
    (warning,) = (await store.fetch(str(repository))).warnings
    assert "uncommitted" in warning
    assert all(name in warning for name in ("a.py", "new.txt", "staged.txt"))


@pytest.mark.parametrize(
    ("prepare", "ref", "text"),
    [
        (lambda path: None, None, "does not exist"),
        (lambda path: path.mkdir(), None, "is no git repository"),
        (lambda path: (path.mkdir(), run(path, "init", "-q")), None, "has no commit yet"),
        (lambda path: (path.mkdir(), run(path, "init", "-q", "--object-format=sha256"), commit_one(path)), None, "SHA-256"),
        (lambda path: (path.mkdir(), run(path, "init", "-q"), commit_one(path)), "nope", "no branch, tag or commit 'nope'"),
        (lambda path: (path.mkdir(), run(path, "init", "-q"), commit_one(path)), "--help", "no branch, tag or commit"),
    ],
)  # fmt: skip
async def test_unusable_repositories_are_refused_with_what_to_do(
    store: GitStore, tmp_path: Path, prepare: object, ref: str | None, text: str
) -> None:
    prepare(tmp_path / "it")
    with pytest.raises(RepositoryError, match=text):
        await store.fetch(str(tmp_path / "it"), ref)


def commit_one(path: Path) -> None:
    (path / "f").write_text("x")
    run(path, "add", "f")
    run(path, "commit", "-q", "-m", "one")


@pytest.mark.parametrize("source", ["ext::sh -c 'touch /tmp/owned'", "fd::17", "gopher://x/y"])
async def test_transports_that_can_execute_are_refused(store: GitStore, source: str) -> None:
    with pytest.raises(RepositoryError, match="not allowed"):
        await store.fetch(source)


async def test_a_folder_inside_a_repository_names_the_repository(store: GitStore, repository: Path) -> None:
    with pytest.raises(RepositoryError, match="lies inside"):
        await store.fetch(str(repository / "pkg"))


async def test_shallow_clones_work_and_deliver(store: GitStore, repository: Path, tmp_path: Path) -> None:
    (repository / "a.py").write_text("A = 2\n")
    run(repository, "commit", "-q", "-a", "-m", "second")
    shallow = tmp_path / "shallow"
    run(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", str(shallow))
    fetched = await store.fetch(str(shallow))
    commit = await change(store, "syndic/p", fetched.commit, {"c.py": "C = 1\n"}, tmp_path)
    assert await store.push(str(shallow), "syndic/p") == commit
    assert run(shallow, "log", "--format=%s", "syndic/p").split("\n")[0] == "change syndic/p"


async def test_partial_clones_are_refused_without_asking_their_remote(
    store: GitStore, repository: Path, tmp_path: Path
) -> None:
    run(repository, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    run(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", f"file://{repository}", str(partial))
    proof = tmp_path / "executed"
    run(partial, "config", "remote.origin.uploadpack", f"touch {proof};git-upload-pack")
    with pytest.raises(RepositoryError, match="partial clone"):
        await store.fetch(str(partial))
    assert not proof.exists()


async def test_nothing_that_a_repository_configures_is_executed(
    store: GitStore, repository: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "executed"
    script = repository / ".git" / "evil"
    script.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    script.chmod(0o755)
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "update", "post-receive", "post-index-change"):
        target = repository / ".git" / "hooks" / hook
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(script.read_bytes())
        target.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n*.md export-ignore\n")
    (repository / "README.md").write_text("# it\n")
    run(repository, "add", ".")
    run(repository, "commit", "-q", "--no-verify", "-m", "attributes")
    settings = {
        "core.fsmonitor": str(script), "filter.evil.clean": str(script), "filter.evil.smudge": str(script),
        "diff.evil.textconv": str(script), "diff.external": str(script), "uploadpack.packObjectsHook": str(script),
        "core.alternateRefsCommand": str(script), "merge.evil.driver": str(script), "core.sshCommand": str(script),
    }  # fmt: skip
    for name, value in settings.items():
        run(repository, "config", name, value)
    proof.unlink(missing_ok=True)
    (repository / "a.py").write_text("A = 5\n")
    fetched = await store.fetch(str(repository))
    commit = await change(store, "syndic/p", fetched.commit, {"a.py": "A = 9\n"}, tmp_path)
    assert "+A = 9" in await store.diff(fetched.commit, commit)
    await store.export(commit, tmp_path / "out")
    await store.push(str(repository), "syndic/p")
    assert (tmp_path / "out" / "README.md").exists(), "export-ignore must not drop files"
    assert not proof.exists()
    assert (repository / "a.py").read_text() == "A = 5\n"


@pytest.fixture
def served(repository: Path, tmp_path: Path) -> Iterator[str]:
    """The repository over HTTP, as static files."""
    bare = tmp_path / "served.git"
    run(tmp_path, "clone", "-q", "--bare", str(repository), str(bare))
    run(bare, "update-server-info")
    handler = partial(QuietHandler, directory=str(bare))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


async def test_a_repository_behind_a_url_is_fetched(
    store: GitStore, repository: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    commit = run(repository, "rev-parse", "HEAD")
    assert await store.fetch(served) == await store.fetch(served, "main")
    assert (await store.fetch(served)).base == "main"
    assert (await store.fetch(served, commit)).base == commit
    for url, ref in ((served, "nope"), (f"{served}/nothing", None)):
        with pytest.raises(RepositoryError, match="check the address"):
            await store.fetch(url, ref)


async def test_a_merge_has_both_parents_and_its_trailers_and_moves_no_branch(
    store: GitStore, repository: Path, tmp_path: Path
) -> None:
    base = (await store.fetch(str(repository))).commit
    await store.create_branch("syndic/p", base)
    one = await change(store, "syndic/p.s1.one", base, {"a.py": "A = 2\n"}, tmp_path)
    date = datetime(2026, 1, 1, tzinfo=UTC)
    arguments = {"message": "Merge one", "trailers": {"Syndic-Ledger": "p@7:abc"}, "date": date}
    merged = await store.merge(one, "syndic/p", **arguments)
    assert merged == await store.merge(one, "syndic/p", **arguments), "the same merge is the same commit"
    assert merged.commit is not None
    assert await store.head("syndic/p") == base
    assert await store.merge_commit_of(one, "syndic/p") is None
    await store.advance("syndic/p", merged.commit, base)
    assert await store.merge_commit_of(one, "syndic/p") == merged.commit
    assert run(store.path, "log", "-1", "--format=%P", "syndic/p").split() == [base, one]
    assert run(store.path, "log", "-1", "--format=%(trailers:key=Syndic-Ledger,valueonly)", "syndic/p") == "p@7:abc"
    assert await store.merge(one, "syndic/p", message="again", trailers={}) == type(merged)(merged.commit)


async def test_a_conflict_names_its_paths_and_changes_nothing(
    store: GitStore, repository: Path, tmp_path: Path
) -> None:
    base = (await store.fetch(str(repository))).commit
    one = await change(store, "one", base, {"a.py": "A = 2\n"}, tmp_path)
    two = await change(store, "two", base, {"a.py": "A = 3\n", "pkg/b.py": "B = 2\n"}, tmp_path)
    merged = await store.merge(two, "one", message="x", trailers={})
    assert (merged.commit, merged.conflicts) == (None, ("a.py",))
    assert await store.head("one") == one


async def test_advance_refuses_a_branch_that_moved(store: GitStore, repository: Path, tmp_path: Path) -> None:
    base = (await store.fetch(str(repository))).commit
    one = await change(store, "one", base, {"a.py": "A = 2\n"}, tmp_path)
    with pytest.raises(BranchMovedError) as caught:
        await store.advance("one", base, base)
    assert caught.value.actual == one
    assert await store.create_branch("one", base) == one
    assert await store.create_branch("one", base, reset=True) == base


async def test_a_long_diff_is_cut_with_a_mark(store: GitStore, repository: Path, tmp_path: Path) -> None:
    base = (await store.fetch(str(repository))).commit
    big = await change(store, "big", base, {"big.txt": "line\n" * 100_000, ".gitattributes": "* -diff\n"}, tmp_path)
    text = await store.diff(base, big, max_bytes=5_000)
    assert len(text) < 5_200
    assert "is cut after 5000 bytes" in text
    changes = await store.changes(base, big)
    assert (changes.insertions, changes.paths) == (100_001, (".gitattributes", "big.txt"))


async def test_export_writes_every_file_and_no_git_data(store: GitStore, repository: Path, tmp_path: Path) -> None:
    (repository / "link").symlink_to("/etc/passwd")
    (repository / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    (repository / ".gitattributes").write_text("* text=auto eol=lf ident\n")
    run(repository, "-c", "core.autocrlf=false", "add", ".")
    blob = run(repository, "hash-object", "-w", "--no-filters", "crlf.txt")
    run(repository, "update-index", "--cacheinfo", f"100644,{blob},crlf.txt")
    run(repository, "commit", "-q", "-m", "odd files")
    commit = (await store.fetch(str(repository))).commit
    out = tmp_path / "out"
    await store.export(commit, out)
    assert os.readlink(out / "link") == "/etc/passwd"
    assert (out / "crlf.txt").read_bytes() == b"a\r\nb\r\n"
    assert {path.name for path in out.iterdir()} == {"a.py", "pkg", "link", "crlf.txt", ".gitattributes"}
    with pytest.raises(FileExistsError):
        await store.export(commit, out)


async def test_a_commit_with_git_data_in_it_is_refused(store: GitStore, repository: Path) -> None:
    blob = run(repository, "hash-object", "-w", "--stdin", stdin=b"[core]\n")
    inner = run(repository, "mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    tree = run(repository, "mktree", stdin=f"040000 tree {inner}\t.GIT\n".encode())
    commit = run(repository, "commit-tree", tree, "-m", "evil")
    run(repository, "update-ref", "refs/heads/evil", commit)
    with pytest.raises(RepositoryError, match=r"\.GIT/config"):
        await store.fetch(str(repository), "evil")


async def test_submodules_and_lfs_are_warned_about(store: GitStore, repository: Path) -> None:
    run(repository, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    (repository / "pkg" / ".gitattributes").write_text("*.bin filter=lfs\n")
    run(repository, "add", "pkg")
    run(repository, "commit", "-q", "-m", "sub")
    warnings = " ".join((await store.fetch(str(repository))).warnings)
    assert "submodules" in warnings
    assert "LFS" in warnings


async def test_delivery_adds_one_branch_and_touches_nothing_else(
    store: GitStore, repository: Path, tmp_path: Path
) -> None:
    (repository / "a.py").write_text("A = 'dirty'\n")
    base = (await store.fetch(str(repository))).commit
    commit = await change(store, "syndic/p", base, {"a.py": "A = 2\n"}, tmp_path)
    before = {name: data for name, data in snapshot(repository).items() if not name.startswith(".git/objects")}
    assert await store.push(str(repository), "syndic/p") == commit
    after = {name: data for name, data in snapshot(repository).items() if not name.startswith(".git/objects")}
    added = {name for name in after if after.get(name) != before.get(name)}
    assert added <= {".git/refs/heads/syndic/p", ".git/logs/refs/heads/syndic/p"}
    run(repository, "fsck", "--strict")
    assert await store.push(str(repository), "syndic/p") == commit, "a second delivery is the first one again"


async def test_delivery_leaves_a_branch_with_other_commits_or_a_checkout_alone(
    store: GitStore, repository: Path, tmp_path: Path
) -> None:
    base = (await store.fetch(str(repository))).commit
    await change(store, "syndic/p", base, {"a.py": "A = 2\n"}, tmp_path)
    run(repository, "checkout", "-q", "-b", "syndic/p")
    with pytest.raises(RepositoryError, match="checked out"):
        await store.push(str(repository), "syndic/p")
    (repository / "mine").write_text("x")
    run(repository, "add", "mine")
    run(repository, "commit", "-q", "-m", "mine")
    mine = run(repository, "rev-parse", "HEAD")
    run(repository, "checkout", "-q", "main")
    with pytest.raises(RepositoryError, match="git branch -m syndic/p"):
        await store.push(str(repository), "syndic/p")
    assert run(repository, "rev-parse", "syndic/p") == mine


async def test_an_author_cannot_forge_another_address(store: GitStore, repository: Path, tmp_path: Path) -> None:
    base = (await store.fetch(str(repository))).commit
    tree = await store.resolve(f"{base}^{{tree}}")
    commit = await store.commit_tree(tree, (base,), "x", author="Eve <root@x>\nparent 0", trailers={"A": "1\nB: 2"})
    assert run(store.path, "log", "-1", "--format=%an|%ae|%cn", commit) == "Eve root@x parent 0|syndic@localhost|Syndic"
    assert run(store.path, "log", "-1", "--format=%(trailers:key=B)", commit) == ""


async def test_unknown_revisions_are_errors_of_ours(store: GitStore) -> None:
    with pytest.raises(GitError, match="no revision"):
        await store.resolve("nothing")
    assert await store.head("nothing") is None


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "", "a\0b", ".git/config", "a/.GIT/x", ".git ", "git~1", ".git::$INDEX", "x\\.git\\y"],
)  # fmt: skip
def test_paths_that_leave_the_worktree_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(PathEscapeError):
        resolve_inside(tmp_path, path)


def test_links_are_followed_inside_and_refused_outside(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "a.py").write_text("x")
    (root / "out").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    (root / "inside").symlink_to("pkg")
    (root / "file").symlink_to("pkg/a.py")
    (root / "dangling").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(root / "pipe")
    assert resolve_inside(root, "inside/a.py") == root / "pkg" / "a.py"
    assert resolve_inside(root, "file") == root / "pkg" / "a.py"
    assert resolve_inside(root, "inside/new.py", writing=True) == root / "pkg" / "new.py"
    for name in ("out/passwd", "out", "loop", "dangling", "pipe"):
        with pytest.raises(PathEscapeError):
            resolve_inside(root, name)
    with pytest.raises(PathEscapeError, match="symbolic link"):
        resolve_inside(root, "file", writing=True)
