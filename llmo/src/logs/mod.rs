//! `llmo logs`: the logs of all services, merged by time.
//!
//! ```text
//!  files (tail) ──────┐
//!                     ├─► Line ─► merge ─► those about the request ─► standard output
//!  containers (docker)┘
//! ```
//!
//! * `line`: when a line was written, and about which request. Pure.
//! * `merge`: lines of several sources in the order of their times. Pure.
//! * `files`, `tail`: files that grow, and are replaced.
//! * `containers`: what the container engine keeps.

mod containers;
mod files;
mod line;
mod merge;
mod tail;

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use containers::Containers;
use files::Files;
use merge::Merge;

use crate::cli::LogsArgs;
use crate::error::{CliError, Result};

/// How often the sources are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A line waits this long for earlier ones of other services.
const HOLD: Duration = Duration::from_millis(300);

/// A line that a service wrote.
struct Line<'a> {
    /// Which one, as an index of [`Source::names`].
    source: usize,
    /// When, if that is known.
    time: Option<&'a str>,
    text: &'a str,
}

/// Where lines come from.
trait Source {
    /// The name of each source. Their number may grow.
    fn names(&self) -> Vec<String>;

    /// Gives all that is new. The first time that is the past.
    fn read(&mut self, take: &mut dyn FnMut(Line<'_>)) -> Result;
}

/// Prints what the services wrote, and goes on with it.
///
/// # Errors
/// [`CliError::Message`] if there are no logs.
pub(crate) fn run(arguments: &LogsArgs) -> Result {
    let mut source: Box<dyn Source> = if arguments.containers {
        // A request may be long ago. A line of each at least, so that it is known where to go on.
        let past = arguments.request.is_none().then_some(arguments.lines.max(1));
        Box::new(Containers::open(&arguments.services, past)?)
    } else {
        Box::new(Files::open(&arguments.dir, &arguments.services)?)
    };
    let mut merge = Merge::default();
    let mut read = |merge: &mut Merge| -> Result<Vec<String>> {
        let now = Instant::now();
        source.read(&mut |line| merge.push(line.source, line.time, line.text, now))?;
        Ok(source.names())
    };
    let wanted = |text: &str| arguments.request.as_deref().is_none_or(|id| line::names(text, id));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut print = |names: &[String], lines: Vec<(usize, String)>| -> io::Result<()> {
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (source, text) in lines.into_iter().filter(|(_, text)| wanted(text)) {
            match arguments.raw {
                true => writeln!(out, "{text}")?,
                false => writeln!(out, "{:width$} | {text}", names[source])?,
            }
        }
        out.flush()
    };
    let names = read(&mut merge)?;
    let mut past: Vec<_> = merge.all().into_iter().filter(|(_, text)| wanted(text)).collect();
    past.drain(..past.len().saturating_sub(arguments.lines));
    let mut printed = print(&names, past);
    while arguments.follow && printed.is_ok() {
        std::thread::sleep(LOOK);
        let names = read(&mut merge)?;
        printed = print(&names, merge.older_than(Instant::now(), HOLD));
    }
    match printed {
        // Whoever read has seen enough: `llmo logs | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CliError::io("cannot print the logs")),
    }
}
