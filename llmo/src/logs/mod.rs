//! `llmo logs`: the logs of all services, merged by time.
//!
//! * `line`: when a line was written, and about which request. Pure.
//! * `merge`: lines of several files in the order of their times. Pure.
//! * `tail`: files that grow, and are replaced.

mod line;
mod merge;
mod tail;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use merge::Merge;
use tail::Tail;

use crate::cli::LogsArgs;
use crate::error::{CliError, Result};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A line waits this long for earlier ones of other services.
const HOLD: Duration = Duration::from_millis(300);

/// Prints what the services wrote, and goes on with it.
///
/// # Errors
/// [`CliError::Message`] if there are no logs.
pub(crate) fn run(arguments: &LogsArgs) -> Result {
    let files = files(&arguments.dir, &arguments.services)?;
    let width = files.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut tails: Vec<_> = files.into_iter().map(|(name, path)| (name, Tail::new(path))).collect();
    let names: Vec<_> = tails.iter().map(|(name, _)| name.clone()).collect();
    let mut merge = Merge::new(tails.len());
    for (source, (_, tail)) in tails.iter_mut().enumerate() {
        tail.read(|line| merge.push(source, line, Instant::now()));
    }
    let wanted = |text: &str| arguments.request.as_deref().is_none_or(|id| line::names(text, id));
    let mut past: Vec<_> = merge.all().into_iter().filter(|(_, text)| wanted(text)).collect();
    past.drain(..past.len().saturating_sub(arguments.lines));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut print = |lines: Vec<(usize, String)>| -> io::Result<()> {
        for (source, text) in lines.into_iter().filter(|(_, text)| wanted(text)) {
            match arguments.raw {
                true => writeln!(out, "{text}")?,
                false => writeln!(out, "{:width$} | {text}", names[source])?,
            }
        }
        out.flush()
    };
    let printed: io::Result<()> = (|| {
        print(past)?;
        if !arguments.follow {
            return Ok(());
        }
        loop {
            std::thread::sleep(LOOK);
            let now = Instant::now();
            for (source, (_, tail)) in tails.iter_mut().enumerate() {
                tail.read(|line| merge.push(source, line, now));
            }
            print(merge.older_than(now, HOLD))?;
        }
    })();
    match printed {
        // Whoever read has seen enough: `llmo logs | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CliError::io("cannot print the logs")),
    }
}

/// The log of each service, with its name.
fn files(dir: &Path, services: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_else(|_| Vec::<PathBuf>::new())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    found.sort();
    let there: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
    if let Some(missing) = services.iter().find(|service| !there.contains(service)) {
        let known = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        return Err(CliError::Message(format!(
            "there is no log of {missing:?} in {}; there are: {known}",
            dir.display()
        )));
    }
    if !services.is_empty() {
        found.retain(|(name, _)| services.contains(name));
    }
    if found.is_empty() {
        let text = format!(
            "no logs in {}; start the stack (./run_microservices.sh run), or name another directory with --dir",
            dir.display()
        );
        return Err(CliError::Message(text));
    }
    Ok(found)
}
