# shellcheck shell=bash
# Container images without a container engine: layers are tars of folders. Sourced by scripts, from the project's folder.

# Version of OpenCode in the images.
OPENCODE_VERSION=1.18.33
# Cache of layers that take long to build.
LAYERS="$TOOLS/layers"
IMAGE_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# pack_layer FOLDER TAR: everything in the folder, as root's.
pack_layer() {
    tar -C "$1" --numeric-owner --owner=0 --group=0 -cf "$2.new" .
    mv "$2.new" "$2"
}

# pack_image NAME PROGRAM TAR LAYER …: a docker-archive of these layers, the lowest first.
pack_image() {
    local name=$1 program=$2 out=$3 work layer number=0 digests='' files='' history=''
    shift 3
    work=$(mktemp -d "$LAYERS/image.XXXXXX")
    for layer in "$@"; do
        ln -s "$(readlink -f "$layer")" "$work/$number.tar"
        digests+="${digests:+,}\"sha256:$(sha256sum "$layer" | cut -d' ' -f1)\""
        files+="${files:+,}\"$number.tar\""
        history+="${history:+,}{\"created_by\":\"rdev\"}"
        number=$((number + 1))
    done
    printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["%s"],"Env":["PATH=%s"]},' \
        "$(dpkg --print-architecture)" "$program" "$IMAGE_PATH" >"$work/config.json"
    printf '"rootfs":{"type":"layers","diff_ids":[%s]},"history":[%s]}\n' "$digests" "$history" >>"$work/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":[%s]}]\n' "$name" "$files" >"$work/manifest.json"
    tar -C "$work" --dereference -cf "$out" .
    rm -rf "$work"
}

# debian_layer ARCHIVE: the root file system of this docker-archive with one layer, and further packages of a
# project's pod. Prints the layer's name.
debian_layer() {
    local layer="$LAYERS/debian.tar" root
    if [ ! -e "$layer" ]; then
        root=$(mktemp -d "$LAYERS/root.XXXXXX")
        tar -xOf "$1" layer.tar | tar -C "$root" -x
        cp /etc/resolv.conf "$root/etc/resolv.conf"
        # A mount namespace of its own: no mount outlives a failure.
        # shellcheck disable=SC2016 # the words are those of the shell inside
        unshare --mount sh -ec '
            mount -t proc proc "$1/proc"
            chroot "$1" apt-get update -qq
            chroot "$1" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -qq --no-install-recommends openssh-client tini
        ' sh "$root" >"$LAYERS/apt.log" 2>&1 || fail "could not install into the image: $LAYERS/apt.log"
        rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
        # Pods run as this user; ssh requires a name for the user id.
        echo 'rdev:x:1000:1000::/home/rdev:/bin/bash' >>"$root/etc/passwd"
        mkdir -p "$root/workspace" "$root/home/rdev" "$root/run/rdev"
        tar -C "$root" --numeric-owner -cf "$layer.new" .
        mv "$layer.new" "$layer"
        rm -rf "$root"
    fi
    printf '%s\n' "$layer"
}

# agents_layer: the claude of need_claude, and opencode. Prints the layer's name.
agents_layer() {
    local layer="$LAYERS/agents-$CLAUDE_VERSION-$OPENCODE_VERSION.tar" root opencode
    if [ ! -e "$layer" ]; then
        npm install --silent --no-audit --no-fund --prefix "$TOOLS/opencode" "opencode-ai@$OPENCODE_VERSION" >&2 ||
            fail "could not install opencode-ai@$OPENCODE_VERSION"
        opencode=$(find "$TOOLS/opencode/node_modules" -path '*/bin/opencode' -type f -size +10M -print -quit)
        [ -n "$opencode" ] || opencode=$(readlink -f "$TOOLS/opencode/node_modules/.bin/opencode")
        root=$(mktemp -d "$LAYERS/agents.XXXXXX")
        mkdir -p "$root/usr/local/bin"
        # Both are standalone programs; they need no Node.
        install -m 755 "$(readlink -f "$RDEV_TEST_CLAUDE")" "$root/usr/local/bin/claude"
        install -m 755 "$opencode" "$root/usr/local/bin/opencode"
        pack_layer "$root" "$layer"
        rm -rf "$root"
    fi
    printf '%s\n' "$layer"
}
