//! How much memory models may take.

use llmo_config::ModelConfig;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes that all models together may take: as configured, else three quarters of what this machine, or the control
/// group that this process is in, has. Without knowledge of either there is no limit.
pub(super) fn budget(config: &ModelConfig) -> u64 {
    if config.memory_budget_mb > 0 {
        return config.memory_budget_mb.saturating_mul(1 << 20);
    }
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(system) = System::new_with_specifics(refresh) else { return u64::MAX };
    let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    match system.total_memory().min(group) {
        0 | u64::MAX => u64::MAX,
        total => total / 4 * 3,
    }
}

/// Bytes as people say them.
pub(super) fn told(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1_u32 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_what_was_said_or_less_than_there_is() {
        let mut config = ModelConfig { memory_budget_mb: 3, ..ModelConfig::default() };
        assert_eq!(budget(&config), 3 << 20);
        config.memory_budget_mb = 0;
        assert!(budget(&config) > 1 << 20);
        assert_eq!(told(3 << 20), "3 MiB");
        assert_eq!(told(3 << 29), "1.5 GiB");
    }
}
