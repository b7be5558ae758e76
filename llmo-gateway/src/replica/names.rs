//! Which models of a replica are used, and under which names.

/// Names of models here and there. Empty: all, under their own names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ModelNames(Vec<(String, String)>);

impl ModelNames {
    /// Reads entries of the form `NAME` or `NAME=NAME-THERE`.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, String> {
        let mut names: Vec<(String, String)> = Vec::new();
        for entry in entries {
            let entry = entry.as_ref().trim();
            let (here, there) = entry.split_once('=').unwrap_or((entry, entry));
            let (here, there) = (here.trim(), there.trim());
            if here.is_empty() || there.is_empty() || entry.chars().any(char::is_control) {
                return Err(format!("{entry:?} must be the name of a model, or NAME=NAME-THERE"));
            }
            if names.iter().any(|(known, _)| known == here) {
                return Err(format!("the model {here:?} comes twice"));
            }
            names.push((here.to_owned(), there.to_owned()));
        }
        Ok(Self(names))
    }

    /// Are all models used, under their own names?
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The names under which a model is used that is called `there`.
    pub fn here<'a>(&'a self, there: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.0.is_empty().then_some(there);
        own.into_iter().chain(self.0.iter().filter(move |(_, name)| name == there).map(|(name, _)| name.as_str()))
    }

    /// What the replica calls the model that is used under the name `here`, if that is another name.
    #[must_use]
    pub fn there(&self, here: &str) -> Option<&str> {
        self.0.iter().find(|(name, there)| name == here && there != here).map(|(_, there)| there.as_str())
    }

    /// The names there are, for messages; empty: all.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, there)| there.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_names_everything_is_used_as_it_is() {
        let all = ModelNames::parse::<&str>(&[]).unwrap();
        assert_eq!(all.here("m").collect::<Vec<_>>(), ["m"]);
        assert_eq!(all.there("m"), None);
    }

    #[test]
    fn names_restrict_and_rename() {
        let names = ModelNames::parse(&["llama=meta/Llama-3", "small", "other = meta/Llama-3"]).unwrap();
        assert_eq!(names.here("meta/Llama-3").collect::<Vec<_>>(), ["llama", "other"]);
        assert_eq!((names.there("llama"), names.there("small")), (Some("meta/Llama-3"), None));
        assert_eq!(names.here("else").count(), 0);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [&["a", "a=b"][..], &[""], &["=b"], &["a="], &["a\nb"]] {
            assert!(ModelNames::parse(bad).is_err(), "{bad:?}");
        }
    }
}
