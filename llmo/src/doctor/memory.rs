//! Is there memory for the models that are to be served?

use llmo_config::Config;

use super::Finding;
use crate::cli::Layout;

/// Beside the weights: engine buffers, KV cache of the default context, the services themselves.
const OVERHEAD_BYTES: u64 = 700 << 20;

pub(super) fn check(config: &Config, _: Layout) -> Vec<Finding> {
    let Ok(mut system) = sysinfo::System::new() else {
        return vec![Finding::advice("this system does not tell its memory", "look at it yourself")];
    };
    system.refresh_memory();
    let limits = system.cgroup_limits().filter(|limits| limits.total_memory < system.total_memory());
    let (available, whose) = match &limits {
        Some(limits) => (limits.free_memory, format!("of this container's {} MiB", limits.total_memory >> 20)),
        None => (system.available_memory(), format!("of this machine's {} MiB", system.total_memory() >> 20)),
    };
    let weights: u64 = config.model.path.iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum::<u64>()
        + config.model.names.iter().map(|name| directory_bytes(&config.store.directory().join(name))).sum::<u64>();
    let needed = weights + OVERHEAD_BYTES;
    let mib = |bytes: u64| bytes >> 20;
    let what = format!("{} MiB {whose} are available, about {} MiB needed", mib(available), mib(needed));
    if available >= needed {
        return vec![Finding::fine(what)];
    }
    let raise = if limits.is_some() { ", or raise the limit (MODEL_MEMORY=6g in .env)" } else { "" };
    vec![Finding::problem(
        what,
        format!(
            "set USE_INT8=true, a smaller model (MODEL_PATH), or a shorter context (LLMO_MODEL__CONTEXT_LENGTH=2048){raise}"
        ),
    )]
}

fn directory_bytes(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}
