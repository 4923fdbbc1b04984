"""Which resources are served: the built-in ones, and those of the CustomResourceDefinitions.

The registry reads the definitions from the store at each look-up, so that a resource is served
from the moment its CustomResourceDefinition exists, and no longer than that.
"""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field

from vaultprov.devenv.kube_api.status import Object
from vaultprov.devenv.kube_api.store import Collection, Store

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")
CRDS: Collection = ("apiextensions.k8s.io", "customresourcedefinitions")


@dataclass(frozen=True)
class Resource:
    """One served resource in one version."""

    group: str
    version: str
    plural: str
    kind: str
    short_names: tuple[str, ...] = ()
    _: KW_ONLY
    namespaced: bool = True
    verbs: tuple[str, ...] = VERBS
    has_status: bool = False
    custom: bool = False
    schema: Object = field(default_factory=dict, compare=False, repr=False)
    """Of a custom resource: OpenAPI, of which only the defaults are looked at."""

    @property
    def counts_changes(self) -> bool:
        """Whether metadata.generation counts the changes of the content."""
        return self.custom or self.group in _COUNTED

    @property
    def collection(self) -> Collection:
        """Where the objects are stored: all versions of a resource share one place."""
        return (self.group, self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_review(self) -> bool:
        """A question: it is created, answered, and never stored."""
        return self.verbs == ("create",)

    def stamped(self, stored: Object) -> Object:
        """A stored object as this version serves it."""
        return {"kind": self.kind, "apiVersion": self.api_version, **stored}


_COUNTED = ("apps", "networking.k8s.io", "apiextensions.k8s.io", "admissionregistration.k8s.io")
RBAC_GROUP = "rbac.authorization.k8s.io"
NAMESPACES = Resource(
    "", "v1", "namespaces", "Namespace", ("ns",), namespaced=False, has_status=True
)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", ("sa",))
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", ("cm",))
PODS = Resource("", "v1", "pods", "Pod", ("po",), has_status=True)
ROLES = Resource(RBAC_GROUP, "v1", "roles", "Role")
ROLE_BINDINGS = Resource(RBAC_GROUP, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource(RBAC_GROUP, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    RBAC_GROUP, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)


def _review(group: str, plural: str, kind: str) -> Resource:
    return Resource(group, "v1", plural, kind, namespaced=False, verbs=("create",))


TOKEN_REVIEWS = _review("authentication.k8s.io", "tokenreviews", "TokenReview")
SELF_REVIEWS = _review(
    "authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"
)
SUBJECT_REVIEWS = _review("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview")

BUILT_IN = (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    SECRETS,
    CONFIG_MAPS,
    Resource("", "v1", "services", "Service", ("svc",), has_status=True),
    PODS,
    Resource("", "v1", "endpoints", "Endpoints", ("ep",)),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Resource("", "v1", "events", "Event", ("ev",)),
    Resource("apps", "v1", "deployments", "Deployment", ("deploy",), has_status=True),
    Resource("apps", "v1", "replicasets", "ReplicaSet", ("rs",), has_status=True),
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", ("netpol",)),
    Resource(
        *(CRDS[0], "v1", CRDS[1], "CustomResourceDefinition", ("crd", "crds")),
        namespaced=False,
        has_status=True,
    ),
    Resource(
        *("admissionregistration.k8s.io", "v1"),
        *("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
        namespaced=False,
    ),
    TOKEN_REVIEWS,
    SELF_REVIEWS,
    SUBJECT_REVIEWS,
)


class Registry:
    """Finds resources, and lists them for discovery."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __iter__(self) -> Iterator[Resource]:
        yield from BUILT_IN
        for definition in self._store.items(CRDS):
            yield from custom_resources(definition)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        wanted = (group, version, plural)
        return next((r for r in self if (r.group, r.version, r.plural) == wanted), None)

    def versions(self) -> dict[str, list[str]]:
        """API groups with their versions, in the order of preference."""
        found: dict[str, list[str]] = {}
        for resource in self:
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return found


def custom_resources(definition: Object) -> Iterator[Resource]:
    """The resources that a CustomResourceDefinition declares, one per served version."""
    spec = definition["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if version.get("served"):
            yield Resource(
                spec["group"],
                version["name"],
                names["plural"],
                names["kind"],
                tuple(names.get("shortNames", ())),
                namespaced=spec.get("scope") == "Namespaced",
                has_status="status" in version.get("subresources", {}),
                custom=True,
                schema=version.get("schema", {}).get("openAPIV3Schema", {}),
            )
