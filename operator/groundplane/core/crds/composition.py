"""`apiextensions.crossplane.io` Composition and CompositionRevision: how a composite is made.

Both of upstream's modes in one schema: `resources` with patches (v1.20, native) and `pipeline` (v1.20 and v2).
`mode` has no default, for v1.20's is Resources and v2's is Pipeline: where it is left out, what is there tells.
"""

from __future__ import annotations

from groundplane.core.crds.build import crd, version
from groundplane.core.objects import Json, Object
from groundplane.core.openapi import (
    AGE,
    Schema,
    anything,
    array,
    boolean,
    column,
    conditions,
    embedded,
    enum,
    integer,
    named,
    obj,
    root,
    ruled,
    string,
    strings,
    unseen,
)
from groundplane.core.spec import NO_ENVIRONMENT
from groundplane.core.transforms.base import CONVERSIONS

GROUP = "apiextensions.crossplane.io"
IMMUTABLE = ("self == oldSelf", "Value is immutable")

HAS_STEPS = (
    "(has(self.mode) ? self.mode != 'Pipeline' : has(self.resources)) || (has(self.pipeline) && size(self.pipeline) > 0)",
    "an array of pipeline steps is required in Pipeline mode",
)
HAS_SECRET = (
    "!has(self.source) || self.source != 'Secret' || has(self.secretRef)",
    "the Secret source requires a secretRef",
)
BY_NAME_OR_LABELS = (
    "has(self.name) != has(self.matchLabels)",
    "either name or matchLabels must be given, and not both; matchLabels: {} are all of the kind",
)
PATCH_TYPES = (
    "FromCompositeFieldPath",
    "PatchSet",
    "ToCompositeFieldPath",
    "CombineFromComposite",
    "CombineToComposite",
)
GONE_TYPES = ("FromEnvironmentFieldPath", "ToEnvironmentFieldPath", "CombineFromEnvironment", "CombineToEnvironment")
GONE_FIELD = "environment"
NO_ENVIRONMENT_PATCH = ("!self.contains('Environment')", NO_ENVIRONMENT)  # an enum's refusal has no room for the mend
OF_OTHERS = {rule for rule, _ in (HAS_STEPS, HAS_SECRET, BY_NAME_OR_LABELS, NO_ENVIRONMENT_PATCH)}
"""Rules that v1.20 does not have."""

CHECKS = ("MatchString", "MatchInteger", "NonEmpty", "MatchCondition", "MatchTrue", "MatchFalse", "None")
DETAILS = ("FromConnectionSecretKey", "FromFieldPath", "FromValue")


def crds() -> list[Object]:
    """Composition and CompositionRevision."""
    return [
        crd(GROUP, "Composition", [version("v1", _composition(), [*_TYPE, AGE])], short=["comp"]),
        crd(
            GROUP,
            "CompositionRevision",
            [
                version(name, _revision(), [column("REVISION", ".spec.revision"), *_TYPE, AGE])
                for name in ("v1", "v1beta1")
            ],
            short=["comprev"],
        ),
    ]


_TYPE = (
    column("XR-KIND", ".spec.compositeTypeRef.kind"),
    column("XR-APIVERSION", ".spec.compositeTypeRef.apiVersion"),
)


def _composition() -> Schema:
    gone = anything("Not read: gone since Crossplane v1.18. Kept, so that the status can say what to write instead.")
    spec = obj(
        {**_spec(), GONE_FIELD: gone},
        "What the composition is for and what it makes.",
        required=["compositeTypeRef"],
        rules=[HAS_STEPS],
    )
    status = unseen(obj({"conditions": conditions()}, "Whether it can be rendered. Not of upstream."))
    return root(
        "A Composition says how a composite is made: from which resources, and how values flow.",
        spec=spec,
        status=status,
    )


def _revision() -> Schema:
    number = integer("Counts the revisions of one Composition; the highest is the newest.")
    spec = obj(
        {**_spec(), "revision": number},
        "The Composition's spec as it was.",
        required=["compositeTypeRef", "revision"],
    )
    status = obj({"conditions": conditions()}, "What was found out about the revision.")
    return root(
        "A CompositionRevision is a snapshot of a Composition. Made for every change of one; not to be edited.",
        spec=spec,
        status=status,
    )


