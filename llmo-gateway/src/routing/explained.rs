//! What a rule made of a request, for people (`x-llmo-route`).

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{EventStream, GenerateRequest, Load, Model, ModelInfo, Result};

/// Longest name that is repeated, in characters: that of a model is the caller's own.
const LONGEST: usize = 64;

/// A model that a rule led to, which says so.
pub(super) struct Explained {
    inner: Arc<dyn Model>,
    route: Arc<str>,
    asked: String,
    target: String,
}

impl Explained {
    /// The rule `route` led from the name `asked` to `target`.
    pub(super) fn new(inner: Arc<dyn Model>, route: &Arc<str>, asked: &str, target: &str) -> Self {
        Self { inner, route: Arc::clone(route), asked: asked.to_owned(), target: target.to_owned() }
    }
}

#[async_trait]
impl Model for Explained {
    fn info(&self) -> &ModelInfo {
        self.inner.info()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&*self.inner)
    }

    async fn generate(&self, request: GenerateRequest) -> Result<EventStream> {
        if !request.explain {
            return self.inner.generate(request).await;
        }
        let mut stream = self.inner.generate(request).await?;
        let Self { route, asked, target, .. } = self;
        before(&mut stream, &format!("rule={}; asked={}; model={}", plain(route), plain(asked), plain(target)));
        Ok(stream)
    }

    fn load(&self) -> Load {
        self.inner.load()
    }
}

/// Puts this before what is known of the answer's way.
pub(super) fn before(stream: &mut EventStream, said: &str) {
    let route = &mut stream.origin.route;
    *route = Some(match route.take() {
        Some(rest) => format!("{said}; {rest}"),
        None => said.to_owned(),
    });
}

/// A name as it may stand in a header, between others.
pub(super) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && c != ';' { c } else { '_' };
    name.chars().take(LONGEST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_can_not_pretend_to_be_more() {
        assert_eq!(plain("openai names; policy=x\r\ny\u{17c}"), "openai_names__policy=x__y_");
        assert_eq!(plain(&"x".repeat(500)).len(), LONGEST);
    }
}
