"""ACL policies, compared by meaning.

A policy has no place for a marker but its text: the first line is a comment that says whose it is.

    # managed by vaultprov: environment=moc cluster=smaug; edits are overwritten by the next run

A policy of another author that means the same is kept as it is; one that means something else is
shown as a diff and refused until `--adopt`. Names are joined by hyphens and hold some, so cluster
`b` of `moc-a` may have the policy's name of cluster `a-b` of `moc`: that one is never overwritten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from vaultprov.errors import ConfigError, reason
from vaultprov.names import joined
from vaultprov.resource import Fields, Foreign, Io, Key, Right, State, VaultRight
from vaultprov.vault.hcl import HclError, meaning

_MARK = re.compile(r"\s*# managed by vaultprov(?:: ([^;\n]*))?")


def owner(env: str, cluster: str = "", team: str = "") -> str:
    """Whose a policy is: an environment's, a cluster's, or a team's on a cluster."""
    facts = {"environment": env, "cluster": cluster, "team": team}
    return " ".join(f"{name}={value}" for name, value in facts.items() if value)


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy `name` with the rules of `text`. owner: as `owner` makes it; "" is the site."""

    name: str
    text: str
    owner: str = ""
    after: tuple[Key, ...] = ()
    required: str = ""

    @property
    def marked(self) -> str:
        """The text as it stands in Vault, behind the line that says whose it is."""
        mark = f"# managed by vaultprov{f': {self.owner}' if self.owner else ''}"
        return f"{mark}; edits are overwritten by the next run\n{self.text}"

    @property
    def key(self) -> Key:
        return Key("vault/policy", self.name)

    def wanted(self) -> State:
        return State({"path": meaning(self.text)})

    def read(self, io: Io) -> State | None:
        # Not sys/policy: that one answers `rules` and is deprecated.
        found = io.vault.read(self._path)
        if found is None:
            return None
        text = str(found.get("policy", ""))
        try:
            rules = meaning(text)
        except HclError:
            rules = {"(a text that vaultprov cannot read)": text}  # shown before it is replaced
        return State({"path": rules}, foreign=self._foreign(text))

    def _foreign(self, text: str) -> Foreign | None:
        mark = _MARK.match(text)
        if mark is None:
            return Foreign("was written by somebody else (its text carries no vaultprov marker)")
        if mark[1] and self.owner and mark[1] != self.owner:
            return Foreign(
                f"belongs to {mark[1]}",
                flag="",
                hint="two names joined to the same: give one another pattern (settings names.*); "
                f"of what nobody uses any more, `vault policy delete {self.name.lower()}`",
            )
        return None

    def write(self, io: Io, target: Fields, found: State | None) -> None:
        io.vault.write(self._path, {"policy": self.marked})

    def remove(self, io: Io, found: State) -> None:
        io.vault.delete(self._path)

    def rights(self, action: str) -> tuple[Right, ...]:
        needs = {"read": "read", "delete": "delete"}.get(action, "write")
        return (VaultRight(self._path, (needs,)),)

    @property
    def _path(self) -> str:
        return joined("sys/policies/acl", self.name.lower())  # as Vault stores it


def policy_folder(policy_set: str, policy_dir: Path | None) -> Path:
    """The folder with `read.hcl` and `write.hcl`: the user's own, or a set that we ship.

    Raises ConfigError if there is none.
    """
    if policy_dir is not None:
        folder = policy_dir.expanduser()
    else:
        folder = _shipped() / policy_set
        if not folder.is_dir():
            known = ", ".join(policy_sets())
            raise ConfigError(f"there is no policy set {policy_set!r}", hint=f"one of: {known}")
    if not folder.is_dir():
        raise ConfigError(f"the policy folder {folder} does not exist", hint="see --policy-dir")
    return folder


def policy_sets() -> tuple[str, ...]:
    """The names of the sets that we ship."""
    return tuple(sorted(place.name for place in _shipped().iterdir() if place.is_dir()))


def _shipped() -> Path:
    """In the wheel the templates lie in the package, in a source tree beside it."""
    package = Path(__file__).resolve().parent.parent
    places = [package / "policies", package.parent / "policies"]
    return next((place for place in places if place.is_dir()), places[0])


def render(template: Path, values: dict[str, str]) -> str:
    """The policy text of a `string.Template` file (Vault's own templates use braces).

    values: `env`, `cluster`, `kv_mount`, `scope_path`; validated names only. Raises ConfigError
    with file and line if the template is unreadable, names something else, or is not a policy.
    """
    try:
        text = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the policy template {template} cannot be read: {reason(error)}"
        ) from error
    try:
        rendered = Template(text).substitute(values)
    except (KeyError, ValueError) as error:
        line = _line_of(text, error)
        known = ", ".join(f"${name}" for name in values)
        raise ConfigError(
            f"{template}:{line}: unknown placeholder or stray '$' ({error})",
            hint=f"known placeholders: {known}; write a literal dollar sign as $$",
        ) from error
    try:
        meaning(rendered, strict=True)
    except HclError as error:
        raise ConfigError(
            f"{template}:{error.line}: {error.problem}",
            hint="mend the template; nothing was written",
        ) from error
    return rendered


def _line_of(text: str, error: Exception) -> int:
    if isinstance(error, KeyError):
        placeholders = Template.pattern.finditer(text)
        named = (m for m in placeholders if error.args[0] in (m["named"], m["braced"]))
        return text.count("\n", 0, next(named).start()) + 1
    # "Invalid placeholder in string: line 3, col 9"
    words = str(error).replace(",", " ").split()
    return int(words[words.index("line") + 1]) if "line" in words else 1
