//! Do models run on the instructions that this processor has?

use llmo_config::Config;

use super::{Finding, Scene};

/// What speeds models up: its name, Linux's name for it, llama.cpp's name for it, and what leaving it out costs, as measured
/// with a model of 135 million weights of four bits on two cores that have all of them.
const KERNELS: [(&str, &str, &str, &str); 6] = [
    ("AVX2", "avx2", "AVX2", "several times slower"),
    ("AVX-512", "avx512f", "AVX512", "slower"),
    ("AVX-VNNI", "avx_vnni", "AVX_VNNI", "slower"),
    ("AVX-512 VNNI", "avx512_vnni", "AVX512_VNNI", "slower"),
    ("AVX-512 BF16", "avx512_bf16", "AVX512_BF16", "slower with 16-bit weights"),
    ("AMX INT8", "amx_int8", "AMX_INT8", "prompts are read 4 times slower, one stream is 2.5 times slower"),
];

#[cfg(feature = "llama-cpp")]
pub(super) fn check(_: &Config, _: &Scene) -> Vec<Finding> {
    let kernels = match llmo_backends::llama_cpp::Kernels::active() {
        Ok(kernels) => kernels,
        Err(error) => {
            return vec![Finding::problem(error, "unpack the package again, or build: ./run_microservices.sh build")];
        }
    };
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let chosen = kernels.variant.as_ref().map_or_else(
        || "compiled in".to_owned(),
        |variant| format!("the library for {variant}, chosen when the program started"),
    );
    let mut findings = vec![Finding::fine(format!(
        "llama.cpp (ggml {}) computes with {}; {chosen}",
        kernels.ggml,
        kernels.features.join(" ")
    ))];
    let clang = ["clang-19", "clang-20", "clang-21"].into_iter().any(is_installed);
    findings.extend(unused(&information, |feature| kernels.has(feature), kernels.variant.is_some(), clang));
    findings
}

#[cfg(not(feature = "llama-cpp"))]
pub(super) fn check(_: &Config, _: &Scene) -> Vec<Finding> {
    let used: Vec<_> = KERNELS.iter().map(|(name, ..)| *name).collect();
    vec![Finding::advice(
        format!("this program was built without llama.cpp: {} are not used", used.join(", ")),
        "build it with llama.cpp: ./run_microservices.sh build",
    )]
}

/// What the processor has and the kernels don't use, with the cure.
#[cfg_attr(not(feature = "llama-cpp"), allow(dead_code))]
fn unused(information: &str, used: impl Fn(&str) -> bool, portable: bool, clang: bool) -> Vec<Finding> {
    let flags = information.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let here = |flag: &str| flags.split_ascii_whitespace().any(|f| f == flag);
    let missing = KERNELS.iter().filter(|(_, flag, feature, _)| here(flag) && !used(feature));
    let cure = match (portable, clang) {
        (true, _) => {
            "put all of the package's lib/*.so beside the program; libggml-cpu-*.so has one for each kind of processor"
        }
        (false, true) => "rebuild on this machine: ./run_microservices.sh build",
        // Older clangs leave AMX out without a word; gcc 12 makes kernels that die.
        (false, false) => "install clang-19 (sudo apt-get install -y clang-19), then ./run_microservices.sh build",
    };
    missing
        .map(|(name, _, _, cost)| {
            Finding::advice(format!("this processor has {name}, the kernels don't use it: {cost}"), cure)
        })
        .collect()
}

#[cfg(feature = "llama-cpp")]
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const INFORMATION: &str = "model name : x\nflags : fpu avx2 avx512f avx512_vnni amx_int8\n";

    #[test]
    fn what_the_processor_has_and_the_build_lacks_is_named_with_its_cost_and_its_cure() {
        let without_amx = |feature: &str| feature != "AMX_INT8";
        let findings = unused(INFORMATION, without_amx, false, false);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].state, State::Advice);
        assert!(findings[0].what.contains("AMX INT8") && findings[0].what.contains("4 times"), "{findings:?}");
        assert!(findings[0].cure.as_ref().is_some_and(|cure| cure.contains("clang-19")));
        let cure = unused(INFORMATION, without_amx, false, true)[0].cure.clone().unwrap_or_default();
        assert!(cure.starts_with("rebuild"), "{cure}");
    }

    #[test]
    fn what_the_processor_lacks_is_not_missed() {
        assert!(unused(INFORMATION, |_| true, false, true).is_empty());
        assert!(unused("flags : fpu\n", |_| false, false, true).is_empty());
        assert!(unused("", |_| false, false, true).is_empty());
    }
}
