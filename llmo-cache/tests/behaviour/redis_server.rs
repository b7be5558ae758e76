//! A Redis of our own for one test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A `redis-server` on a free loopback port, which keeps nothing. Ends when dropped.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    password: Option<String>,
    dir: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that asks for a password.
    pub(crate) fn start_with_password(password: &str) -> Self {
        Self::start_with(Some(password.to_owned()))
    }

    fn start_with(password: Option<String>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The port can be taken by somebody else before Redis has it: then it exits, and another one is tried.
        for _ in 0..10 {
            let port = free_port();
            let mut child = spawn(port, password.as_deref(), &dir);
            if is_ready(&mut child, port) {
                return Self { child, port, password, dir };
            }
        }
        panic!("redis-server does not start; try it by hand: redis-server --port 0");
    }

    /// Where it listens, with database 0.
    pub(crate) fn url(&self) -> String {
        self.url_of_database(0)
    }

    /// The URL of one of its 16 databases.
    pub(crate) fn url_of_database(&self, database: u8) -> String {
        let login = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        format!("redis://{login}127.0.0.1:{}/{database}", self.port)
    }

    /// SIGKILL. The server and its data are gone, the port stays known.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("redis-server can be killed");
        self.child.wait().expect("redis-server ends");
    }

    /// Starts it again, on the same port, empty.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, self.password.as_deref(), &self.dir);
        assert!(is_ready(&mut self.child, self.port), "redis-server does not come back on port {}", self.port);
    }

    /// SIGSTOP: connections stay open and are accepted, nothing is answered.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill can be run");
        assert!(status.success(), "kill -s {name} {pid}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("a local address").port()
}

fn spawn(port: u16, password: Option<&str>, dir: &tempfile::TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.args(["--loglevel", "warning"]).arg("--dir").arg(dir.path());
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| {
        panic!("redis-server can't be run ({error}); install it with: sudo apt-get install -y redis-server")
    })
}

/// Waits until it answers; false if it ended instead.
fn is_ready(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if child.try_wait().expect("the child is ours").is_some() {
            return false;
        }
        if answers(port) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("redis-server does not answer within 20 s");
}

fn answers(port: u16) -> bool {
    let ping = || -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    // With a password it wants to see that first.
    matches!(ping().as_ref(), Ok(b"+PONG" | b"-NOAU"))
}
