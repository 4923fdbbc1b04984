"""Discovery: what is served, told to clients that map kinds to paths (kubectl, dynamic clients)."""

from vaultprov.devenv.kube_api.resources import PODS, SERVICE_ACCOUNTS, Registry, Resource
from vaultprov.devenv.kube_api.status import Object

VERSION: Object = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+vaultprov",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}


def discover(registry: Registry, path: str, address: str) -> Object | None:
    """The discovery document at a path, or None."""
    parts = [part for part in path.split("/") if part]
    if parts == ["api"]:
        cidr = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [cidr]}
    if parts == ["apis"]:
        groups = [_group(name, v) for name, v in registry.versions().items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    versions = registry.versions()
    match parts:
        case ["api", "v1"]:
            return _resources(registry, "", "v1")
        case ["apis", group] if group in versions:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions[group])}
        case ["apis", group, version] if version in versions.get(group, ()):
            return _resources(registry, group, version)
    return None


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(registry: Registry, group: str, version: str) -> Object:
    served = [r for r in registry if (r.group, r.version) == (group, version)]
    listed = [entry for resource in served for entry in _entries(resource)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": listed,
    }


def _entries(resource: Resource) -> list[Object]:
    """A resource and its subresources."""
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    entries = [entry]
    if resource.has_status:
        status = {"name": f"{resource.plural}/status", "verbs": ["get", "patch", "update"]}
        entries.append({**entry, "singularName": "", **status})
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource == PODS:
        log = {"name": "pods/log", "verbs": ["get"]}
        entries.append({**entry, "singularName": "", **log})
    if resource == SERVICE_ACCOUNTS:
        token = {
            "name": "serviceaccounts/token",
            "singularName": "",
            "namespaced": True,
            "group": "authentication.k8s.io",
            "version": "v1",
            "kind": "TokenRequest",
            "verbs": ["create"],
        }
        entries.append(token)
    return entries
