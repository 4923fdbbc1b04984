"""Static evaluation of NetworkPolicies: allowed, denied or unknown, and why. Pure.

Rules: k8s.io/api/networking/v1 `types.go`; kubernetes-sigs/network-policy-api policy-assistant
`pkg/matcher`. Policies only allow: a pod that none isolates may go anywhere, an isolated one where
any rule of any isolating policy lets it. What is not modelled makes the answer unknown.
"""

from vaultprov.netpol.evaluate import evaluate
from vaultprov.netpol.model import Answer, Direction, Peer, Pod, Verdict
from vaultprov.netpol.selectors import selects

__all__ = ["Answer", "Direction", "Peer", "Pod", "Verdict", "evaluate", "selects"]
