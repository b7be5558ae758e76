//! "Did you mean …?"

/// Names less alike than this are no typing mistake.
const LEAST_LIKENESS: f64 = 0.75;

/// The known name most like `name`, if one is like it.
pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_gets_a_suggestion_and_nonsense_does_not() {
        let known = ["smollm2-135m", "minilm-l6"];
        assert_eq!(closest("smolm2", known.into_iter()).as_deref(), Some("smollm2-135m"));
        assert_eq!(closest("MiniLM", known.into_iter()).as_deref(), Some("minilm-l6"));
        assert_eq!(closest("gpt-4o", known.into_iter()), None);
        assert_eq!(closest("../../etc/passwd", known.into_iter()), None);
    }
}
