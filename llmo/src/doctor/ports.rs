//! Are the ports free, and may this user open them? If not: who has them, and the way out.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use llmo_config::Config;
use llmo_server::port_holder::port_holder;

use super::published::{self, Port};
use super::{Finding, Scene, services};
use crate::cli::Layout;
use crate::connect::at_home;
use crate::docker::{publishers, to_type};

/// What an attempt to listen told.
#[derive(Debug)]
enum Bound {
    Free,
    Taken(Holder),
    /// Only root may.
    Forbidden,
    Impossible(String),
}

/// Who has a port.
#[derive(Debug)]
enum Holder {
    /// A process of the stack that was started from here.
    OwnProcess(String),
    /// A container of this stack.
    OwnContainer(String),
    Containers(Vec<String>),
    Process(String),
    /// The system does not tell this user.
    Hidden,
}

pub(super) fn check(config: &Config, scene: &Scene) -> Vec<Finding> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let all = published::ports(config, scene, variable);
    let free = |host: &str, port: u16| TcpListener::bind((host, port)).is_ok();
    let finding = |port: &Port| {
        let bound = bound(port);
        let instead = match bound {
            Bound::Free => None,
            _ => published::instead(port, &all, free),
        };
        judged(port, &bound, scene.layout, instead)
    };
    all.iter().map(finding).collect()
}

fn bound(wanted: &Port) -> Bound {
    match TcpListener::bind((wanted.host.as_str(), wanted.port)) {
        Ok(_) => Bound::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => Bound::Taken(holder(wanted.port)),
        // Whoever may not open it is not told that it is open.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && answers(wanted) => {
            Bound::Taken(holder(wanted.port))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Bound::Forbidden,
        Err(error) => Bound::Impossible(error.to_string()),
    }
}

fn answers(wanted: &Port) -> bool {
    let address = format!("{}:{}", at_home(&wanted.host), wanted.port);
    let first = address.to_socket_addrs().ok().and_then(|mut all| all.next());
    first.is_some_and(|address| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok())
}

fn holder(port: u16) -> Holder {
    let holder = port_holder(port);
    if let Some(holder) = &holder
        && services::is_ours(&services::run_dir(), holder.pid)
    {
        return Holder::OwnProcess(holder.to_string());
    }
    // The engine's own process holds what a container publishes; without one (userland-proxy off) nobody seems to.
    if holder.as_ref().is_none_or(|holder| holder.name.starts_with("docker")) {
        let (ours, others) = publishers(port);
        if let Some(name) = ours.first() {
            return Holder::OwnContainer(name.clone());
        }
        if !others.is_empty() {
            return Holder::Containers(others);
        }
    }
    holder.map_or(Holder::Hidden, |holder| Holder::Process(holder.to_string()))
}

