"""How a project shapes its agents: words for roles, and profiles of named agents. Pure, except for reading YAML.

A profile refines a role and never widens it: tools, tier and scope stay what the role and the task allow. `high` is who the
agent is and what it weighs, `low` how it works from day to day; `folder` is where it works in the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self, cast

import yaml
from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, ValidationError, model_validator

from agents.consensus import ConsensusRule
from agents.errors import AgentError
from agents.team import agent_name
from agents.topology import TopologyName
from ledger.vocabulary import Brief, Record, Role, Slug

FOLDER = ".syndic/profiles"
"""Where a repository keeps its profiles."""
MAX_PROFILE_BYTES = 32_000
EVERYTHING = ("**",)

Layer = Annotated[str, StringConstraints(max_length=4_000, strip_whitespace=True)]
Skill = Annotated[str, StringConstraints(min_length=1, max_length=40, strip_whitespace=True)]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=4_000, strip_whitespace=True)]


class ProfileError(AgentError):
    """A profile cannot be used; the message names the file and the place."""


def _inside(folder: str) -> str:
    parts = folder.rstrip("/").split("/")
    if (
        not folder
        or any(part in ("", ".", "..", ".git") for part in parts)
        or any(char in folder for char in "*?[]!\\")
    ):
        raise ValueError("write a folder inside the repository, relative to its root, such as src/parser")
    return "/".join(parts)


class Profile(Brief):
    """One kind of agent of a project."""

    name: Slug
    role: Role
    names: tuple[Slug, ...] = Field(default=(), max_length=24)
    """Agents of this profile; none means all of the role that no other profile names."""
    high: Layer = ""
    low: Layer = ""
    skills: tuple[Skill, ...] = Field(default=(), max_length=20)
    folder: Annotated[str, AfterValidator(_inside)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.role is Role.JUDGE:
            raise ValueError("judges have no profiles: a verdict owes nothing to what the project wants of it")
        if not (self.high or self.low or self.skills or self.folder):
            raise ValueError("a profile says something: give high, low, skills or folder")
        if self.folder is not None and not self.names:
            raise ValueError("a profile with a folder names its agents, or nobody is left for work elsewhere")
        return self

    @property
    def scope(self) -> tuple[str, ...]:
        return EVERYTHING if self.folder is None else (f"{self.folder}/**",)


PROFILE_TAGS = ("<profile>", "<name>")
"""Stand in the place of an error beside its keys; people need not see them."""


def _tag(value: object) -> str:
    return PROFILE_TAGS[isinstance(value, str)]


NamedProfile = Annotated[
    Annotated[Profile, Tag(PROFILE_TAGS[0])] | Annotated[Slug, Tag(PROFILE_TAGS[1])], Discriminator(_tag)
]
"""A profile as a brief has it: written out, or the name of a file in the repository."""


class TeamPlan(Record):
    """What a brief says of its team."""

    topology: TopologyName = TopologyName.SUPERVISOR
    consensus: ConsensusRule = ConsensusRule()
    prompts: dict[str, str] = {}
    """Words for roles, or for all under `default`."""
    profiles: tuple[Profile, ...] = ()

    def profile_of(self, agent: str) -> Profile | None:
        """The profile that names an agent, else the one of its whole role."""
        own = [profile for profile in self.profiles if f".{profile.role.value}." in agent]
        named = [profile for profile in own if agent_name(agent) in profile.names]
        return next(iter(named or [profile for profile in own if not profile.names]), None)

    def guidance(self, agent: str, role: Role) -> str:
        """What stands at the end of the agent's system prompt; judges are asked by the whole project or not at all."""
        words = [self.prompts.get("default", ""), self.prompts.get(role.value, "")]
        profile = self.profile_of(agent)
        if profile is not None:
            words += [profile.high, profile.low]
            words += [f"Your skills: {', '.join(profile.skills)}."] if profile.skills else []
            words += [f"You work in the folder {profile.folder}."] if profile.folder else []
        return "\n\n".join(word for word in words if word)

    def skills(self, agent: str) -> tuple[str, ...]:
        profile = self.profile_of(agent)
        return profile.skills if profile is not None else ()

    def narrowed(self, agent: str, scope: tuple[str, ...]) -> tuple[str, ...] | None:
        """The part of a task's scope that an agent may work in; None where none of it lies in the agent's folder."""
        profile = self.profile_of(agent)
        if profile is None or profile.folder is None:
            return scope
        if scope == EVERYTHING:
            return profile.scope
        inside = tuple(glob for glob in scope if glob.startswith(f"{profile.folder}/"))
        around = any(_holds(glob, profile.folder) for glob in scope)
        return profile.scope if around else inside or None

    def names_of(self, role: Role) -> tuple[str, ...]:
        """Names that profiles bring for a role, in their order."""
        found = (name for profile in self.profiles if profile.role is role for name in profile.names)
        return tuple(dict.fromkeys(found))


def _holds(glob: str, folder: str) -> bool:
    """Whether a glob of the form `some/folder/**` holds the whole folder."""
    outer = glob.removesuffix("/**")
    return glob.endswith("/**") and (folder == outer or folder.startswith(f"{outer}/"))


def check_team(prompts: dict[str, str], profiles: Sequence[Profile | str]) -> list[str]:
    """What is wrong with the team of a brief."""
    known = ["default", *(role.value for role in Role)]
    faults = [f"prompts: {name!r} is no role; known: {', '.join(known)}" for name in prompts if name not in known]
    names = [profile if isinstance(profile, str) else profile.name for profile in profiles]
    faults += [f"profiles: {name!r} is given twice" for name in sorted(set(names)) if names.count(name) > 1]
    return faults + clashes([profile for profile in profiles if isinstance(profile, Profile)])


def clashes(profiles: Sequence[Profile]) -> list[str]:
    """Agents that two profiles claim, and roles that two profiles claim as a whole."""
    claims: dict[tuple[Role, str], list[str]] = {}
    for profile in profiles:
        for name in profile.names or ("everyone else",):
            claims.setdefault((profile.role, name), []).append(profile.name)
    return [
        f"profiles: {' and '.join(owners)} both claim {name} of the role {role}"
        for (role, name), owners in claims.items()
        if len(owners) > 1
    ]


def read_profile(name: str, content: bytes) -> Profile:
    """The profile in a file of the repository.

    Raises:
        ProfileError: It is too large, no YAML, or no profile; one line for each mistake.
    """
    path = f"{FOLDER}/{name}.yaml"
    if len(content) > MAX_PROFILE_BYTES:
        raise ProfileError(f"{path}: it has {len(content)} bytes, the limit is {MAX_PROFILE_BYTES}")
    try:
        raw = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ProfileError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise ProfileError(f"{path}: it must hold a mapping such as `role: engineer`, not {type(raw).__name__}")
    written = cast("dict[str, object]", raw)
    if written.setdefault("name", name) != name:
        raise ProfileError(f"{path}: name is {written['name']!r}, the file's name says {name!r}")
    try:
        return Profile.model_validate(written)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        lines = [f"{path}: {'.'.join(map(str, item['loc'])) or 'profile'}: {item['msg']}" for item in found]
        raise ProfileError("\n".join(lines)) from None
