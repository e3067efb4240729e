"""The grammar and the kind files: documented, strict, complete, and true to botocore's models."""

import ast
import inspect
import re
from datetime import UTC, datetime
from importlib import resources
from types import SimpleNamespace

import botocore.session
import jmespath
import pytest
import yaml
from botocore import xform_name

from groundplane.aws import actions, catalogue, convert, grammar, tags
from groundplane.aws.grammar import READING, KindField, Path
from groundplane.aws.resource import Hooks, Resource
from groundplane.aws.session import Sessions
from groundplane.errors import InvalidInput
from groundplane.ports import Account
from tests.aws.conftest import INI, provider_config, source_of_hooks

KINDS = {found.file: found for found in catalogue.first_generation()}
SESSION = botocore.session.Session()
SCALARS = {
    "string": {"string", "timestamp", "integer", "long", "character", "boolean"},
    "number": {"integer", "long", "float", "double", "string"},
    "boolean": {"boolean", "string"},
    "object": {"structure", "map", "string"},
    "map[string]": {"map"},
}


def model(found, service=""):
    return SESSION.get_service_model(service or found.service)


def operation(found, call):
    service, _, method = call.rpartition(":")
    names = {name.lower(): name for name in model(found, service).operation_names}
    return model(found, service).operation_model(names[method.replace("_", "")])


def calls(found):
    """Every (place, call) that a kind file names."""
    yield "create", found.create
    for name, instead in found.create.instead.items():
        yield f"create.instead.{name}", instead
    yield "observe", found.observe
    if found.delete.call:
        yield "delete", found.delete
    for name, also in found.also.items():
        yield f"also.{name}", also
    if found.find is not None:
        yield "find", found.find
    if found.list_ is not None:
        yield "list", found.list_
    for name, update in found.update.items():
        if update.call:
            yield f"update.{name}", update
        if update.unset is not None:
            yield f"update.{name}.unset", update.unset
        if update.remove is not None:
            yield f"update.{name}.remove", update.remove


def walk(shape, path):
    for name in path.split("."):
        shape = convert.member(shape, name)
        if shape is None:
            return None
    return shape


def fits(shape, field):
    if field.type == "map[string]" and shape.type_name == "list":
        return convert._pair(shape.member) is not None
    if field.type.startswith("[]"):
        inner = shape.member if shape.type_name == "list" else shape
        return inner.type_name in SCALARS[field.type[2:]]
    if field.type == "boolean" and shape.type_name == "structure":
        return not shape.members  # it is said by being there
    return shape.type_name in SCALARS[field.type] or (field.secret and shape.type_name in ("string", "blob"))


def keys_of_the_grammar():
    """(model.key, the text below it in the source) for every key of every model."""
    for model in ast.parse(inspect.getsource(grammar)).body:
        if not isinstance(model, ast.ClassDef):
            continue
        for key, below in zip(model.body, [*model.body[1:], None], strict=True):
            if isinstance(key, ast.AnnAssign):
                text = below.value.value if isinstance(below, ast.Expr) else ""
                yield f"{model.name}.{key.target.id}", text


