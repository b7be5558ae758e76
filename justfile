# The few verbs that people need. Each works without just, too: read what it calls.

# formatting, lints, documentation
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# the whole test suite, then a smoke test of a running stack
test:
    ./run_microservices.sh test

# criterion benches
bench:
    cargo bench -p llmo-benches

# start the stack
run:
    ./run_microservices.sh run

# licences, advisories, duplicate versions (needs cargo-deny)
deny:
    cargo deny check

# the API documentation, in a browser
docs:
    cargo doc --workspace --no-deps --open
