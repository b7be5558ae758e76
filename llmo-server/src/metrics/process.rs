//! This process as the operating system sees it, under the names that Prometheus' client libraries use.

use std::fmt::Error;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What processes need, asked for at the moment of a scrape.
#[derive(Debug)]
pub(super) struct Processes(Mutex<System>);

impl Processes {
    /// `None` where the operating system does not tell.
    pub(super) fn new() -> Option<Self> {
        System::new().ok().map(|system| Self(Mutex::new(system)))
    }

    /// Looks at one process; `None` if there is none of this id.
    fn look<T>(&self, pid: u32, kind: ProcessRefreshKind, read: impl FnOnce(&sysinfo::Process) -> T) -> Option<T> {
        let pid = Pid::from_u32(pid);
        let mut system = self.0.lock();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
        system.process(pid).map(read)
    }

    /// Bytes of a process that are in memory now.
    pub(super) fn resident_bytes(&self, pid: u32) -> Option<u64> {
        self.look(pid, ProcessRefreshKind::nothing().with_memory(), sysinfo::Process::memory)
    }
}

/// `process_…`: memory, processor time, files and age of this process.
#[derive(Debug)]
pub(super) struct ThisProcess(Processes);

impl ThisProcess {
    /// `None` where the operating system does not tell.
    pub(super) fn new() -> Option<Self> {
        Processes::new().map(Self)
    }
}

impl Collector for ThisProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let kind = ProcessRefreshKind::nothing().with_memory().with_cpu();
        let seen = self.0.look(std::process::id(), kind, |process| Seen {
            resident: process.memory(),
            cpu_seconds: process.accumulated_cpu_time() as f64 / 1e3,
            started: process.start_time(),
            files: process.open_files(),
            most_files: process.open_files_limit(),
        });
        let Some(seen) = seen else { return Ok(()) };
        let help = "Processor time of this process";
        let cpu = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(seen.cpu_seconds).encode(cpu)?;
        let gauges = [
            ("process_resident_memory_bytes", "Memory of this process", Some(seen.resident as f64)),
            ("process_start_time_seconds", "When this process began, in seconds since 1970", Some(seen.started as f64)),
            ("process_open_fds", "Files and sockets that are open", seen.files.map(|count| count as f64)),
            ("process_max_fds", "Most files and sockets that may be open", seen.most_files.map(|count| count as f64)),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        Ok(())
    }
}

struct Seen {
    resident: u64,
    cpu_seconds: f64,
    started: u64,
    files: Option<usize>,
    most_files: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_and_one_that_is_not_there_is_not() {
        let processes = Processes::new().expect("this system tells");
        assert!(processes.resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
        // Ids of processes are smaller than this on every Linux.
        assert_eq!(processes.resident_bytes(u32::MAX / 2), None);
    }
}
