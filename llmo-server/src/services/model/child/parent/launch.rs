//! From nothing to a process that has loaded its model, and its life until it ends.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::ModelInfo;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::super::super::terms::{OnProgress, Outcome};
use super::super::options::ChildOptions;
use super::super::protocol::{BEAT, BUILD, Command, Report, Start};
use super::super::spec::Spec;
use super::super::wire::{Inbox, Outbox};
use super::death::Death;
use super::last_words::{LastWords, lines};
use super::link::Link;
use super::process::{Pipes, Process};
use super::suspects::Suspects;

/// What a dead process still has to say is waited for so long.
const ECHO: Duration = Duration::from_millis(500);

/// A process that runs.
pub(super) struct Life {
    pub(super) link: Arc<Link>,
    pub(super) born: Instant,
    process: Process,
    inbox: Inbox,
    words: LastWords,
    readers: [JoinHandle<()>; 2],
    watch: Watch,
}

/// Why there is no model.
pub(super) enum Failure {
    /// The engine said why.
    Refused(ModelError),
    /// Its process died first, having said this.
    Died(Death, String),
}

/// Starts a process and has it load a model.
pub(super) async fn launch(
    spec: &Spec,
    options: &ChildOptions,
    suspects: &Arc<Mutex<Suspects>>,
    watch: &OnProgress,
) -> Result<(Life, ModelInfo, Outcome), Failure> {
    let started = Process::spawn(options).await;
    let (process, pipes) = started.map_err(|error| {
        let why = format!("{} does not start: {error}", options.program.display());
        Failure::Died(Death::NotStarted(why), String::new())
    })?;
    let mut life = Life::new(process, pipes, spec, options, suspects);
    match life.load(options, watch).await {
        Ok(Ok((info, outcome))) => Ok((life, info, outcome)),
        Ok(Err(error)) => Err(Failure::Refused(error)),
        Err(death) => {
            let words = life.last_words().await;
            Err(Failure::Died(death, words))
        }
    }
}

impl Life {
    fn new(
        process: Process,
        pipes: Pipes,
        spec: &Spec,
        options: &ChildOptions,
        suspects: &Arc<Mutex<Suspects>>,
    ) -> Self {
        let outbox = Arc::new(Outbox::default());
        let (reading, writing) = pipes.socket.into_split();
        tokio::spawn({
            let outbox = Arc::clone(&outbox);
            // It fails when the process dies, which is noticed elsewhere.
            async move { drop(outbox.write_to(writing, Duration::ZERO).await) }
        });
        let start = Start { spec: spec.clone(), log: options.log.clone() };
        if let Err(error) = outbox.send(&Command::Start(Box::new(start))) {
            tracing::error!(model = spec.id(), %error, "the engine can't be told what to load");
            process.kill();
        }
        let words = LastWords::default();
        let (log, errors, model) = (words.clone(), words.clone(), spec.id().to_owned());
        let readers = [
            tokio::spawn(lines(pipes.log, move |line| {
                // What went well is no last word.
                if ["WARN", "ERROR"].iter().any(|level| line.contains(level)) {
                    log.add(line);
                }
                // Lines of the same form as this process writes.
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            })),
            tokio::spawn(lines(pipes.errors, move |line| {
                errors.add(line);
                tracing::warn!(model, line, "printed by the engine's process");
            })),
        ];
        let link = Arc::new(Link::new(outbox, Arc::clone(suspects), process.id));
        let watch = Watch::new(options);
        Self { link, born: Instant::now(), process, inbox: Inbox::new(reading), words, readers, watch }
    }

    /// The handshake, up to the loaded model.
    async fn load(
        &mut self,
        options: &ChildOptions,
        watch: &OnProgress,
    ) -> Result<Result<(ModelInfo, Outcome), ModelError>, Death> {
        loop {
            match self.next(options).await? {
                Report::Hello(build) if build == BUILD => {}
                Report::Hello(build) => return Err(Death::Nonsense(format!("it is of build {build}, not {BUILD}"))),
                Report::Loading(progress) => watch(progress),
                Report::Loaded(info, outcome) => return Ok(Ok((*info, outcome))),
                Report::NotLoaded(error) => return Ok(Err(error)),
                Report::Beat(_) => {}
                _ => return Err(Death::Nonsense("an answer before a question".into())),
            }
        }
    }

    /// Passes on what the process says, until it ends or has to be ended.
    pub(super) async fn run(&mut self, options: &ChildOptions) -> Death {
        loop {
            match self.next(options).await {
                Ok(report) => {
                    if let Err(what) = self.link.take(report) {
                        self.process.kill();
                        return Death::Nonsense(what);
                    }
                }
                Err(death) => return death,
            }
        }
    }

    /// The next report. Does not lose any when it is dropped.
    async fn next(&mut self, options: &ChildOptions) -> Result<Report, Death> {
        loop {
            tokio::select! {
                biased;
                report = self.inbox.next::<Report>() => match report {
                    Ok(Some(report)) => {
                        self.link.hear();
                        return Ok(report);
                    }
                    Ok(None) => return Err(self.ended().await),
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        self.process.kill();
                        return Err(Death::Nonsense(error.to_string()));
                    }
                    Err(_) => return Err(self.ended().await),
                },
                _ = self.watch.ticks.tick() => {
                    if let Some(death) = self.watch.look(&self.link, options) {
                        self.process.kill();
                        return Err(death);
                    }
                }
            }
        }
    }

    /// How a process ended whose connection has.
    async fn ended(&mut self) -> Death {
        if let Ok(Ok(status)) = timeout(ECHO, &mut self.process.ended).await {
            return Death::Exit(status);
        }
        self.process.kill();
        Death::Nonsense("it closed the connection".into())
    }

    /// What it printed last, once it is dead.
    pub(super) async fn last_words(&mut self) -> String {
        self.process.kill();
        let all = futures::future::join_all(&mut self.readers);
        // Whoever has inherited its pipes must not keep us.
        let _ = timeout(ECHO, all).await;
        self.words.text()
    }

    /// Ends it in good order, or else at once.
    pub(super) async fn end(mut self, grace: Duration) {
        self.link.stop();
        let _ = timeout(grace, async {
            while let Ok(Some(_)) = self.inbox.next::<Report>().await {}
            let _ = (&mut self.process.ended).await;
        })
        .await;
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // The task that writes to the process ends with its outbox.
        self.link.close();
    }
}

/// Looks for signs of life and of work, twice a second. It counts looks and not time: if this process was stopped, or
/// the machine slept, nobody's silence means anything.
struct Watch {
    ticks: Interval,
    silent: u32,
    stuck: u32,
    progress: Option<u64>,
}

impl Watch {
    fn new(options: &ChildOptions) -> Self {
        let mut ticks = interval(BEAT.min(options.silence / 4).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, silent: 0, stuck: 0, progress: None }
    }

    fn look(&mut self, link: &Link, options: &ChildOptions) -> Option<Death> {
        self.silent = if link.was_heard() { 0 } else { self.silent + 1 };
        let progress = link.progress();
        self.stuck = if progress.is_some() && progress == self.progress { self.stuck + 1 } else { 0 };
        self.progress = progress;
        let period = self.ticks.period();
        if period * self.silent >= options.silence {
            return Some(Death::Silent(period * self.silent));
        }
        (period * self.stuck >= options.stall).then(|| Death::Stalled(period * self.stuck))
    }
}
