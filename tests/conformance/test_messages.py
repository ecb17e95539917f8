from __future__ import annotations

import hashlib

import pytest

from ledger.errors import ConsumerHeldError, LedgerError, UndeliverableError, UnknownArtifactError
from ledger.items import ItemStatus
from ledger.messages import EVERYONE, MAX_PAYLOAD_BYTES, TEAM, Message, MessageState, NewDeadLetter
from ledger.rows import Lease
from ledger.store import Store
from ledger.vocabulary import Standing, StepKind
from tests.support.records import MINUTE, Hands, intent, message, receipt, thread


@pytest.fixture
def ada(project: str) -> str:
    """The agent of `thread(project)`."""
    return f"{project}-engineer-1"


@pytest.fixture(autouse=True)
async def inboxes(store: Store, project: str, ada: str) -> None:
    await store.redeliver()
    await store.mark_delivered([kept.id for kept in await store.undelivered(10_000)])
    await store.open_inbox(project, ada)


@pytest.fixture
async def lease(store: Store, project: str) -> Lease:
    return await store.acquire_lease(thread(project), "w1", MINUTE)


async def waiting(store: Store, project: str) -> list[Message]:
    return [kept for kept in await store.undelivered(10_000) if kept.project == project]


async def test_a_posted_message_waits_in_its_inbox_in_order(store: Store, project: str, ada: str) -> None:
    made = await store.post([message(f"{project}-{n}", project=project, n=n) for n in range(3)])
    assert [kept.payload["n"] for kept in made] == [0, 1, 2]
    assert await store.inbox(project, ada) == made
    assert await store.inbox(project, "someone-else") == []


async def test_a_known_id_is_returned_as_it_stands(store: Store, project: str, hands: Hands) -> None:
    [first] = await store.post([message(f"{project}-1", project=project, text="a")])
    hands.move(MINUTE)
    [again] = await store.post([message(f"{project}-1", project=project, text="b")])
    assert again == first


async def test_undelivered_messages_are_numbered_and_handed_out_until_they_are_marked(
    store: Store, project: str
) -> None:
    await store.post([message(f"{project}-{n}", project=project) for n in range(3)])
    found = await waiting(store, project)
    assert [kept.entry for kept in found] == ["1-1", "1-2", "1-3"]
    assert await waiting(store, project) == found
    await store.mark_delivered([found[0].id, found[1].id, "unknown"])
    await store.post([message(f"{project}-3", project=project)])
    assert [kept.entry for kept in await waiting(store, project)] == ["1-3", "1-4"]


async def test_redelivery_takes_what_nobody_has_read_in_a_new_generation(
    store: Store, project: str, ada: str, lease: Lease
) -> None:
    names = [f"{project}-{n}" for n in range(3)]
    await store.post([message(name, project=project) for name in names])
    await store.mark_delivered([kept.id for kept in await store.undelivered(10_000)])
    await store.apply([receipt(lease, 7, kind=StepKind.INPUT, acknowledged=(names[0], "unknown"))])
    assert await store.redeliver(project, ada, generation=1) == 2
    assert await store.redeliver(project, ada, generation=1) == 0
    again = await waiting(store, project)
    assert [(kept.id, kept.entry) for kept in again] == [(names[1], "2-1"), (names[2], "2-2")]
    assert [kept.id for kept in await store.inbox(project, ada)] == names[1:]
    await store.mark_delivered(names, generation=1)
    assert await waiting(store, project) == again
    assert await store.redeliver(project, ada, above=40) == 0
    assert [kept.entry for kept in await waiting(store, project)] == ["41-1", "41-2"]


async def test_the_end_of_a_stream_is_known_once_all_is_delivered_and_something_unread(
    store: Store, project: str, ada: str, lease: Lease
) -> None:
    async def ends() -> list[tuple[str, int, int]]:
        return [(end.name, end.generation, end.number) for end in await store.inbox_ends() if end.project == project]

    await store.post([message(f"{project}-{n}", project=project) for n in range(2)])
    assert await ends() == []
    await store.mark_delivered([kept.id for kept in await waiting(store, project)])
    assert await ends() == [(ada, 1, 2)]
    await store.apply([receipt(lease, 0, kind=StepKind.INPUT, acknowledged=(f"{project}-0", f"{project}-1"))])
    assert await ends() == []