@pytest.mark.parametrize("key, text", list(keys_of_the_grammar()))
def test_every_key_is_documented_with_an_example(key, text):
    assert re.search(r"`[^`]+`", text), f"{key}: write below it what it means, and an `example`"


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_what_observes_only_reads_and_what_changes_goes_through_the_gate(found):
    reading = [found.observe, *found.also.values(), *filter(None, [found.find, found.list_])]
    assert all(call.call.rpartition(":")[2].startswith(READING) for call in reading)
    changing = [call for place, call in calls(found) if call not in reading]
    assert not [call.call for call in changing if call.call.startswith(READING)]


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_call_exists_and_takes_its_arguments(found):
    for place, call in calls(found):
        shape = operation(found, call.call).input_shape
        for name in call.with_:
            assert name in shape.members, f"{place}: {call.call} takes no {name}"


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_a_shared_read_lists_what_the_read_itself_answers(found):
    for read in (found.observe, *found.also.values()):
        if read.shared is None:
            continue
        call, shared = operation(found, read.shared.call or read.call), read.shared
        assert (shared.call or read.call).rpartition(":")[2].startswith(READING)
        assert set(shared.with_) <= set(call.input_shape.members)
        listed = walk(call.output_shape, shared.in_.text)
        assert listed.type_name == "list", f"{shared.in_.text} is no list"
        assert walk(listed.member, shared.key.text.replace("[]", "")), f"{shared.key.text} is not in its entries"
        entry = dict.fromkeys(["BucketRegion"], "eu-west-1")  # without which there is no answer
        answer = shared.answer.search([{}]) if shared.answer else {shared.in_.text: []}
        answer = shared.answer.search([entry]) if answer is None else answer
        own = operation(found, read.call).output_shape
        if shared.where:
            entries = walk(listed.member, shared.answer.text.removeprefix("{found: [0].").removesuffix("}"))
            assert set(shared.where) <= set(entries.member.members)
            answer = entries.member.members
        assert set(answer) <= set(own.members), f"{read.call} answers no {set(answer) - set(own.members)}"
        if rest := shared.rest:
            call = operation(found, rest.call)
            assert set(rest.with_) <= set(call.input_shape.members)
            listed = walk(call.output_shape, rest.in_.text)
            assert set(rest.answer.search([{}])) <= set(walk(own, read.item.text).members) & set(listed.member.members)
            assert rest.key.text in listed.member.members
        for name in shared.lacks:
            assert name == "tags" or name in found.at_provider or found.fields[name].observe


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_a_list_has_what_a_look_needs(found):
    assert found.list_, f"{found.file}.yaml: say by which call all things of the kind are listed"
    rule = found.list_
    call = operation(found, rule.call)
    first = re.split(r"[\[.|]", rule.items.text)[0]
    assert walk(call.output_shape, first), f"list.items: {rule.call} answers no {first}"
    needed = {
        name.partition(".")[2]
        for name in re.findall(r"\$\{?(spec\.\w+)", str(found.observe.with_) + found.external_name.format)
    }
    optional = {name for name in needed if name not in found.port.required}
    assert needed - set(rule.fields) - optional <= {"typeName"}, "the look needs what the list does not give"
    if rule.of:
        service, _, kind = rule.of.partition("/")
        assert catalogue.lookup(f"{service}.{found.domain}/v1beta1", kind)


FAULTY_LISTS = {  # in a VPC's file: what it says
    "{call: describe_vpcs, items: Vpcs, colour: red}": "Extra inputs are not permitted",
    "{items: Vpcs}": "names no call",
    "{call: describe_vpcs, items: Vpcs, fields: {colour: $entry}}": "no field colour",
    "{call: describe_vpcs, items: Vpcs, with: {VpcIds: [$parent]}}": "$parent is of no kind",
    "{call: describe_vpcs, items: Vpcs, format: 'vpc/$entry'}": "has no ${name}",
    "{call: describe_vpcs, items: 'Vpcs['}": "not JMESPath",
}


@pytest.mark.parametrize("rule, problem", FAULTY_LISTS.items())
def test_an_impossible_list_is_refused(rule, problem):
    text = (resources.files("groundplane.aws.kinds") / "ec2_vpc.yaml").read_text()
    faulty = re.sub(r"(?m)^list: .*$", f"list: {rule}", text)
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        catalogue.parsed(faulty, "ec2_vpc.yaml")


FAULTY_SHARES = {  # in a VPC's file: what it says
    "{in: Vpcs, key: VpcId, with: {MaxResults: 5}}": "has no $keys",
    "{in: Vpcs, key: VpcId, most: 5}": "there are no $keys",
    "{in: Vpcs, key: VpcId, with: {VpcIds: $keys, Filters: [$region]}}": "knows no variable but $keys",
    "{in: Vpcs, key: VpcId, lacks: [colour]}": "no field colour",
}


