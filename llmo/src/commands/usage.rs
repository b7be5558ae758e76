//! `llmo usage`: the gateway's ledger, added up.

use std::time::SystemTime;

use llmo_config::Config;
use llmo_gateway::usage::report::{self, By, Report, Sum};

use crate::cli::{UsageArgs, UsageBy};
use crate::error::{CliError, Result};

pub(crate) fn run(arguments: &UsageArgs, config: &Config) -> Result {
    let path = arguments.file.as_ref().unwrap_or(&config.gateway.usage_file);
    if path.as_os_str().is_empty() {
        return Err(CliError::Message(
            "there is no ledger: set gateway.usage_file (LLMO_GATEWAY__USAGE_FILE), or name one with --file".into(),
        ));
    }
    let since = arguments.since.as_deref().map(|text| moment(text, SystemTime::now())).transpose();
    let since = since.map_err(CliError::Message)?;
    let unreadable = || format!("cannot read {}", path.display());
    let files = report::files(path).map_err(CliError::io(unreadable()))?;
    if files.is_empty() {
        return Err(CliError::Message(format!(
            "there is no {} and nothing that was put aside from it",
            path.display()
        )));
    }
    let (by, name) = match arguments.by {
        UsageBy::Tenant => (By::Tenant, "TENANT"),
        UsageBy::Model => (By::Model, "MODEL"),
        UsageBy::Day => (By::Day, "DAY"),
    };
    let report = report::add_up(&files, by, since).map_err(CliError::io(unreadable()))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| CliError::Message(error.to_string()))?;
        say!("{text}");
    } else {
        table(name, &report);
    }
    Ok(())
}

fn table(name: &str, report: &Report) {
    say!(
        "{name:<32} {:>10} {:>10} {:>10} {:>14} {:>14}",
        "REQUESTS",
        "SHARED",
        "INCOMPLETE",
        "PROMPT TOKENS",
        "ANSWER TOKENS"
    );
    let line = |name: &str, sum: &Sum| {
        say!(
            "{name:<32} {:>10} {:>10} {:>10} {:>14} {:>14}",
            sum.requests,
            sum.shared,
            sum.incomplete,
            sum.prompt_tokens,
            sum.completion_tokens
        );
    };
    report.sums.iter().for_each(|(name, sum)| line(name, sum));
    line("all", &report.total);
    if report.doubles + report.unreadable > 0 {
        eprintln!("left out: {} lines that came twice, {} that can't be read", report.doubles, report.unreadable);
    }
}

/// A time, or a span before `now`.
fn moment(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let day = || humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let span = || humantime::parse_duration(text).ok().and_then(|span| now.checked_sub(span));
    let found = humantime::parse_rfc3339(text).ok().or_else(day).or_else(span);
    let found = found.filter(|time| *time >= SystemTime::UNIX_EPOCH);
    found.ok_or_else(|| format!("--since {text:?} must be a span (24h, 7days), a day (2026-11-01) or a time in UTC"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn since_is_a_span_a_day_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(200_000);
        let at = |seconds| Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(moment("1h", now), at(196_400));
        assert_eq!(moment("1970-01-02", now), at(86_400));
        assert_eq!(moment("1970-01-02T00:00:01Z", now), at(86_401));
        for bad in ["", "yesterday", "-1h", "9999999years"] {
            assert!(moment(bad, now).is_err(), "{bad}");
        }
    }
}
