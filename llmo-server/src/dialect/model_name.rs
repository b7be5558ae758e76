//! Names of models that could exist. Anything else is unknown before anybody looks for it, on disk or elsewhere.

use llmo_core::ModelError;

const MAX_BYTES: usize = 200;

/// Lets a name pass that could be one: `A-Z a-z 0-9 - _ . : / @ +`, no segment that is empty or starts with a dot.
/// The empty name, which means the default model, passes too.
///
/// # Errors
/// [`ModelError::NotFound`], as for any unknown model.
pub fn check(name: &str) -> Result<&str, ModelError> {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@+".contains(&b);
    let segments = || name.split('/').all(|segment| !segment.is_empty() && !segment.starts_with('.'));
    if name.is_empty() || (name.len() <= MAX_BYTES && name.bytes().all(harmless) && segments()) {
        return Ok(name);
    }
    Err(ModelError::NotFound { model: name.chars().take(64).collect(), suggestion: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_pass() {
        for good in ["", "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "llama3.1:8b", "a@b+c_d"] {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_look_alike_are_unknown() {
        let long = "x".repeat(201);
        for bad in ["../x", "a/../b", "/etc/passwd", "%2e%2e/x", "a\0", "a\n", ".x", "a//b", "a/", "ｓmollm2", &long] {
            assert!(matches!(check(bad), Err(ModelError::NotFound { .. })), "{bad:?}");
        }
    }
}
