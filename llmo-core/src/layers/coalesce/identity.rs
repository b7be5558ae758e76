//! When two requests are the same.

use std::hash::{Hash, Hasher};

use crate::model::{GenerateRequest, Prompt};

/// A request without what may differ between identical ones.
#[derive(Debug, PartialEq)]
pub(super) struct Identity(GenerateRequest);

impl Identity {
    pub(super) fn of(request: &GenerateRequest) -> Self {
        let mut request = request.clone();
        request.request_id = None;
        request.deadline = None;
        request.priority = 0;
        (request.traceparent, request.tracestate) = (None, None);
        request.keep_alive = None;
        request.explain = false;
        Self(request)
    }
}

/// Validated requests hold no NaN, the one value that does not equal itself.
impl Eq for Identity {}

impl Hash for Identity {
    /// Hashes what usually differs; equality compares everything.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0.prompt {
            Prompt::Chat(messages) => messages.hash(state),
            Prompt::Text(text) => text.hash(state),
            Prompt::Tokens(tokens) => tokens.hash(state),
        }
        (self.0.max_tokens, self.0.sampling.seed, &self.0.tenant, &self.0.stop).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn deadline_and_id_don_t_matter_but_the_tenant_does() {
        let one = GenerateRequest::ask("hi");
        let mut other = one.clone();
        other.deadline = Some(Instant::now());
        other.request_id = Some("r".into());
        assert_eq!(Identity::of(&one), Identity::of(&other));
        other.tenant = Some("t".into());
        assert_ne!(Identity::of(&one), Identity::of(&other));
        assert_ne!(Identity::of(&one), Identity::of(&one.clone().max_tokens(5)));
    }
}