@pytest.mark.parametrize("shared, problem", FAULTY_SHARES.items())
def test_an_impossible_shared_read_is_refused(shared, problem):
    text = (resources.files("groundplane.aws.kinds") / "ec2_vpc.yaml").read_text()
    faulty = re.sub(r"(?m)^  shared: .*$", f"  shared: {shared}", text)
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        catalogue.parsed(faulty, "ec2_vpc.yaml")


def test_a_shared_look_with_a_call_of_its_own_each_time_is_refused():
    text = (resources.files("groundplane.aws.kinds") / "ec2_vpc.yaml").read_text()
    with pytest.raises(InvalidInput, match="takes a call for each look"):
        catalogue.parsed(text.replace(", hourly: enableDnsSupport", ""), "ec2_vpc.yaml")


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_call_of_the_module_beside_is_in_the_file(found):
    known = set(actions.calls(found))
    for call in known:
        operation(found, call)
    methods = {xform_name(name) for name in model(found).operation_names}
    texts = {node.value for node in ast.walk(ast.parse(source_of_hooks(found.file))) if isinstance(node, ast.Constant)}
    said = {f"{found.service}:{text}" if text in methods else text for text in texts if isinstance(text, str)}
    made = {text for text in said if re.fullmatch(r"[a-z0-9]+:[a-z0-9]+_[a-z0-9_]+", text)}
    assert not made - known, f"{found.file}.yaml: add to `calls` what its module calls"


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_actions_are_those_of_the_operations(found):
    for call in actions.calls(found):
        method = call.partition(":")[2]
        assert actions.operation(method) == operation(found, call).name


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_parameter_exists_with_a_type_that_fits(found):
    for name, field in found.fields.items():
        places, is_named = [(found.create.call, field.create), (found.delete.call, field.delete)], False
        if field.group and found.update[field.group].call:
            update = found.update[field.group]
            is_named = update.mode == "attribute"  # the field's name is a value of the call's
            places += [
                (update.call, path) for path in ((update.name, update.value) if is_named else (field.parameter,))
            ]
        for call, path in places:
            if not path:
                continue
            shape = walk(operation(found, call).input_shape, path)
            assert shape is not None, f"{name}: {call} has no {path}"
            if f'"{name}"' in source_of_hooks(found.file) or (is_named and shape.type_name == "string"):
                continue
            assert fits(shape, field), f"{name}: {path} is a {shape.type_name}, not a {field.type}"
            if "def outgoing" not in source_of_hooks(found.file):
                assert not list(misfits(shape, field, name)), list(misfits(shape, field, name))


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_values_are_those_of_the_model(found):
    """Those of parameters that the model lists; where it lists none, the kind file may know better."""
    for name, field in found.fields.items():
        update = found.update[field.group] if field.group else None
        places = [(found.create.call, field.create)]
        if update is not None and update.call and update.mode not in ("attribute", "entries"):
            places.append((update.call, field.parameter))
        for call, path in places:
            shape = walk(operation(found, call).input_shape, path) if call and path else None
            if shape is not None:
                assert not list(unlisted(shape, field, name))


def unlisted(shape, field, where):
    while shape.type_name == "list":
        shape = shape.member
    known = set(getattr(shape, "enum", ()))
    if known and field.type in ("string", "[]string") and not known <= set(field.values):
        yield f"{where}: write values: [{', '.join(sorted(known))}]"
    members = {convert.normalised(name): name for name in shape.members} if shape.type_name == "structure" else {}
    for name, inside in field.fields.items():
        below = walk(shape, inside.aws or members.get(convert.normalised(name), "?"))
        if below is not None:
            yield from unlisted(below, inside, f"{where}.{name}")


