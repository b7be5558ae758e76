//! Commands in, reports out.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use llmo_core::model::Load;
use llmo_core::{Model, ModelError};
use tokio::net::UnixStream;

use super::super::super::terms::Made;
use super::super::protocol::{BEAT, BUILD, Command, Report, Start};
use super::super::wire::{Inbox, Outbox};
use super::answer::Answering;
use super::process;
use crate::telemetry;

/// Between two writes. A step of an engine takes tens of milliseconds and gives its tokens within one.
const PACE: Duration = Duration::from_millis(1);
/// How often a busy engine's load is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Loads what the service says and answers it until it says stop. When the connection ends without that word, the
/// service is dead, and this process ends on the spot.
pub(super) async fn serve(socket: StdUnixStream) -> io::Result<()> {
    process::leave_signals_to_the_parent()?;
    socket.set_nonblocking(true)?;
    let (reading, writing) = UnixStream::from_std(socket)?.into_split();
    let outbox = Arc::new(Outbox::default());
    let writer = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { outbox.write_to(writing, PACE).await }
    });
    let mut inbox = Inbox::new(reading);
    say(&outbox, &Report::Hello(BUILD.to_owned()))?;
    let beating = tokio::spawn(beat_while_loading(Arc::clone(&outbox)));
    let loaded = load(&mut inbox, &outbox).await;
    beating.abort();
    if let Some(model) = loaded? {
        answer(&mut inbox, &outbox, &model).await?;
        free(model).await;
    }
    outbox.close();
    writer.await.map_err(io::Error::other)?
}

/// Loads the model; `None` if that failed, or was called off.
async fn load(inbox: &mut Inbox, outbox: &Arc<Outbox>) -> io::Result<Option<Arc<dyn Model>>> {
    let Command::Start(start) = next(inbox).await? else { return Ok(None) };
    let Start { spec, log } = *start;
    telemetry::init_engine(&log);
    let watching = Arc::clone(outbox);
    // Whether it arrives is of no matter to the load.
    let watch = Arc::new(move |progress| drop(watching.send(&Report::Loading(progress))));
    let loading = tokio::task::spawn_blocking(move || spec.load_watched(watch));
    let loaded = tokio::select! {
        loaded = loading => loaded.unwrap_or_else(|e| Err(ModelError::Internal(format!("loading panicked: {e}")))),
        // Stop, while llama.cpp still reads: it can't be called off.
        command = next(inbox) => return command.map(|_| process::die()),
    };
    match loaded {
        Ok(Made { model, outcome }) => {
            say(outbox, &Report::Loaded(Box::new(model.info().clone()), outcome))?;
            Ok(Some(model))
        }
        Err(error) => {
            say(outbox, &Report::NotLoaded(error))?;
            Ok(None)
        }
    }
}

/// Does what the service says until it says stop.
async fn answer(inbox: &mut Inbox, outbox: &Arc<Outbox>, model: &Arc<dyn Model>) -> io::Result<()> {
    let answering = Answering::new(Arc::clone(model), Arc::clone(outbox));
    let beating = tokio::spawn(beat(Arc::clone(model), Arc::clone(outbox)));
    loop {
        match next(inbox).await? {
            Command::Run(run) => answering.run(*run),
            Command::Cancel(id) => answering.cancel(id),
            Command::Credit(id, events) => answering.credit(id, events),
            Command::Stop => break,
            Command::Start(_) => return Err(io::Error::other("told to start twice")),
        }
    }
    beating.abort();
    answering.end().await;
    Ok(())
}

async fn next(inbox: &mut Inbox) -> io::Result<Command> {
    match inbox.next().await {
        Ok(Some(command)) => Ok(command),
        Ok(None) => process::die(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error),
        Err(_) => process::die(),
    }
}

fn say(outbox: &Outbox, report: &Report) -> io::Result<()> {
    outbox.send(report).map_err(io::Error::other)
}

async fn beat_while_loading(outbox: Arc<Outbox>) {
    while outbox.send(&Report::Beat(Load::default())).is_ok() {
        tokio::time::sleep(BEAT).await;
    }
}

/// Tells how busy the engine is, when that changes; and that the process lives, when nothing does.
async fn beat(model: Arc<dyn Model>, outbox: Arc<Outbox>) {
    let mut told = Load::default();
    let mut quiet = Duration::MAX;
    loop {
        let load = model.load();
        if load != told || quiet >= BEAT {
            // A full outbox means that the service does not read: it has other worries than our load.
            let _ = outbox.send(&Report::Beat(load));
            (told, quiet) = (load, Duration::ZERO);
        }
        let pause = if load.in_flight() == 0 { BEAT } else { LOOK };
        tokio::time::sleep(pause).await;
        quiet = quiet.saturating_add(pause);
    }
}

/// Frees the model's memory in good order.
async fn free(model: Arc<dyn Model>) {
    // Joining an engine's thread blocks.
    let _ = tokio::task::spawn_blocking(move || drop(model)).await;
}
