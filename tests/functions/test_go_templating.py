"""function-go-templating beside its vectors: what is known before there is a composite, what others' objects keep, and folders."""

from __future__ import annotations

import pytest

from groundplane.core.explain import Trace
from groundplane.core.pipeline import Request, Resource, State
from groundplane.core.spec import refusal
from groundplane.errors import InvalidInput
from groundplane.functions import finder, go_templating
from tests.functions.pipelines import COMPOSITE, asked, bucket, fatal, state

MAP = """
apiVersion: v1
kind: ConfigMap
metadata:
  annotations:
    {{ setResourceNameAnnotation "a" }}
data:
"""


def inline(template, **more):
    return {"source": "Inline", "inline": {"template": template}, **more}


def run(template, *given, **more):
    return asked("go-templating", inline(template), *given, **more)


def mistakes(given):
    return str(refusal(go_templating.check(given)))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (inline("a:\n  {{ if .x }"), 'inline.template: cannot parse the provided templates: template: manifests:2:11: unexpected "}"'),
        (inline("{{ .x | nope }}"), 'function "nope" not defined'),
        ({"source": "Inline", "inline": {"templates": ["a", "{{ end }}"]}}, "inline.templates: cannot parse"),
        ({"source": "Inline"}, "inline.template or inline.templates should be provided"),
        ({"source": "inline"}, 'invalid source "inline". Mend: did you mean Inline?'),
        ({}, "source: must be set"),
        (inline("a", options=["missingkey=eror"]), "unrecognized option: missingkey=eror. Mend: did you mean missingkey=error?"),
        (inline("a", nope=1), "nope: unknown field"),
        ({"source": "Environment"}, "environment.key: must be set"),
        ({"source": "FileSystem", "fileSystem": {"dirPath": "/etc"}}, "templates are read from no folder here. Mend: write them into"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_known_before_there_is_a_composite(given, told):
    assert told in mistakes(given)


def test_templates_lie_below_the_folder_of_the_setting_and_nowhere_else():
    files = {"db/a.yaml": MAP + "  a: one", "db/b.yaml": MAP.replace('"a"', '"b"'), "other.yaml": "{{ fail `x` }}"}
    function = finder(templates=files)("function-go-templating")

    def given(path):
        return {"source": "FileSystem", "fileSystem": {"dirPath": path}}

    for path in ("/db", "db/", "./db"):
        assert function.check(given(path)) == []
        answer = function.compile(given(path))(Request(state({}), state({}, {})))
        assert sorted(answer.desired.resources) == ["a", "b"]
    assert "leads out of the folder" in str(refusal(function.check(given("/db/../../etc"))))
    assert 'there is no template in "/dbs". Mend: did you mean /db?' in str(refusal(function.check(given("/dbs"))))


def test_nothing_that_was_handed_over_is_changed():
    composite = {**COMPOSITE, "spec": {"tags": {"a": "1"}}}
    desired = {"b": bucket(spec={"x": 1})}
    context = {"c": {"d": [1]}}
    template = '{{ $_ := set .observed.composite.resource.spec.tags "b" "2" }}{{ $_ := set .context.c "e" 1 }}' + MAP
    answer = run(
        template + "  tags: {{ .observed.composite.resource.spec.tags | toJson | quote }}",
        desired,
        composite=composite,
        context=context,
    )
    assert answer.desired.resources["a"].object["data"] == {"tags": '{"a":"1","b":"2"}'}
    assert composite["spec"] == {"tags": {"a": "1"}}
    assert context == {"c": {"d": [1]}}
    assert answer.desired.resources["b"].object is desired["b"]


def test_whole_numbers_stay_whole():
    answer = run(
        MAP + "  count: {{ .observed.composite.resource.spec.n }}",
        composite={**COMPOSITE, "spec": {"n": 9007199254740993}},
    )
    assert answer.desired.resources["a"].object["data"] == {"count": 9007199254740993}


def test_the_status_of_earlier_steps_is_not_changed_but_merged():
    before = {"status": {"a": {"x": 1}}}
    wanted = State(Resource({**{name: COMPOSITE[name] for name in ("apiVersion", "kind")}, **before}))
    template = "apiVersion: example.org/v1\nkind: XApp\nstatus: {a: {z: 2}}"
    answer = go_templating.compile(inline(template))(Request(state({}), wanted))
    assert answer.desired.composite.object["status"] == {"a": {"x": 1, "z": 2}}
    assert before == {"status": {"a": {"x": 1}}}


def test_an_error_names_line_and_column_of_the_template_and_the_line_of_the_output():
    answer = run("a:\n  {{ .observed.composite.resource.spec.x | upper }}")
    assert 'template: manifests:2:43: executing "manifests" at <upper>: invalid value' in fatal(answer)
    assert fatal(answer).endswith('Mend: guard it: {{ with X }}…{{ end }}, or X | default "…".')
    answer = run(MAP + "  a: b\n---\nkind: X\nspec:\n  a: b: c\n")
    assert "YAML line 12 (document 2, line 3): mapping values are not allowed" in fatal(answer)
    assert "Mend: look at the indentation" in fatal(answer)


def test_an_error_shows_no_value_of_what_the_template_was_given():
    secret = State(Resource(COMPOSITE), {"db": Resource(bucket(), {"password": b"hunter2"})})
    template = 'a: {{ (getComposedConnectionDetails . "db").password | b64dec }}: b: c'
    answer = go_templating.compile(inline(template))(Request(secret, state({}, {})))
    assert "mapping values are not allowed" in fatal(answer)
    assert "hunter2" not in fatal(answer)


@pytest.mark.parametrize(
    ("value", "is_told"),
    [
        ("{{ randAlphaNum 8 }}", True),
        ("{{ now | date `2006` | quote }}", True),
        ('{{ with getComposedResource . "a" }}{{ .data.x }}{{ else }}{{ randAlphaNum 8 }}{{ end }}', False),
        ("{{ .observed.composite.resource.metadata.uid | sha256sum | trunc 8 | quote }}", False),
    ],
)
def test_what_changes_on_every_run_is_told(value, is_told):
    composite = {**COMPOSITE, "metadata": {"name": "shop", "uid": "u-1"}}
    told = [(result.severity, result.message) for result in run(f"{MAP}  x: {value}", composite=composite).results]
    assert [severity for severity, _ in told] == (["Warning"] if is_told else [])
    assert all(go_templating.CHANGING in message and "getComposedResource" in message for _, message in told)


def test_a_step_can_be_explained():
    trace = Trace()
    wanted = Request(state({}), state({}, {}), trace=trace.within("step make"))
    go_templating.compile(inline(MAP + "  a: b\n---\napiVersion: example.org/v1\nkind: XApp\nstatus: {a: 1}"))(wanted)
    assert [(told.place, told.sources, told.target) for told in trace.told] == [
        (("step make", "document 1, line 1 of the output"), ("v1 ConfigMap",), "resource a"),
        (("step make", "document 2, line 10 of the output"), ("example.org/v1 XApp",), "the composite's status"),
    ]


@pytest.mark.parametrize(
    ("output", "kinds"),
    [
        ('{"kind": "A"}\n{"kind": "B"}', ["A", "B"]),
        ('{"kind": "A"}\n---\n{"kind": "B"}\n', ["A", "B"]),
        ("{kind: A}\n---\nkind: B", ["A", "B"]),
        ('{"kind": "A"}\n---\nkind: B', ["A", "B"]),
        ("# nothing\n---\n---\n", []),
        ("", []),
        ("--- # first\nkind: A\n---\n\n---\nkind: B\n...\nkind: C\n", ["A", "B"]),
        ("kind: A\r\n---\r\nkind: B\r\n", ["A", "B"]),
    ],
)
def test_documents_are_taken_apart(output, kinds):
    assert [document.manifest["kind"] for document in go_templating.documents(output)] == kinds


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ("- a", "document 1, line 1 of the output: it is an array, not a map"),
        ("kind: 5", "it has no kind"),
        ("kind: X\nmetadata: 5", "metadata is a number, not a map"),
        ("kind: X\nmetadata: {annotations: []}", "they are an array, not a map"),
        (
            "kind: X\nmetadata: {annotations: }",
            "they are null, not a map (document 1, line 1 of the output). Mend: {{ setResourceNameAnnotation",
        ),
        ("kind: X\nmetadata: {annotations: {a: true}}", '"a" is a boolean, not a string'),
        ("kind: X\nmetadata: {name: a}", "is missing required"),
        ("apiVersion: META\nkind: Contxt", "did you mean Context?"),
        ("apiVersion: META\nkind: Context\ndata: []", "data: no such field"),
        ("apiVersion: META\nkind: ExtraResources", "no such field"),
        ("apiVersion: META\nkind: ExtraResources\nrequirements: {a: {kind: X}}", "says no apiVersion or no kind"),
        (
            "apiVersion: META\nkind: ExtraResources\nrequirements: {a: {apiVersion: v1, kind: X, matchLabels: {a: 1}}}",
            "matchLabels of",
        ),
        ("apiVersion: META\nkind: ClaimConditions", "not a list of maps"),
        ("apiVersion: META\nkind: ClaimConditions\nconditions: [{type: 5}]", "conditions[0].type is a number"),
        ("apiVersion: example.org/v1\nkind: XApp\nstatus: []", "status is an array, not a map"),
        ("kind: X\n&a b: *c", "unknown anchor"),
        ("kind: X\nv: .nan", "is no JSON number"),
    ],
)
def test_a_document_that_cannot_be_used_is_fatal(manifest, told):
    answer = run(manifest.replace("META", go_templating.META), {"b": bucket()})
    assert told in fatal(answer)
    assert list(answer.desired.resources) == ["b"]


