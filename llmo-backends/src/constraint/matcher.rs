//! The state of one constrained output.

use llguidance::toktrie::SimpleVob;
use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::PARAM;

/// Follows an output token by token and says which tokens may come next.
pub(crate) struct Matcher {
    inner: llguidance::Matcher,
}

impl Matcher {
    pub(super) fn new(inner: llguidance::Matcher) -> Self {
        Self { inner }
    }

    /// Sets the logits of all tokens that may not come next to minus infinity. Ends of the generation are left only where
    /// the grammar may end.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] if the grammar turns out to be too complex.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), ModelError> {
        let mask: SimpleVob = self.inner.compute_mask_or_eos().map_err(too_complex)?;
        mask.iter_unset_entries(|token| {
            if let Some(logit) = logits.get_mut(token) {
                *logit = f32::NEG_INFINITY;
            }
        });
        if let Some(rest) = logits.get_mut(mask.len()..) {
            rest.fill(f32::NEG_INFINITY);
        }
        Ok(())
    }

    /// May this token, not an end of the generation, come next? Much cheaper than a mask.
    ///
    /// # Errors
    /// As [`mask`](Self::mask).
    pub(crate) fn allows(&mut self, token: TokenId) -> Result<bool, ModelError> {
        Ok(!self.must_end() && self.inner.validate_tokens(&[token]).map_err(too_complex)? == 1)
    }

    /// Takes the token that was appended to the output; not an end of the generation.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] if the grammar does not allow it there, or is too complex.
    pub(crate) fn accept(&mut self, token: TokenId) -> Result<(), ModelError> {
        self.inner.consume_token(token).map_err(too_complex)
    }

    /// Is the output complete, so that nothing could be added to it?
    pub(crate) fn must_end(&self) -> bool {
        self.inner.is_stopped()
    }
}

impl Clone for Matcher {
    /// A copy that shares what the grammar's lexer has computed, and goes on by itself.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").field("must_end", &self.must_end()).finish_non_exhaustive()
    }
}

fn too_complex(error: impl std::fmt::Display) -> ModelError {
    let text = error.to_string();
    let reason = text.lines().next().unwrap_or_default();
    ModelError::invalid(PARAM, format!("the output can't be held to it any further ({reason}); simplify it"))
}
