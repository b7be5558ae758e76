//! How far a pull is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use llmo_store::pull::{Phase, Progress};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a pull on standard error: the right form for where it goes.
pub(crate) fn for_model(model: &str) -> std::sync::Arc<dyn Progress> {
    if std::io::stderr().is_terminal() {
        std::sync::Arc::new(Bar::new(model))
    } else {
        std::sync::Arc::new(Lines { model: model.to_owned(), last: Mutex::new(Instant::now()) })
    }
}

fn phase_text(phase: &Phase) -> Option<String> {
    Some(match phase {
        Phase::Waiting { .. } => "another process pulls it; waiting".to_owned(),
        Phase::Asking { source } => format!("asking {source}"),
        Phase::Failed { source, reason } => format!("{source} cannot serve: {reason}"),
        Phase::Receiving { file, resumed: 0 } => format!("receiving {file}"),
        Phase::Receiving { file, resumed } => format!("receiving {file}, {} MiB were there", resumed >> 20),
        Phase::Installing { .. } => "checking".to_owned(),
        _ => return None,
    })
}

struct Bar(ProgressBar);

impl Bar {
    fn new(model: &str) -> Self {
        let bar = ProgressBar::no_length().with_prefix(model.to_owned());
        let form = "{prefix}: {msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
        // A form that can't be read leaves indicatif's own, which is good enough.
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Progress for Bar {
    fn phase(&self, phase: &Phase) {
        if let Some(text) = phase_text(phase) {
            if matches!(phase, Phase::Failed { .. }) {
                self.0.println(format!("{}: {text}", self.0.prefix()));
            }
            self.0.set_message(text);
        }
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

struct Lines {
    model: String,
    last: Mutex<Instant>,
}

impl Progress for Lines {
    fn phase(&self, phase: &Phase) {
        if let Some(text) = phase_text(phase) {
            eprintln!("{}: {text}", self.model);
        }
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        let Ok(mut last) = self.last.lock() else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        *last = Instant::now();
        match total {
            Some(total) => eprintln!("{}: {} of {} MiB", self.model, done >> 20, total >> 20),
            None => eprintln!("{}: {} MiB", self.model, done >> 20),
        }
    }
}
