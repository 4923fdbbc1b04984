"""What the API does to an object of a kind before it stores it: defaults, and validation.

This is a small part of what kube-apiserver checks: names, the fields that may not change, and the
rules about Secrets and RBAC that a provisioning tool meets. There is no schema validation: unknown
fields are kept where the real server drops them. Custom resources get the defaults of their schema.
"""

import base64
import binascii
import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from vaultprov.devenv.kube_api.resources import RBAC_GROUP, Resource
from vaultprov.devenv.kube_api.status import (
    Cause,
    Object,
    bad_request,
    invalid_value,
    not_supported,
    quoted,
    required,
)

TOKEN_SECRET = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SERVICE = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and"
    " must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used"
    f" for validation is '{_LABEL}')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'example.com', regex used for"
    f" validation is '{_SUBDOMAIN}')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an"
    " alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123',"
    f" regex used for validation is '{_SERVICE}')"
)
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',"
    "  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def prepare(resource: Resource, item: Object) -> Object:
    """The object with the defaults of its kind; nulls mean "not set", as in the real decoder."""
    prepared: Object = _without_nulls(item)
    if resource.schema:
        prepared = _schema_defaults(prepared, resource.schema)
    default = _DEFAULTS.get(resource.collection)
    return default(prepared) if default else prepared


