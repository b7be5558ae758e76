//! The name that was probably meant.

/// The candidate most like `name`, if one is like it at all. Case doesn't matter.
#[must_use]
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_name_and_nonsense_finds_none() {
        let names = ["smollm2-135m", "minilm-l6"];
        for close in ["smolm2-135m", "SmolLM2-135", "smollm-135m"] {
            assert_eq!(suggest(close, names).as_deref(), Some("smollm2-135m"), "{close}");
        }
        assert_eq!(suggest("minilm6", names).as_deref(), Some("minilm-l6"));
        assert_eq!(suggest("gpt-9000", names), None);
        assert_eq!(suggest("", names), None);
    }
}
