# shellcheck shell=bash
# Processes or containers?

MODE=''
REST=()
SCALABLE=(model-service gateway)

# take_mode ARGUMENT…: --docker and --process, wherever they stand; the others go to REST.
take_mode() {
    local word
    for word in "$@"; do
        case $word in
            --docker)  MODE=containers ;;
            --process) MODE=processes ;;
            *)         REST+=("$word") ;;
        esac
    done
}

# What was asked for (a flag, or LLMO_MODE); else what runs; else containers where an engine and the image are there.
choose_mode() { # VERB ARGUMENT…
    local verb=$1
    shift
    [ -n "$MODE" ] || case ${LLMO_MODE:-} in
        docker | containers) MODE=containers ;;
        process | processes) MODE=processes ;;
        '') ;;
        *) fail "$(t "LLMO_MODE is '%s'" "$LLMO_MODE")" "LLMO_MODE is docker or process" ;;
    esac
    if [ "$MODE" = containers ]; then
        # Only to build and run is worth installing an engine.
        case $verb in
            build | run | restart | test) ensure_engine ;;
            doctor) choose_engine || true ;;
            *) choose_engine || fail "no container engine answers" "./run_microservices.sh doctor --docker" ;;
        esac
        return 0
    fi
    [ "$MODE" != processes ] || return 0
    MODE=processes
    # The tests are those of the sources, and one process is no container.
    case " $verb $* " in " test "* | *" --mono "*) return 0 ;; esac
    [ -z "$(running_services)" ] || return 0
    choose_engine || return 0
    if [ -n "$(running_ids)" ]; then MODE=containers; return 0; fi
    case $verb in run | restart | build) ! image_is_there || MODE=containers ;; esac
    case " $* " in *" --traefik "* | *" --s3 "*) MODE=containers ;; esac
}

# Waits until no other call of this script changes what runs.
take_turn() {
    command -v flock >/dev/null 2>&1 || return 0
    mkdir -p "$RUN_DIR"
    exec 9>"$RUN_DIR/lock"
    flock -n 9 && return 0
    note "another run_microservices.sh is at work; waiting for it"
    flock 9
}

# Can this service have several of its kind, and is that a number of them?
check_scale() { # SERVICE NUMBER
    [[ " ${SCALABLE[*]} " == *" $1 "* ]] || fail "$(t "'%s' cannot be scaled" "$1")" "scale model-service=3"
    [[ $2 =~ ^[1-9][0-9]?$ ]] || fail "$(t "'%s' is no number of services" "$2")" "scale model-service=3"
}
