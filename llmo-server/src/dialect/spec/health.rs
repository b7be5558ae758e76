//! `/api/health`: `{"status", "model_loaded", "memory_info"}`.

use serde::Serialize;

/// The memory of this machine, in GB of 2³⁰ bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryInfo {
    total_memory_gb: f64,
    used_memory_gb: f64,
    percent_used: f64,
}

impl MemoryInfo {
    /// From bytes; rounded to hundredths, and percent to tenths.
    #[must_use]
    pub fn new(total_bytes: u64, used_bytes: u64) -> Self {
        let gb = |bytes: u64| (bytes as f64 / f64::from(1_u32 << 30) * 100.0).round() / 100.0;
        let share = if total_bytes == 0 { 0.0 } else { used_bytes as f64 / total_bytes as f64 };
        Self {
            total_memory_gb: gb(total_bytes),
            used_memory_gb: gb(used_bytes),
            percent_used: (share * 1000.0).round() / 10.0,
        }
    }
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// `ok`, or `unavailable`.
    pub status: &'static str,
    /// Can the default model be asked?
    pub model_loaded: bool,
    /// The default model, if there is one.
    pub model: Option<String>,
    /// What is missing.
    pub reasons: Vec<String>,
    /// The memory of this machine.
    pub memory_info: MemoryInfo,
}

impl Health {
    /// From what the front end knows.
    #[must_use]
    pub fn new(ready: Result<(), Vec<String>>, model: Option<String>, memory_info: MemoryInfo) -> Self {
        let reasons = ready.err().unwrap_or_default();
        let model_loaded = reasons.is_empty();
        let status = if model_loaded { "ok" } else { "unavailable" };
        Self { status, model_loaded, model, reasons, memory_info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_gb_and_percent() {
        let memory = MemoryInfo::new(16 << 30, 5 << 29);
        assert_eq!(memory, MemoryInfo { total_memory_gb: 16.0, used_memory_gb: 2.5, percent_used: 15.6 });
        assert_eq!(MemoryInfo::new(0, 0).percent_used, 0.0);
    }
}