def _spec() -> Schema:
    return {
        "compositeTypeRef": obj(
            {
                "apiVersion": string("Group and version, such as platform.example.com/v1alpha1."),
                "kind": string("The composite's kind, such as XDatabase; not the claim's."),
            },
            "The kind of composite that this is for. Its version must be the definition's referenceable one.",
            required=["apiVersion", "kind"],
            rules=[IMMUTABLE],
        ),
        "mode": enum(
            ["Resources", "Pipeline"],
            "Resources: made from spec.resources. Pipeline: made by the functions of spec.pipeline. Left out: whichever there are.",
        ),
        "patchSets": array(_patch_set(), "Patches that several resources share. With mode Resources."),
        "resources": array(_template(), "One template for each composed resource. With mode Resources."),
        "pipeline": pipeline(),
        "writeConnectionSecretsToNamespace": string(
            "The namespace for connection Secrets of composites that name none themselves."
        ),
        "publishConnectionDetailsWithStoreConfigRef": named(
            "Not supported: external secret stores were removed upstream.",
            of="The StoreConfig",
            default={"name": "default"},
        ),
    }


# --- mode Resources


def _patch_set() -> Schema:
    return obj(
        {
            "name": string("What patches of type PatchSet call it by."),
            "patches": array(_patch(), "The patches; of any type but PatchSet."),
        },
        required=["name", "patches"],
    )


def _template() -> Schema:
    ready = {"type": "MatchCondition", "matchCondition": {"type": "Ready", "status": "True"}}
    return obj(
        {
            "name": string("Identifies the template in its composition. Give every template one, and keep it."),
            "base": embedded("The resource as it is before any patch: apiVersion, kind, and usually spec."),
            "patches": array(_patch(), "Copy values between composite and composed resource, in this order."),
            "connectionDetails": array(_detail(), "What of this resource goes into the composite's connection Secret."),
            "readinessChecks": array(_check(), "When the resource may be used: if all of these hold.", default=[ready]),
        },
        required=["base"],
    )


def _patch() -> Schema:
    kind = enum(
        [*PATCH_TYPES, *GONE_TYPES],
        "From…: composite to composed resource. To…: composed resource to composite. Combine…: several"
        " values into one. PatchSet: the patches of a set. Those of the environment are for pipelines only.",
        default="FromCompositeFieldPath",
    )
    return obj(
        {
            "type": ruled(kind, NO_ENVIRONMENT_PATCH),
            "fromFieldPath": string("The field to read, such as spec.parameters.size."),
            "toFieldPath": string("The field to write; the same as fromFieldPath if absent."),
            "combine": _combine(),
            "patchSetName": string("The patch set to insert here. With type PatchSet."),
            "transforms": array(_transform(), "Change the value on its way, in this order."),
            "policy": obj(
                {
                    "fromFieldPath": enum(
                        ["Optional", "Required"],
                        "What to do where there is no value yet. Optional, the default: skip the patch."
                        " Required: hold the resource back until there is one.",
                    ),
                    "mergeOptions": obj(
                        {
                            "keepMapValues": boolean("Keep values that are there already."),
                            "appendSlice": boolean("Append to a list instead of replacing it."),
                        },
                        "How an object or a list is merged into what is there.",
                    ),
                },
                "How strict the patch is.",
            ),
        }
    )


def _combine() -> Schema:
    variable = obj({"fromFieldPath": string("The field to read.")}, required=["fromFieldPath"])
    return obj(
        {
            "variables": array(variable, "The values to combine, in this order.", minItems=1),
            "strategy": enum(["string"], "How; there is only string."),
            "string": obj(
                {"fmt": string("A Go format with one verb for each variable, such as %s-%s.")},
                "For strategy string.",
                required=["fmt"],
            ),
        },
        "Several values into one. With types CombineFromComposite and CombineToComposite.",
        required=["strategy", "variables"],
    )


def _transform() -> Schema:
    kind = enum(["map", "match", "math", "string", "convert"], "Which of the fields below says what to do.")
    return obj(
        {
            "type": kind,
            "map": obj(
                description="A table: the value is looked up in it, such as small: db.t3.micro.",
                additionalProperties=anything(),
            ),
            "match": _match(),
            "math": _math(),
            "string": _string(),
            "convert": _convert(),
        },
        required=["type"],
    )


def _match() -> Schema:
    pattern = obj(
        {
            "type": enum(["literal", "regexp"], "What to compare with.", default="literal"),
            "literal": string("The exact text that matches."),
            "regexp": string("A regular expression (RE2) that is searched for in the value."),
            "result": anything("The value if it matches."),
        },
        required=["result", "type"],
    )
    return obj(
        {
            "patterns": array(pattern, "Tried in this order; the first that matches wins."),
            "fallbackValue": anything("The value if none matches."),
            "fallbackTo": enum(
                ["Value", "Input"], "If none matches: fallbackValue, or the value as it was.", default="Value"
            ),
        },
        "Patterns, each with its result.",
    )