async def test_what_a_step_writes_and_reads_at_once_is_delivered_to_nobody(
    store: Store, project: str, ada: str, lease: Lease
) -> None:
    own, other = message(f"{project}-own", project=project), message(f"{project}-other", project=project)
    await store.apply([receipt(lease, 3, kind=StepKind.INPUT, outbox=(own, other), acknowledged=(own.id,))])
    assert [kept.id for kept in await waiting(store, project)] == [other.id]
    assert [kept.id for kept in await store.inbox(project, ada)] == [other.id]
    [kept, _] = await store.conversation(project)
    assert (kept.id, kept.state, kept.read_by_step, kept.number) == (
        own.id, MessageState.READ, f"{lease.thread}#3.0", None
    )  # fmt: skip
    assert kept.delivered_at == kept.at
    assert await store.redeliver(project, ada) == 0


async def test_a_message_that_is_no_json_is_an_error(store: Store, project: str) -> None:
    with pytest.raises(LedgerError):
        await store.post([message(f"{project}-1", project=project, bad={1, 2})])


async def test_an_unknown_addressee_is_an_error_and_nothing_is_written(store: Store, project: str) -> None:
    with pytest.raises(UndeliverableError, match=f"there is no agent nobody in project {project}"):
        await store.post([message(f"{project}-1", project=project), message(f"{project}-2", "nobody", project)])
    assert await store.conversation(project) == []


async def test_a_finished_addressee_is_an_error_until_it_is_opened_again(
    store: Store, project: str, ada: str, lease: Lease
) -> None:
    await store.post([message(f"{project}-1", project=project)])
    assert await store.close_inbox(project, ada, "task t is done") == 1
    assert await store.close_inbox(project, ada, "again") == 0
    with pytest.raises(UndeliverableError, match=f"{ada} has finished: task t is done"):
        await store.post([message(f"{project}-2", project=project)])
    [letter] = await store.dead_letters(project)
    assert (letter.id, letter.inbox) == (f"{project}-1", ada)
    assert letter.reason == f"{ada} had finished before it was read: task t is done"
    await store.open_inbox(project, ada)
    with pytest.raises(UndeliverableError):
        await store.post([message(f"{project}-2", project=project)])
    await store.release_lease(lease)
    await store.acquire_lease(thread(project), "w2", MINUTE)
    await store.post([message(f"{project}-2", project=project)])


async def test_a_full_inbox_refuses_until_something_is_read(store: Store, project: str, lease: Lease) -> None:
    await store.open_inbox(project, f"{project}-engineer-1", capacity=2)
    await store.post([message(f"{project}-{n}", project=project) for n in range(2)])
    with pytest.raises(UndeliverableError, match="is full: 2 unread messages"):
        await store.post([message(f"{project}-2", project=project)])
    await store.post([message(f"{project}-1", project=project)])
    await store.apply([receipt(lease, 0, kind=StepKind.INPUT, acknowledged=(f"{project}-0",))])
    await store.post([message(f"{project}-2", project=project)])


async def test_a_payload_over_the_limit_is_refused(store: Store, project: str) -> None:
    fits = MAX_PAYLOAD_BYTES - len('{"text":""}')
    await store.post([message(f"{project}-1", project=project, text="x" * fits)])
    with pytest.raises(UndeliverableError, match=f"{MAX_PAYLOAD_BYTES + 1} bytes is over the limit"):
        await store.post([message(f"{project}-2", project=project, text="x" * (fits + 1))])


async def test_what_is_refused_can_be_parked_for_senders_that_cannot_be_told(store: Store, project: str) -> None:
    made = await store.post([message(f"{project}-1", "nobody", project, n=1)], park=True)
    assert [kept.state for kept in made] == [MessageState.DEAD]
    [letter] = await store.dead_letters(project)
    assert (letter.id, letter.reason) == (f"{project}-1", f"there is no agent nobody in project {project}")
    assert (letter.body, letter.is_message, letter.deliveries) == ('{"n":1}', True, 0)
    assert await waiting(store, project) == []