def misfits(shape, field, where):
    """What of a field's members AWS does not have, or has otherwise."""
    while shape.type_name == "list":
        shape = shape.member
    members = {convert.normalised(name): name for name in shape.members} if shape.type_name == "structure" else {}
    for name, inside in field.fields.items():
        if inside.unsupported or inside.idle:
            continue
        below = walk(shape, inside.aws or members.get(convert.normalised(name), "?"))
        if below is None:
            yield f"{where}.{name}: no such member of {shape.name}, say which with `aws`"
        elif not fits(below, inside):
            yield f"{where}.{name}: is a {below.type_name}, not a {inside.type}"
        else:
            yield from misfits(below, inside, f"{where}.{name}")


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_observed_member_exists(found):
    """Plain member paths are walked through the answer's shape; what `also` and hooks add is known by name."""
    item = item_of(jmespath.compile(found.observe.item.text).parsed, operation(found, found.observe.call).output_shape)
    item = item.member if item.type_name == "list" else item
    added = set(found.also) | set(re.findall(r'item\["(\w+)"\] =', source_of_hooks(found.file)))
    paths = {name: field.observe for name, field in found.fields.items() if field.observe}
    paths |= {name: output.path for name, output in found.at_provider.items() if output.path}
    paths |= {key: Path(text) for key, text in found.connection.items() if "$" not in text}
    for name, path in paths.items():
        members = first_members(path.text)
        assert members or path.text == "@", f"{name}: {path.text} names no member"
        for member in members:
            known = item.members if item.type_name == "structure" else {member}  # of a map
            assert member in added or member in known, f"{name}: {path.text}: no {member} in {item.name}"


def item_of(node, shape):
    """The shape of what a JMESPath leads to."""
    children = node["children"]
    match node["type"]:
        case "field":
            return convert.member(shape, node["value"])
        case "and_expression":
            return item_of(children[1], shape)
        case "multi_select_dict":
            return SimpleNamespace(type_name="structure", name="the item", members={pair["value"] for pair in children})
        case "index":
            return shape.member
        case "current" | "identity":
            return shape
        case _:
            for child in children:
                shape = item_of(child, shape)
            return shape


def first_members(text):
    """The members of the item that a JMESPath starts from."""

    def find(node):
        match node["type"]:
            case "field":
                return [node["value"]]
            case "literal" | "current" | "identity":
                return []
            case "subexpression" | "index_expression" | "projection" | "filter_projection" | "flatten" | "pipe":
                return find(node["children"][0])
            case _:
                return [name for child in node["children"] for name in find(child)]

    return find(jmespath.compile(text).parsed)


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_every_variable_of_a_template_is_known(found):
    simple = {"external_name", "uid", "name", "region", "partition", "suffix", "account"}
    for variable in re.findall(r"\$\{?([a-z_]+)", repr(found)):
        assert variable in simple | {"spec", "secret", "item", "entry", "parent", "part", "keys"}


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_error_codes_that_the_model_knows_are_spelt_as_there(found):
    known = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model(found).error_shapes}
    lower = {code.lower(): code for code in known}
    codes = [*found.observe.absent, *found.delete.absent, *found.delete.busy, *found.errors.exists]
    for code in codes:
        assert lower.get(code.lower(), code) == code


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_the_example_uses_fields_that_exist(found):
    siblings = {reference.ref for reference in found.port.references}
    siblings |= {reference.selector for reference in found.port.references}
    assert set(found.example) <= set(found.fields) | siblings | {"region", "tags"}


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_a_kind_is_found_by_each_of_its_versions(found):
    for api_version in found.port.api_versions:
        assert catalogue.lookup(api_version, found.kind) is found
    assert catalogue.lookup(f"{found.group}/v9", found.kind) is None


@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
def test_tags_name_a_style_and_calls_that_exist(found):
    if found.tags is None:
        return
    style = tags.STYLES[found.tags.style]
    target = {"resource": found.tags.resource, "target": found.tags.parameter}
    for call, parameters in tags.changes({"a": "1"}, {"b": "2"}, style, "x", **target):
        members = operation(found, call).input_shape.members
        assert set(parameters) <= set(members), call
    if found.tags.inline is None:
        assert style.result in operation(found, style.read).output_shape.members


def test_nothing_outside_the_kinds_is_found():
    assert catalogue.lookup("rds.aws.upbound.io/v1beta1", "instance") is None
    assert catalogue.lookup("rds.aws.upbound.io/v1beta1", "../secrets") is None
    assert catalogue.lookup("v1", "Secret") is None
    assert catalogue.lookup("rds.example.com/v1beta1", "Instance") is None


