#!/usr/bin/env bash
# llmo: build, run and test the whole stack, as processes of this machine or as containers. `./run_microservices.sh help`
# lists the verbs.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export ROOT
cd "$ROOT"

# shellcheck source=scripts/dotenv.sh
. scripts/dotenv.sh
# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh
# shellcheck source=scripts/stack.sh
. scripts/stack.sh
# shellcheck source=scripts/monitoring.sh
. scripts/monitoring.sh
# shellcheck source=scripts/engine.sh
. scripts/engine.sh
# shellcheck source=scripts/containers.sh
. scripts/containers.sh
# shellcheck source=scripts/try.sh
. scripts/try.sh
# shellcheck source=scripts/mode.sh
. scripts/mode.sh
# shellcheck source=scripts/usage.sh
. scripts/usage.sh

take_mode "$@"
set -- "${REST[@]}"
verb=${1:-help}
[ $# -gt 0 ] && shift

prepare_build() { built_elsewhere || { ensure_build_packages; choose_toolchain; }; }

case $verb in
    help | -h | --help) usage; exit 0 ;;
    build | run | stop | restart | update | status | scale | logs | test | doctor | clean) choose_mode "$verb" "$@" ;;
    *) usage >&2; fail "$(t "unknown verb '%s'" "$verb")" ;;
esac

# One at a time changes what runs. Services don't inherit the lock (scripts/detach.sh).
case $verb in run | stop | restart | update | scale | clean) take_turn ;; esac

if [ "$MODE" = containers ]; then
    case $verb in
        build)   build_containers ;;
        run)     run_containers "$@" ;;
        stop)    stop_containers ;;
        restart) restart_containers "$@" ;;
        update)  update_containers "$@" ;;
        status)  status_containers ;;
        scale)   scale_containers "$@" ;;
        logs)    logs_containers "$@" ;;
        test)    case ${1:-} in --smoke) try_containers ;; *) exec docker/test.sh "$@" ;; esac ;;
        doctor)  doctor_containers "$@" ;;
        clean)   clean_containers ;;
    esac
    exit
fi

case $verb in
    build)   prepare_build; build_stack ;;
    run)     prepare_build; build_stack; run_stack "$@" ;;
    stop)    stop_monitoring; stop_stack ;;
    restart) restart_stack "$@" ;;
    update)  prepare_build; build_stack; update_stack "$@" ;;
    status)  status_stack ;;
    scale)   scale_stack "$@"; scaled_monitoring ;;
    logs)    logs_stack "$@" ;;
    test)    case ${1:-} in
            --smoke) try_stack ;;
            *) ensure_build_packages; ensure_test_packages; choose_toolchain; exec scripts/test.sh "$@" ;;
        esac ;;
    doctor)  doctor_stack "$@" ;;
    clean)   clean_monitoring; clean_stack ;;
esac
