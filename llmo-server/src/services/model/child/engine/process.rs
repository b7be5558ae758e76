//! What kind of process an engine lives in.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// Added to the engine's score when the kernel looks for memory: the engine goes first, the service stays.
#[cfg(target_os = "linux")]
const OOM_SCORE: &str = "500";

/// Makes this process an engine's: it dies with its parent, and first when memory runs out. Returns the connection to
/// the parent.
///
/// # Errors
/// Standard input is no connected socket.
pub(super) fn settle() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr().map_err(|_| io::Error::other("standard input is no connection to a service"))?;
    #[cfg(target_os = "linux")]
    {
        // Where either is refused, the end of the socket and the kernel's own choice remain.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    }
    Ok(socket)
}

/// Ends that a terminal or a service manager tells a whole group are the parent's business: it lets streams finish
/// first, and then tells this process.
pub(super) fn leave_signals_to_the_parent() -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // Once it was asked for, the default action never comes back.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Ends this process without a word to anybody: there is nobody left, and threads in native code can't be asked.
pub(super) fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
