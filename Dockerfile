# check=experimental=all

# The operator's image: release build, distroless, no root. docs/building.md has the commands, and
# how to name base images by digest.

# RUST_IMAGE has the compiler, and RUNTIME_IMAGE's release of Debian, so that the C libraries match.
ARG RUST_IMAGE=rust:1.95.0-bookworm
# RUNTIME_IMAGE has the C library, certificates and the user 65532, and no shell.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# toolchain cross-compiles on the build machine: emulated, the EC2 SDK alone would take hours.
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS toolchain
# The first writes the list of crates into the binary, where scanners of images look for it; the
# second prints it as CycloneDX.
RUN cargo install --locked cargo-auditable@0.7.7 cargo-cyclonedx@0.5.9

# workspace has the manifests and empty sources: all that cargo needs to know the crates.
FROM toolchain AS workspace
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY core/Cargo.toml core/
COPY testbed/Cargo.toml testbed/
RUN mkdir -p src core/src testbed/src tests/e2e \
 && touch src/lib.rs core/src/lib.rs testbed/src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs testbed/src/main.rs tests/e2e/main.rs

# One stage for each architecture that there is an image for. Debian's cross compiler has the name
# that the native one has as well, so nothing below tells the two cases apart. aws-lc-sys, the one
# crate with C in it, finds it by that name; it brings its bindings along and needs neither cmake
# nor clang.

# target-amd64 compiles for x86-64.
FROM workspace AS target-amd64
ENV CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
RUN rustup target add "$CARGO_BUILD_TARGET" \
 && if [ "$(dpkg --print-architecture)" != amd64 ]; then \
      apt-get update \
   && apt-get install --yes --no-install-recommends gcc-x86-64-linux-gnu libc6-dev-amd64-cross \
   && rm -rf /var/lib/apt/lists/*; \
    fi

# target-arm64 compiles for AArch64, AWS Graviton for one.
FROM workspace AS target-arm64
ENV CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
RUN rustup target add "$CARGO_BUILD_TARGET" \
 && if [ "$(dpkg --print-architecture)" != arm64 ]; then \
      apt-get update \
   && apt-get install --yes --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
   && rm -rf /var/lib/apt/lists/*; \
    fi

# build compiles the operator, for the architecture that the image is for.
FROM target-${TARGETARCH} AS build
# Dependencies first: this layer is built again only when a manifest or the lock file changes.
RUN cargo auditable build --release --locked --package vpce-operator
# Then the sources. They are older than what was just built, hence the touch: cargo compares times.
COPY core core
COPY src src
# REVISION is what --version and vpce_build_info say.
ARG REVISION=unknown
ENV VPCE_REVISION=${REVISION}
RUN touch src/lib.rs src/main.rs core/src/lib.rs \
 && cargo auditable build --release --locked --package vpce-operator --bin vpce-operator \
 && cp "target/$CARGO_BUILD_TARGET/release/vpce-operator" /vpce-operator

# binary is the operator alone: docker build --target binary --output type=local,dest=. writes it.
FROM scratch AS binary
COPY --from=build /vpce-operator /

# bill lists the crates, for all architectures.
FROM workspace AS bill
RUN cargo cyclonedx --format json --target all --override-filename vpce-operator.cdx

# sbom is that list alone: docker build --target sbom --output type=local,dest=. writes it.
FROM scratch AS sbom
COPY --from=bill /build/vpce-operator.cdx.json /

# image is what runs.
FROM ${RUNTIME_IMAGE} AS image
ARG RUNTIME_IMAGE
# VERSION is the operator's, as in Cargo.toml.
ARG VERSION=0.1.0
# REVISION is the commit.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vpce-operator" \
      org.opencontainers.image.description="Kubernetes operator for AWS VPC endpoints in many AWS accounts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}"
COPY LICENSE /LICENSE
COPY --from=build /vpce-operator /vpce-operator
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/vpce-operator"]
CMD ["run"]
