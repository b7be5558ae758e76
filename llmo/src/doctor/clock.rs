//! Is the clock right? A wrong one breaks certificates, expiry times, and the order of logs.

use std::time::{Duration, SystemTime};

use llmo_config::Config;

use super::download::hub_date;
use super::{Finding, Scene};

/// Certificates and logs bear this much.
const TOLERATED: Duration = Duration::from_secs(60);
const CURE: &str = "set it by the network: sudo timedatectl set-ntp true (in a virtual machine: on its host)";

pub(super) fn check(config: &Config, _: &Scene) -> Vec<Finding> {
    let now = SystemTime::now();
    let built = std::env::current_exe().and_then(|path| path.metadata()?.modified()).ok();
    vec![judged(now, built, hub_date(&config.store.hub_endpoint))]
}

/// `built` is when this program was made, `elsewhere` what another machine's clock says now.
fn judged(now: SystemTime, built: Option<SystemTime>, elsewhere: Option<SystemTime>) -> Finding {
    if let Some(theirs) = elsewhere {
        let (off, direction) = match now.duration_since(theirs) {
            Ok(ahead) => (ahead, "ahead"),
            Err(behind) => (behind.duration(), "behind"),
        };
        let what = format!("the clock is {} s {direction} of the hub's", off.as_secs());
        return if off > TOLERATED { Finding::problem(what, CURE) } else { Finding::fine(what) };
    }
    match built.and_then(|built| built.duration_since(now).ok()) {
        Some(off) if off > TOLERATED => Finding::problem(
            format!("the clock is at least {} s behind: this program is from the future", off.as_secs()),
            CURE,
        ),
        _ => Finding::fine("nothing speaks against it (the hub, which knows the time, was not reached)"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_another_and_else_by_this_program_s_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let later = now + Duration::from_secs(3_600);
        assert_eq!(judged(now, None, Some(now)).state, State::Fine);
        let behind = judged(now, None, Some(later));
        assert!(behind.state == State::Problem && behind.what.contains("3600 s behind"), "{behind:?}");
        assert!(judged(later, None, Some(now)).what.contains("3600 s ahead"));
        assert_eq!(judged(now, Some(later), None).state, State::Problem);
        assert_eq!(judged(later, Some(now), None).state, State::Fine);
    }
}
