"""Kubernetes objects that managed resources stand for, in this cluster or in another: provider-kubernetes' kinds."""
