"""Compares vaultprov.netpol with IBM's network-config-analyzer on random policies.

Not a test that pytest collects: the analyzer pins its dependencies exactly (PyYAML==6.0.2, ...),
so it lives in an environment of its own:

    python -m venv /tmp/nca && /tmp/nca/bin/pip install network-config-analyzer==2.1.0
    python -m tests.netpol_crosscheck --nca /tmp/nca/bin/nca --cases 500 [--seed 1]

NCA in the environment does instead of --nca. One run of the analyzer does many cases: each is a
network configuration of a common scheme, with a connectivity map as its query. Compared are the
ways out of and into the pods of one namespace: other pods, and addresses outside. A way between
pods is open if the one may send (egress) and the other may receive (ingress). Exit status 1 when
one differs.

Left out, since the analyzer does not take or tell it: policyTypes as [Egress, Ingress], rules of a
direction that policyTypes lacks, addresses of pods (pods here have IPv6 ones that no block covers).
And since it is wrong: Exists and DoesNotExist in a podSelector beside a namespaceSelector, which it
looks for in the policy's own namespace (K8sPolicyYamlParser.parse_label_selector_requirement hands
`self.namespace` to get_peers_with_key, and for In and NotIn it does not).
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from vaultprov.netpol import Answer, Direction, Peer, Pod, evaluate

PORTS, PROTOCOLS = (53, 443, 6443, 8199, 8200, 8201), ("TCP", "UDP", "SCTP")
OUTSIDE = ("192.0.2.10", "192.0.2.77", "198.51.100.1", "203.0.113.9", "2001:db8::1")
POD_ADDRESS = "fd00::7"
APPS, TIERS = ("core", "web", "vault"), ("front", "back")
BATCH = 50
ARROW = re.compile(r"^(?P<source>\S.*?) => (?P<target>.*?) : (?P<connections>.+)$")
CUBE = re.compile(r"\{protocols:(?P<protocols>[A-Z, ]+?)(?:,dst_ports:(?P<ports>[\d,-]+))?\}")

Grant = tuple[str, str, str]


class Case:
    """One cluster: two namespaces of pods, and policies of the first.

    Names carry the case's number: the analyzer takes pods of one name for the same in all clusters
    of a run, and gives them the named ports of the first.
    """

    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance, self._home = chance, f"home{number}"
        self.pods: dict[str, Pod] = {}
        for namespace in (self._home, f"away{number}"):
            labels = {"kubernetes.io/metadata.name": namespace, **self._labels()}
            for pod in range(2):
                name = f"{namespace}-{pod}"
                mine = {"name": name, **self._labels()}
                self.pods[name] = Pod(namespace, mine, False, labels, self._named())
        self.policies = [self._policy(each) for each in range(chance.randint(1, 3))]

    def _labels(self) -> dict[str, str]:
        pairs = {"app": self._chance.choice(APPS), "tier": self._chance.choice(TIERS)}
        return {key: value for key, value in pairs.items() if self._chance.random() < 0.7}

    def _named(self) -> dict[str, tuple[int, str]]:
        port = (self._chance.choice(PORTS), self._chance.choice(PROTOCOLS))
        return {"api": port} if self._chance.random() < 0.6 else {}

    def _selector(
        self, operators: Sequence[str] = ("In", "NotIn", "Exists", "DoesNotExist")
    ) -> dict[str, Any]:
        chance, selector = self._chance, dict[str, Any]()
        if chance.random() < 0.4:
            selector["matchLabels"] = self._labels()
        if chance.random() < 0.4:
            operator = chance.choice(operators)
            told: dict[str, Any] = {"key": chance.choice(("app", "tier")), "operator": operator}
            if operator.endswith("In"):
                told["values"] = chance.sample((*APPS, *TIERS), chance.randint(1, 3))
            selector["matchExpressions"] = [told]
        return selector

    def _peer(self) -> dict[str, Any]:
        chance = self._chance
        if chance.random() < 0.5:
            return {"ipBlock": self._block()}
        if chance.random() < 0.4:
            return {
                "podSelector": self._selector(("In", "NotIn")),
                "namespaceSelector": self._selector(),
            }
        return {chance.choice(("podSelector", "namespaceSelector")): self._selector()}

    def _block(self) -> dict[str, Any]:
        chance = self._chance
        if chance.random() < 0.15:
            return {"cidr": "2001:db8::/32", "except": chance.choice(([], ["2001:db8::/64"]))}
        cidr = ipaddress.ip_network(
            f"{chance.choice(OUTSIDE[:-1])}/{chance.choice((0, 8, 24, 28, 32))}", strict=False
        )
        block: dict[str, Any] = {"cidr": str(cidr)}
        if cidr.prefixlen < 28 and chance.random() < 0.5:
            holes = [
                ipaddress.ip_network(f"{address}/{chance.choice((28, 29, 30, 32))}", strict=False)
                for address in chance.sample(OUTSIDE[:-1], 2)
            ]
            block["except"] = [str(hole) for hole in holes if hole.network_address in cidr]
        return block

    def _port(self) -> dict[str, Any]:
        chance = self._chance
        port: dict[str, Any] = {}
        if chance.random() < 0.7:
            port["protocol"] = chance.choice(PROTOCOLS)
        if chance.random() < 0.2:
            port["port"] = "api"
        elif chance.random() < 0.85:
            first, last = sorted(chance.choices(PORTS, k=2))
            port["port"] = first
            if chance.random() < 0.4:
                port["endPort"] = last
        return port

    def _rule(self, key: str) -> dict[str, Any]:
        chance, rule = self._chance, dict[str, Any]()
        if chance.random() < 0.8:
            rule[key] = [self._peer() for _ in range(chance.randint(0, 2))]
        if chance.random() < 0.8:
            rule["ports"] = [self._port() for _ in range(chance.randint(0, 2))]
        return rule

    def _policy(self, number: int) -> dict[str, Any]:
        types = self._chance.choice(
            (["Egress"], ["Egress"], ["Ingress"], ["Ingress", "Egress"], None)
        )
        spec: dict[str, Any] = {"podSelector": self._selector()}
        if types is not None:
            spec["policyTypes"] = types
        for kind, field, key in (("Ingress", "ingress", "from"), ("Egress", "egress", "to")):
            rules = [self._rule(key) for _ in range(self._chance.randint(0, 2))]
            # The analyzer takes an absent policyTypes with an empty egress for an isolating one.
            if (types is None and rules) or (types is not None and kind in types):
                spec[field] = rules
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"p{number}", "namespace": self._home},
            "spec": spec,
        }

    def manifests(self) -> Iterator[dict[str, Any]]:
        """Namespaces and pods."""
        seen: set[str] = set()
        for name, pod in self.pods.items():
            labels = dict(pod.namespace_labels)
            if pod.namespace not in seen:
                metadata: dict[str, Any] = {"name": pod.namespace, "labels": labels}
                yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
            seen.add(pod.namespace)
            ports = [
                {"name": known, "containerPort": number, "protocol": protocol}
                for known, (number, protocol) in pod.ports.items()
            ]
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": pod.namespace, "labels": dict(pod.labels)},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]},
            }

    def ours(self) -> Iterator[tuple[Grant, str, int, Answer]]:
        """Every way out of and into every pod, and what we say about it."""
        for name, pod in self.pods.items():
            ends = [(f"{p.namespace}/{n}", p) for n, p in self.pods.items() if n != name]
            for port in PORTS:
                for protocol in PROTOCOLS:
                    me = f"{pod.namespace}/{name}"
                    for other, end in ends:
                        sends = self._may(pod, Peer(POD_ADDRESS, port, protocol, end))
                        hears = self._may(end, Peer(POD_ADDRESS, port, protocol, pod), inward=True)
                        yield (me, other, protocol), protocol, port, _both(sends, hears)
                    for address in OUTSIDE:
                        peer = Peer(address, port, protocol)
                        yield (me, address, protocol), protocol, port, self._may(pod, peer)
                        inward = self._may(pod, peer, inward=True)
                        yield (address, me, protocol), protocol, port, inward

    def _may(self, pod: Pod, peer: Peer, *, inward: bool = False) -> Answer:
        direction = Direction.INGRESS if inward else Direction.EGRESS
        return evaluate(pod, peer, self.policies, direction=direction).answer


def _both(first: Answer, second: Answer) -> Answer:
    if Answer.DENIED in (first, second):
        return Answer.DENIED
    return Answer.UNKNOWN if Answer.UNKNOWN in (first, second) else Answer.ALLOWED


class Map:
    """The analyzer's connectivity map of one case, from its text."""

    def __init__(self, lines: list[str]) -> None:
        self._arrows: list[tuple[str, str, str]] = []
        for line in lines:
            match = ARROW.match(line)
            if match:
                self._arrows.append((match["source"], match["target"], match["connections"]))
        if not self._arrows:
            print("warning: a map without any connection", file=sys.stderr)

    def allows(self, source: str, target: str, protocol: str, port: int) -> bool:
        """Whether any line does."""
        return any(
            _names(left, source) and _names(right, target) and _opens(open_, protocol, port)
            for left, right, open_ in self._arrows
        )