/// `instead`: a port that is free.
fn judged(wanted: &Port, bound: &Bound, layout: Layout, instead: Option<u16>) -> Finding {
    let Port { what, host, port, variable } = wanted;
    let choose = match instead {
        Some(other) => format!("choose another port, e.g. {variable}={other} (environment or .env)"),
        None => format!("choose another port with {variable} (environment or .env)"),
    };
    let containers = layout == Layout::Containers;
    let taken = |by: String, cure: String| Finding::problem(format!("port {port} for {what} is taken by {by}"), cure);
    match bound {
        Bound::Free => Finding::fine(format!("port {port} for {what} is free")),
        Bound::Forbidden if containers => {
            Finding::fine(format!("port {port} for {what} is opened by the container engine, which may"))
        }
        Bound::Forbidden => Finding::problem(format!("port {port} for {what} may only be opened by root here"), choose),
        Bound::Impossible(error) => Finding::problem(
            format!("{what} cannot listen on {host}:{port}: {error}"),
            format!("check the address in the configuration, or {choose}"),
        ),
        Bound::Taken(Holder::OwnProcess(process)) if containers => taken(
            format!("this stack's own {process}, which is no container"),
            format!("./run_microservices.sh stop --process, or {choose}"),
        ),
        Bound::Taken(Holder::OwnContainer(name)) if !containers => taken(
            format!("this stack's container {name}"),
            format!("./run_microservices.sh stop --docker, or {choose}"),
        ),
        Bound::Taken(Holder::OwnProcess(who)) => {
            Finding::fine(format!("port {port} for {what} is used by this stack: {who}"))
        }
        Bound::Taken(Holder::OwnContainer(name)) => {
            Finding::fine(format!("port {port} for {what} is used by this stack: container {name}"))
        }
        Bound::Taken(Holder::Containers(names)) => taken(
            format!("container {}", names.join(", ")),
            format!("{choose}, or {}", to_type(&format!("stop {}", names.join(" ")))),
        ),
        Bound::Taken(Holder::Process(who)) => taken(who.clone(), choose),
        Bound::Taken(Holder::Hidden) => {
            taken("another process (its name is hidden from this user; try: sudo ss -ltnp)".to_owned(), choose)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn port() -> Port {
        Port { what: "the API", host: "127.0.0.1".into(), port: 80, variable: "API_PORT" }
    }

    fn judge(bound: &Bound, layout: Layout) -> (State, String, String) {
        let found = judged(&port(), bound, layout, Some(8000));
        (found.state, found.what, found.cure.unwrap_or_default())
    }

    #[test]
    fn a_port_that_others_have_is_named_with_its_holder_and_a_free_one() {
        let (state, what, cure) = judge(&Bound::Taken(Holder::Process("nginx (process 7)".into())), Layout::Services);
        assert!(state == State::Problem && what == "port 80 for the API is taken by nginx (process 7)", "{what}");
        assert_eq!(cure, "choose another port, e.g. API_PORT=8000 (environment or .env)");
        let (_, what, cure) = judge(&Bound::Taken(Holder::Containers(vec!["a".into(), "b".into()])), Layout::Services);
        assert!(what.ends_with("container a, b") && cure.ends_with("docker stop a b"), "{what} {cure}");
        let (_, what, _) = judge(&Bound::Taken(Holder::Hidden), Layout::Containers);
        assert!(what.contains("sudo ss -ltnp"), "{what}");
        let none = judged(&port(), &Bound::Taken(Holder::Hidden), Layout::Services, None).cure.unwrap_or_default();
        assert!(none.contains("with API_PORT"), "{none}");
    }

    #[test]
    fn what_the_stack_itself_has_is_fine_unless_it_is_the_other_way_of_running() {
        let process = || Bound::Taken(Holder::OwnProcess("llmo-gateway (process 7)".into()));
        let container = || Bound::Taken(Holder::OwnContainer("llmo-gateway-1".into()));
        assert_eq!(judge(&process(), Layout::Services).0, State::Fine);
        assert_eq!(judge(&container(), Layout::Containers).0, State::Fine);
        let (state, _, cure) = judge(&process(), Layout::Containers);
        assert!(state == State::Problem && cure.starts_with("./run_microservices.sh stop --process"), "{cure}");
        let (state, _, cure) = judge(&container(), Layout::Mono);
        assert!(state == State::Problem && cure.starts_with("./run_microservices.sh stop --docker"), "{cure}");
    }

    #[test]
    fn only_root_may_open_port_80_but_engines_are_root() {
        assert_eq!(judge(&Bound::Forbidden, Layout::Services).0, State::Problem);
        assert_eq!(judge(&Bound::Forbidden, Layout::Containers).0, State::Fine);
        assert_eq!(judge(&Bound::Free, Layout::Services).0, State::Fine);
        assert_eq!(judge(&Bound::Impossible("no such address".into()), Layout::Services).0, State::Problem);
    }

    #[test]
    fn an_open_port_is_noticed() -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut wanted = port();
        wanted.port = listener.local_addr()?.port();
        assert!(matches!(bound(&wanted), Bound::Taken(Holder::Process(_) | Holder::Hidden)));
        assert!(answers(&wanted));
        drop(listener);
        assert!(matches!(bound(&wanted), Bound::Free));
        Ok(())
    }
}
