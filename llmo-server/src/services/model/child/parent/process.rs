//! A process: started, watched to its end, and never left as a zombie.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::super::options::ChildOptions;
use super::huge_pages;

/// A running engine process. Dropping it kills it.
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    pub(super) id: u32,
    /// Told once, at its end.
    pub(super) ended: oneshot::Receiver<ExitStatus>,
}

/// The parent's ends of what connects it with a process.
pub(super) struct Pipes {
    /// Its standard input: the protocol.
    pub(super) socket: UnixStream,
    /// Its standard output: its log.
    pub(super) log: pipe::Receiver,
    /// Its standard error: what native code prints.
    pub(super) errors: pipe::Receiver,
}

impl Process {
    /// Starts a process.
    pub(super) async fn spawn(options: &ChildOptions) -> io::Result<(Self, Pipes)> {
        let (here, there) = StdUnixStream::pair()?;
        here.set_nonblocking(true)?;
        let mut command = Command::new(&options.program);
        command
            .arg0("llmo-engine")
            .args(&options.arguments)
            .stdin(Stdio::from(OwnedFd::from(there)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What a terminal sends to a whole group, Ctrl-C among it, is not for the engine.
            .process_group(0);
        if let Some(tunables) = huge_pages::tunables(std::env::var_os(huge_pages::VARIABLE).as_deref()) {
            command.env(huge_pages::VARIABLE, tunables);
        }
        let (report, reported) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        // A thread of its own: the kernel kills a child when the *thread* that started it ends, and threads of a runtime
        // come and go. This one waits for the child's end, and takes its status.
        thread::Builder::new().name("llmo-engine-wait".into()).spawn(move || guard(command, report, end))?;
        let child = reported.await.map_err(io::Error::other)??;
        let pipe =
            |pipe: Option<OwnedFd>| pipe::Receiver::from_owned_fd(pipe.ok_or_else(|| io::Error::other("no pipe"))?);
        let (stdout, stderr, id) = {
            let mut child = child.lock();
            (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from), child.id())
        };
        let process = Self { child, id, ended };
        let pipes = Pipes { socket: UnixStream::from_std(here)?, log: pipe(stdout)?, errors: pipe(stderr)? };
        Ok((process, pipes))
    }

    /// Ends it at once. Harmless when it has ended.
    pub(super) fn kill(&self) {
        // Its id can't belong to another process: whoever reaps it holds the same lock.
        let _ = self.child.lock().kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Started = io::Result<Arc<Mutex<Child>>>;

/// Starts a child and waits for its end.
fn guard(mut command: Command, report: oneshot::Sender<Started>, end: oneshot::Sender<ExitStatus>) {
    let child = match command.spawn() {
        Ok(child) => Arc::new(Mutex::new(child)),
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    // The child's end of the socket must be open nowhere else.
    drop(command);
    let id = child.lock().id();
    if let Err(Ok(orphan)) = report.send(Ok(Arc::clone(&child))) {
        // Nobody waited for it.
        let _ = orphan.lock().kill();
    }
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // Without reaping it: until that happens under the lock, its id is its own.
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {
        }
    }
    if let Ok(status) = child.lock().wait() {
        let _ = end.send(status);
    }
}
