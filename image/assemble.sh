#!/bin/sh
# Makes the folder that the image consists of, beside its base: the locked dependencies, our code, their bytecode, an SBOM.
# The Containerfile runs it, and `make image-check` does the same without a container runtime.
#
#     image/assemble.sh PYTHON FOLDER
#
# Two runs with one SOURCE_DATE_EPOCH give the same bytes.
set -eu
python=$1 folder=$2
here=$(cd "$(dirname "$0")/.." && pwd)
epoch=${SOURCE_DATE_EPOCH:-0}
site=$folder/site

mkdir -p "$site"
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
	--require-hashes --no-deps --no-compile --only-binary :all: --target "$site" -r "$here/requirements.lock"
# For login programs in kubeconfigs only, of which there are none in a Pod: half of the whole size.
rm -rf "$site/kubernetes" "$site"/kubernetes-*.dist-info "$site/bin"
cp -RL "$here/operator/groundplane" "$site/groundplane"
find "$site" -name __pycache__ -prune -exec rm -rf {} +
# What pip notes about this one installation: the same everywhere but for the path or the time.
find "$site" \( -name direct_url.json -o -name REQUESTED -o -name INSTALLER \) -exec rm {} +
# Never looked at again, whatever the times of the files: the root is read-only.
"$python" -m compileall -q -s "$folder" -p /app --invalidation-mode unchecked-hash "$site"
"$python" "$here/image/sbom.py" "$site" >"$folder/sbom.cdx.json"
chmod -R go=u-w "$folder"
find "$folder" -exec touch -h -d "@$epoch" {} +
