//! Generations into chat answers and chunks.

use bytes::Bytes;
use llmo_core::model::{Delta, Finish, TokenId, TokenLogprob};
use serde::Serialize;
use serde_json::{Value, json};

use crate::dialect::openai::Reply;
use crate::dialect::openai::envelope::{Envelope, reason};
use crate::dialect::openai::logprobs::{self, ChatLogprobs};
use crate::dialect::{Form, Head};

/// The answer to one chat request.
#[derive(Debug)]
pub struct ChatReply {
    envelope: Envelope,
}

impl ChatReply {
    /// An answer under this head, in this form.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        Self { envelope: Envelope::new(head, form, "chatcmpl-", ("chat.completion", "chat.completion.chunk")) }
    }

    fn form(&self) -> Form {
        self.envelope.form
    }

    fn logprobs(&self, entries: &[TokenLogprob]) -> Option<ChatLogprobs> {
        self.form().logprobs.then(|| logprobs::chat(entries))
    }

    fn choice(&self, index: usize, delta: &Delta, finish: &Finish) -> Value {
        let mut choice = json!({
            "index": index,
            "message": {"role": "assistant", "content": delta.text, "refusal": null},
            "logprobs": self.logprobs(&delta.logprobs),
            "finish_reason": reason(finish),
        });
        if self.form().token_ids {
            choice["token_ids"] = json!(delta.tokens);
        }
        choice
    }
}

impl Reply for ChatReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Value {
        let rendered = choices.iter().enumerate().map(|(i, (delta, finish))| self.choice(i, delta, finish)).collect();
        self.envelope.whole(rendered, choices.iter().map(|(_, finish)| finish))
    }

    fn open(&mut self, choice: usize) -> Option<Bytes> {
        let delta = WireDelta { role: Some("assistant"), content: Some("") };
        Some(self.envelope.piece(Piece::new(choice, delta)))
    }

    fn piece(&mut self, choice: usize, delta: &Delta) -> Option<Bytes> {
        self.form().tells(delta).then(|| {
            let mut piece = Piece::new(choice, WireDelta { role: None, content: Some(&delta.text) });
            piece.logprobs = self.logprobs(&delta.logprobs);
            piece.token_ids = self.form().token_ids.then_some(&delta.tokens);
            self.envelope.piece(piece)
        })
    }

    fn finish(&mut self, choice: usize, finish: &Finish) -> Bytes {
        let mut last = Piece::new(choice, WireDelta::default());
        last.finish_reason = Some(reason(finish));
        self.envelope.finish(last, finish)
    }

    fn close(&mut self, finishes: &[Finish]) -> Vec<Bytes> {
        self.envelope.close(finishes)
    }
}

/// A choice in a chunk.
#[derive(Serialize)]
struct Piece<'a> {
    index: usize,
    delta: WireDelta<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a Vec<TokenId>>,
}

impl<'a> Piece<'a> {
    fn new(index: usize, delta: WireDelta<'a>) -> Self {
        Self { index, delta, logprobs: None, finish_reason: None, token_ids: None }
    }
}

#[derive(Serialize, Default)]
struct WireDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}
