//! Whoever keeps a model's process alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::ModelInfo;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::super::terms::OnProgress;
use super::death::Death;
use super::launch::{Failure, Life, launch};
use super::recovery::{Next, Recovery};
use super::state::{State, crashed};

/// Requests that are named in a report.
const NAMED: usize = 64;
/// How long a request that was there at two deaths is said to be refused; the exact time is told at its next attempt.
const REFUSED: Duration = Duration::from_secs(3600);

/// Watches a process, and starts another when it dies, until `stop`.
pub(super) async fn supervise(state: Arc<State>, mut life: Life, stop: CancellationToken) {
    let mut recovery = Recovery::default();
    loop {
        let death = tokio::select! {
            death = life.run(&state.options) => death,
            () = stop.cancelled() => return life.end(state.options.grace).await,
        };
        let next = recovery.died(life.born, Instant::now(), &state.options);
        bury(&state, &mut life, &death, next).await;
        let revived = tokio::select! {
            revived = revive(&state, &mut recovery, next) => revived,
            () = stop.cancelled() => return,
        };
        life = revived;
        state.up(Arc::clone(&life.link));
    }
}

/// Ends the requests of a dead process, and reports it.
async fn bury(state: &State, life: &mut Life, death: &Death, next: Next) {
    let id = &state.info.id;
    state.count_restart(death);
    state.down(why(id, death, next), Instant::now() + next.wait());
    let open = life.link.close();
    let witnesses: Vec<_> = open.iter().map(|open| open.witness()).collect();
    let refused = state.suspects.lock().died(&witnesses, Instant::now());
    let name = |open: &super::link::Open| {
        let request = open.request_id.as_deref().unwrap_or("without an id");
        format!("{} {request}", open.operation)
    };
    let requests: Vec<_> = open.iter().take(NAMED).map(name).collect();
    let guilty: Vec<_> = open.iter().filter(|open| refused.contains(&open.fingerprint)).map(name).collect();
    let in_flight = open.len();
    for open in open {
        let error = if refused.contains(&open.fingerprint) {
            crashed(REFUSED)
        } else if open.has_output {
            let message = format!("the engine's process {death} in the middle of the answer");
            ModelError::EngineDied { message, started: true }
        } else {
            let message = format!("the engine's process of {id:?} {death}; it is being restarted");
            ModelError::EngineDied { message, started: false }
        };
        open.fail(error);
    }
    let last_words = life.last_words().await;
    tracing::error!(
        model = id, process = life.link.process, %death, lived_seconds = life.born.elapsed().as_secs_f32(), in_flight,
        ?requests, refused = ?guilty, ?next, ?last_words, "an engine's process died"
    );
}

/// Starts another process, however often it takes.
async fn revive(state: &State, recovery: &mut Recovery, mut next: Next) -> Life {
    let id = &state.info.id;
    let nobody: OnProgress = Arc::new(|_| ());
    loop {
        sleep(next.wait()).await;
        let born = Instant::now();
        let (death, last_words) = match launch(&state.spec, &state.options, &state.suspects, &nobody).await {
            Ok((life, info, _)) if is_same(&info, &state.info) => {
                tracing::info!(
                    model = id,
                    process = life.link.process,
                    seconds = born.elapsed().as_secs_f32(),
                    "restarted"
                );
                return life;
            }
            Ok((life, ..)) => {
                life.end(state.options.grace).await;
                let changed = "the weights are not those that were loaded first; restart the service to serve them";
                (Death::NotStarted(changed.to_owned()), String::new())
            }
            Err(Failure::Refused(error)) => (Death::NotStarted(error.to_string()), String::new()),
            Err(Failure::Died(death, words)) => (death, words),
        };
        next = recovery.died(born, Instant::now(), &state.options);
        tracing::error!(model = id, %death, ?next, ?last_words, "an engine's process does not start");
        state.count_restart(&death);
        state.down(why(id, &death, next), Instant::now() + next.wait());
    }
}

/// What a caller is told while there is no process.
fn why(id: &str, death: &Death, next: Next) -> String {
    match next {
        Next::Restart(_) => format!("the engine's process of {id:?} {death}; it is being restarted"),
        Next::Quarantine(wait) => {
            format!(
                "the engine of {id:?} is in quarantine for {} s: its process keeps dying, lastly it {death}",
                wait.as_secs()
            )
        }
    }
}

/// Would the same requests have the same answers?
fn is_same(new: &ModelInfo, old: &ModelInfo) -> bool {
    let of = |info: &ModelInfo| (info.created, info.size_bytes, info.vocab_size, info.parameters, info.family.clone());
    of(new) == of(old)
}