async def test_a_message_for_the_team_reaches_every_open_inbox_but_the_senders(
    store: Store, project: str, ada: str
) -> None:
    for name in ("pm", "eve", "gone"):
        await store.open_inbox(project, name)
    await store.close_inbox(project, "gone", "done")
    for _ in range(2):
        await store.post([message(f"{project}-1", TEAM, project, text="hello")])
    await store.post([message(f"{project}-2", EVERYONE, project)])
    heard = {name: [kept.id for kept in await store.inbox(project, name)] for name in ("pm", "eve", "gone", ada)}
    assert heard == {"pm": [], "eve": [f"{project}-1/to/eve"], "gone": [], ada: [f"{project}-1/to/{ada}"]}
    assert {kept.target for kept in await waiting(store, project)} == {TEAM, EVERYONE, "eve", ada}


async def test_a_step_whose_message_cannot_be_sent_is_not_written(store: Store, project: str, lease: Lease) -> None:
    stray = (message(f"{project}-1", "nobody", project),)
    for kind in (StepKind.TOOL, StepKind.INPUT):
        [answer] = await store.apply([receipt(lease, 0, kind=kind, outbox=stray)])
        assert answer.status is ItemStatus.UNDELIVERABLE
        assert answer.detail == f"there is no agent nobody in project {project}"
    assert await store.steps(lease.thread) == []


async def test_an_answer_that_was_paid_for_is_written_whatever_becomes_of_its_message(
    store: Store, project: str, lease: Lease
) -> None:
    await store.open_budget(f"{project}/s1/t", None)
    stray = (message(f"{project}-1", "nobody", project),)
    answers = await store.apply([intent(lease, 0), receipt(lease, 0, outbox=stray)])
    assert [answer.status for answer in answers] == [ItemStatus.OK, ItemStatus.OK]
    assert [letter.id for letter in await store.dead_letters(project)] == [f"{project}-1"]


async def test_a_message_is_read_by_one_step(store: Store, project: str, ada: str, lease: Lease) -> None:
    await store.post([message(f"{project}-{n}", project=project) for n in range(2)])
    other = await store.acquire_lease(thread(project, lineage="other"), "w2", MINUTE)
    both = (f"{project}-0", f"{project}-1")
    ok, taken = await store.apply(
        [
            receipt(lease, 0, kind=StepKind.INPUT, acknowledged=both[:1]),
            receipt(other, 0, kind=StepKind.INPUT, acknowledged=both),
        ]
    )
    assert (ok.status, taken.status) == (ItemStatus.OK, ItemStatus.TAKEN)
    assert taken.detail == f"message {project}-0 was read by step {lease.thread}#0.0"
    assert [kept.id for kept in await store.inbox(project, ada)] == [f"{project}-1"]
    [served] = await store.apply([receipt(lease, 0, kind=StepKind.INPUT, acknowledged=both[:1])])
    assert served.status is ItemStatus.SERVED


async def test_a_conversation_is_read_whole_by_agent_or_from_a_position(store: Store, project: str, ada: str) -> None:
    await store.open_inbox(project, "qa")
    made = await store.post([message(f"{project}-{n}", who, project) for n, who in enumerate((ada, "qa", ada))])
    assert await store.conversation(project) == made
    assert await store.conversation(project, "pm") == made
    assert await store.conversation(project, "qa") == [made[1]]
    assert await store.conversation(project, after=made[0].position, limit=1) == [made[1]]


async def test_two_consumers_cannot_share_a_name(store: Store, project: str, ada: str, hands: Hands) -> None:
    held = await store.hold_inbox(project, ada, ada, "w1", MINUTE)
    assert await store.hold_inbox(project, ada, ada, "w1", MINUTE) == held
    with pytest.raises(ConsumerHeldError, match="w1 for another"):
        await store.hold_inbox(project, ada, ada, "w2", MINUTE)
    assert await store.consumers(project, ada) == [ada]
    hands.move(MINUTE)
    assert await store.consumers(project, ada) == []
    taken = await store.hold_inbox(project, ada, ada, "w2", MINUTE)
    assert taken.epoch == held.epoch + 1
    await store.leave_inbox(held)
    assert await store.consumers(project, ada) == [ada]
    await store.leave_inbox(taken)
    assert await store.consumers(project, ada) == []


