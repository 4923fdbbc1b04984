"""Guard rail: the cluster refuses stores that reach Vault in an unsafe way.

The kinds are ClusterSecretStore and SecretStore of external-secrets.io; SecretProviderClass, which
is often named in this place, belongs to secrets-store.csi.x-k8s.io and says nothing about TLS.
Refused are: a server without https; no CA in the store, so that whatever CA the operand's image
trusts would do; and a ClusterSecretStore whose ServiceAccount has no namespace, because nobody ever
logs in for it and it is Ready all the same (external-secrets issue 2560). A store that stays as it
was is let through, or nobody could take a finalizer off an old one.
"""

from __future__ import annotations

from enum import StrEnum

from vaultprov.kube.decision import SYNC_WAVE
from vaultprov.kube.objects import LABELS, Object
from vaultprov.kube.store import GROUP, VERSIONS

NAME = "vaultprov-vault-stores"


class Enforcement(StrEnum):
    """What happens to a store that breaks a rule."""

    DENY = "deny"
    WARN = "warn"


_VAULT = "has(object.spec) && has(object.spec.provider) && has(object.spec.provider.vault)"
_CHANGED = "request.operation == 'CREATE' || !has(oldObject.spec) || object.spec != oldObject.spec"
_HTTPS = "has(variables.vault.server) && variables.vault.server.lowerAscii().startsWith('https://')"
# caBundle is text or bytes, depending on whether the API server knows the schema: size fits both.
_CA = (
    "has(variables.vault.caProvider) || "
    "(has(variables.vault.caBundle) && size(variables.vault.caBundle) > 0)"
)
_KUBERNETES = "variables.vault.auth.kubernetes"
_JWT = "variables.vault.auth.jwt.kubernetesServiceAccountToken"


def _with_namespace(holder: str, *guards: str) -> str:
    """CEL: the serviceAccountRef below `holder`, if there is one, has a namespace."""
    reference = f"{holder}.serviceAccountRef"
    absent = " || ".join(f"!has({each})" for each in (*guards, holder, reference))
    return f"({absent} || (has({reference}.namespace) && {reference}.namespace != ''))"


_NAMESPACE = (
    "object.kind != 'ClusterSecretStore' || !has(variables.vault.auth) || "
    f"({_with_namespace(_KUBERNETES)} && {_with_namespace(_JWT, 'variables.vault.auth.jwt')})"
)
_NO_HTTPS = "the server of a Vault store must be an https:// URL"
_NO_CA = "a Vault store must name Vault's CA, in caBundle or caProvider"
_NO_NAMESPACE = (
    "the serviceAccountRef of a ClusterSecretStore must have a namespace: without one nobody ever "
    "logs in, and the store is Ready all the same"
)


def admission_policy(*, public_ca: bool = False) -> Object:
    """A ValidatingAdmissionPolicy (Kubernetes 1.30 and newer, OpenShift 4.17 and newer).

    public_ca: Vault's certificate is signed by a CA that the operand's image trusts, so a store
    needs none.
    """
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": list(VERSIONS),
        "operations": ["CREATE", "UPDATE"],
        "resources": ["clustersecretstores", "secretstores"],
    }
    validations = [(_HTTPS, _NO_HTTPS), (_CA, _NO_CA), (_NAMESPACE, _NO_NAMESPACE)]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME, "labels": LABELS, "annotations": SYNC_WAVE},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [
                {"name": "vault", "expression": _VAULT},
                {"name": "changed", "expression": _CHANGED},
            ],
            "variables": [{"name": "vault", "expression": "object.spec.provider.vault"}],
            "validations": [
                {"expression": expression, "message": message, "reason": "Invalid"}
                for expression, message in validations
                if not (public_ca and message is _NO_CA)
            ],
        },
    }


def admission_binding(enforcement: Enforcement = Enforcement.DENY) -> Object:
    """The binding that puts the policy in force in the whole cluster."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME, "labels": LABELS, "annotations": SYNC_WAVE},
        "spec": {
            "policyName": NAME,
            "validationActions": [enforcement.value.capitalize(), "Audit"],
        },
    }
