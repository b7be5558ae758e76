//! What was measured, remembered: one file for each model, one record in it for each machine.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::machine::Machine;
use super::search::{Guard, Trial};
use crate::llama_cpp::options::{KvType, TuneMode};

const FORMAT: u32 = 1;
/// Machines that share a directory of models. The oldest record goes first.
const MOST_RECORDS: usize = 64;

/// What tuning found out about one model on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The machine.
    pub machine: Machine,
    /// sha256 of the weights in hexadecimal.
    pub digest: String,
    /// Sequences that were to be served at once; 0: as many as memory allows.
    pub slots: u32,
    /// How thoroughly it was measured.
    pub mode: TuneMode,
    /// Unix time in seconds.
    pub made: u64,
    /// What to use.
    pub chosen: Candidate,
    /// How many times as fast as the default.
    pub gain: f64,
    /// Measurements differed too much to decide anything.
    pub noisy: bool,
    /// How often a quick attempt has failed that way.
    pub attempts: u32,
    /// Perplexity with both KV types, if it was measured.
    pub guard: Option<Guard>,
    /// Everything that was tried.
    pub trials: Vec<Trial>,
}

impl Record {
    /// Is this good enough for `mode`? A noisy attempt is repeated, but not for ever.
    pub(super) fn serves(&self, mode: TuneMode) -> bool {
        const MOST_ATTEMPTS: u32 = 3;
        let thorough = mode != TuneMode::Full || self.mode == TuneMode::Full;
        thorough && (!self.noisy || self.attempts >= MOST_ATTEMPTS)
    }

    /// May keys and values be kept in 8 bits? Only if that was measured.
    pub(super) fn allows_int8(&self) -> bool {
        self.guard.is_some_and(|guard| guard.allows_int8())
    }

    /// What to use where nobody has said how keys and values are stored. A record that was made while somebody had may say
    /// 8 bits without having measured what they cost.
    pub(super) fn permitted(&self) -> Candidate {
        let unproven = self.chosen.kv_type == KvType::Q8_0 && !self.allows_int8();
        Candidate { kv_type: if unproven { KvType::F16 } else { self.chosen.kv_type }, ..self.chosen }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    format: u32,
    records: Vec<Record>,
}

/// The file for a model.
fn path(directory: &Path, digest: &str) -> PathBuf {
    let name: String = digest.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    directory.join(format!("{name}.json"))
}

fn read(directory: &Path, digest: &str) -> Vec<Record> {
    let text = fs::read(path(directory, digest)).unwrap_or_default();
    // What can't be read is measured again.
    let file = serde_json::from_slice::<File>(&text).ok().filter(|file| file.format == FORMAT);
    file.map_or_else(Vec::new, |file| file.records)
}

/// What is remembered of a model on this machine.
#[must_use]
pub fn recall(directory: &Path, machine: &Machine, digest: &str, slots: u32) -> Option<Record> {
    let fits = |r: &Record| r.machine == *machine && r.digest == digest && r.slots == slots;
    read(directory, digest).into_iter().find(fits)
}

/// Everything that is remembered of a model on this machine, for whatever number of slots.
#[must_use]
pub fn recall_all(directory: &Path, machine: &Machine, digest: &str) -> Vec<Record> {
    read(directory, digest).into_iter().filter(|r| r.machine == *machine && r.digest == digest).collect()
}

/// Remembers, in place of what was remembered for the same model, machine and slots.
///
/// # Errors
/// If the directory can't be written.
pub(super) fn remember(directory: &Path, record: Record) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut records = read(directory, &record.digest);
    records.retain(|old| old.machine != record.machine || old.slots != record.slots || old.digest != record.digest);
    let path = path(directory, &record.digest);
    records.push(record);
    if records.len() > MOST_RECORDS {
        records.remove(0);
    }
    // Written aside and renamed: whoever reads meanwhile sees the old file or the new one. Two that write at once lose one
    // record, which is then measured again.
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let text = serde_json::to_vec_pretty(&File { format: FORMAT, records })?;
    let written = fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// Forgets a model on all machines. False if there was nothing to forget.
///
/// # Errors
/// If the file can't be removed.
pub fn forget(directory: &Path, digest: &str) -> std::io::Result<bool> {
    match fs::remove_file(path(directory, digest)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            processor: "one".into(),
            physical: 2,
            logical: 4,
            flags: vec!["avx2".into()],
            build: "llmo 1 ggml 2 AVX2".into(),
        }
    }

