"""What agents want of people: an answer, their word on a tool call, more budget."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from activities.contracts import OpenBudget, RecordActivities
from agents.runs import AgentOutcome, AgentRun, PendingCall, ToolRuling
from ledger.chain import decimal_text
from ledger.vocabulary import Answer, ApprovalKind, Json, dollars, project_scope
from workflows import options
from workflows.approval_models import Decision
from workflows.lifecycle import Lifecycle


class People:
    """Asks on behalf of the agents of one workflow."""

    def __init__(self, life: Lifecycle) -> None:
        self._life = life
        self._money = asyncio.Lock()
        self.raises = 0
        """How often the budget was raised."""

    @property
    def confirmed_tools(self) -> tuple[str, ...]:
        """Tools of which the brief wants every call confirmed."""
        return self._life.policy.rules(ApprovalKind.TOOL).tools

    async def answer(self, run: AgentRun, outcome: AgentOutcome) -> str | None:
        """A person's answer to an agent's question; None where nobody gives one."""
        question = outcome.question or outcome.summary
        if not self._life.asks(ApprovalKind.QUESTION):
            return None
        decision = await self._life.ask(
            ApprovalKind.QUESTION,
            {"agent": run.agent, "thread": outcome.thread, "question": question},
            text=f"{run.agent} asks: {question}",
            on_approve="the agent goes on with your comment as the answer",
            on_reject="this attempt fails",
            on_revise="as approve: the agent goes on with your comment as the answer",
        )
        if decision is None or decision.decision is Answer.REJECT:
            return None
        return decision.comment or "Yes, go on."

    async def rule(self, run: AgentRun, call: PendingCall) -> ToolRuling:
        """Ask whether this very call may be made; nobody's answer is no."""
        decision = await self._life.ask(
            ApprovalKind.TOOL,
            {"agent": run.agent, "role": run.role.value, "task": run.task, **call.model_dump(mode="json")},
            text=f"{run.agent} wants to call {call.tool}: {call.why}",
            on_approve="exactly this call is made, once",
            on_reject="the call is not made, and the agent reads why",
            on_revise="the call is not made, and the agent reads what you want instead",
            producers=(run.agent,),
        )
        return ToolRuling(
            place=call.place,
            digest=call.digest,
            allowed=decision is not None and decision.decision is Answer.APPROVE,
            reason=_reason(decision),
        )

    async def more_money(self, run: AgentRun, outcome: AgentOutcome, raises: int) -> bool:
        """Ask once for all agents that ran out; True when there is more than before.

        Args:
            raises: `self.raises` as it was when the agent began.
        """
        async with self._money:
            if self.raises != raises:
                return True
            if not self._life.asks(ApprovalKind.BUDGET):
                return False
            new = "budget_usd" if self._life.budget_tokens is None else "budget_usd, budget_tokens or both"
            decision = await self._life.ask(
                ApprovalKind.BUDGET,
                self._shortage(run, outcome),
                text=f"{run.agent} needs more budget: {outcome.summary}",
                on_approve=f"the project's budget becomes {new} and the agent goes on",
                on_reject="the work that ran out of budget fails",
            )
            if decision is None or decision.decision is not Answer.APPROVE:
                return False
            if decision.budget_usd is None and decision.budget_tokens is None:
                return False
            await self._raise(run.project, decision.budget_usd, decision.budget_tokens)
            return True

    def _shortage(self, run: AgentRun, outcome: AgentOutcome) -> dict[str, Json]:
        """What the request is about; tokens are named where they are limited."""
        limit = self._life.budget_usd
        subject: dict[str, Json] = {
            "scope": project_scope(run.project),
            "limit_usd": None if limit is None else decimal_text(limit),
            "cost_usd": decimal_text(self._life.tally.cost_usd),
            "thread": outcome.thread,
        }
        if self._life.budget_tokens is not None:
            subject |= {
                "limit_tokens": self._life.budget_tokens,
                "tokens": self._life.tally.tokens,
                "exceeded": outcome.exceeded and outcome.exceeded.value,
            }
        return subject

    async def _raise(self, project: str, usd: Decimal | None, tokens: int | None) -> None:
        request = OpenBudget(scope=project_scope(project), limit_usd=usd, limit_tokens=tokens, raised=True)
        words = [f"{dollars(usd)} USD"] if usd is not None else []
        words += [f"{tokens:,} tokens"] if tokens is not None else []
        await self._life.call(RecordActivities.open_budget, request, options.RECORD, f"budget {' and '.join(words)}")
        self._life.budget_usd = self._life.budget_usd if usd is None else usd
        self._life.budget_tokens = self._life.budget_tokens if tokens is None else tokens
        self.raises += 1


def _reason(decision: Decision | None) -> str:
    """What stands in the journal, and for a call that is not made, what the agent reads."""
    if decision is None:
        return "nobody decided about this call in time"
    words = {Answer.APPROVE: "approved by", Answer.REJECT: "rejected by", Answer.REVISE: "not like this, says"}
    comment = f": {decision.comment}" if decision.comment else ""
    return f"{words[decision.decision]} {decision.signer}{comment}"
