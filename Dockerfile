# The operator's image: release build, distroless, no root.

FROM rust:1.95-bookworm AS build
WORKDIR /build

# Dependencies first, against empty sources: this layer is built again only when a
# manifest or the lock file changes. Every workspace member has to be there for cargo
# to read the workspace, but only the operator and what it needs is built.
COPY Cargo.toml Cargo.lock ./
COPY core/Cargo.toml core/
COPY testbed/Cargo.toml testbed/
RUN mkdir -p src core/src testbed/src tests/e2e \
 && touch src/lib.rs core/src/lib.rs testbed/src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs testbed/src/main.rs tests/e2e/main.rs \
 && cargo build --release --locked --package vpce-operator

# Then the sources. They are older than what was just built, hence the touch: cargo
# compares times.
COPY core core
COPY src src
# What vpce_build_info says.
ARG REVISION=unknown
ENV VPCE_REVISION=${REVISION}
RUN touch src/lib.rs src/main.rs core/src/lib.rs \
 && cargo build --release --locked --package vpce-operator --bin vpce-operator

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vpce-operator" \
      org.opencontainers.image.description="Kubernetes operator for AWS VPC endpoints in many AWS accounts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE /LICENSE
COPY --from=build /build/target/release/vpce-operator /vpce-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/vpce-operator"]
CMD ["run"]
