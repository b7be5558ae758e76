//! Label values with a bound.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;

/// The label value of everything that is not known.
pub const OTHER: &str = "other";
/// Most different values that one process hands out.
const MAX_NAMES: usize = 256;

/// Names of models that have become label values. Only names of models that exist get here, and only so many.
#[derive(Debug, Clone, Default)]
pub struct ModelNames(Arc<RwLock<BTreeSet<Arc<str>>>>);

impl ModelNames {
    /// The label value for the name of a model that exists.
    #[must_use]
    pub fn known(&self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.read().get(name) {
            return Arc::clone(known);
        }
        let mut names = self.0.write();
        if names.len() >= MAX_NAMES {
            return OTHER.into();
        }
        let name: Arc<str> = name.into();
        names.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_names() {
        let names = ModelNames::default();
        for i in 0..2 * MAX_NAMES {
            let _ = names.known(&format!("m{i}"));
        }
        assert_eq!(&*names.known("m0"), "m0");
        assert_eq!(&*names.known("m511"), OTHER);
    }
}
