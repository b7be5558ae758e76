//! Who listens on a TCP port of this machine: the difference between "address in use" and a message one can act on.
//!
//! Linux only, from `/proc`; elsewhere, and where the owner is hidden from this user, the answer is "not known".

use std::fs;

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// Its process id.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
}

impl std::fmt::Display for PortHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The process that listens on `port`, if it can be seen. Reads all of `/proc`: a few milliseconds, for error paths.
#[must_use]
pub fn port_holder(port: u16) -> Option<PortHolder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let mut sockets = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        sockets
            .find(|fd| fs::read_link(fd.path()).is_ok_and(|link| inodes.iter().any(|i| link.as_os_str() == &**i)))?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(PortHolder { pid, name: name.trim().to_owned() })
    })
}

/// Socket inodes in a table of `/proc/net/tcp`'s form that listen (state 0A) on this port.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
            let listens = fields.nth(1)? == "0A";
            (listens && u16::from_str_radix(local_port, 16).ok()? == port).then(|| fields.nth(5)?.parse().ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listeners_on_the_port_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0\n\
             1: 0100007F:0050 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0\n\
             2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 88 1 0\n";
        assert_eq!(listening_inodes(table, 80), [1234]);
        assert_eq!(listening_inodes(table, 8080), [88]);
        assert!(listening_inodes(table, 81).is_empty());
    }

    #[test]
    fn the_holder_of_an_open_port_is_this_process() -> std::io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let holder = port_holder(listener.local_addr()?.port());
        assert_eq!(holder.map(|h| h.pid), Some(std::process::id()));
        Ok(())
    }
}