async def bury(store: Store, project: str, name: str, *, is_message: bool = True) -> int:
    letter = NewDeadLetter(
        id=name, project=project, inbox=f"{project}-engineer-1", reason="poison", deliveries=5, body="{\x00",
        is_message=is_message,
    )  # fmt: skip
    return await store.bury([letter])


async def test_a_dead_letter_is_replayed_as_the_newest_message_of_its_inbox(
    store: Store, project: str, ada: str, lease: Lease
) -> None:
    name = f"{project}-1"
    await store.post([message(name, project=project), message(f"{project}-2", project=project)])
    await store.mark_delivered([kept.id for kept in await waiting(store, project)])
    assert [await bury(store, project, name) for _ in range(2)] == [1, 0]
    assert [kept.id for kept in await store.inbox(project, ada)] == [f"{project}-2"]
    [taken] = await store.apply([receipt(lease, 0, kind=StepKind.INPUT, acknowledged=(name,))])
    assert taken.status is ItemStatus.TAKEN
    await store.replay_letter(name, "kim")
    assert [kept.entry for kept in await waiting(store, project)] == ["1-3"]
    assert await store.dead_letters(project) == []
    [settled] = await store.dead_letters(project, settled=True)
    assert (settled.settled, settled.settled_by) == ("replayed", "kim")
    with pytest.raises(UndeliverableError, match="it was replayed by kim"):
        await store.drop_letter(name, "kim")
    assert await bury(store, project, name) == 1
    assert [letter.id for letter in await store.dead_letters(project)] == [name]


async def test_what_a_step_has_read_cannot_die(store: Store, project: str, lease: Lease) -> None:
    await store.post([message(f"{project}-1", project=project)])
    await store.apply([receipt(lease, 0, kind=StepKind.INPUT, acknowledged=(f"{project}-1",))])
    assert await bury(store, project, f"{project}-1") == 0
    assert await store.dead_letters(project) == []


async def test_what_never_was_a_message_can_only_be_dropped(store: Store, project: str) -> None:
    name = f"{project}-stray"
    assert await bury(store, project, name, is_message=False) == 1
    with pytest.raises(UndeliverableError, match="never was a message"):
        await store.replay_letter(name, "kim")
    await store.drop_letter(name, "kim")
    assert await store.dead_letters(project) == []
    with pytest.raises(UndeliverableError, match="there is no such dead letter"):
        await store.drop_letter("nothing", "kim")


async def test_a_letter_for_a_finished_agent_is_not_replayed(store: Store, project: str, ada: str) -> None:
    await store.post([message(f"{project}-1", project=project)])
    await store.close_inbox(project, None, "the project is done")
    with pytest.raises(UndeliverableError, match=f"{ada} has finished: the project is done"):
        await store.replay_letter(f"{project}-1", "kim")


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 1000, "caf\u00e9".encode()])
async def test_an_artifact_is_found_by_its_digest(store: Store, content: bytes) -> None:
    digest = await store.put_artifact(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert await store.put_artifact(content, "text/other") == digest
    assert await store.get_artifact(digest) == content


async def test_an_unknown_artifact_is_an_error(store: Store) -> None:
    with pytest.raises(UnknownArtifactError, match="beef"):
        await store.get_artifact("beef")


async def test_standing_is_what_was_said_last(store: Store, project: str, hands: Hands) -> None:
    assert await store.standing(project) is None
    await store.set_standing(project, Standing.PAUSED, "wait")
    said = hands.now
    hands.move(MINUTE)
    await store.set_standing(project, Standing.PAUSED, "wait")
    row = await store.standing(project)
    assert row is not None
    assert (row.standing, row.reason, row.at) == (Standing.PAUSED, "wait", said)
    await store.set_standing(project, Standing.ACTIVE, "go")
    row = await store.standing(project)
    assert row is not None
    assert (row.standing, row.at) == (Standing.ACTIVE, hands.now)
