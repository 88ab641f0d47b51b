# The image of the command: one static binary in an empty file system, run by a user who owns nothing but the journal.
#
#   docker build -t cluster-client:0.1.0 .
#   docker run --rm -e HOSTS=http://node1:8000,http://node2:8000 -v cluster-state:/state cluster-client:0.1.0 create payments
#
# Never built by a container engine. tests/deploy.rs runs the first stage's instructions with a stand-in for
# cargo, and deploy/musl-check with a real musl compiler; both read this file, so the paths below WORKDIR stay relative.

# On Alpine the native target is musl and links statically: no cross compiler and no --target. The image brings the C
# compiler and the headers that `ring` needs.
FROM rust:1.95.0-alpine3.23 AS build
WORKDIR /src

# The dependencies have a layer of their own, which stays cached until one of these two files changes. Sections that name
# a benchmark, an example or a test are dropped: their files are not here, and a section without its file stops cargo.
COPY Cargo.toml Cargo.lock ./
RUN sed -E -i '/^\[\[(bench|example|test)\]\]/,/^$/d' Cargo.toml \
 && mkdir -p src/bin/cluster-client \
 && touch src/lib.rs \
 && echo 'fn main() {}' > src/bin/cluster-client/main.rs \
 && cargo build --locked --profile dist --no-default-features --features cli,rustls

# COPY keeps the files' times. Without `touch`, sources older than the stand-ins above would count as built.
COPY README.md ./
COPY docs docs
COPY presets presets
COPY src src
RUN find src -name '*.rs' -exec touch {} + \
 && cargo build --locked --profile dist --no-default-features --features cli,rustls \
 && target/dist/cluster-client --version \
 && mkdir -m 700 state

# Empty: no shell, no libc, and no CA file either, since the roots that `rustls` trusts are compiled in (webpki-roots).
FROM scratch
COPY --from=build /src/target/dist/cluster-client /cluster-client
# The command keeps its journal in $XDG_STATE_HOME/cluster-client unless --journal names another directory. It must outlive
# the container: the next container recovers from it the operations that a killed one left.
COPY --from=build --chown=65532:65532 /src/state /state
ENV XDG_STATE_HOME=/state
VOLUME ["/state"]
# By number: there is no /etc/passwd to hold a name, and Kubernetes can tell only from a number that it is not root.
USER 65532:65532
# The signal of Ctrl-C: a stopped container rolls back.
STOPSIGNAL SIGINT
# HOSTS comes from the environment and is not set here: a wrong default would be worse than the command's own warning.
ENTRYPOINT ["/cluster-client"]
CMD ["--help"]
