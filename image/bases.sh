#!/bin/sh
# The base images of the Containerfile by digest, in image/bases.lock, which `make image` heeds.
#
#     image/bases.sh pin      what the tags stand for now is written down
#     image/bases.sh check    is each pinned, to what its tag stands for still?  1 if not
#     image/bases.sh print    as arguments of a build
set -eu
cd "$(dirname "$0")/.."
lock=image/bases.lock

main() {
	case ${1:-} in
	pin) pin ;;
	check) check ;;
	print) [ ! -e $lock ] || sed -n 's/^\([A-Z]*=[^ ]*\)$/--build-arg \1/p' $lock ;;
	*) echo "image/bases.sh pin|check|print" >&2; exit 2 ;;
	esac
}

# NAME=image:tag, as the Containerfile has them.
bases() {
	sed -n 's/^ARG \(BUILDER\|BASE\)=/\1=/p' Containerfile
}

# The digest of a tag, of all its platforms.
digest() {
	if command -v skopeo >/dev/null; then
		echo "sha256:$(skopeo inspect --raw "docker://$1" | sha256sum | cut -d' ' -f1)"
	elif command -v docker >/dev/null; then
		docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
	else
		echo "this needs skopeo, or docker with buildx, and a way to the registry" >&2
		return 1
	fi
}

# Fails if it is no digest, as of an answer that never came.
resolved() {
	found=$(digest "$1")
	case $found in
	sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855) ;; # of nothing
	sha256:????????????????????????????????????????????????????????????????) echo "$found"; return ;;
	esac
	echo "no digest of $1 came: ${found:-nothing}" >&2
	return 1
}

pin() {
	new=$(for base in $(bases); do
		image=${base#*=}
		found=$(resolved "$image") || exit 1
		echo "${base%%=*}=$image@$found"
	done)
	echo "# Made by \`make pin-bases\`: what the tags of the Containerfile stood for." >$lock
	echo "$new" >>$lock
	cat $lock
}

check() {
	[ -e $lock ] || { echo "nothing is pinned: make pin-bases" >&2; exit 1; }
	code=0
	for base in $(bases); do
		image=${base#*=}
		pinned=$(sed -n "s|^${base%%=*}=||p" $lock)
		case $pinned in
		"$image@sha256:"*) ;;
		*) echo "$image is not pinned: make pin-bases" >&2; code=1; continue ;;
		esac
		now=$(resolved "$image") || exit 1
		if [ "$pinned" != "$image@$now" ]; then
			echo "$image has moved on to $now: look what is new there, then make pin-bases" >&2
			code=1
		fi
	done
	return $code
}

main "$@"
