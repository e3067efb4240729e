"""`groundplane migrate take-over` on the real API server, beside an operator at work: a bucket, and a composite in the composite."""

from __future__ import annotations

import yaml

from groundplane.core.objects import annotations_of, spec_of
from tests.cli.platform import groundplane
from tests.e2e.test_plan import CONFIG, is_ready, mutating

GROUP = "moves.example.org"
SHELF = f"{GROUP}/v1"
CLUSTER_CONFIG = {**CONFIG, "apiVersion": "aws.m.upbound.io/v1beta1", "kind": "ClusterProviderConfig"}
PLATFORM = f"""
apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata: {{name: xshelves.{GROUP}}}
spec:
  group: {GROUP}
  names: {{kind: XShelf, plural: xshelves}}
  claimNames: {{kind: Shelf, plural: shelves}}
  versions:
  - name: v1
    served: true
    referenceable: true
    schema:
      openAPIV3Schema: {{type: object, properties: {{spec: {{type: object}}, status: {{type: object, properties: {{bucket: {{type: string}}}}}}}}}}
---
apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata: {{name: xhistories.{GROUP}}}
spec:
  group: {GROUP}
  names: {{kind: XHistory, plural: xhistories}}
  versions:
  - name: v1
    served: true
    referenceable: true
    schema:
      openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{bucket: {{type: string}}}}}}}}}}
---
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {{name: shelves}}
spec:
  compositeTypeRef: {{apiVersion: {SHELF}, kind: XShelf}}
  resources:
  - name: bucket
    base:
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: Bucket
      spec: {{deletionPolicy: Delete, forProvider: {{region: eu-west-1}}}}
    patches:
    - {{type: ToCompositeFieldPath, fromFieldPath: "metadata.annotations[crossplane.io/external-name]", toFieldPath: status.bucket}}
  - name: history
    base: {{apiVersion: {SHELF}, kind: XHistory}}
    patches:
    - {{fromFieldPath: status.bucket, toFieldPath: spec.bucket, policy: {{fromFieldPath: Required}}}}
---
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {{name: histories}}
spec:
  compositeTypeRef: {{apiVersion: {SHELF}, kind: XHistory}}
  resources:
  - name: rules
    base:
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: BucketLifecycleConfiguration
      spec:
        forProvider:
          region: eu-west-1
          rule: [{{id: old, status: Enabled, filter: [{{prefix: tmp/}}], expiration: [{{days: 7}}]}}]
    patches:
    - {{fromFieldPath: spec.bucket, toFieldPath: spec.forProvider.bucket}}
"""
CLAIM = {"apiVersion": SHELF, "kind": "Shelf", "metadata": {"name": "books", "namespace": "default"}, "spec": {}}
KINDS = ("buckets.s3", "bucketlifecycleconfigurations.s3")


def names(plane, domain):
    found = [obj for kind in KINDS for obj in plane.get(f"{kind}.{domain}", "-A")["items"]]
    return sorted((obj["kind"], annotations_of(obj)["crossplane.io/external-name"]) for obj in found)


def test_beside_an_operator_a_claim_s_things_go_over(plane, aws, operator, clean, tmp_path, monkeypatch):
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in (keys | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.yaml").write_text(PLATFORM)
    assert groundplane("migrate", "v2", "v1.yaml", "-o", "v2").exit_code == 0
    plane.apply(*yaml.safe_load_all(PLATFORM), *yaml.safe_load_all((tmp_path / "v2" / "v1.yaml").read_text()))
    plane.apply(CONFIG, CLUSTER_CONFIG)
    for plural in ("shelves", "xhistories"):
        for group in (GROUP, f"m.{GROUP}"):
            kind = f"{plural}.{group}"
            plane.wait(f"{kind} is served", lambda kind=kind: plane.kubectl("get", kind, check=False).returncode == 0)
    plane.apply(CLAIM)
    plane.wait("the shelf is ready", lambda: is_ready(plane.get(f"shelves.{GROUP}", "books", "-n", "default")))
    before = names(plane, "aws.upbound.io")
    assert len(before) == 2

    aws.request("DELETE", "/standin/calls")
    ran = groundplane("migrate", "take-over", f"shelf.{GROUP}/books", "-n", "default", "--kubeconfig", plane.kubeconfig)
    assert ran.exit_code == 0, ran.output
    assert names(plane, "aws.upbound.io") == []
    assert names(plane, "aws.m.upbound.io") == before
    found = [obj for kind in KINDS for obj in plane.get(f"{kind}.aws.m.upbound.io", "-A")["items"]]
    assert {tuple(spec_of(obj)["managementPolicies"]) for obj in found} == {("*",)}
    assert set(mutating(aws)) <= {"PUT ?tagging"}, "the operator writes whose it is"
    plane.kubectl("delete", f"shelves.m.{GROUP}", "books", "-n", "default", "--wait=true")
    assert any(call.startswith("DELETE") for call in mutating(aws)), "it was the new one's to delete"
