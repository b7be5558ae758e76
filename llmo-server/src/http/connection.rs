//! One connection from accept to close.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, RequestGuard, Waiting};
use super::head_guard::HeadGuard;
use super::socket::{self, Socket};
use super::transport::Transport;
use super::{App, Arrival, Lifecycle, ServeOptions};

const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 << 20;

/// hyper's settings, made once a server.
pub(super) fn builder(options: &ServeOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Activity` does this, and tells idle connections from slow headers.
        .header_read_timeout(None)
        .max_headers(options.max_headers)
        .max_buf_size(options.max_header_bytes.max(8 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        // Rapid reset: a client may not make the server work by opening and cancelling streams.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(32 << 10)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(options.write_timeout);
    builder
}

/// Serves a connection until it ends, its client is too slow, or the server is gone.
pub(super) async fn run(
    stream: TcpStream,
    app: App,
    builder: Arc<auto::Builder<TokioExecutor>>,
    options: Arc<ServeOptions>,
    lifecycle: Lifecycle,
) {
    socket::tune(&stream);
    let peer = stream.peer_addr().ok();
    let stream = Arc::new(stream);
    let activity = Activity::new(Instant::now());
    let socket = Socket::new(Arc::clone(&stream), activity.clone(), options.write_timeout);
    let transport = tokio::select! {
        biased;
        transport = secure(socket, &options) => transport,
        () = lifecycle.finishing() => return,
        _ = Expiry::new(&activity, &options) => return,
    };
    let Some(transport) = transport else { return };
    let guarded = HeadGuard::new(transport);
    let service = service_fn({
        let (activity, lifecycle) = (activity.clone(), lifecycle.clone());
        move |mut request: Request<Incoming>| {
            let guard = activity.request(request.version() == Version::HTTP_2);
            let arrival = Arrival::new(peer, lifecycle.clone());
            request.extensions_mut().insert(arrival.clone());
            let app = app.clone();
            async move {
                let response = app.answer(request.map(Body::new)).await;
                Ok::<_, Infallible>(response.map(|body| Tracked { body, _guard: guard, _arrival: arrival }))
            }
        }
    });

    let ended = {
        let mut connection = pin!(builder.serve_connection(TokioIo::new(guarded), service));
        let (mut finishing, mut aborting) = (pin!(lifecycle.finishing()), pin!(lifecycle.aborting()));
        let mut slow = pin!(Expiry::new(&activity, &options));
        let mut told = false;
        loop {
            tokio::select! {
                // What the connection does decides what its deadline is.
                biased;
                result = connection.as_mut() => break result.map_or_else(End::Broken, |()| End::Done),
                () = &mut finishing, if !told => {
                    connection.as_mut().graceful_shutdown();
                    told = true;
                }
                () = &mut aborting => break End::Cut,
                end = &mut slow => break end,
            }
        }
    };
    match &ended {
        // Inside of TLS only hyper could say it, and it has let go.
        End::Slow if options.tls.is_none() => socket::last_word(&stream, REQUEST_TIMEOUT),
        End::Broken(error) => tracing::debug!(%error, ?peer, "connection broken"),
        End::Done | End::Cut | End::Slow => {}
    }
    if !matches!(ended, End::Cut) && !lifecycle.is_finishing() {
        socket::linger(&stream, LINGER, LINGER_BYTES).await;
    }
}

/// Shakes hands where that is wanted. `None`: there is nobody to talk to.
async fn secure(socket: Socket, options: &ServeOptions) -> Option<Transport> {
    let Some(tls) = &options.tls else { return Some(Transport::Plain(socket)) };
    match tls.accept(socket).await {
        Ok(stream) => stream.map(|stream| Transport::Tls(Box::new(stream))),
        Err(error) => {
            tracing::debug!(%error, "no TLS");
            None
        }
    }
}

/// How a connection ended.
enum End {
    /// As it should.
    Done,
    /// With an error of the protocol or the network.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// The headers took too long.
    Slow,
    /// It was idle for too long, or the server is gone.
    Cut,
}

/// Resolves when the connection has waited too long for a request or its headers. It has to be polled after the connection,
/// whenever that is: most requests move no timer then, since deadlines move on, and a timer that comes too soon is set again.
struct Expiry<'a> {
    activity: &'a Activity,
    options: &'a ServeOptions,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Expiry<'a> {
    fn new(activity: &'a Activity, options: &'a ServeOptions) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + options.header_timeout.min(options.idle_timeout)));
        Self { activity, options, timer }
    }
}

impl Future for Expiry<'_> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let Self { activity, options, timer } = &mut *self;
        loop {
            let (deadline, end) = match activity.waiting(options.header_timeout, options.idle_timeout) {
                Waiting::No => (None, End::Cut),
                Waiting::ForRequest(deadline) => (Some(deadline), End::Cut),
                Waiting::ForHeaders(deadline) => (Some(deadline), End::Slow),
            };
            if let Some(deadline) = deadline.filter(|deadline| *deadline < timer.deadline()) {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(end);
            }
            // Once a running request is done there is a new deadline, no sooner than this.
            timer.as_mut().reset(deadline.unwrap_or(now + options.header_timeout.min(options.idle_timeout)));
        }
    }
}

/// A response body that keeps its request counted as running, and its record open, until it is sent or dropped.
struct Tracked {
    body: Body,
    _guard: RequestGuard,
    _arrival: Arrival,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
