//! What the system allows this user, or this container: open files, processes, processors.

use llmo_config::Config;

use super::{Finding, Scene};

/// Beside connections: logs, models, sockets between services.
const OTHER_FILES: u64 = 256;

pub(super) fn check(config: &Config, _: &Scene) -> Vec<Finding> {
    let mut findings = Vec::new();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(allowed) = soft_limit(&limits, "Max open files") {
        findings.push(open_files(allowed, config.limits.max_connections as u64));
    }
    let quota = ["/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    let period = std::fs::read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_period_us").ok();
    if let Some(cores) = quota.and_then(|quota| cores(&quota, period.as_deref())) {
        findings.push(processors(cores));
    }
    findings
}

/// A gateway has two for each client: one to it, one to a model service.
fn open_files(allowed: u64, connections: u64) -> Finding {
    let needed = connections * 2 + OTHER_FILES;
    if allowed >= needed {
        return Finding::fine(format!("{allowed} open files are allowed"));
    }
    Finding::advice(
        format!("{allowed} open files are allowed, {connections} connections need {needed}"),
        format!(
            "ulimit -n {needed} before starting, or fewer connections: LLMO_LIMITS__MAX_CONNECTIONS={}",
            allowed.saturating_sub(OTHER_FILES) / 2
        ),
    )
}

fn processors(cores: f64) -> Finding {
    let what = format!("this container, or session, gets {cores:.1} processors");
    if cores >= 1.0 {
        return Finding::fine(what);
    }
    Finding::advice(what, "models will be slow: raise the limit (MODEL_CPUS in .env, or --cpus)")
}

/// A soft limit from the text of `/proc/PID/limits`; `None` if there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Processors from a quota: `MAX PERIOD` of cgroup 2, or the quota of cgroup 1 with its period; `None` if unlimited.
fn cores(quota: &str, period: Option<&str>) -> Option<f64> {
    let mut words = quota.split_ascii_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next().or(period.map(str::trim))?.parse().ok()?;
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                          Max processes             unlimited            unlimited            processes \n\
                          Max open files            1024                 524288               files     \n";

    #[test]
    fn too_few_files_are_found_with_both_ways_out() {
        assert_eq!(soft_limit(LIMITS, "Max open files"), Some(1024));
        assert_eq!(soft_limit(LIMITS, "Max processes"), None);
        let found = open_files(1024, 4096);
        let cure = found.cure.unwrap_or_default();
        assert_eq!(found.state, State::Advice);
        assert!(cure.contains("ulimit -n 8448") && cure.contains("MAX_CONNECTIONS=384"), "{cure}");
        assert_eq!(open_files(65_536, 4096).state, State::Fine);
    }

    #[test]
    fn quotas_of_both_kinds_of_cgroups_are_read() {
        assert_eq!(cores("50000 100000\n", None), Some(0.5));
        assert_eq!(cores("max 100000\n", None), None);
        assert_eq!(cores("150000\n", Some("100000\n")), Some(1.5));
        assert_eq!(cores("-1\n", Some("100000\n")), None);
        assert_eq!(processors(0.5).state, State::Advice);
    }
}
