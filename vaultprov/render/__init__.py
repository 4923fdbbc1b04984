"""The same objects as files: facts + manifests -> Tree -> folder. Pure up to `files`.

    Facts, manifests -> render() -> Tree -> compared() | write() -> Files

Nothing here makes or changes an object: what is rendered is what is applied, but for an annotation
that keeps Argo CD from taking away what others use, too (`objects.delivered`). A kustomization of
others is added to; a file of others is kept or refused.
"""

from collections.abc import Callable, Iterable, Mapping

from vaultprov.render.facts import ArgoCd, Facts, Layout
from vaultprov.render.files import File, compared, leftovers, write
from vaultprov.render.kustomize import kustomize, plain
from vaultprov.render.objects import checked
from vaultprov.render.operate_first import operate_first
from vaultprov.render.review import vault_side
from vaultprov.render.tree import Edit, Object, Text, Tree, Whose, header, merged

__all__ = [
    "ArgoCd",
    "Edit",
    "Facts",
    "File",
    "Layout",
    "Text",
    "Tree",
    "Whose",
    "compared",
    "header",
    "leftovers",
    "render",
    "vault_side",
    "write",
]

_LAYOUTS: Mapping[Layout, Callable[[Facts, Iterable[Object], Mapping[str, str]], Tree]] = {
    Layout.PLAIN: plain,
    Layout.KUSTOMIZE: kustomize,
    Layout.OPERATE_FIRST: operate_first,
}


def render(
    facts: Facts, manifests: Iterable[Object], files: Mapping[str, str] | None = None
) -> Tree:
    """The tree of one cluster, sorted by path.

    manifests: the objects exactly as they are applied, in any order. files: texts that are no
    objects by path within the cluster's folder, such as `values/big-bang.yaml` or what
    `vault_side` gives. Raises Refused if one of them holds a secret, ConfigError if two objects
    clash or the layout needs a fact that is missing.
    """
    return merged(_LAYOUTS[facts.layout](facts, checked(manifests), files or {}))
