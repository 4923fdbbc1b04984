"""A folder of manifests in place of a live cluster: the part of the API that only reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vaultprov.errors import ConfigError
from vaultprov.resource import Fields


class Folder:
    """Every object in the YAML and JSON files below a folder. Raises ConfigError if one is broken.

    Lists (`kubectl get -o yaml`) are taken apart; documents that are no objects (values files,
    kustomizations) are passed over.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(
                f"{folder} is no folder", hint="give a folder of manifests: --from DIR"
            )
        self.server = f"files in {folder}"
        self.context = str(folder)
        self._objects = [
            body
            for file in sorted(folder.rglob("*"))
            if file.suffix in (".yaml", ".yml", ".json") and file.is_file()
            for body in _objects(file)
        ]
        if not self._objects:
            raise ConfigError(f"there is no Kubernetes object in {folder}")

    def get(self, manifest: Fields) -> dict[str, Any] | None:
        metadata = manifest["metadata"]
        for body in self._objects:
            if body["kind"] != manifest["kind"] or body["metadata"].get("name") != metadata["name"]:
                continue
            if not metadata.get("namespace") or _namespace(body) == metadata["namespace"]:
                return body
        return None

    def items(
        self, version: str, kind: str, namespace: str | None = None, labels: str = ""
    ) -> list[dict[str, Any]] | None:
        wanted = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
        group = version.rpartition("/")[0]
        return [
            body
            for body in self._objects
            if body["kind"] == kind
            and str(body["apiVersion"]).rpartition("/")[0] == group
            and (namespace is None or _namespace(body) == namespace)
            and wanted.items() <= (body["metadata"].get("labels") or {}).items()
        ] or None

    def versions(self, group: str) -> tuple[str, ...]:
        named = (str(body["apiVersion"]).partition("/") for body in self._objects)
        return tuple(dict.fromkeys(version for name, _, version in named if name == group))


def _namespace(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("namespace") or "default")


def _objects(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        # YAML is a superset of JSON, but reading JSON as such is fifty times faster.
        documents = [json.loads(text)] if file.suffix == ".json" else list(yaml.safe_load_all(text))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{file} cannot be read: {problem}") from error
    for document in documents:
        yield from _flat(document)


def _flat(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict) or not document.get("kind"):
        return
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flat(item)
    elif document.get("apiVersion") and isinstance(document.get("metadata"), dict):
        yield document
