//! What llmo's services can be told and asked beside generating: to load and unload a model, and what a conversation
//! looks like under its template. Pure.

use llmo_core::model::{GenerateRequest, KeepAlive, ModelError, Prompt, Result};
use serde_json::{Value, json};

use super::request::{Post, Upstream};

/// A request to load a model, or to unload it.
#[must_use]
pub fn keep(keep_alive: KeepAlive, upstream: Upstream<'_>) -> Post {
    if keep_alive == KeepAlive::NOT_AT_ALL {
        return Post::json("/admin/models/unload", &json!({"model": upstream.model}));
    }
    Post::json("/admin/models/load", &json!({"model": upstream.model, "keep_alive": keep_alive}))
}

/// A request for the text that a conversation becomes (llama-server's form).
///
/// # Errors
/// [`ModelError::InvalidRequest`] for a prompt that is no conversation.
pub fn apply_template(request: &GenerateRequest, upstream: Upstream<'_>) -> Result<Post> {
    let Prompt::Chat(messages) = &request.prompt else {
        return Err(ModelError::invalid("messages", "is missing: only a conversation has a template"));
    };
    let mut body = json!({"model": upstream.model, "messages": messages});
    if !request.tools.is_empty() {
        let function = |tool| json!({"type": "function", "function": tool});
        body["tools"] = request.tools.iter().map(function).collect();
    }
    Ok(Post::json("/apply-template", &body))
}

/// Reads the answer of `/apply-template`.
///
/// # Errors
/// [`ModelError::Upstream`] if the answer is anything else.
pub fn read_prompt(body: &[u8]) -> Result<String> {
    let bad = |message: String| ModelError::Upstream { message, started: false };
    let body: Value = serde_json::from_slice(body).map_err(|e| bad(format!("unreadable prompt: {e}")))?;
    body["prompt"].as_str().map(str::to_owned).ok_or_else(|| bad("no prompt in the answer".into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UPSTREAM: Upstream<'_> = Upstream { model: "m", extensions: true };

    fn body(post: &Post) -> Value {
        serde_json::from_slice(&post.body).unwrap()
    }

    #[test]
    fn to_keep_it_for_no_time_is_to_unload_it() {
        assert_eq!(keep(KeepAlive::NOT_AT_ALL, UPSTREAM).path, "/admin/models/unload");
        let post = keep(KeepAlive::For(Duration::from_secs(90)), UPSTREAM);
        assert_eq!((post.path, &body(&post)["keep_alive"]), ("/admin/models/load", &json!(90.0)));
        assert_eq!(body(&keep(KeepAlive::Forever, UPSTREAM))["keep_alive"], json!(-1.0));
    }

    #[test]
    fn only_conversations_have_a_template() {
        assert!(apply_template(&GenerateRequest::complete("x"), UPSTREAM).is_err());
        let post = apply_template(&GenerateRequest::ask("x"), UPSTREAM).unwrap();
        assert_eq!(body(&post)["messages"][0]["content"], "x");
        assert!(body(&post).get("tools").is_none());
    }
}
