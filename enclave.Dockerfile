# The enclave image: Node, its libraries, the two bundles, the addons and the measured configuration, nothing else.
#
# nitro-build.sh builds it, from a context that holds one commit and enclave-config.json. The base has to have a C
# compiler, and any Node from 20 on with npm, such as Docker's official node:24-bookworm. Nothing of it gets into the
# image but the shared libraries that Node loads. Node and pnpm themselves come from npm, by the hashes in .toolchain.

# Without the argument this is what the builder is asked for; it refuses the name for its capitals.
ARG BASE=BASE-must-be-given-as-name@sha256:digest
FROM ${BASE} AS build

# A tag may lead somewhere else tomorrow, and beside a digest it says nothing that is checked.
ARG BASE
RUN printf '%s\n' "$BASE" | grep -Eqx '([^@/]+/)*[^@:/]+@sha256:[0-9a-f]{64}' || \
    { echo "BASE must be name@sha256:<64 hex digits>, without a tag: '$BASE'" >&2; exit 1; }

WORKDIR /build
COPY . .

# npmrc and ca are optional: another registry, the certificates of a proxy that opens TLS. They do not stay.
RUN --mount=type=secret,id=npmrc --mount=type=secret,id=ca \
    if [ -e /run/secrets/npmrc ]; then export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc; fi && \
    if [ -e /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi && \
    node .toolchain/run.mjs pnpm install --frozen-lockfile --ignore-scripts --filter '@quantumvault/enclave...'

# Under the pinned Node, which is also the one that goes into the image; nothing is downloaded any more.
RUN .toolchain/node_modules/node-linux-*/bin/node enclave/build.ts --out /image --config enclave-config.json

FROM scratch
COPY --from=build /image/ /
# The C library overwrites what is freed, and keeps no lists beside its own where it would not. Measured, it costs nothing.
ENV GLIBC_TUNABLES=glibc.malloc.perturb=165:glibc.malloc.tcache_count=0
# CMD, not ENTRYPOINT: nitro-cli takes the one or the other. What each flag is for: enclave/src/node-flags.ts.
CMD ["/enclave/node", "--disable-sigusr1", "--disallow-code-generation-from-strings", "--disable-proto=throw", \
     "--no-experimental-require-module", "--no-global-search-paths", "--secure-heap=65536", "/enclave/enclave.cjs"]
