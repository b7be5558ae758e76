//! Are the models that are to be served on this machine?

use llmo_config::{Config, EngineKind};

use super::{Finding, Scene};

pub(super) fn check(config: &Config, _: &Scene) -> Vec<Finding> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Layout;
    use crate::doctor::report::State;

    fn states(config: &Config) -> Vec<State> {
        check(config, &Scene::of(Layout::Services)).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn a_model_that_was_not_fetched_is_a_problem_and_the_simulator_needs_none() {
        let store = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.dir = store.path().into();
        config.model.names = vec!["here".into(), "away".into()];
        std::fs::create_dir(store.path().join("here")).unwrap();
        std::fs::write(store.path().join("here/manifest.json"), "{}").unwrap();

        assert_eq!(states(&config), [State::Fine, State::Problem]);
        let cure = check(&config, &Scene::of(Layout::Services)).pop().unwrap().cure;
        assert_eq!(cure.as_deref(), Some("llmo pull away"));

        config.model.engine = EngineKind::Sim;
        assert_eq!(states(&config), [State::Fine]);
    }

    #[test]
    fn a_file_stands_for_the_first_name() {
        let store = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.dir = store.path().into();
        config.model.names = vec!["default".into()];
        config.model.path = Some(store.path().join("model.gguf"));
        assert_eq!(states(&config), [State::Problem]);
        std::fs::write(store.path().join("model.gguf"), "GGUF").unwrap();
        assert_eq!(states(&config), [State::Fine]);
    }
}