def document(**changes):
    base = {
        "kind": "Thing",
        "group": "rds.aws.upbound.io",
        "plural": "things",
        "service": "rds",
        "externalName": {"mode": "name"},
        "create": {"call": "create_db_instance"},
        "observe": {"call": "describe_db_instances", "item": "DBInstances[0]"},
        "delete": {"call": "delete_db_instance"},
        "fields": {},
        "atProvider": {},
        "example": {},
    }
    return yaml.safe_load(yaml.safe_dump(base | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"fields": {"a": {"type": "string", "updates": "modify"}}}, "Extra inputs are not permitted"),
        ({"fields": {"a": {"type": "text"}}}, "Input should be"),
        ({"fields": {"a": {"type": "string", "update": "modify"}}}, "no update group modify"),
        ({"fields": {"a": {"type": "string", "conflicts": ["b"]}}}, "no field b"),
        ({"fields": {"a": {"type": "string", "observe": "A["}}}, "not JMESPath"),
    ],
)
def test_a_faulty_kind_file_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        grammar.Kind.model_validate(document(**changes))


def test_an_update_without_a_parameter_is_refused():
    update = {"modify": {"call": "modify_db_instance"}}
    with pytest.raises(ValueError, match="names no parameter"):
        grammar.Kind.model_validate(document(update=update, fields={"a": {"type": "string", "update": "modify"}}))


def test_fields_are_named_in_the_one_way_that_upstream_names_their_siblings():
    references = {reference.field: reference for reference in KINDS["rds_instance"].port.references}
    groups = references["vpcSecurityGroupIds"]
    assert (groups.ref, groups.selector, groups.many) == ("vpcSecurityGroupIdRefs", "vpcSecurityGroupIdSelector", True)
    assert references["kmsKeyId"].extract == "status.atProvider.arn"


def test_a_field_compares_lists_as_sets_unless_it_is_told():
    assert KindField(type="[]string").comparison == "set"
    assert KindField(type="[]string", compare="list").comparison == "list"
    assert KindField(type="[]object", single=True).comparison == "exact"


def test_a_broken_file_names_itself(monkeypatch, tmp_path):
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "rds_thing.yaml").write_text(yaml.safe_dump(document(colour="red")))
    monkeypatch.setattr(catalogue.resources, "files", lambda _: tmp_path / "kinds")
    with pytest.raises(InvalidInput, match=r"aws/kinds/rds_thing.yaml:2 › colour"):
        catalogue._read("rds_thing")


def test_an_update_group_that_nobody_sends_is_refused(monkeypatch):
    assert all(catalogue.hooks.__wrapped__(file) for file in KINDS)
    found = grammar.Kind.model_validate(document(update={"rename": {}}))
    monkeypatch.setattr(catalogue, "load", lambda file: found)
    with pytest.raises(InvalidInput, match=r"aws/kinds/rds_thing.yaml › update.rename.*no hook `update`"):
        catalogue.hooks.__wrapped__("rds_thing")


@pytest.mark.parametrize("way", [{}, {"late": True, "default": True}, {"unset": None, "default": True}])
def test_a_field_that_is_updated_says_one_thing_of_what_its_absence_means(way):
    update = {"call": "modify_vpc_attribute"}
    field = {"type": "boolean", "observe": "IsDefault", "update": "attribute.EnableDnsSupport", **way}
    with pytest.raises(ValueError, match="fields.a: says .* of what its absence means"):
        grammar.Kind.model_validate(SMALL | {"update": {"attribute": update}, "fields": {"a": field}})
    for one in ({"late": True}, {"default": True}, {"unset": None}, {"unset": False}, {"required": True}):
        whole = {name: value for name, value in field.items() if name not in way} | one
        grammar.Kind.model_validate(SMALL | {"update": {"attribute": update}, "fields": {"a": whole}})


SMALL = {
    "kind": "VPC",
    "group": "ec2.aws.upbound.io",
    "plural": "vpcs",
    "service": "ec2",
    "externalName": {"mode": "assigned", "from": "Vpc.VpcId"},
    "create": {"call": "create_vpc"},
    "observe": {"call": "describe_vpcs", "item": "Vpcs[0]"},
    "delete": {"call": "delete_vpc"},
    "atProvider": {},
    "example": {},
}