def _math() -> Schema:
    return obj(
        {
            "type": enum(["Multiply", "ClampMin", "ClampMax"], "What to do with the number.", default="Multiply"),
            "multiply": integer("The factor."),
            "clampMin": integer("The smallest result."),
            "clampMax": integer("The largest result."),
        },
        "Arithmetic on a number.",
    )


def _string() -> Schema:
    kinds = ["Format", "Convert", "TrimPrefix", "TrimSuffix", "Regexp", "Join"]
    return obj(
        {
            "type": enum(kinds, "Which of the fields below says what to do.", default="Format"),
            "fmt": string("A Go format with one verb, such as %s-suffix. With type Format."),
            "convert": enum(CONVERSIONS, "The conversion. With type Convert."),
            "trim": string("What to cut off. With types TrimPrefix and TrimSuffix."),
            "regexp": obj(
                {
                    "match": string("A regular expression (RE2)."),
                    "group": integer("The group whose text is the result; 0 is the whole match."),
                },
                "Takes a part of the text. With type Regexp.",
                required=["match"],
            ),
            "join": obj(
                {"separator": string("What goes between the items.")},
                "Makes one text of a list. With type Join.",
                required=["separator"],
            ),
        },
        "Works on text; the result is text.",
    )


def _convert() -> Schema:
    kinds = ["string", "int", "int64", "bool", "float64", "object", "array"]
    return obj(
        {
            "toType": enum(kinds, "The type of the result."),
            "format": enum(
                ["none", "quantity", "json"],
                "How to read the text: quantity for amounts such as 500m or 1Gi, json for object and array.",
            ),
        },
        "Changes the value's type.",
        required=["toType"],
    )


def _detail() -> Schema:
    return obj(
        {
            "name": string("The key in the composite's Secret."),
            "type": enum(DETAILS, "Where the value comes from; follows from the other fields if absent."),
            "fromConnectionSecretKey": string("A key of the composed resource's own connection Secret."),
            "fromFieldPath": string("A field of the composed resource."),
            "value": string("A fixed value. Not for secrets: everyone who can read the composition can read it."),
        }
    )


def _check() -> Schema:
    return obj(
        {
            "type": enum(CHECKS, "What is checked. None: nothing, ready as soon as it exists."),
            "fieldPath": string("The field of the composed resource that is looked at."),
            "matchString": string("The text that it must be. With type MatchString."),
            "matchInteger": integer("The number that it must be. With type MatchInteger."),
            "matchCondition": obj(
                {
                    "type": string("The condition's type.", default="Ready"),
                    "status": string("The status that it must have.", default="True"),
                },
                "With type MatchCondition.",
                required=["status", "type"],
            ),
        },
        required=["type"],
    )


# --- mode Pipeline


def _step() -> Schema:
    secret = obj(
        {"namespace": string("The Secret's namespace."), "name": string("The Secret's name.")},
        "With source Secret.",
        required=["name", "namespace"],
    )
    credentials = obj(
        {
            "name": string("What the function knows it by."),
            "source": enum(["None", "Secret"], "Where the credentials come from."),
            "secretRef": secret,
        },
        required=["name", "source"],
        rules=[HAS_SECRET],
    )
    return obj(
        {
            "step": string("The step's name, unique in the pipeline."),
            "functionRef": named("The function to call.", of="The Function"),
            "input": embedded("What the function is told; its apiVersion and kind are the function's."),
            "credentials": array(credentials, "Secrets that the function is handed.", keys=["name"]),
            "requirements": _requirements(),
        },
        required=["functionRef", "step"],
    )


def pipeline(**rules: Json) -> Schema:
    """The steps of a pipeline."""
    return array(_step(), "The functions to call, in this order. With mode Pipeline.", keys=["step"], **rules)


def _requirements() -> Schema:
    resource = obj(
        {
            "requirementName": string("What the function knows it by."),
            "apiVersion": string("The API version of what is needed."),
            "kind": string("The kind of what is needed."),
            "name": string("The object's name; or else matchLabels."),
            "namespace": string("The namespace to look in."),
            "matchLabels": strings("Labels that the objects must have; or else name."),
        },
        required=["apiVersion", "kind", "requirementName"],
        rules=[BY_NAME_OR_LABELS],
    )
    schema = obj(
        {
            "requirementName": string("What the function knows it by."),
            "apiVersion": string("The API version of the kind."),
            "kind": string("The kind whose schema is needed."),
        },
        required=["apiVersion", "kind", "requirementName"],
    )
    return obj(
        {
            "requiredResources": array(resource, "Objects to fetch.", keys=["requirementName"]),
            "requiredSchemas": array(schema, "Schemas to fetch.", keys=["requirementName"]),
        },
        "What the function needs to see before it is called for the first time.",
    )