def _names(text: str, wanted: str) -> bool:
    """Whether `home/home-0`, `192.0.2.1` or `192.0.2.1-192.0.2.9` stands for an end."""
    if "/" in wanted or "/" in text:
        return text == wanted
    one = ipaddress.ip_address(wanted)
    low, _, high = text.partition("-")
    first, last = ipaddress.ip_address(low), ipaddress.ip_address(high or low)
    return first.version == one.version and int(first) <= int(one) <= int(last)


def _opens(connections: str, protocol: str, port: int) -> bool:
    if connections == "All connections":
        return True
    cubes = list(CUBE.finditer(connections))
    if CUBE.sub("", connections).strip(" ,;"):
        raise SystemExit(f"the analyzer says what this script does not know: {connections}")
    return any(
        protocol in cube["protocols"].split(", ")
        and (cube["ports"] is None or any(_within(r, port) for r in cube["ports"].split(",")))
        for cube in cubes
    )


def _within(ports: str, port: int) -> bool:
    low, _, high = ports.partition("-")
    return int(low) <= port <= int(high or low)


def analyze(nca: str, cases: list[Case], folder: Path) -> list[Map]:
    """One run of the analyzer over all cases."""
    configs, queries = [], []
    for number, case in enumerate(cases):
        cluster, policies = folder / f"cluster{number}.yaml", folder / f"policies{number}.yaml"
        cluster.write_text(yaml.safe_dump_all(case.manifests()))
        policies.write_text(yaml.safe_dump_all(case.policies))
        files = {"namespaceList": [str(cluster)], "podList": [str(cluster)]}
        configs.append({"name": f"c{number}", **files, "resourceList": [str(policies)]})
        output: dict[str, Any] = {"outputFormat": "txt_no_fw_rules", "outputEndpoints": "pods"}
        output["excludeIPv6Range"] = False
        query = {"name": f"q{number}", "connectivityMap": [f"c{number}"]}
        queries.append({**query, "outputConfiguration": output})
    scheme = folder / "scheme.yaml"
    scheme.write_text(yaml.safe_dump({"networkConfigList": configs, "queries": queries}))
    command = [nca, "--scheme", str(scheme), "--return_0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    maps: list[list[str]] = []
    for line in done.stdout.splitlines():
        if line.startswith("Running query "):
            maps.append([])
        elif maps:
            maps[-1].append(line)
    if len(maps) != len(cases):
        raise SystemExit(f"{len(maps)} maps for {len(cases)} cases:\n{done.stdout}\n{done.stderr}")
    return [Map(lines) for lines in maps]


def main() -> int:
    """Counts what agrees; prints the cases that do not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nca", default=os.environ.get("NCA"), help="the nca executable")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.nca:
        parser.error("--nca or NCA is needed")
    chance = random.Random(options.seed)
    cases = [Case(chance, number) for number in range(options.cases)]
    count: Counter[str] = Counter()
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        with tempfile.TemporaryDirectory() as folder:
            maps = analyze(options.nca, batch, Path(folder))
        for number, (case, found) in enumerate(zip(batch, maps, strict=True), start):
            _compare(number, case, found, count)
    print(f"{len(cases)} cases: {dict(count)}")
    return 1 if count["differ"] or count["unknown"] else 0


def _compare(number: int, case: Case, found: Map, count: Counter[str]) -> None:
    told = False
    for (source, target, _), protocol, port, answer in case.ours():
        theirs = found.allows(source, target, protocol, port)
        if answer is Answer.UNKNOWN:
            count["unknown"] += 1
        elif theirs is (answer is Answer.ALLOWED):
            count[f"agree, {answer}"] += 1
            continue
        else:
            count["differ"] += 1
        if not told:
            told = True
            print(f"case {number}: {source} -> {target} {protocol} {port}: {answer} / {theirs}")
            print(yaml.safe_dump([*case.manifests(), *case.policies]))


if __name__ == "__main__":
    sys.exit(main())
