//! Is there memory for the models that are to be served?

use std::path::Path;

use llmo_config::Config;
use serde_json::Value;

use super::{Finding, Scene, services};
use crate::cli::Layout;
use crate::connect::{api_url, at_home};

/// Beside the weights: engine buffers, KV cache of the default context, the services themselves.
const OVERHEAD_BYTES: u64 = 700 << 20;

/// What this process may have.
struct Memory {
    available: u64,
    total: u64,
    /// A limit of the container, not the machine's size.
    limited: bool,
}

pub(super) fn check(config: &Config, scene: &Scene) -> Vec<Finding> {
    let Some(memory) = measured() else { return vec![unknown()] };
    let wanted = wanted(config);
    vec![judged(&memory, &wanted, &loaded(config, scene), config.model.int8)]
}

/// Of the machine that is to run containers: how large models are that are in a volume can't be seen from here.
pub(super) fn of_machine() -> Vec<Finding> {
    let Some(memory) = measured() else { return vec![unknown()] };
    vec![judged(&memory, &[], &[], false)]
}

fn unknown() -> Finding {
    Finding::advice("this system does not tell its memory", "look at it yourself")
}

fn measured() -> Option<Memory> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let limits = system.cgroup_limits().filter(|limits| limits.total_memory < system.total_memory());
    Some(match limits {
        // Cached files count as used by a container, and go when their place is wanted.
        Some(limits) => Memory {
            available: limits.total_memory.saturating_sub(limits.rss),
            total: limits.total_memory,
            limited: true,
        },
        None => Memory { available: system.available_memory(), total: system.total_memory(), limited: false },
    })
}

/// The models that are to be in memory, with the bytes of their weights. A file of the user's stands for the first.
fn wanted(config: &Config) -> Vec<(String, u64)> {
    let file = config.model.path.as_ref().and_then(|path| path.metadata().ok()).map(|data| data.len());
    let store = config.store.directory();
    let bytes = |(index, name): (usize, &String)| match file {
        Some(bytes) if index == 0 => (name.clone(), bytes),
        _ => (name.clone(), directory_bytes(&store.join(name))),
    };
    config.model.names.iter().enumerate().map(bytes).collect()
}

/// The models that are in memory now.
fn loaded(config: &Config, scene: &Scene) -> Vec<String> {
    let url = match scene.layout {
        Layout::Mono => api_url(config),
        _ => format!("http://{}:{}", at_home(&config.model.host), config.model.port),
    };
    match services::get(&url, "/internal/status") {
        Some((200, body)) => in_memory(&body),
        _ => Vec::new(),
    }
}

/// From what a model service says of itself.
fn in_memory(status: &str) -> Vec<String> {
    let status: Value = serde_json::from_str(status).unwrap_or_default();
    let models = status["models"].as_array().map_or(&[][..], Vec::as_slice);
    let there = models.iter().filter(|model| model["load"]["residence"]["state"] == "loaded");
    there.filter_map(|model| model["info"]["id"].as_str().map(str::to_owned)).collect()
}

/// `wanted`: names and bytes of the models that are to be there; `loaded`: names of those that are. `int8`: as small as they get.
fn judged(memory: &Memory, wanted: &[(String, u64)], loaded: &[String], int8: bool) -> Finding {
    let mib = |bytes: u64| bytes >> 20;
    let whose = if memory.limited { "this container's" } else { "this machine's" };
    let left = format!("{} MiB of {whose} {} MiB are available", mib(memory.available), mib(memory.total));
    let missing: Vec<_> = wanted.iter().filter(|(name, _)| !loaded.contains(name)).collect();
    if missing.is_empty() && !loaded.is_empty() {
        return Finding::fine(format!("the models are in memory; {left}"));
    }
    // Engine and services are there already where a model is.
    let overhead = if loaded.is_empty() { OVERHEAD_BYTES } else { 0 };
    let needed = missing.iter().map(|(_, bytes)| bytes).sum::<u64>() + overhead;
    let what = format!("{left}, about {} MiB needed", mib(needed));
    if memory.available >= needed {
        return Finding::fine(what);
    }
    let mut cures = Vec::new();
    if !int8 {
        cures.push("USE_INT8=true");
    }
    cures.extend(["a smaller model (MODEL_PATH)", "a shorter context (LLMO_MODEL__CONTEXT_LENGTH=2048)"]);
    if memory.limited {
        cures.push("a higher limit (MODEL_MEMORY=6g in .env)");
    }
    Finding::problem(what, cures.join(", or "))
}

fn directory_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn memory(available: u64, limited: bool) -> Memory {
        Memory { available, total: 4 * GIB, limited }
    }

    #[test]
    fn a_model_that_does_not_fit_is_a_problem_with_every_way_out_that_is_left() {
        let wanted = [("m".to_owned(), 3 * GIB)];
        let found = judged(&memory(2 * GIB, true), &wanted, &[], false);
        assert!(found.state == State::Problem && found.what.contains("2048 MiB of this container's"), "{found:?}");
        let cure = found.cure.unwrap_or_default();
        assert!(cure.starts_with("USE_INT8=true, or") && cure.contains("MODEL_MEMORY"), "{cure}");
        let cure = judged(&memory(2 * GIB, false), &wanted, &[], true).cure.unwrap_or_default();
        assert!(!cure.contains("INT8") && !cure.contains("MODEL_MEMORY"), "{cure}");
        assert_eq!(judged(&memory(4 * GIB, true), &wanted, &[], false).state, State::Fine);
    }

    #[test]
    fn a_model_that_is_loaded_needs_nothing_more() {
        let wanted = [("a".to_owned(), 3 * GIB), ("b".to_owned(), GIB)];
        let both = ["a".to_owned(), "b".to_owned()];
        let found = judged(&memory(1 << 20, true), &wanted, &both, false);
        assert!(found.state == State::Fine && found.what.contains("are in memory"), "{found:?}");
        let one = judged(&memory(GIB / 2, true), &wanted, &both[..1], false);
        assert!(one.state == State::Problem && one.what.contains("1024 MiB needed"), "{one:?}");
    }

    #[test]
    fn which_models_are_in_memory_is_in_the_service_s_status() {
        let model =
            |id: &str, state: &str| serde_json::json!({"info": {"id": id}, "load": {"residence": {"state": state}}});
        let status = serde_json::json!({"models": [model("a", "loaded"), model("b", "loading"), model("c", "absent")]});
        assert_eq!(in_memory(&status.to_string()), ["a"]);
        assert!(in_memory("no JSON").is_empty());
    }
}
