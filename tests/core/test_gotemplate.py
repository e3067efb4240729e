"""Go's templates beside the vectors: bounds, errors and what they say, and rules that no vector of Go's has."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from groundplane.core import gotemplate, goyaml_read
from groundplane.core.gotemplate import run
from groundplane.core.gotemplate.requests import FUNCTIONS
from groundplane.core.gotemplate.sprig import SPRIG
from groundplane.errors import InvalidInput

NOW = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)


def render(text, data=None, **given):
    template = gotemplate.compile(text, name="t", functions=FUNCTIONS, **given)
    return template.render({} if data is None else data, now=lambda: NOW, random=lambda count: bytes(range(count)))


def refused(text, data=None, **given):
    with pytest.raises(InvalidInput) as refusal:
        render(text, data, **given)
    return str(refusal.value)


def test_sprig_is_whole():
    assert len(SPRIG) == 209
    assert not {"env", "expandenv"} & SPRIG.keys()


def test_without_functions_a_template_has_the_languages_own():
    assert gotemplate.compile('{{ printf "%d-%s" 1 .a | len }}{{ slice "abc" 1 2 }}').render({"a": "x"}) == "3b"
    with pytest.raises(InvalidInput, match='function "upper" not defined'):
        gotemplate.compile("{{ upper .a }}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n {{ nofunc }}", 'template: t:2:4: function "nofunc" not defined'),
        ("{{ uper .x }}", "Mend: did you mean upper?"),
        ("{{ required .x }}", "it is Helm's"),
        ("{{ if .x }}", "unexpected EOF. Mend: give each if"),
        ("{{ if .x }}{{ $y := 1 }}{{ end }}{{ $y }}", 'undefined variable "$y". Mend: declare it outside the block'),
        ("é{{ .a.b.c }}", 't:1:7: executing "t" at <.a.b.c>'),
        ("{{ until .n }}", "wrong type for value; expected int; got int64. Mend: turn it into one: int X"),
        ("{{ upper .x }}", "invalid value; expected string. Mend: guard it"),
        ("{{ eq .n 3.0 }}", "incompatible types for comparison: int64 and float64. Mend: convert one of them"),
        ("{{ range $i, $z := .l\nname: a\n{{ end }}", "Mend: close the action of line 1 with }}"),
        ("a\n{{ range $i, $z := .l\n-name: a", "Mend: close the action of line 2 with }}"),
        ("{{ if .x }\na: b\n{{ end }}", 'unexpected "}" in operand. Mend: close the action of line 1 with }}'),
        ("{{ .x\n", "unclosed action. Mend: close the action of line 1 with }}"),
        ("{{ .x |\n  uper }}", "Mend: did you mean upper?"),
        ("{{ .nul.x }}", "nil pointer evaluating interface {}.x. Mend: it is null"),
        ("{{ index .x 0 }}", "index of untyped nil. Mend: what is indexed is not there"),
        ('{{ fromYaml "a: \'x" }}', "yaml: line 1: "),
        ("{{ toRawJson (round 1 1000) }}", "error calling toRawJson: json: unsupported value: NaN"),
        ('{{ now.Add "x" }}', "error calling Add: wrong type for value; expected time.Duration"),
        ('{{ template "nope" }}', 'template "nope" not defined'),
        ('{{ getHostByName "x" }}', "names are not looked up here"),
    ],
)
def test_an_error_says_what_is_wrong_where_and_the_mend(text, told):
    data = {"a": {"b": None}, "n": 3, "nul": None}
    assert told in refused(text, data)


def test_an_error_is_no_longer_than_people_read():
    text = "{{ define `r` }}{{ include `r` (list " + "1 " * 5_000 + ") }}{{ end }}{{ include `r` . }}"
    assert len(refused(text)) < 5_000


def test_what_a_template_is_given_is_in_no_error():
    data = {"s": "hunter2", "l": ["hunter2"], "m": {"k": "hunter2"}}
    for text in (
        "{{ range .s }}{{ end }}",
        "{{ eq .m .m }}",
        "{{ .s.x }}",
        "{{ len .n }}",
        "{{ until .s }}",
        "{{ fromJson .l }}",
        "{{ index .m 1 }}",
    ):
        assert "hunter2" not in refused(text, {**data, "n": 5})


@pytest.mark.parametrize(
    "text",
    [
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
        "{{ range until 1000000000 }}{{ end }}",
        "{{ range 100000000000 }}{{ end }}",
        '{{ repeat 1000000000 "x" }}',
        '{{ $x := "xxxxxxxx" }}{{ range until 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}',
        '{{ $x := "xxxxxxxx" }}{{ range until 60 }}{{ $x = cat $x $x }}{{ end }}',
        '{{ $x := repeat 1000000 "x" }}{{ replace "" $x $x }}',
        '{{ $x := repeat 1000000 "x" }}{{ replace "x" $x $x }}',
        '{{ $x := repeat 100000 "x" }}{{ join $x (until 1000) }}',
        '{{ printf "%999999d" 1 | printf "%s%s%s%s%s" (printf "%999999d" 1) }}',
        '{{ indent 1000000000 "x" }}',
        '{{ $x := repeat 100000 "\\n" }}{{ indent 1000 $x }}',
        "{{ untilStep 0 9223372036854775807 1 }}",
        "{{ seq 1 1000000000 }}",
        "{{ range until 100000 }}{{ range until 40 }}xxxxxxxx{{ end }}{{ end }}",
        '{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}',
        '{{ define "r" }}{{ include "r" . }}{{ end }}{{ include "r" . }}',
        '{{ define "r" }}{{ if true }}{{ if true }}{{ with include "r" . }}{{ . }}{{ end }}{{ end }}{{ end }}{{ end }}{{ include "r" . }}',
        "{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ toJson $l }}",
        "{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ toYaml $l }}",
        "{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ deepCopy $l }}",
        "{{ $l := list }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ $l }}",
        "{{ $l := list 1 }}{{ $m := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ $m = list $m $m }}{{ end }}{{ deepEqual $l $m }}",
        "{{ $l := until 200000 }}{{ range until 60 }}{{ $l = concat $l $l }}{{ end }}",
        '{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}',
        '{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ toYaml $d }}',
        '{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ mergeOverwrite $d (deepCopy $d) }}',
        "{{ $l := list }}{{ range until 100000 }}{{ $l = list $l }}{{ end }}{{ $l }}",
        "{{ $x := list }}{{ range until 250000 }}{{ $x = append $x 1 }}{{ end }}",
        '{{ $x := repeat 4000000 "x" }}{{ range until 100000 }}{{ $_ := contains "y" $x }}{{ end }}',
        '{{ $x := repeat 400000 "ab" }}{{ regexReplaceAll "a.*?z|a" $x "b" }}',
        '{{ regexFindAll "" (repeat 1000000 "x") -1 }}',
        '{{ fromJson (repeat 100000 "[") | toJson }}{{ mustFromJson (repeat 100000 "[") }}',
        '{{ fromYaml (repeat 10000 "[") }}',
        '{{ fromYaml "a: &a [x,x,x,x,x,x,x,x,x]\\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\\n'
        'd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]" }}',
        "{{ randAlphaNum 1000000000 }}",
        "{{ wrapWith 1 (repeat 4000 `x`) (repeat 4000 `y`) }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ if true }}" * 5000 + "{{ end }}" * 5000,
        "{{ $x := 1 }}{{ range until 300000 }}{{ print 1 2 3 }}{{ end }}" * 10,
    ],
)
def test_a_template_that_wants_too_much_ends_at_once(text, monkeypatch):
    monkeypatch.setattr(run, "MAX_STEPS", 100_000)  # a tenth, so that the tests take a tenth of the time
    assert "Mend: " in refused(text)


def test_a_pattern_that_makes_others_run_for_ever_takes_linear_time():
    assert render('{{ regexMatch "(a+)+$" .x }}', {"x": "a" * 100_000 + "b"}) == "false"


def test_a_thousand_templates_in_one_another_are_rendered():
    text = '{{ define "r" }}{{ if gt . 0 }}{{ include "r" (int (sub . 1)) }}{{ else }}end{{ end }}{{ end }}{{ include "r" 990 }}'
    assert render(text) == "end"


def test_a_template_renders_the_same_again():
    template = gotemplate.compile("{{ range $i, $e := .l }}{{ $i }}{{ $e }}{{ end }}", functions=FUNCTIONS)
    assert [template.render({"l": ["a", "b"]}) for _ in range(2)] == ["0a1b", "0a1b"]


def test_it_is_known_which_functions_a_template_calls():
    template = gotemplate.compile("{{ if .x }}{{ .y | upper | randAlpha }}{{ end }}", functions=FUNCTIONS)
    assert template.used == {"upper", "randAlpha"}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('{{ now | date "2006-01-02 15:04:05.000" }}', "2026-01-02 03:04:05.600"),
        ('{{ (now).Format "Jan _2 3:04PM" }} {{ now.Year }} {{ (now.AddDate 0 1 0).Month }}', "Jan  2 3:04AM 2026 February"),
        ('{{ now | dateModify "-1h30m" | unixEpoch }}', "1767317645"),
        ("{{ ago (now | unixEpoch | int64) }}", "1s"),
        ("{{ randAlphaNum 5 }} {{ uuidv4 }} {{ randInt 3 4 }}", "abcde 00010203-0405-4607-8809-0a0b0c0d0e0f 3"),
        ('{{ encryptAES "k" "text" | decryptAES "k" }}', "text"),
        ('{{ (genPrivateKey "ed25519") | contains "PRIVATE KEY" }}', "true"),
        ('{{ $k := genPrivateKey "ecdsa" }}{{ $ca := genCAWithKey "ca" 3 $k }}'
         '{{ $c := genSignedCertWithKey "a" (list "1.2.3.4") (list "a.example") 1 $ca $k }}{{ $c.Cert | trunc 27 }}',
         "-----BEGIN CERTIFICATE-----"),
        ('{{ (semver "1.2.3").Compare (semver "1.3.0") }} {{ (semver "1.2.3-a").IncMinor }}', "-1 1.3.0"),
        ("{{ $x := 1 }}{{ range $x, $y := .l }}{{ $x }}{{ end }}{{ $x }}", "011"),
        ("{{ range $i := .l }}{{ $_ := set $ `k` $i }}{{ end }}{{ .k }}", "b"),
        ('{{ .s | toString | b64enc | b64dec | sha256sum | trunc 8 }}', "2cf24dba"),
        ('{{ fromYaml "a: 1\\n<<: {a: 2, b: 3}" }}', "map[a:1 b:3]"),
        ('{{ toYaml (dict "a\\nb" "x" "e" "😀" "t" "a\\tb" "s" "a \\nb" "y" "y" "z" "12:30") }}',
         '"a\\nb": x\ne: "\\U0001F600"\ns: "a \\nb"\nt: "a\\tb"\n"y": "y"\nz: "12:30"\n'),
        ("{{ toPrettyJson (list 1 (dict `a` (list))) }}", '[\n  1,\n  {\n    "a": []\n  }\n]'),
        ("{{ regexFindAll `a*` `baac` -1 | toJson }}", '["","aa",""]'),
        ("{{ regexSplit `a` `banana` 2 | toJson }}", '["b","nana"]'),
        ("{{ and 1 0 | or 2 }}{{ 5 | and 0 }}", "20"),
        ("{{ div -7 2 }} {{ mod -7 2 }} {{ div 7 -2 }} {{ mod 7 -2 }}", "-3 -1 -3 1"),
        ("{{ divf 10 4 2 }} {{ round 2.675 2 }} {{ addf 0.1 0.2 }}", "1.25 2.68 0.3"),
        ("{{ keys (dict `b` 1 `a` 2) }} {{ values (dict `b` 1 `a` 2) }}", "[a b] [2 1]"),
        ('{{ urlJoin (dict "scheme" "file" "path" "/a b") }} {{ urlJoin (dict "path" "a:b") }}', "file:///a%20b ./a:b"),
        ('{{ semverCompare ">1 <3" "2.0.0" }} {{ semverCompare "!=1.2.3" "1.2.4-a" }} {{ semverCompare "~0.0.0" "5.0.0" }}', "true true true"),
        ('{{ toDate "2006-01-02T15:04:05Z07:00" "2024-03-05T14:07:09+02:00" | date "Mon 3PM 002" }}', "Tue 12PM 065"),
        ("{{ toJson (semver `1.2`) }} {{ toYaml (dict `v` (semver `1.2.3`) `t` (toDate `2006` `2024`)) }}", '"1.2.0" t: 2024-01-01T00:00:00Z\nv: 1.2.3\n'),
        ("{{ chunk 2 (list 1 2 3) }} {{ list 1 2 | has 2 }}", "[[1 2] [3]] true"),
        ("{{ regexReplaceAll `(?P<n>b)(?P<m>c)` `abc` `$m${n}-` }}", "acb-"),
        ("{{ mulf -7 0 }} {{ divf 0.0 -2 }} {{ ceil -0.25 }} {{ floor 0.3 }} {{ round -0.04 0 }} {{ ceil -1.5 }}", "0 0 -0 0 -1 -1"),
        ("{{ camelcase `-` }}|{{ camelcase `__` }}|{{ camelcase `-a-` }}|{{ camelcase `` }}|{{ toJson (round 1 1000) }}", "--|___|-A-||"),
    ],
)  # fmt: skip
def test_what_no_vector_has(text, output):
    assert render(text, {"l": ["a", "b"], "s": "hello"}) == output


def test_bcrypt_makes_what_its_library_knows():
    bcrypt = pytest.importorskip("bcrypt")
    name, _, hashed = render('{{ htpasswd "u" "secret" }}').partition(":")
    assert name == "u"
    assert bcrypt.checkpw(b"secret", hashed.encode())
    assert not bcrypt.checkpw(b"other", hashed.encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{y: on, n: 0777, o: 0o17, f: 1e3, u: 1_000, d: 2024-01-01, q: ~}",
         {"true": True, "false": 511, "o": 15, "f": 1000.0, "u": 1000, "d": "2024-01-01", "q": None}),
        ("{1: a, 1.5: b, true: c}", {"1": "a", "1.5": "b", "true": "c"}),
        ("a: &x {k: 1}\nb: {<<: *x, l: 2}", {"a": {"k": 1}, "b": {"k": 1, "l": 2}}),
        ("k: 1\nk: 2", {"k": 2}),
        ("!!str 5", "5"),
        ("a: !!binary aGVsbG8=", {"a": "hello"}),
        ("a\n...\nb", "a"),
        ("", None),
        ("- 1e400\n- 08\n- .5\n- -0\n- 0x1F", ["1e400", 8.0, 0.5, 0, 31]),
    ],
)  # fmt: skip
def test_a_manifest_means_what_kubernetes_own_library_makes_of_it(text, value):
    assert goyaml_read.manifest(text) == value


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a: 1\nb: c: d", 2, "mapping values"),
        ("a:\n\tb: 1", 2, "cannot start any token"),
        ("a: *x", 1, "unknown anchor"),
        ("{null: 1}", 1, "key"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_the_line(text, line, told):
    with pytest.raises(goyaml_read.NotYaml, match=told) as refusal:
        goyaml_read.manifest(text)
    assert refusal.value.line == line
