"""The guard rail for clusters without ValidatingAdmissionPolicy: the same rules for Gatekeeper.

See `vaultprov.kube.guardrail` for what is refused and why. Form: Gatekeeper's ConstraintTemplate
documentation; a ConstraintTemplate is of templates.gatekeeper.sh, its target is
admission.k8s.gatekeeper.sh, and its name is its kind in lower case.
"""

from __future__ import annotations

from vaultprov.kube.guardrail import NAME, Enforcement
from vaultprov.kube.objects import LABELS, Object
from vaultprov.kube.store import GROUP

KIND = "VaultprovVaultStores"

# Rego of version 0, which every Gatekeeper reads: a body in braces, no `if`.
_REGO = """\
package vaultprovvaultstores

vault := input.review.object.spec.provider.vault

unchanged {
  input.review.operation == "UPDATE"
  input.review.object.spec == input.review.oldObject.spec
}

violation[{"msg": msg}] {
  vault
  not unchanged
  not https
  msg := "the server of a Vault store must be an https:// URL"
}

violation[{"msg": msg}] {
  vault
  not unchanged
  not input.parameters.allowPublicCA
  not ca
  msg := "a Vault store must name Vault's CA, in caBundle or caProvider"
}

violation[{"msg": msg}] {
  vault
  not unchanged
  input.review.object.kind == "ClusterSecretStore"
  account := accounts[_]
  object.get(account, "namespace", "") == ""
  msg := "the serviceAccountRef of a ClusterSecretStore must have a namespace: without one nobody \
ever logs in, and the store is Ready all the same"
}

https { startswith(lower(vault.server), "https://") }

ca { vault.caProvider }
ca { count(vault.caBundle) > 0 }

accounts[account] { account := vault.auth.kubernetes.serviceAccountRef }
accounts[account] { account := vault.auth.jwt.kubernetesServiceAccountToken.serviceAccountRef }
"""


def constraint_template() -> Object:
    """The rules, with one parameter: `allowPublicCA` lets stores without a CA through."""
    parameters = {"type": "object", "properties": {"allowPublicCA": {"type": "boolean"}}}
    return {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {
            "name": KIND.lower(),
            "labels": LABELS,
            "annotations": {"argocd.argoproj.io/sync-wave": "19"},  # it makes the constraint's kind
        },
        "spec": {
            "crd": {
                "spec": {
                    "names": {"kind": KIND},
                    "validation": {"openAPIV3Schema": parameters},
                }
            },
            "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": _REGO}],
        },
    }


def constraint(*, public_ca: bool = False, enforcement: Enforcement = Enforcement.DENY) -> Object:
    """Puts the rules in force for every store. public_ca: see `guardrail.admission_policy`."""
    kinds = [{"apiGroups": [GROUP], "kinds": ["ClusterSecretStore", "SecretStore"]}]
    return {
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": KIND,
        "metadata": {
            "name": NAME,
            "labels": LABELS,
            "annotations": {"argocd.argoproj.io/sync-wave": "20"},
        },
        "spec": {
            "enforcementAction": enforcement.value,
            "match": {"kinds": kinds},
            "parameters": {"allowPublicCA": public_ca},
        },
    }
