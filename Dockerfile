# Builds weir with the profile that ships, and puts it alone into an image without a shell.
FROM rust:1.95-slim-bookworm AS build
# The image has the C compiler that mimalloc needs.
WORKDIR /weir
COPY Cargo.toml Cargo.lock README.md ./
COPY src src
COPY benches benches
COPY examples examples
COPY tests tests
RUN cargo build --profile dist --locked --bin weir && mkdir -p /empty/state

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /weir/target/dist/weir /usr/local/bin/weir
COPY --from=build --chown=nonroot:nonroot /empty/state /var/lib/weir/state
# state_dir = "state" is relative to here. Mount the configuration at /etc/weir.
WORKDIR /var/lib/weir
EXPOSE 8080 9901
# The user nonroot, by its number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["run", "--config", "/etc/weir", "--log-format", "json"]
