# shellcheck shell=bash
# Ports of this machine.

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# take_ports VARIABLE…: sets and exports each to a port that is free.
take_ports() {
    local name
    for name in "$@"; do export "$name=$(free_port)"; done
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
