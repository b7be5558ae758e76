//! How many threads to compute with.

use std::path::Path;
use std::{fs, thread};

/// Physical cores that this process may use; at least 1.
///
/// A second thread on one core slows ggml down: it waits for its siblings by spinning.
pub(super) fn usable() -> u32 {
    let allowed = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let physical = physical_cores(Path::new("/sys/devices/system/cpu")).unwrap_or(allowed);
    u32::try_from(allowed.min(physical).max(1)).unwrap_or(1)
}

/// Counts distinct sets of sibling threads below Linux's `sysfs`; `None` where there is no such thing.
fn physical_cores(cpus: &Path) -> Option<usize> {
    let mut cores: Vec<String> = fs::read_dir(cpus)
        .ok()?
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("topology/thread_siblings_list")).ok())
        .collect();
    cores.sort_unstable();
    cores.dedup();
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sibling_threads_count_as_one_core() {
        let cpus = tempfile::tempdir().unwrap();
        for (cpu, siblings) in [("cpu0", "0,2"), ("cpu1", "1,3"), ("cpu2", "0,2"), ("cpu3", "1,3")] {
            let topology = cpus.path().join(cpu).join("topology");
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join("thread_siblings_list"), siblings).unwrap();
        }
        assert_eq!(physical_cores(cpus.path()), Some(2));
        assert_eq!(physical_cores(&cpus.path().join("cpu0")), None);
        assert!(usable() >= 1);
    }
}