    fn record() -> Record {
        Record {
            machine: machine(),
            digest: "ab12".into(),
            slots: 4,
            mode: TuneMode::Auto,
            made: 1,
            chosen: Candidate {
                threads: 2,
                threads_batch: 4,
                prefill_chunk: 256,
                micro_batch: 256,
                kv_type: KvType::Q8_0,
                flash_attention: true,
                kv_unified: false,
            },
            gain: 1.2,
            noisy: false,
            attempts: 1,
            guard: Some(Guard { f16: 12.0, q8_0: 12.01 }),
            trials: Vec::new(),
        }
    }

    #[test]
    fn a_result_is_used_only_on_the_machine_build_and_model_it_was_made_with() {
        let dir = tempfile::tempdir().unwrap();
        remember(dir.path(), record()).unwrap();
        assert_eq!(recall(dir.path(), &machine(), "ab12", 4), Some(record()));
        let others = [
            Machine { processor: "two".into(), ..machine() },
            Machine { physical: 3, ..machine() },
            Machine { logical: 2, ..machine() },
            Machine { flags: Vec::new(), ..machine() },
            Machine { build: "llmo 1 ggml 3 AVX2".into(), ..machine() },
        ];
        for other in others {
            assert_eq!(recall(dir.path(), &other, "ab12", 4), None, "{other:?}");
        }
        assert_eq!(recall(dir.path(), &machine(), "ab13", 4), None);
        assert_eq!(recall(dir.path(), &machine(), "ab12", 8), None);
    }

    #[test]
    fn a_new_result_replaces_the_old_one_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = Record { machine: Machine { physical: 9, ..machine() }, ..record() };
        remember(dir.path(), record()).unwrap();
        remember(dir.path(), elsewhere.clone()).unwrap();
        remember(dir.path(), Record { gain: 2.0, ..record() }).unwrap();
        assert_eq!(recall(dir.path(), &machine(), "ab12", 4).map(|r| r.gain), Some(2.0));
        assert_eq!(recall(dir.path(), &elsewhere.machine, "ab12", 4), Some(elsewhere));
        assert_eq!(recall_all(dir.path(), &machine(), "ab12").len(), 1);
        assert_eq!((forget(dir.path(), "ab12").unwrap(), forget(dir.path(), "ab12").unwrap()), (true, false));
        assert_eq!(recall(dir.path(), &machine(), "ab12", 4), None);
    }

    #[test]
    fn eight_bits_that_nobody_has_measured_are_not_taken_from_a_record() {
        assert_eq!(record().permitted(), record().chosen);
        for guard in [None, Some(Guard { f16: 12.0, q8_0: 12.5 }), Some(Guard { f16: 12.0, q8_0: f64::NAN })] {
            let permitted = Record { guard, ..record() }.permitted();
            assert_eq!((permitted.kv_type, permitted.prefill_chunk), (KvType::F16, 256), "{guard:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_measured_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ab12.json"), b"{\"format\": 1, \"records\": [{}]}").unwrap();
        assert_eq!(recall(dir.path(), &machine(), "ab12", 4), None);
        remember(dir.path(), record()).unwrap();
        assert!(recall(dir.path(), &machine(), "ab12", 4).is_some());
    }

    #[test]
    fn quick_results_do_not_serve_who_wants_full_ones_and_noisy_ones_are_retried() {
        assert!(record().serves(TuneMode::Auto) && !record().serves(TuneMode::Full));
        assert!(Record { mode: TuneMode::Full, ..record() }.serves(TuneMode::Auto));
        assert!(!Record { noisy: true, ..record() }.serves(TuneMode::Auto));
        assert!(Record { noisy: true, attempts: 3, ..record() }.serves(TuneMode::Auto));
    }
}
