"""The messages of Crossplane's `RunFunction`, as google's protobuf library makes them of a description: an independent witness for ours."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2

STRUCT, DURATION = ".google.protobuf.Struct", ".google.protobuf.Duration"
ENUMS = {
    "Capability": (
        "CAPABILITY_UNSPECIFIED CAPABILITY_CAPABILITIES CAPABILITY_REQUIRED_RESOURCES CAPABILITY_CREDENTIALS"
        " CAPABILITY_CONDITIONS CAPABILITY_REQUIRED_SCHEMAS"
    ),
    "Ready": "READY_UNSPECIFIED READY_TRUE READY_FALSE",
    "Severity": "SEVERITY_UNSPECIFIED SEVERITY_FATAL SEVERITY_WARNING SEVERITY_NORMAL",
    "Target": "TARGET_UNSPECIFIED TARGET_COMPOSITE TARGET_COMPOSITE_AND_CLAIM",
    "Status": "STATUS_CONDITION_UNSPECIFIED STATUS_CONDITION_UNKNOWN STATUS_CONDITION_TRUE STATUS_CONDITION_FALSE",
}
# message → its fields, "name number type", with * for repeated, % for a map from text, ? for optional, | for the one oneof
MESSAGES = {
    "RequestMeta": ["tag 1 string", "capabilities 2 *Capability"],
    "ResponseMeta": ["tag 1 string", f"ttl 2 ?{DURATION}"],
    "Resource": [f"resource 1 {STRUCT}", "connection_details 2 %bytes", "ready 3 Ready"],
    "Resources": ["items 1 *Resource"],
    "State": ["composite 1 Resource", "resources 2 %Resource"],
    "CredentialData": ["data 1 %bytes"],
    "Credentials": ["credential_data 1 |CredentialData"],
    "MatchLabels": ["labels 1 %string"],
    "ResourceSelector": [
        "api_version 1 string",
        "kind 2 string",
        "match_name 3 |string",
        "match_labels 4 |MatchLabels",
        "namespace 5 ?string",
    ],
    "SchemaSelector": ["api_version 1 string", "kind 2 string"],
    "Schema": [f"openapi_v3 1 ?{STRUCT}"],
    "Requirements": [
        "extra_resources 1 %ResourceSelector",
        "resources 2 %ResourceSelector",
        "schemas 3 %SchemaSelector",
    ],
    "Result": ["severity 1 Severity", "message 2 string", "reason 3 ?string", "target 4 ?Target"],
    "Condition": ["type 1 string", "status 2 Status", "reason 3 string", "message 4 ?string", "target 5 ?Target"],
    "RunFunctionRequest": [
        "meta 1 RequestMeta",
        "observed 2 State",
        "desired 3 State",
        f"input 4 ?{STRUCT}",
        f"context 5 ?{STRUCT}",
        "extra_resources 6 %Resources",
        "credentials 7 %Credentials",
        "required_resources 8 %Resources",
        "required_schemas 9 %Schema",
    ],
    "RunFunctionResponse": [
        "meta 1 ResponseMeta",
        "desired 2 State",
        "results 3 *Result",
        f"context 4 ?{STRUCT}",
        "requirements 5 Requirements",
        "conditions 6 *Condition",
        f"output 7 ?{STRUCT}",
    ],
}
PACKAGE = "apiextensions.fn.proto.v1"
_Field = descriptor_pb2.FieldDescriptorProto


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="run_function.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend([struct_pb2.DESCRIPTOR.name, duration_pb2.DESCRIPTOR.name])
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields:
            field_name, number, type_ = text.split()
            _add(message, name, field_name, int(number), type_)
    return file


def _add(message, owner, name, number, type_):
    mark, type_ = (type_[0], type_[1:]) if type_[0] in "*%?|" else ("", type_)
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if mark == "%":
        entry = "".join(word.capitalize() for word in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _set(nested.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string")
        _set(nested.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), type_)
        field.label = _Field.LABEL_REPEATED
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{owner}.{entry}"
        return
    _set(field, type_)
    if mark == "*":
        field.label = _Field.LABEL_REPEATED
    elif mark == "|":
        if not message.oneof_decl:
            message.oneof_decl.add(name="kind_of")
        field.oneof_index = 0
    elif mark == "?" and not type_.startswith("."):
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


def _set(field, type_):
    if type_ in ("string", "bytes"):
        field.type = _Field.TYPE_STRING if type_ == "string" else _Field.TYPE_BYTES
    elif type_ in ENUMS:
        field.type, field.type_name = _Field.TYPE_ENUM, f".{PACKAGE}.{type_}"
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = type_ if type_.startswith(".") else f".{PACKAGE}.{type_}"


_pool = descriptor_pool.DescriptorPool()
for _known in (struct_pb2, duration_pb2):
    _pool.AddSerializedFile(_known.DESCRIPTOR.serialized_pb)
_pool.Add(_describe())


def message(name):
    """The class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Request, Response = message("RunFunctionRequest"), message("RunFunctionResponse")