@pytest.mark.parametrize(
    ("text", "data"), [("YQ==", b"a"), ("YWRtaW4", b"adm"), ("!!", b""), ("YWRt\naW4=", b"admin"), ("YQ==!!", b"a")]
)
def test_of_base64_that_is_wrong_what_comes_before_counts(text, data):
    manifest = f"apiVersion: {go_templating.META}\nkind: CompositeConnectionDetails\ndata: {{k: {text!r}}}".replace(
        "\\n", ""
    )
    assert run(manifest).desired.composite.connection == {"k": data}


def test_an_endless_template_is_fatal_and_nothing_is_lost():
    answer = run("{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}", {"b": bucket()})
    assert "more than 1000000 steps" in fatal(answer)
    assert list(answer.desired.resources) == ["b"]


def test_a_template_of_the_environment_is_not_known_before():
    given = {"source": "Environment", "environment": {"key": "t"}}
    answer = asked("go-templating", given, context={"apiextensions.crossplane.io/environment": {"t": "{{ if }}"}})
    assert "missing value for if" in fatal(answer)


def test_an_input_that_has_passed_is_compiled_without_another_look():
    with pytest.raises(InvalidInput):
        go_templating.compile(inline("{{ if }}"))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("  a: {{ .context.zone }}", "data.a of ConfigMap (line 1 of the output): nothing was there for manifests:8:8 {{.context.zone}}"),
        ("  a: [x, 'in {{ .nope }}']", "data.a[1] of ConfigMap"),
        ("  {{ .nope }}: a", "a name in data of ConfigMap"),
        ("  # {{ .nope }}\n  a: b", ""),
        ("  a: {{ .nope | default `b` }}", ""),
        ("  a: '{{ `<no value>` }}'", ""),
    ],
)  # fmt: skip
def test_a_value_that_was_not_there_is_told_with_its_place_in_output_and_template(lines, told):
    response = run(MAP + lines)
    assert response.results == []  # upstream's says nothing
    assert [told in hint and "{{ X | default" in hint for hint in response.hints] == ([True] if told else [])


def test_of_many_values_that_were_not_there_some_are_told():
    [hint] = run(MAP + "".join(f"  a{index}: {{{{ .nope{index} }}}}\n" for index in range(9))).hints
    assert "{{.nope2}} and 6 more" in hint
