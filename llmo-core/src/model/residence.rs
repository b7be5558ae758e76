//! Models that come and go: which are in memory, and for how long.

use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Load, ModelError, ModelInfo, Result};

/// How long a model stays in memory after its last use.
///
/// In JSON as Ollama has it: a number of seconds, or text such as `"5m"`, `"1h30m"`; negative: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeepAlive {
    /// So long; zero: it goes as soon as nobody uses it.
    For(Duration),
    /// Until it is told to go, or the process ends.
    Forever,
}

/// More than this is for ever.
const LONGEST_SECONDS: f64 = 100.0 * 365.0 * 86_400.0;

impl KeepAlive {
    /// It goes as soon as nobody uses it.
    pub const NOT_AT_ALL: Self = Self::For(Duration::ZERO);

    /// From seconds; negative: for ever.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] if it is no number.
    pub fn from_seconds(seconds: f64) -> Result<Self> {
        if seconds.is_nan() {
            return Err(invalid("NaN"));
        }
        if !(0.0..LONGEST_SECONDS).contains(&seconds) {
            return Ok(Self::Forever);
        }
        Ok(Self::For(Duration::from_secs_f64(seconds)))
    }

    /// From text: a duration as Go writes it (`300ms`, `1h30m`, `-1s`), or a number of seconds.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        if let Ok(seconds) = trimmed.parse::<f64>()
            && seconds.is_finite()
        {
            return Self::from_seconds(seconds);
        }
        let (sign, mut rest) = match trimmed.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        if rest.is_empty() {
            return Err(invalid(text));
        }
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| invalid(text))?;
            let number: f64 = rest[..digits].parse().map_err(|_| invalid(text))?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            seconds += number * unit(&rest[..letters]).ok_or_else(|| invalid(text))?;
            rest = &rest[letters..];
        }
        Self::from_seconds(sign * seconds)
    }

    /// Seconds; −1: for ever.
    #[must_use]
    pub fn seconds(self) -> f64 {
        match self {
            Self::For(time) => time.as_secs_f64(),
            Self::Forever => -1.0,
        }
    }
}

fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    })
}

fn invalid(text: &str) -> ModelError {
    let shown: String = text.chars().take(32).collect();
    let message = format!("must be a number of seconds or a duration such as \"5m\" or \"1h30m\", got {shown:?}");
    ModelError::invalid("keep_alive", message)
}

impl Serialize for KeepAlive {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.seconds())
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct SecondsOrText;

        impl Visitor<'_> for SecondsOrText {
            type Value = KeepAlive;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of seconds or a duration such as \"5m\"")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> std::result::Result<KeepAlive, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> std::result::Result<KeepAlive, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> std::result::Result<KeepAlive, E> {
                KeepAlive::from_seconds(seconds).map_err(|error| E::custom(message_of(error)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<KeepAlive, E> {
                KeepAlive::parse(text).map_err(|error| E::custom(message_of(error)))
            }
        }

        deserializer.deserialize_any(SecondsOrText)
    }
}

/// Without the parameter's name: a parser of JSON puts the path before it.
fn message_of(error: ModelError) -> String {
    match error {
        ModelError::InvalidRequest { message, .. } => message,
        other => other.to_string(),
    }
}

/// Is a model that comes and goes in memory right now?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Residence {
    /// Where it is.
    pub state: ResidenceState,
    /// Bytes that it takes in memory, weights and KV cache, or would take.
    pub bytes: u64,
    /// Unix time in seconds at which it goes if nobody uses it any more; `None`: never.
    pub expires_at: Option<u64>,
    /// It is never unloaded.
    pub pinned: bool,
    /// How long loading it took, if it is there and that is known.
    pub loaded_in: Option<Duration>,
    /// How far it is, while it is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<LoadProgress>,
}

impl Residence {
    /// It is there, and takes so much.
    #[must_use]
    pub fn new(state: ResidenceState, bytes: u64) -> Self {
        Self { state, bytes, expires_at: None, pinned: false, loaded_in: None, progress: None }
    }
}

/// How far a model is on its way into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoadProgress {
    /// What is being done.
    pub step: LoadStep,
    /// How much of that is done, 0 to 100, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

impl LoadProgress {
    /// This is being done.
    #[must_use]
    pub const fn new(step: LoadStep) -> Self {
        Self { step, percent: None }
    }

    /// So much of it is done: `done` of `total`, in whatever unit.
    #[must_use]
    pub fn of(mut self, done: u64, total: u64) -> Self {
        let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
        self.percent = (total > 0).then(|| u8::try_from(percent).unwrap_or(100));
        self
    }
}

