"""A tree and a folder: what differs, and how it is written.

Nothing is written before everything was looked at, so that a refusal leaves nothing half done.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from vaultprov.errors import ConfigError, Refused, reason
from vaultprov.kube.manifest import project
from vaultprov.render.kustomization import edited
from vaultprov.render.tree import Edit, Text, Tree, Whose, is_ours

# kustomize `api/internal/konfig/general.go`, RecognizedKustomizationFileNames
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


@dataclass(frozen=True, slots=True)
class File:
    """A file by its path in the folder: what it held (None: it was not there), what it has to."""

    path: str
    old: str | None
    new: str

    @property
    def differs(self) -> bool:
        return self.old != self.new

    @property
    def diff(self) -> str:
        """As a unified diff; empty if nothing differs."""
        old, new = (self.old or "").splitlines(), self.new.splitlines()
        lines = difflib.unified_diff(old, new, f"a/{self.path}", f"b/{self.path}", lineterm="")
        return "".join(f"{line}\n" for line in lines)


def write(tree: Tree, folder: Path, *, adopt: bool = False) -> list[File]:
    """Makes the folder hold the tree; every file of it, sorted by path.

    adopt: also overwrite files of others, and files that all clusters share. Never deletes. Raises
    Refused for those without it and for a path that leads out of the folder, ConfigError if
    something cannot be read, edited or written.
    """
    with _alone_in(folder):
        files = compared(tree, folder, adopt=adopt)
        for file in files:
            if file.differs:
                _replace(_inside(folder, file.path), file.new)
    return files


def compared(tree: Tree, folder: Path, *, adopt: bool = False) -> list[File]:
    """What `write` would make of the folder. Raises as it does."""
    return [_looked_at(folder, path, entry, adopt=adopt) for path, entry in sorted(tree.items())]


def leftovers(paths: Container[str], folder: Path, first_line: str) -> list[str]:
    """Files of an earlier run that are none of these paths, sorted.

    first_line: the header of this cluster's files; those of other clusters are not looked at.
    Nothing deletes them: a person does, and takes them out of their `kustomization.yaml`.
    """
    start = first_line.encode()
    found = []
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if path not in paths and ".git" not in file.parts and file.is_file():
            with contextlib.suppress(OSError), file.open("rb") as stream:
                if stream.readline() == start:
                    found.append(path)
    return found


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One writer at a time: clusters rendered side by side add to the same kustomization.

    The lock is on the folder itself and leaves no file in it. Where the file system has no locks
    (some network shares) there is none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {reason(error)}") from error
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _looked_at(folder: Path, path: str, entry: Edit | Text, *, adopt: bool) -> File:
    if isinstance(entry, Edit):
        path = _as_named(folder, path)
        old = _read(_inside(folder, path))
        return File(path, old, edited(old, entry, path))
    old = _read(_inside(folder, path))
    return File(path, old, _whole(path, entry, old, adopt=adopt))


def _as_named(folder: Path, path: str) -> str:
    """The path of a kustomization as it is there: kustomize knows three names, and takes one."""
    parent = PurePosixPath(path).parent
    for name in _KUSTOMIZATIONS:
        if _inside(folder, str(parent / name)).is_file():
            return str(parent / name)
    return path


def _whole(path: str, entry: Text, old: str | None, *, adopt: bool) -> str:
    """The text that a file of `entry` has to have."""
    if old is None:
        return entry.text
    if old.replace("\r\n", "\n") == entry.text:
        return old  # git may have changed the line ends
    if entry.whose is Whose.PEOPLE:
        if _identities(old) == _identities(entry.text):
            return old
    elif is_ours(old):
        if entry.whose is Whose.CLUSTER or adopt or _documents(old) == _documents(entry.text):
            return entry.text
        raise Refused(
            f"{path} is shared by all clusters, and this one needs something else",
            hint="--adopt changes it for all of them; or render this cluster to another folder",
        )
    elif _says(old, entry.text):
        return old
    if adopt:
        return entry.text
    raise Refused(
        f"{path} exists, and vaultprov did not render it",
        hint="--check --adopt shows what would be lost, --adopt overwrites it",
    )


def _documents(text: str) -> list[Any] | None:
    """The YAML documents of a text; None if it is none."""
    try:
        return [found for found in yaml.safe_load_all(text) if found is not None]
    except yaml.YAMLError:
        return None


def _identities(text: str) -> list[tuple[object, ...]]:
    return [
        (found.get("apiVersion"), found.get("kind"), (found.get("metadata") or {}).get("name"))
        for found in _documents(text) or ()
        if isinstance(found, dict)
    ]


def _says(old: str, new: str) -> bool:
    """Whether somebody else's file has what we need; more is theirs, and labels say whose it is."""
    have, want = _documents(old), _documents(new)
    if not have or not want or not all(isinstance(one, dict) for one in [*have, *want]):
        return False
    for one in want:
        metadata = one.get("metadata")
        if isinstance(metadata, dict):
            one["metadata"] = {k: v for k, v in metadata.items() if k != "labels"}
    return bool(project(have, want) == want)


def _inside(folder: Path, path: str) -> Path:
    """The file of a relative path. Raises Refused if it is not within the folder."""
    parts = PurePosixPath(path).parts
    try:
        root = folder.resolve()
        target = root.joinpath(*parts).resolve()
    except (OSError, RuntimeError) as error:  # a loop of symbolic links
        raise ConfigError(f"{folder / path} cannot be resolved: {error}") from error
    if not parts or ".." in parts or target == root or not target.is_relative_to(root):
        raise Refused(
            f"{path} leads out of the folder {folder}",
            hint="replace the symbolic link by a folder, or render somewhere else",
        )
    return target


def _read(file: Path) -> str | None:
    try:
        # Not read_text: it would change the line ends.
        return file.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {reason(error)}") from error


def _replace(file: Path, text: str) -> None:
    """Whole or not at all: who reads meanwhile sees the old file or the new one."""
    new = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with new.open("xb") as stream:
            stream.write(text.encode())
        with contextlib.suppress(FileNotFoundError):
            new.chmod(file.stat().st_mode)
        new.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
