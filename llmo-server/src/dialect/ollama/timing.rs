//! When an answer was made, and what the last line tells of its cost.

use std::time::{Duration, UNIX_EPOCH};

use llmo_core::model::{Finish, FinishReason};
use serde::Serialize;

/// The end of the year 9999, behind which there is no RFC 3339.
const MAX_TIME: u64 = 253_402_300_799;

/// A Unix time in seconds as RFC 3339.
pub(super) fn rfc3339(unix_seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(MAX_TIME))).to_string()
}

/// What the last line tells; durations in nanoseconds.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    done_reason: &'static str,
    total_duration: u64,
    /// Until the work could begin: a slot was free, and the model was loaded.
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    eval_count: u64,
    eval_duration: u64,
}

impl Ended {
    pub(super) fn of(finish: &Finish) -> Self {
        let timings = finish.timings;
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            done_reason: match finish.reason {
                FinishReason::Length => "length",
                _ => "stop",
            },
            total_duration: ns(timings.queue + timings.prefill + timings.decode),
            load_duration: ns(timings.queue),
            prompt_eval_count: finish.usage.prompt_tokens,
            prompt_eval_duration: ns(timings.prefill),
            eval_count: finish.usage.completion_tokens,
            eval_duration: ns(timings.decode),
        }
    }
}