def validate(resource: Resource, new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with an object, or with the change from the old one."""
    causes = [] if old else list(_name_errors(resource, new["metadata"].get("name", "")))
    check = _CHECKS.get(resource.collection)
    return causes + (list(check(new, old)) if check else [])


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(child) for k, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value


# --- defaults -------------------------------------------------------------------------------------


def _schema_defaults(value: Any, schema: Object) -> Any:
    """A custom resource, or a part of one, with what its schema gives by default."""
    if isinstance(value, list):
        return [_schema_defaults(item, schema.get("items") or {}) for item in value]
    if not isinstance(value, dict):
        return value
    known = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for_others = others if isinstance(others, dict) else {}
    absent = {k: copy.deepcopy(s["default"]) for k, s in known.items() if "default" in s}
    return {
        name: _schema_defaults(child, known.get(name, for_others))
        for name, child in (absent | value).items()
    }


def _namespace_defaults(item: Object) -> Object:
    metadata = item["metadata"]
    labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata["name"]}
    return {
        **item,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": item.get("status", {"phase": "Active"}),
    }


def _secret_defaults(item: Object) -> Object:
    """stringData is write-only: it is folded into data."""
    strings = item.get("stringData", {})
    data = item.get("data", {})
    for key, value in data.items():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            why = f"v1.Secret.Data: decode base64: illegal base64 data in {quoted(key)}"
            message = f'Secret in version "v1" cannot be handled as a Secret: {why}'
            raise bad_request(message) from None
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in strings.items()}
    item = {key: value for key, value in item.items() if key not in ("data", "stringData")}
    item.setdefault("type", "Opaque")
    return {**item, "data": data | encoded} if data or encoded else item


def _binding_defaults(item: Object) -> Object:
    if "roleRef" in item:
        item["roleRef"].setdefault("apiGroup", RBAC_GROUP)
    for subject in item.get("subjects", []):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", RBAC_GROUP)
    return item


def _network_policy_defaults(item: Object) -> Object:
    spec = item.setdefault("spec", {})
    for rule in spec.get("ingress", []) + spec.get("egress", []):
        for port in rule.get("ports", []):
            port.setdefault("protocol", "TCP")
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    return item


def _definition_defaults(item: Object) -> Object:
    """A definition is established at once; the real one takes a moment."""
    spec = item.get("spec", {})
    names = spec.get("names", {})
    if "kind" in names:
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    stored = [v["name"] for v in spec.get("versions", []) if v.get("storage")]
    status = {
        "acceptedNames": names,
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
        ],
        "storedVersions": stored,
    }
    return {**item, "status": status}


# --- validation -----------------------------------------------------------------------------------


def _name_errors(resource: Resource, name: str) -> Iterator[Cause]:
    field = "metadata.name"
    if not name:
        yield required(field, "name or generateName is required")
        return
    if resource.group == RBAC_GROUP:
        if name in (".", ".."):
            yield invalid_value(field, quoted(name), f"may not be '{name}'")
        for forbidden in "/%":
            if forbidden in name:
                yield invalid_value(field, quoted(name), f"may not contain '{forbidden}'")
        return
    pattern, rule, longest = _NAMES.get(resource.collection, (_SUBDOMAIN, _SUBDOMAIN_RULE, 253))
    if len(name) > longest:
        yield invalid_value(field, quoted(name), f"must be no more than {longest} characters")
    if not re.fullmatch(pattern, name):
        yield invalid_value(field, quoted(name), rule)


def _key_errors(item: Object, _: Object | None) -> Iterator[Cause]:
    for key in item.get("data", {}):
        if not re.fullmatch("[-._a-zA-Z0-9]+", key):
            yield invalid_value(f"data[{key}]", quoted(key), _KEY_RULE)


def _secret_errors(item: Object, old: Object | None) -> Iterator[Cause]:
    yield from _key_errors(item, old)
    if old and item["type"] != old["type"]:
        yield invalid_value("type", quoted(item["type"]), "field is immutable")
    annotations = item["metadata"].get("annotations", {})
    if item["type"] == TOKEN_SECRET and not annotations.get(ACCOUNT_NAME):
        yield required(f"metadata.annotations[{ACCOUNT_NAME}]")


def _role_errors(item: Object, _: Object | None) -> Iterator[Cause]:
    for index, rule in enumerate(item.get("rules", [])):
        if not rule.get("verbs"):
            yield required(f"rules[{index}].verbs", "verbs must contain at least one value")


def _binding_errors(supported: list[str]) -> Callable[[Object, Object | None], Iterator[Cause]]:
    def errors(item: Object, old: Object | None) -> Iterator[Cause]:
        ref = item.get("roleRef", {})
        if old and ref != old["roleRef"]:
            shown = ", ".join(
                f"{go}:{quoted(ref.get(key, ''))}"
                for go, key in (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
            )
            yield invalid_value("roleRef", f"rbac.RoleRef{{{shown}}}", "cannot change roleRef")
        if ref.get("kind") not in supported:
            yield not_supported("roleRef.kind", quoted(ref.get("kind", "")), supported)
        if not ref.get("name"):
            yield required("roleRef.name")
        for index, subject in enumerate(item.get("subjects", [])):
            yield from _subject_errors(f"subjects[{index}]", subject)

    return errors


def _subject_errors(field: str, subject: Object) -> Iterator[Cause]:
    kinds = ["Group", "ServiceAccount", "User"]
    if subject.get("kind") not in kinds:
        yield not_supported(f"{field}.kind", quoted(subject.get("kind", "")), kinds)
    if not subject.get("name"):
        yield required(f"{field}.name")
    if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
        yield required(f"{field}.namespace")


def _definition_errors(item: Object, _: Object | None) -> Iterator[Cause]:
    spec = item.get("spec", {})
    missing = [field for field in ("group", "scope", "versions") if not spec.get(field)]
    missing += [f"names.{f}" for f in ("plural", "kind") if not spec.get("names", {}).get(f)]
    for field in missing:
        yield required(f"spec.{field}")
    if missing:
        return
    name = f"{spec['names']['plural']}.{spec['group']}"
    if item["metadata"]["name"] != name:
        rule = 'must be spec.names.plural+"."+spec.group'
        yield invalid_value("metadata.name", quoted(item["metadata"]["name"]), rule)


_NAMES = {
    ("", "namespaces"): (_LABEL, _LABEL_RULE, 63),
    ("", "services"): (_SERVICE, _SERVICE_RULE, 63),
}
_DEFAULTS: dict[tuple[str, str], Callable[[Object], Object]] = {
    ("", "namespaces"): _namespace_defaults,
    ("", "secrets"): _secret_defaults,
    (RBAC_GROUP, "rolebindings"): _binding_defaults,
    (RBAC_GROUP, "clusterrolebindings"): _binding_defaults,
    ("networking.k8s.io", "networkpolicies"): _network_policy_defaults,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition_defaults,
}
_CHECKS: dict[tuple[str, str], Callable[[Object, Object | None], Iterator[Cause]]] = {
    ("", "configmaps"): _key_errors,
    ("", "secrets"): _secret_errors,
    (RBAC_GROUP, "roles"): _role_errors,
    (RBAC_GROUP, "clusterroles"): _role_errors,
    (RBAC_GROUP, "rolebindings"): _binding_errors(["ClusterRole", "Role"]),
    (RBAC_GROUP, "clusterrolebindings"): _binding_errors(["ClusterRole"]),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition_errors,
}
