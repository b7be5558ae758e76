//! What a model can't do, it says so.

use std::fmt::Debug;

use super::Subject;
use crate::conformance::wait::refused;
use crate::model::{EmbedRequest, ModelError, Result, TokenizeOptions};

pub(super) async fn check(subject: &Subject) {
    let model = subject.model.as_ref();
    let can = model.info().capabilities;
    if !can.generate {
        assert_unsupported("generation", model.generate(subject.request()).await);
    }
    if !can.embed {
        assert_unsupported("embeddings", model.embed(EmbedRequest::new(["text"])).await);
    }
    if !can.tokenize {
        assert_unsupported("tokenization", model.tokenize("text", TokenizeOptions::default()).await);
        assert_unsupported("detokenization", model.detokenize(&[1]).await);
    }
}

fn assert_unsupported<T: Debug>(operation: &str, result: Result<T>) {
    let rule = format!("{operation} without the capability is refused as unsupported");
    let error = refused(&rule, result);
    assert!(matches!(error, ModelError::Unsupported { .. }), "{rule}: {error:?}");
}