impl std::fmt::Display for LoadProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let step = match self.step {
            LoadStep::Waiting => "waiting",
            LoadStep::Fetching => "fetching",
            LoadStep::Checking => "checking",
            LoadStep::Loading => "loading",
            LoadStep::Tuning => "tuning",
        };
        match self.percent {
            Some(percent) => write!(f, "{step} {percent} %"),
            None => f.write_str(step),
        }
    }
}

/// What is done to bring a model into memory, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadStep {
    /// For its turn, or for room.
    #[default]
    Waiting,
    /// Its files are received.
    Fetching,
    /// Its files are compared with their hashes.
    Checking,
    /// The engine reads its weights.
    Loading,
    /// The engine measures which options are fast on this machine.
    Tuning,
}

/// Where a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResidenceState {
    /// On disk; the first request loads it.
    #[default]
    Absent,
    /// On its way into memory.
    Loading,
    /// In memory.
    Loaded,
}

/// A model that is in memory, or on its way there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningModel {
    /// What it is.
    pub info: ModelInfo,
    /// How busy it is.
    pub load: Load,
    /// How long it stays.
    pub residence: Residence,
}

impl RunningModel {
    /// A model with this load, if it is in memory or on its way there. One that says nothing of it is always there.
    #[must_use]
    pub fn new(info: ModelInfo, load: Load) -> Option<Self> {
        let always = || {
            let mut residence = Residence::new(ResidenceState::Loaded, info.size_bytes);
            residence.pinned = true;
            residence
        };
        let residence = load.residence.unwrap_or_else(always);
        (residence.state != ResidenceState::Absent).then_some(Self { info, load, residence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_gos_durations_are_read() {
        let seconds = |n: f64| KeepAlive::For(Duration::from_secs_f64(n));
        for (text, expected) in [
            ("5m", seconds(300.0)),
            ("1h30m", seconds(5_400.0)),
            ("300ms", seconds(0.3)),
            ("1.5h", seconds(5_400.0)),
            ("0", KeepAlive::NOT_AT_ALL),
            ("0s", KeepAlive::NOT_AT_ALL),
            ("90", seconds(90.0)),
            ("-1", KeepAlive::Forever),
            ("-1s", KeepAlive::Forever),
            ("99999999h", KeepAlive::Forever),
        ] {
            assert_eq!(KeepAlive::parse(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "m", "5 m", "5x", "five", "1..2s", "-", "NaN", "inf", "5m3"] {
            assert!(KeepAlive::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_has_ollamas_forms_and_comes_back() {
        for (json, expected) in [("300", 300.0), ("\"5m\"", 300.0), ("-1", -1.0), ("0", 0.0), ("2.5", 2.5)] {
            let read: KeepAlive = serde_json::from_str(json).unwrap();
            assert_eq!(read.seconds(), expected, "{json}");
            let again: KeepAlive = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(again, read);
        }
        for bad in ["\"soon\"", "true", "[]", "{}"] {
            assert!(serde_json::from_str::<KeepAlive>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn progress_is_told_in_percent_where_the_whole_is_known() {
        let loading = LoadProgress::new(LoadStep::Loading);
        assert_eq!(loading.to_string(), "loading");
        assert_eq!(loading.of(1, 3).to_string(), "loading 33 %");
        assert_eq!((loading.of(9, 3).percent, loading.of(u64::MAX, u64::MAX).percent), (Some(100), Some(100)));
        assert_eq!(loading.of(1, 0).percent, None);
        // What older and newer builds say of a model comes across.
        let old: Residence = serde_json::from_str(r#"{"state": "loading", "bytes": 7}"#).unwrap();
        assert_eq!(old, Residence::new(ResidenceState::Loading, 7));
        assert!(!serde_json::to_string(&old).unwrap().contains("progress"));
    }

    #[test]
    fn a_model_that_is_only_on_disk_does_not_run() {
        let info = ModelInfo::new("m", "sim");
        let mut load = Load::idle(1);
        assert!(RunningModel::new(info.clone(), load).is_some_and(|model| model.residence.pinned));
        load.residence = Some(Residence::new(ResidenceState::Absent, 7));
        assert!(RunningModel::new(info.clone(), load).is_none());
        load.residence = Some(Residence::new(ResidenceState::Loading, 7));
        assert!(RunningModel::new(info, load).is_some_and(|model| model.residence.bytes == 7));
    }
}
