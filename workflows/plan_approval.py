"""A plan before its sprints: hooks, a person's word, and edits, until it is confirmed and frozen or sent back."""

from __future__ import annotations

from collections.abc import Sequence

from agents.assignments import Feedback, Plan
from ledger.events import PlanConfirmed
from ledger.vocabulary import ApprovalKind, Json, Phase, Role
from workflows import team
from workflows.approval_models import Decision
from workflows.confirming import NO_GATES, wish_of
from workflows.entitlement import PERSON
from workflows.interrupting import Interrupted, unless
from workflows.lifecycle import Lifecycle
from workflows.plan_edits import Draft
from workflows.plan_hooks import PlanHooks
from workflows.planning import Ground, Planning
from workflows.specs import HookBrief, ProjectSpec
from workflows.withdrawing import withdraw


class PlanApproval:
    """Brings the plans of one project to their confirmation."""

    def __init__(self, life: Lifecycle, spec: ProjectSpec, ground: Ground, planning: Planning) -> None:
        self._life = life
        self._spec = spec
        self._ground = ground
        self._planning = planning
        self._hooks = PlanHooks(life, ground)
        self._edited = False
        self._editors: tuple[str, ...] = ()
        self.draft = Draft(plan=Plan(summary=""))
        """The plan as it would be confirmed now."""

    @property
    def is_open(self) -> bool:
        """Whether a person is asked about the plan, who may as well change it."""
        return any(view.kind is ApprovalKind.PLAN for view in self._life.book.open)

    def change(self, draft: Draft, by: str) -> None:
        """Put another draft in the place of the one that is asked about; its request is taken back.

        Args:
            by: who changed it, and so had a part in it.
        """
        self.draft, self._edited = draft, True
        self._editors = tuple(dict.fromkeys((*self._editors, f"{PERSON}{by}")))
        # At once: a decision about the plan as it was may come with the very next message.
        withdraw(self._life, "the plan was edited")

    async def confirm(
        self, plan: Plan, warnings: Sequence[str], producer: Role | None, *, asks: bool
    ) -> Feedback | None:
        """Confirm a plan, as it is or as people change it meanwhile; what to plan again for, or None when it is confirmed.

        Args:
            producer: who made it; None for one that stands in the brief.
            asks: whether a person is asked. A hook that blocks asks one in any case.

        Raises:
            Ended: it was rejected, or nobody decided in time.
        """
        self.draft, trouble, self._editors = Draft(plan=plan), "", ()
        while True:
            by = ""
            if asks or trouble:
                decision = await self._ask(warnings, producer, trouble)
                if self._edited:
                    trouble = await self._take_over()
                    continue
                wish = wish_of(decision, "the plan")
                if wish is not None:
                    return wish
                by = decision.by if decision is not None else ""
            trouble = await self._hooked("before_plan", self._spec.hooks.before_plan)
            if not trouble:
                self._note_confirmed(by)
                trouble = await self._hooked("after_plan", self._spec.hooks.after_plan)
            if not trouble:
                return None

    async def _ask(self, warnings: Sequence[str], producer: Role | None, trouble: str) -> Decision | None:
        try:
            return await unless(self._life, lambda: self._edited, self._request(warnings, producer, trouble))
        except Interrupted:
            withdraw(self._life, "the plan was edited")
            return None

    async def _take_over(self) -> str:
        """Make the edited draft the plan that everybody reads."""
        self._edited = False
        await self._planning.adopt(self.draft.plan)
        return ""

    async def _request(self, warnings: Sequence[str], producer: Role | None, trouble: str) -> Decision | None:
        life, plan = self._life, self.draft.plan
        life.enter(Phase.APPROVAL, trouble or plan.summary)
        tasks = sum(len(sprint.tasks) for sprint in plan.sprints)
        notes = [trouble] if trouble else []
        notes += [NO_GATES] if NO_GATES in warnings else []
        begun = life.sprint_number is not None
        return await life.ask(
            ApprovalKind.PLAN,
            self._subject(warnings, trouble),
            text=f"{len(plan.sprints)} sprints, {tasks} tasks: {plan.summary}"
            + "".join(f" ({note})" for note in notes),
            on_approve="the next sprint starts" if begun else "the first sprint starts",
            on_reject=f"the project ends{'; what was merged before stays' if begun else ', nothing is changed'}",
            on_revise="it is planned again with your words",
            producers=(*(() if producer is None else (team.agent_id(life.project, producer, 0),)), *self._editors),
        )

    def _subject(self, warnings: Sequence[str], trouble: str) -> dict[str, Json]:
        subject: dict[str, Json] = {
            "goal": self._spec.goal,
            "plan": self.draft.plan.model_dump(mode="json"),
            "commit": self._ground.commit,
            "mode": self._life.mode.value,
            "warnings": list(warnings),
        }
        if self.draft.agents:
            subject["agents"] = dict(self.draft.agents)
        if trouble:
            subject["hooks"] = trouble
        return subject

    async def _hooked(self, when: str, hooks: Sequence[HookBrief]) -> str:
        """What keeps the plan from passing."""
        if not hooks:
            return ""
        [plan] = [ref for ref in self._planning.documents if ref.name == "plan"]
        return await self._hooks.run(when, hooks, plan)

    def _note_confirmed(self, by: str) -> None:
        plan = self.draft
        self._life.note(PlanConfirmed(digest=plan.digest, summary=plan.plan.summary, by=by))
