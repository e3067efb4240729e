"""References between managed resources: look the targets up, write what was found into the spec.

Source: crossplane-runtime v1.20, pkg/reference; the rules are in `core/references.py`.
"""

from __future__ import annotations

from groundplane.core import managed as rules
from groundplane.core import references
from groundplane.core.objects import Key, Object, key_of
from groundplane.core.references import Answer, Question, Reference
from groundplane.errors import InvalidInput, NoSuchKind, Waiting, at
from groundplane.ports import Context, ManagedKind
from groundplane.reconcile import fields


async def resolve(managed: Object, kind: ManagedKind, context: Context) -> Object:
    """Fill the reference fields of a managed resource; the object as it is then.

    What could be resolved is written even if other references can't be, so that nothing is looked up twice.

    Raises:
        Waiting: a required reference has no answer yet; comes back when something of the target's kind changes.
    """
    questions = references.questions(managed, kind.references)
    if not questions:
        return managed
    answers = [await _answer(question, managed, context) for question in questions]
    found: dict[str, dict[str, object]] = {}
    for answer in answers:
        if answer.patch:
            found.setdefault(answer.question.block, {}).update(answer.patch)
    if found:
        managed = await fields.apply(managed, found, rules.RESOLVER, context)
    if open_ := [answer for answer in answers if answer.trouble]:
        raise Waiting(
            "; ".join(f"{answer.question.where}: {answer.trouble}" for answer in open_),
            mend="; ".join(dict.fromkeys(answer.mend for answer in open_)),
            on=sorted({(answer.question.reference.group, answer.question.reference.kind) for answer in open_}),
        )
    return managed


async def _answer(question: Question, managed: Object, context: Context) -> Answer:
    with at(question.where):
        api_version = _api_version(question.reference, context)
    await context.watches.ensure([(api_version, question.reference.kind)])
    own = key_of(managed).namespace
    kind = question.reference.kind
    targets: list[Object | None]
    try:
        if question.labels is None:
            keys = [Key(api_version, kind, namespace or own, name) for namespace, name in question.names]
            targets = [await context.cluster.get(key) for key in keys]
        else:
            namespace = question.namespace or own
            targets = [*await context.cluster.list(api_version, kind, namespace=namespace, labels=question.labels)]
    except NoSuchKind:
        targets = [None] * len(question.names)
    return references.answer(question, managed, targets)


def _api_version(reference: Reference, context: Context) -> str:
    for kind in context.cloud.kinds():
        for api_version in kind.api_versions:
            if kind.kind == reference.kind and api_version.startswith(f"{reference.group}/"):
                return api_version
    raise InvalidInput(
        f"{reference.kind}.{reference.group} is not built in, so it can't be referred to",
        mend=f"set {reference.field} itself, and remove {reference.ref} and {reference.selector}",
    )
