#!/usr/bin/env bash
# llmo: build, run and test the whole stack. `./run_microservices.sh help` lists the verbs.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export ROOT
cd "$ROOT"

# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh
# shellcheck source=scripts/stack.sh
. scripts/stack.sh

usage() {
    cat <<'TEXT'
usage: ./run_microservices.sh VERB

  build             install what is missing and compile
  run [--mono]      build what is missing, start the stack, print the URLs
                    (--mono: everything in one process)
  stop              stop it; running streams may finish
  restart           stop and run
  status            what runs, and how it is
  logs [SERVICE]    follow the logs: gateway, model-service, cache-service, storage-service
  test              the whole test suite, then a smoke test of a running stack

Settings: environment or .env, e.g. API_PORT=8000 ./run_microservices.sh run
          (see .env.example; all settings: target/release/llmo config print)
TEXT
}

verb=${1:-help}
[ $# -gt 0 ] && shift

case $verb in
    build)   ensure_build_packages; choose_toolchain; build_stack ;;
    run)     ensure_build_packages; choose_toolchain; build_stack; run_stack "$@" ;;
    stop)    stop_stack ;;
    restart) stop_stack; ensure_build_packages; choose_toolchain; build_stack; run_stack "$@" ;;
    status)  status_stack ;;
    logs)    logs_stack "$@" ;;
    test)    ensure_build_packages; ensure_test_packages; choose_toolchain; exec scripts/test.sh "$@" ;;
    help | -h | --help) usage ;;
    *)       usage >&2; fail "unknown verb '$verb'" ;;
esac
