//! A health check that sees a replica's models as they are used.

use async_trait::async_trait;

use crate::health::Probe;
use crate::replica::{ModelNames, ProbeOutcome, Replica, Reported};

/// A check whose models are restricted and renamed as the replica's [`ModelNames`] say.
pub struct NamedProbe<P>(pub P);

#[async_trait]
impl<P: Probe> Probe for NamedProbe<P> {
    async fn check(&self, replica: &Replica) -> ProbeOutcome {
        let outcome = self.0.check(replica).await;
        if replica.names().is_all() {
            return outcome;
        }
        match outcome {
            ProbeOutcome::Ready(models) => named(models, replica.names()),
            ProbeOutcome::NotReady { reasons, models } => {
                ProbeOutcome::NotReady { reasons, models: rename(&models, replica.names()) }
            }
            other => other,
        }
    }

    fn wire(&self, replica: &Replica) -> Option<(String, u16)> {
        self.0.wire(replica)
    }
}

fn named(models: Vec<Reported>, names: &ModelNames) -> ProbeOutcome {
    let used = rename(&models, names);
    if !used.is_empty() {
        return ProbeOutcome::Ready(used);
    }
    let (wanted, there): (Vec<_>, Vec<_>) =
        (names.wanted().collect(), models.iter().map(|m| m.info.id.as_str()).collect());
    let reason = format!("it serves none of {wanted:?}; it has {there:?}");
    ProbeOutcome::NotReady { reasons: vec![reason], models: used }
}

fn rename(models: &[Reported], names: &ModelNames) -> Vec<Reported> {
    let under = |model: &Reported, name: &str| {
        let mut model = model.clone();
        name.clone_into(&mut model.info.id);
        model
    };
    models.iter().flat_map(|model| names.here(&model.info.id).map(|name| under(model, name))).collect()
}

#[cfg(test)]
mod tests {
    use llmo_core::model::Load;

    use super::*;
    use crate::test_models::Silent;

    fn reported(names: &[&str]) -> Vec<Reported> {
        names.iter().map(|name| Reported { info: Silent::new(name).info_of(), load: Load::idle(1) }).collect()
    }

    fn ids(outcome: &ProbeOutcome) -> Vec<&str> {
        match outcome {
            ProbeOutcome::Ready(models) => models.iter().map(|model| model.info.id.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn models_are_restricted_and_renamed() {
        let names = ModelNames::parse(&["llama=meta/Llama-3", "small"]).expect("good names");
        let outcome = named(reported(&["meta/Llama-3", "small", "other"]), &names);
        assert_eq!(ids(&outcome), ["llama", "small"]);
    }

    #[test]
    fn a_replica_without_any_of_its_models_says_what_it_has() {
        let names = ModelNames::parse(&["llama"]).expect("good names");
        let outcome = named(reported(&["meta/Llama-3"]), &names);
        let ProbeOutcome::NotReady { reasons, .. } = outcome else { panic!("{outcome:?}") };
        assert!(reasons[0].contains("\"llama\"") && reasons[0].contains("meta/Llama-3"), "{reasons:?}");
    }
}
