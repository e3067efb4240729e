"""EC2 SecurityGroupEgressRule: as SecurityGroupIngressRule, the other way."""

from groundplane.aws.kinds.ec2_security_group_ingress_rule import Hooks

__all__ = ["Hooks"]
