//! Was this program built for the instructions that this processor has?

use llmo_config::Config;

use super::Finding;
use crate::cli::Layout;

#[cfg(target_arch = "x86_64")]
pub(super) fn check(_: &Config, _: Layout) -> Vec<Finding> {
    let kernels = [
        ("AVX2", is_x86_feature_detected!("avx2"), cfg!(target_feature = "avx2")),
        ("AVX-512", is_x86_feature_detected!("avx512f"), cfg!(target_feature = "avx512f")),
        ("AVX-512 VNNI", is_x86_feature_detected!("avx512vnni"), cfg!(target_feature = "avx512vnni")),
        ("AVX-512 BF16", is_x86_feature_detected!("avx512bf16"), cfg!(target_feature = "avx512bf16")),
        ("AMX INT8", processor_has("amx_int8"), cfg!(target_feature = "amx-int8")),
    ];
    let used: Vec<_> = kernels.iter().filter(|(_, here, built)| *here && *built).map(|(name, ..)| *name).collect();
    let unused: Vec<_> = kernels.iter().filter(|(_, here, built)| *here && !*built).map(|(name, ..)| *name).collect();
    if unused.is_empty() {
        return vec![Finding::fine(format!("built for this processor: {}", used.join(", ")))];
    }
    vec![Finding::advice(
        format!("this processor has {} and the program was built without: models run slower", unused.join(", ")),
        "build it on this machine: ./run_microservices.sh build",
    )]
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn check(_: &Config, _: Layout) -> Vec<Finding> {
    vec![Finding::fine(format!("built for {}", std::env::consts::ARCH))]
}

/// For features that the standard library cannot detect on stable Rust yet.
#[cfg(target_arch = "x86_64")]
fn processor_has(flag: &str) -> bool {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    information.lines().any(|line| line.starts_with("flags") && line.split_ascii_whitespace().any(|f| f == flag))
}
