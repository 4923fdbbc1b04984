"""Whether Vault's own pods, in the same cluster, need a policy to let the operand in. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vaultprov.kube.decision import (
    MANAGED_BY,
    Action,
    Decision,
    Workload,
    bare,
    network_policy,
)
from vaultprov.kube.destinations import Pods, pods_peer, to_peers
from vaultprov.kube.isolation import (
    Flow,
    Policy,
    Standing,
    doubts,
    find,
    labels_of,
    name_of,
    within,
)
from vaultprov.kube.objects import LABELS, Object
from vaultprov.netpol import Direction, Peer


def decide(
    operand: Workload, vault: Pods, policies: Sequence[Policy], unmodelled: Sequence[str] = ()
) -> Decision:
    """What to create in Vault's namespace so that the operand is let in, and why.

    policies: NetworkPolicies, those of Vault's namespace count. unmodelled: as for `netpol`.
    Our own policy never counts: see `vaultprov.kube.egress.decide`.
    """
    name = policy_name(operand)
    found_here = within(policies, vault.namespace)
    own = [each for each in found_here if isinstance(each, dict) and name_of(each) == name]
    others = [each for each in found_here if each not in own]
    flows = _flows(operand, vault)
    found = find(flows, others, Direction.INGRESS)
    who = f"Vault's pods in {vault.namespace}"
    if found.standing is Standing.FREE:
        ours = [each for each in own if labels_of(each).get(MANAGED_BY) == LABELS[MANAGED_BY]]
        why = f"nothing isolates {who} for ingress; a policy would cut off Vault's other clients"
        if own:
            why = f"only {vault.namespace}/{name} isolates {who}, and cuts off its other clients"
        return Decision(
            Action.NOTHING,
            why,
            obsolete=tuple(bare(each, vault.namespace) for each in ours),
            warnings=doubts(flows, others, unmodelled, Direction.INGRESS),
        )
    if found.standing is Standing.UNSURE:
        why = f"it cannot be told whether a policy would cut off Vault's clients: {found.reason}"
        return Decision(Action.NOTHING, why, warnings=(f"look at {who} by hand",))
    if found.standing is Standing.ALLOWED and not own:
        why = f"{', '.join(found.by)} already lets the operand in to {who}"
        told = doubts(flows, others, unmodelled, Direction.INGRESS)
        return Decision(Action.NOTHING, why, warnings=told)
    ours_now = ingress_policy(operand, vault)
    if found.standing is Standing.ALLOWED:
        why = f"{', '.join(found.by)} lets the operand in to {who}, too; ours stays"
    else:
        why = f"{who} are isolated and do not let the operand in: {found.reason}"
    told = doubts(flows, [*others, ours_now], unmodelled, Direction.INGRESS)
    return Decision(Action.NETWORK_POLICY, why, (ours_now,), warnings=told)


def policy_name(operand: Workload) -> str:
    """Named after the operand's namespace, because Vault may have several operands as clients."""
    return f"vaultprov-ingress-{operand.pod.namespace}"


def ingress_policy(operand: Workload, vault: Pods) -> Object:
    """Lets the operand's pods in to Vault's port."""
    rule = {
        "from": [pods_peer(operand.pod.namespace, operand.selector)],
        "ports": [{"protocol": "TCP", "port": vault.port}],
    }
    selector = {"matchLabels": dict(vault.selector)}
    return network_policy(
        policy_name(operand), vault.namespace, selector, [rule], Direction.INGRESS
    )


def _flows(operand: Workload, vault: Pods) -> list[Flow]:
    """Each pod of Vault, and the operand as its peer."""
    return [
        (target.pod, Peer(None, target.port, target.protocol, operand.pod))
        for target in to_peers(vault, ())
        if target.pod is not None
    ]
