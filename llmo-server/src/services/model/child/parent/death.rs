//! Why an engine's process ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use llmo_core::ModelError;
use rustix::process::Signal;

/// Why an engine's process ended, or had to.
#[derive(Debug, Clone)]
pub(super) enum Death {
    /// By itself.
    Exit(ExitStatus),
    /// It said nothing for so long: stopped, starved, or stuck.
    Silent(Duration),
    /// Its engine had work and got nothing done for so long.
    Stalled(Duration),
    /// It said what this build does not understand.
    Nonsense(String),
    /// It could not be started, or could not load the model any more.
    NotStarted(String),
}

impl Death {
    /// A short stable name, for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Exit(status) => match signal(*status) {
                Some(Signal::ABORT) => "abort",
                Some(Signal::SEGV | Signal::BUS) => "segfault",
                Some(Signal::ILL) => "illegal_instruction",
                Some(Signal::KILL) => "killed",
                Some(_) => "signal",
                None => "exit",
            },
            Self::Silent(_) => "silent",
            Self::Stalled(_) => "stalled",
            Self::Nonsense(_) => "protocol",
            Self::NotStarted(_) => "not_started",
        }
    }

    /// What a caller is told whose model `id` died of this while it was loaded for the first time.
    pub(super) fn while_loading(&self, id: &str, last_words: &str) -> ModelError {
        let said = if last_words.is_empty() { String::new() } else { format!("; it said: {last_words}") };
        let reason = format!("the engine's process {self} while it loaded the model{said}");
        match self.reason() {
            // What native code does with a file that it does not understand.
            "abort" | "segfault" => ModelError::Corrupt { model: id.to_owned(), reason },
            "killed" => ModelError::Internal(format!("{reason}; was there enough memory?")),
            _ => ModelError::Internal(reason),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => match (status.signal(), name(*status), status.code()) {
                (Some(_), Some(name), _) => write!(f, "died of {name}"),
                (Some(number), None, _) => write!(f, "died of signal {number}"),
                (_, _, code) => write!(f, "ended with code {}", code.unwrap_or(-1)),
            },
            Self::Silent(time) => write!(f, "gave no sign of life for {:.1} s", time.as_secs_f32()),
            Self::Stalled(time) => write!(f, "had work and got nothing done for {:.1} s", time.as_secs_f32()),
            Self::Nonsense(what) => write!(f, "broke the protocol ({what})"),
            Self::NotStarted(why) => write!(f, "could not be started again ({why})"),
        }
    }
}

fn signal(status: ExitStatus) -> Option<Signal> {
    Signal::from_named_raw(status.signal()?)
}

fn name(status: ExitStatus) -> Option<&'static str> {
    Some(match signal(status)? {
        Signal::ABORT => "SIGABRT: native code gave up",
        Signal::SEGV => "SIGSEGV: native code touched memory that is not its own",
        Signal::BUS => "SIGBUS: a file that it had mapped was cut short, or memory failed",
        Signal::ILL => "SIGILL: it was compiled for another processor",
        Signal::FPE => "SIGFPE",
        Signal::KILL => "SIGKILL: somebody killed it, or the kernel, for want of memory",
        Signal::TERM => "SIGTERM",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_native_code_dies_of_while_it_loads_is_a_corrupt_model_and_a_kill_is_not() {
        let of = |signal| Death::Exit(ExitStatus::from_raw(signal));
        let error = of(6).while_loading("m", "GGML_ASSERT(x) failed");
        assert!(
            matches!(&error, ModelError::Corrupt { model, reason } if model == "m" && reason.contains("GGML_ASSERT"))
        );
        assert!(matches!(of(9).while_loading("m", ""), ModelError::Internal(reason) if reason.contains("memory")));
        assert_eq!(
            [6, 11, 9, 4, 14].map(|n| of(n).reason()),
            ["abort", "segfault", "killed", "illegal_instruction", "signal"]
        );
        assert_eq!(Death::Exit(ExitStatus::from_raw(256)).to_string(), "ended with code 1");
    }
}