def test_the_first_of_several_names_in_a_template_that_has_a_value_counts():
    thing = {"metadata": {"name": "orders"}, "spec": {"forProvider": {"ports": [1, 2]}}}
    found = Resource(grammar.Kind.model_validate(SMALL | {"fields": {}}), Hooks(), thing, now=datetime.now(UTC))
    assert found.template("${spec.name|name}") == "orders"
    assert found.template("a/${spec.name|item.Name|name}", {"Name": "shop"}) == "a/shop"
    assert found.template("${spec.ports | [1]|name}") == 2  # a pipe of JMESPath has blanks around it
    assert found.template("${spec.a || spec.b|name}") == "orders"
    assert found.template("${spec.a|spec.b}") is None


@pytest.mark.parametrize(
    "was, now, message",
    [
        (
            "  revokeRulesOnDelete: {",
            "  revokeRulesOnDelete: {lates: true, ",
            "fields.revokeRulesOnDelete.lates: Extra inputs",
        ),
        ("asynchronous: true", "asynchron: true", "asynchron: Extra inputs"),
        ("  name: {type: string,", "  name: {type: strings,", "fields.name.type: Input should be 'string'"),
        (
            "  name: {type: string,",
            "  name: {type: string, update: rename.GroupName,",
            "fields.name.update: no update group rename",
        ),
        ("  name: {type: string,", "  name: {type: string, conflicts: [nam],", "fields.name: no field nam"),
        (
            "  name: {type: string,",
            "  name: {type: string, blank: true,",
            "fields.name.blank: the field is no required",
        ),
        ("  ownerId: OwnerId", "  ownerId: {form: OwnerId}", "atProvider.ownerId.type: Field required"),
    ],
)
def test_a_faulty_key_is_named_with_its_file_and_line(was, now, message):
    source = resources.files("groundplane.aws.kinds") / "ec2_security_group.yaml"
    text = source.read_text(encoding="utf-8")
    assert text.count(f"\n{was}") == 1
    line = text[: text.index(f"\n{was}")].count("\n") + 2
    with pytest.raises(InvalidInput) as caught:
        catalogue.parsed(text.replace(f"\n{was}", f"\n{now}"), "kinds/a.yaml")
    assert str(caught.value).startswith(f"kinds/a.yaml:{line} › {message}")


@pytest.mark.parametrize(
    "region, arn, host",
    [
        ("cn-north-1", "arn:aws-cn:s3:::orders", "orders.s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "arn:aws-us-gov:s3:::orders", "orders.s3.us-gov-west-1.amazonaws.com"),
        ("eu-west-1", "arn:aws:s3:::orders", "orders.s3.eu-west-1.amazonaws.com"),
    ],
)
def test_names_that_are_made_have_the_partition_and_suffix_of_the_region(region, arn, host):
    clients = Sessions(attempts=1).clients(Account(ACCOUNT, {"creds": INI}, "1"))
    bucket = {"metadata": {"name": "orders"}, "spec": {"forProvider": {"region": region}}}
    found = Resource(KINDS["s3_bucket"], Hooks(), bucket, clients, now=datetime.now(UTC))
    made = {
        name: found.template(KINDS["s3_bucket"].at_provider[name].from_) for name in ("arn", "bucketRegionalDomainName")
    }
    assert made == {"arn": arn, "bucketRegionalDomainName": host}
    vpc = Resource(KINDS["ec2_vpc"], Hooks(), bucket, clients, now=datetime.now(UTC))
    vpc.external_name = "vpc-1"
    partition = arn.split(":")[1]
    assert (
        vpc.template(KINDS["ec2_vpc"].at_provider["arn"].from_, {"OwnerId": "1"})
        == f"arn:{partition}:ec2:{region}:1:vpc/vpc-1"
    )


ACCOUNT = provider_config("http://127.0.0.1:1", endpoint=None)
