//! Reading the ledger, and adding it up.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::Entry;

/// What is added up under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    /// Requests.
    pub requests: u64,
    /// Of these, answered from the response cache, or with the answer to an equal request.
    pub shared: u64,
    /// Of these, without a whole answer: broken off, or left by their callers.
    pub incomplete: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
}

/// By what lines are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum By {
    /// Who asked.
    #[default]
    Tenant,
    /// Which model answered.
    Model,
    /// The day, UTC.
    Day,
}

/// A ledger added up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// By name.
    pub sums: BTreeMap<String, Sum>,
    /// All together.
    pub total: Sum,
    /// Lines that came a second time, and were left out.
    pub doubles: u64,
    /// Lines that are none: cut off when power failed, say.
    pub unreadable: u64,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.requests += 1;
        self.shared += u64::from(entry.cache.as_deref().is_some_and(|cache| ["hit", "coalesced"].contains(&cache)));
        self.incomplete += u64::from(!["stop", "length", "tool_calls"].contains(&entry.ended.as_str()));
        self.prompt_tokens += entry.prompt_tokens.unwrap_or(0);
        self.completion_tokens += entry.completion_tokens;
    }
}

impl By {
    fn name(self, entry: &Entry) -> &str {
        match self {
            Self::Tenant => entry.tenant.as_deref().unwrap_or("-"),
            Self::Model => &entry.model,
            Self::Day => entry.time.get(..10).unwrap_or("-"),
        }
    }
}

/// The file and those that were put aside from it, oldest first.
///
/// # Errors
/// If the directory can't be read.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut aside = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().strip_prefix(&*name).is_some_and(|rest| rest.starts_with('.')) {
            aside.push(entry.path());
        }
    }
    aside.sort();
    aside.extend(path.exists().then(|| path.to_owned()));
    Ok(aside)
}

/// Adds up what ended at `since` or later.
///
/// # Errors
/// If a file can't be read.
pub fn add_up(files: &[PathBuf], by: By, since: Option<SystemTime>) -> io::Result<Report> {
    // Times of one form and zone are ordered as text.
    let since = since.map(|since| humantime::format_rfc3339_millis(since).to_string()).unwrap_or_default();
    let (mut report, mut seen) = (Report::default(), HashSet::new());
    for file in files {
        let mut lines = BufReader::new(File::open(file)?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            read(&mut report, &mut seen, by, &since, &line);
            line.clear();
        }
    }
    Ok(report)
}

fn read(report: &mut Report, seen: &mut HashSet<String>, by: By, since: &str, line: &[u8]) {
    let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
        report.unreadable += u64::from(!line.trim_ascii().is_empty());
        return;
    };
    if entry.time.as_str() < since {
        return;
    }
    if !seen.insert(entry.id.clone()) {
        report.doubles += 1;
        return;
    }
    report.sums.entry(by.name(&entry).to_owned()).or_default().add(&entry);
    report.total.add(&entry);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LINES: &str = concat!(
        r#"{"id":"1","time":"2026-11-29T10:00:00.000Z","tenant":"a","model":"m","operation":"generate","prompt_tokens":5,"completion_tokens":7,"ended":"stop"}"#,
        "\n",
        r#"{"id":"2","time":"2026-11-30T10:00:00.000Z","tenant":"b","model":"m","operation":"generate","prompt_tokens":1,"completion_tokens":2,"cache":"hit","ended":"length"}"#,
        "\n",
        r#"{"id":"2","time":"2026-11-30T10:00:00.000Z","tenant":"b","model":"m","operation":"generate","prompt_tokens":1,"completion_tokens":2,"cache":"hit","ended":"length"}"#,
        "\n{\"id\":\"3\",\"ti\n",
        r#"{"id":"4","time":"2026-11-30T11:00:00.000Z","model":"n","operation":"generate","completion_tokens":3,"ended":"cancelled","newer":true}"#,
        "\n",
    );

    fn report(by: By, since: Option<&str>) -> Report {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("usage.jsonl");
        // All of it was put aside, and a file of another name is none of ours.
        std::fs::write(&path, "").expect("a file");
        std::fs::write(dir.path().join("usage.jsonl.2026-11-30T12-00-00.000Z"), LINES).expect("a file");
        std::fs::write(dir.path().join("usage.jsonlines"), LINES).expect("a file");
        let since = since.map(|since| humantime::parse_rfc3339(since).expect("a time"));
        add_up(&files(&path).expect("a directory"), by, since).expect("readable")
    }

    #[test]
    fn lines_are_added_up_once_each() {
        let tenants = report(By::Tenant, None);
        assert_eq!((tenants.doubles, tenants.unreadable, tenants.total.requests), (1, 1, 3));
        assert_eq!(tenants.sums.keys().collect::<Vec<_>>(), ["-", "a", "b"]);
        let b = Sum { requests: 1, shared: 1, incomplete: 0, prompt_tokens: 1, completion_tokens: 2 };
        assert_eq!(tenants.sums["b"], b);
        assert_eq!((tenants.sums["-"].incomplete, tenants.sums["-"].completion_tokens), (1, 3));
        assert_eq!(report(By::Model, None).sums["m"].completion_tokens, 9);
        assert_eq!(report(By::Day, None).sums["2026-11-30"].requests, 2);
    }

    #[test]
    fn what_ended_before_is_left_out() {
        assert_eq!(report(By::Tenant, Some("2026-11-30T10:30:00Z")).total.requests, 1);
        let future = SystemTime::now() + Duration::from_secs(3600);
        assert_eq!(add_up(&[], By::Tenant, Some(future)).expect("nothing"), Report::default());
    }
}
