//! Tokenisation, and generations that go on from tokens.

use super::Subject;
use crate::conformance::wait::{ok, refused};
use crate::model::{ModelError, Prompt, TokenId, TokenizeOptions};

const TEXTS: [&str; 6] = [
    "Hello, world!",
    "zażółć gęślą jaźń",
    "two\nlines and  spaces",
    "1234567890",
    "crab 🦀, 日本語",
    "a <|im_start|> marker </s> in text",
];

pub(super) async fn check(subject: &Subject) {
    text_survives_tokenisation(subject).await;
    tokens_outside_the_vocabulary_are_refused(subject).await;
    let can = subject.model.info().capabilities;
    if can.generate && can.token_ids && subject.options.exact {
        a_generation_goes_on_from_its_tokens(subject).await;
    }
}

/// Encoders normalise text (case, accents) and know no token for some of it; there, what survived once must survive again.
async fn text_survives_tokenisation(subject: &Subject) {
    let rule = "text survives tokenisation";
    let model = subject.model.as_ref();
    for text in TEXTS {
        let tokens = ok(rule, model.tokenize(text, TokenizeOptions::default()).await);
        let vocabulary = model.info().vocab_size;
        let known = vocabulary == 0 || tokens.iter().all(|token| *token < vocabulary);
        assert!(known, "{rule}: {text:?} became {tokens:?}, outside of the vocabulary");
        let back = ok(rule, model.detokenize(&tokens).await);
        if model.info().capabilities.generate {
            assert_eq!(back, text, "{rule}");
        } else {
            let settled = ok(rule, model.tokenize(&back, TokenizeOptions::default()).await);
            assert!(!settled.is_empty(), "{rule}: nothing is left of {text:?}");
            let back = ok(rule, model.detokenize(&settled).await);
            let again = ok(rule, model.tokenize(&back, TokenizeOptions::default()).await);
            assert_eq!(again, settled, "{rule}: the tokens of {text:?}");
        }
    }
    let empty = ok(rule, model.tokenize("", TokenizeOptions::default()).await);
    assert!(empty.is_empty(), "{rule}: the empty text became {empty:?}");
    assert_eq!(ok(rule, model.detokenize(&[]).await), "", "{rule}");
}

async fn tokens_outside_the_vocabulary_are_refused(subject: &Subject) {
    let rule = "tokens outside the vocabulary are refused";
    if subject.model.info().vocab_size == 0 {
        return;
    }
    for token in [subject.model.info().vocab_size, TokenId::MAX] {
        let error = refused(rule, subject.model.detokenize(&[token]).await);
        assert!(matches!(error, ModelError::InvalidRequest { .. }), "{rule}: {error:?}");
        if subject.model.info().capabilities.generate {
            let mut request = subject.request();
            request.prompt = Prompt::Tokens(vec![token]);
            let error = refused(rule, subject.model.generate(request).await);
            assert!(matches!(error, ModelError::InvalidRequest { .. }), "{rule}: {error:?}");
        }
    }
}

/// What lets a gateway continue a broken stream on another replica.
async fn a_generation_goes_on_from_its_tokens(subject: &Subject) {
    let rule = "prompt and tokens so far are a complete state";
    let prompt = ok(rule, subject.model.tokenize(&subject.options.prompt, TokenizeOptions::with_special()).await);
    let from = |prompt: Vec<TokenId>| {
        let mut request = subject.request();
        request.prompt = Prompt::Tokens(prompt);
        request
    };
    let whole = subject.answer(rule, from(prompt.clone())).await.whole.tokens;
    for done in [1, whole.len() / 2] {
        let rest = u32::try_from(whole.len() - done).unwrap_or(u32::MAX);
        if rest == 0 {
            continue;
        }
        let so_far = [&prompt[..], &whole[..done]].concat();
        let continued = subject.answer(rule, from(so_far).max_tokens(rest)).await.whole.tokens;
        assert_eq!(continued, whole[done..], "{rule}: after {done} tokens");
    }
}
