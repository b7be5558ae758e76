//! Generations into completions and their chunks.

use bytes::Bytes;
use llmo_core::model::{Delta, Finish, TokenId};
use serde::Serialize;
use serde_json::{Value, json};

use crate::dialect::openai::Reply;
use crate::dialect::openai::envelope::{Envelope, reason};
use crate::dialect::openai::logprobs::{self, CompletionLogprobs};
use crate::dialect::{Form, Head};

/// The answer to one completion request.
#[derive(Debug)]
pub struct CompletionReply {
    envelope: Envelope,
    /// Text of the prompts, to put before the answers; empty: not asked for.
    echoes: Vec<String>,
    /// Where the next token of each choice begins, in characters.
    offsets: Vec<usize>,
}

impl CompletionReply {
    /// An answer under this head, in this form; `echoes` has the prompts, if they are to be repeated.
    #[must_use]
    pub fn new(head: Head, form: Form, echoes: Vec<String>) -> Self {
        let envelope = Envelope::new(head, form, "cmpl-", ("text_completion", "text_completion"));
        Self { envelope, echoes, offsets: Vec::new() }
    }

    fn form(&self) -> Form {
        self.envelope.form
    }

    fn echo(&self, choice: usize) -> Option<&str> {
        self.echoes.get(choice / self.form().per_prompt.max(1)).map(String::as_str)
    }

    /// The prompt's tokens are told with the others if the prompt is repeated.
    fn logprobs(&mut self, choice: usize, delta: &Delta) -> Option<CompletionLogprobs> {
        if !self.form().logprobs {
            return None;
        }
        if self.offsets.len() <= choice {
            self.offsets.resize(choice + 1, 0);
        }
        let offset = &mut self.offsets[choice];
        let mut told = CompletionLogprobs::default();
        if !self.echoes.is_empty() {
            told.append(&delta.prompt, offset);
        }
        told.append(&delta.logprobs, offset);
        Some(told)
    }

    /// Does the repeated prompt come with the first delta, which knows its log probabilities?
    fn echoes_with_logprobs(&self) -> bool {
        self.form().logprobs && !self.echoes.is_empty()
    }

    fn choice(&mut self, index: usize, delta: &Delta, finish: &Finish) -> Value {
        let logprobs = self.logprobs(index, delta);
        let text = self.echo(index).unwrap_or_default().to_owned() + &delta.text;
        let mut choice = json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason(finish)});
        if self.form().token_ids {
            choice["token_ids"] = json!(delta.tokens);
            if let Some(mu) = delta.mirostat_mu {
                choice["mirostat_mu"] = json!(mu);
            }
        }
        if self.form().prompt_logprobs {
            choice["prompt_token_ids"] = json!(prompt_ids(delta));
            choice["prompt_logprobs"] = json!(logprobs::prompt(&delta.prompt));
        }
        choice
    }
}

impl Reply for CompletionReply {
    fn whole(&mut self, choices: &[(Delta, Finish)]) -> Bytes {
        let rendered: Vec<Value> =
            choices.iter().enumerate().map(|(i, (delta, finish))| self.choice(i, delta, finish)).collect();
        self.envelope.whole(&rendered, choices.iter().map(|(_, finish)| finish))
    }

    fn open(&mut self, choice: usize) -> Option<Bytes> {
        if self.echoes_with_logprobs() {
            return None;
        }
        self.echo(choice).map(|echo| self.envelope.piece(Piece::new(choice, echo)))
    }

    fn piece(&mut self, choice: usize, delta: &Delta) -> Option<Bytes> {
        self.form().tells(delta).then(|| {
            let repeats = self.echoes_with_logprobs() && !delta.prompt.is_empty();
            let text =
                if repeats { self.echo(choice).unwrap_or_default().to_owned() + &delta.text } else { String::new() };
            let mut piece = Piece::new(choice, if repeats { &text } else { &delta.text });
            piece.logprobs = self.logprobs(choice, delta);
            piece.token_ids = self.form().token_ids.then_some(&delta.tokens);
            piece.mirostat_mu = delta.mirostat_mu.filter(|_| self.form().token_ids);
            if self.form().prompt_logprobs && !delta.prompt.is_empty() {
                piece.prompt_token_ids = Some(prompt_ids(delta));
                piece.prompt_logprobs = Some(logprobs::prompt(&delta.prompt));
            }
            self.envelope.piece(piece)
        })
    }

    fn finish(&mut self, choice: usize, finish: &Finish) -> Bytes {
        let mut last = Piece::new(choice, "");
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
    text: &'a str,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<&'a Vec<TokenId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirostat_mu: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<Vec<TokenId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<Vec<Value>>,
}

fn prompt_ids(delta: &Delta) -> Vec<TokenId> {
    delta.prompt.iter().map(|entry| entry.token).collect()
}

impl<'a> Piece<'a> {
    fn new(index: usize, text: &'a str) -> Self {
        Self {
            index,
            text,
            logprobs: None,
            finish_reason: None,
            token_ids: None,
            mirostat_mu: None,
            prompt_token_ids: None,
            prompt_logprobs: None,
        }
    }
}
