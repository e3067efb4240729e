#!/bin/sh
# Makes the folder that an image consists of, beside its base: the locked dependencies, our code, their bytecode, an SBOM.
# The Containerfile runs it, and `make image-check` does the same without a container runtime.
#
#     image/assemble.sh PYTHON FOLDER operator|standin
#
# Two runs with one SOURCE_DATE_EPOCH give the same bytes.
set -eu
python=$1 folder=$2
case $3 in
operator) lock=requirements.lock ;;
standin) lock=requirements-demo.lock ;;
*) echo "image/assemble.sh: $3 is neither operator nor standin" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")/.." && pwd)
epoch=${SOURCE_DATE_EPOCH:-0}
site=$folder/site

mkdir -p "$site"
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
	--require-hashes --no-deps --no-compile --only-binary :all: --target "$site" -r "$here/$lock"
rm -rf "$site/bin"
without() { for each; do rm -rf "$site/$each" "$site/$each"-*.dist-info; done; }
# For login programs in kubeconfigs only, of which there are none in a Pod: half of the whole size.  With what it alone needs.
without kubernetes oauthlib requests_oauthlib websocket websocket_client durationpy
# For rich's highlighted source and Markdown, which we do not print.
without pygments markdown_it markdown_it_py mdurl
# Of CEL's extensions, 7 MB each, the one that is loaded; boto3's resources; pydantic's earlier self; what compilers read.
find "$site/cel_expr_python/ext" -name '*.so' ! -name 'ext_optional.*' -exec rm {} +
rm -rf "$site/boto3/data" "$site/boto3/examples" "$site/pydantic/v1"
find "$site" \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' \) -exec rm {} +
cp -RL "$here/operator/groundplane" "$site/groundplane"
if [ "$3" = operator ]; then
	# The operator makes botocore's clients itself.
	without boto3 s3transfer
	# botocore's models: those of our kinds and of logging in.  Of the others the names stay, for endpoints may list them.
	needed=" sts sso sso-oidc signin $(sed -n 's/^service: *//p' "$site"/groundplane/aws/kinds/*.yaml | tr '\n' ' ') "
	for service in "$site"/botocore/data/*/; do
		case $needed in *" $(basename "$service") "*) continue ;; esac
		for model in "$service"*/*; do
			case $model in */service-2.json.gz) : >"$model" ;; *) rm "$model" ;; esac
		done
	done
fi
find "$site" -name __pycache__ -prune -exec rm -rf {} +
# What pip notes about this one installation: the same everywhere but for the path or the time.
find "$site" \( -name direct_url.json -o -name REQUESTED -o -name INSTALLER \) -exec rm {} +
# Never looked at again, whatever the times of the files: the root is read-only.
"$python" -m compileall -q -s "$folder" -p /app --invalidation-mode unchecked-hash "$site"
"$python" "$here/image/sbom.py" "$site" >"$folder/sbom.cdx.json"
chmod -R go=u-w "$folder"
find "$folder" -exec touch -h -d "@$epoch" {} +
