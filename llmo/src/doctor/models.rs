//! Are the models that are to be served on this machine?

use llmo_config::{Config, EngineKind};

use super::Finding;
use crate::cli::Layout;

pub(super) fn check(config: &Config, _: Layout) -> Vec<Finding> {
    if config.model.engine == EngineKind::Sim {
        return vec![Finding::fine("the simulator has no weights".to_owned())];
    }
    let dir = config.store.directory();
    let file = config.model.path.iter().map(|path| {
        if path.is_file() {
            Finding::fine(format!("{} is there", path.display()))
        } else {
            Finding::problem(format!("MODEL_PATH={} is not a file", path.display()), "correct the path, or unset it")
        }
    });
    let skipped = usize::from(config.model.path.is_some());
    let named = config.model.names.iter().skip(skipped).map(|name| {
        if dir.join(name).join("manifest.json").is_file() {
            Finding::fine(format!("{name} is there"))
        } else {
            Finding::problem(format!("{name} has not been fetched"), format!("llmo pull {name}"))
        }
    });
    file.chain(named).collect()
}
