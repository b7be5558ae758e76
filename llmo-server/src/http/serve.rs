//! The accept loop and the orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, Lifecycle, ServeOptions, connection};

/// Time for the last error events to reach their readers after the grace is over.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after the system could not accept (no file descriptors left, say): time for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` on `listener` until `shutdown` is cancelled, then drains and returns.
///
/// The drain: from the moment of `shutdown` requests see [`Lifecycle::is_draining`]; after `drain_delay` no more
/// connections are accepted and idle ones close; what runs may go on for `drain_grace`, then it is told to end
/// ([`Lifecycle::closing`]); two seconds later the sockets close.
///
/// # Errors
/// None at present: a failed accept is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    app: impl Into<App>,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let app = app.into();
    let lifecycle = Lifecycle::new(shutdown);
    let builder = Arc::new(connection::builder(&options));
    let options = Arc::new(options);
    let permits = Arc::new(Semaphore::new(options.max_connections));
    let connections = TaskTracker::new();

    let stop = async {
        lifecycle.draining().await;
        tokio::time::sleep(options.drain_delay).await;
    };
    tokio::pin!(stop);
    loop {
        let (stream, permit) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let served =
            connection::run(stream, app.clone(), Arc::clone(&builder), Arc::clone(&options), lifecycle.clone());
        connections.spawn(async move {
            served.await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    drain(&connections, &lifecycle, options.drain_grace).await;
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn drain(connections: &TaskTracker, lifecycle: &Lifecycle, grace: Duration) {
    lifecycle.finish();
    if tokio::time::timeout(grace, connections.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(connections = connections.len(), "grace is over; ending what still runs");
    lifecycle.close();
    if tokio::time::timeout(FAREWELL, connections.wait()).await.is_ok() {
        return;
    }
    lifecycle.abort();
    connections.wait().await;
}
