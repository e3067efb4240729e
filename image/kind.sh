#!/bin/sh
# A cluster in Docker with all of it: `make kind-up`, as often as you like, and `make kind-down`.
#
#     image/kind.sh up|down
#
# The kubeconfig's current context is left to kind; everything here names its own.
set -eu
cd "$(dirname "$0")/.."
cluster=$(sed -n 's/^name: *//p' kind-config.yaml)
namespace=crossplane-system
platform=compositions/database-aws
patience=300 # seconds for each wait

main() {
	case ${1:-} in
	up) demand docker kind kubectl helm && up ;;
	down) demand docker kind && kind delete cluster --name "$cluster" ;;
	*) echo "image/kind.sh up|down" >&2; exit 2 ;;
	esac
}

# All that is missing, in one message.
demand() {
	missing=
	for tool; do
		if ! command -v "$tool" >/dev/null; then
			case $tool in
			docker) mend="install it: https://docs.docker.com/get-started/get-docker/" ;;
			kind) mend="install 0.30 or newer: https://kind.sigs.k8s.io/docs/user/quick-start/#installation" ;;
			kubectl) mend="install it: https://kubernetes.io/docs/tasks/tools/#kubectl" ;;
			helm) mend="install 3.x: https://helm.sh/docs/intro/install/" ;;
			esac
		elif [ "$tool" = docker ] && ! docker info >/dev/null 2>&1; then
			mend="its daemon does not answer: start it, or see what \`docker info\` says"
		else
			continue
		fi
		missing="$missing
  $tool: $mend"
	done
	[ -z "$missing" ] && return
	echo "This needs what is not here:$missing
Without Docker, make cluster gives the same at a prompt: an API server, the operator, AWS's stand-in." >&2
	exit 1
}

up() {
	if kind get clusters 2>/dev/null | grep -qx "$cluster"; then
		kind export kubeconfig --name "$cluster"
	else
		kind create cluster --config kind-config.yaml --wait "${patience}s"
	fi
	make --no-print-directory image IMAGE=groundplane:dev
	make --no-print-directory image TARGET=standin IMAGE=groundplane-standin:dev
	# A tag of the content: another image is rolled out, the same is not.
	id=$(docker image inspect --format '{{.Id}}' groundplane:dev)
	tag=$(echo "${id#sha256:}" | cut -c1-12)
	docker tag groundplane:dev "groundplane:$tag"
	kind load docker-image "groundplane:$tag" groundplane-standin:dev --name "$cluster"

	for each in "$namespace" my-team; do
		kube create namespace "$each" --dry-run=client -o yaml | kube apply -f -
	done
	kube apply -f image/standin.yaml
	rolled_out aws-standin
	helm upgrade groundplane charts/groundplane --install --kube-context "kind-$cluster" --namespace "$namespace" \
		--values charts/groundplane/ci/kind-values.yaml --set-string "image.tag=$tag" >/dev/null
	rolled_out groundplane

	# Kinds come when the first replica leads, and with the definition.
	again kube apply -f "$platform"
	again kube apply -f "$platform/examples/claim.yaml"
	kube wait database/my-service-db -n my-team --for=condition=Ready --timeout="${patience}s"
	cat <<END

The database of the claim is ready.  Next:

  kubectl config use-context kind-$cluster
  kubectl get database,secret -n my-team
  kubectl get managed
  kubectl logs -n $namespace -l app.kubernetes.io/name=groundplane -f
  kubectl delete database my-service-db -n my-team

make kind-up again builds and rolls out what you have changed; make kind-down deletes the cluster.
END
}

kube() {
	kubectl --context "kind-$cluster" "$@"
}

rolled_out() {
	kube rollout status "deployment/$1" -n "$namespace" --timeout="${patience}s" && return
	kube get pods -n "$namespace" -o wide >&2
	echo "deployment $1 is not available: see why with kubectl describe pods -n $namespace --context kind-$cluster" >&2
	exit 1
}

# Until it succeeds; what it says last, if it does not.
again() {
	end=$(($(date +%s) + patience))
	until said=$("$@" 2>&1); do
		[ "$(date +%s)" -lt "$end" ] || { echo "$said" >&2; exit 1; }
		sleep 1
	done
	echo "$said"
}

main "$@"
