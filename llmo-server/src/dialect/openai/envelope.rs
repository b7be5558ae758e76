//! What surrounds the choices of an answer or a chunk: identity, usage, the extension `llmo`.

use bytes::Bytes;
use llmo_core::model::{Finish, FinishReason};
use serde::Serialize;

use super::usage::{self, Extension, WireUsage};
use crate::dialect::{Form, Head, sse};
use crate::http::json;

/// The constant parts of one request's answer.
#[derive(Debug)]
pub(super) struct Envelope {
    head: Head,
    pub(super) form: Form,
    object: &'static str,
    chunk_object: &'static str,
}

impl Envelope {
    pub(super) fn new(mut head: Head, form: Form, prefix: &str, objects: (&'static str, &'static str)) -> Self {
        head.id.insert_str(0, prefix);
        Self { head, form, object: objects.0, chunk_object: objects.1 }
    }

    /// A whole answer.
    pub(super) fn whole<'a, C: Serialize>(&self, choices: &[C], finishes: impl Iterator<Item = &'a Finish>) -> Bytes {
        let finishes: Vec<&Finish> = finishes.collect();
        json::bytes(&Whole {
            id: &self.head.id,
            object: self.object,
            created: self.head.created,
            model: &self.head.model,
            system_fingerprint: &self.head.fingerprint,
            choices,
            usage: usage::total(finishes.iter().copied(), self.form.per_prompt).into(),
            llmo: Extension::of(&finishes),
        })
    }

    /// An event with a piece of a choice.
    pub(super) fn piece<C: Serialize>(&self, choice: C) -> Bytes {
        self.chunk(&[choice], None, None)
    }

    /// The event that ends a choice. Without a usage chunk behind it, it is the last one and has the extension.
    pub(super) fn finish<C: Serialize>(&self, choice: C, finish: &Finish) -> Bytes {
        let extension = (!self.form.include_usage).then(|| Extension::of(&[finish]));
        self.chunk(&[choice], None, extension)
    }

    /// The events behind all choices.
    pub(super) fn close(&self, finishes: &[Finish]) -> Vec<Bytes> {
        let usage = self.form.include_usage.then(|| {
            let usage = usage::total(finishes, self.form.per_prompt).into();
            self.chunk::<()>(&[], Some(usage), Some(Extension::of(&finishes.iter().collect::<Vec<_>>())))
        });
        usage.into_iter().chain([sse::DONE]).collect()
    }

    fn chunk<C: Serialize>(&self, choices: &[C], usage: Option<WireUsage>, llmo: Option<Extension>) -> Bytes {
        sse::data(&Chunk {
            id: &self.head.id,
            object: self.chunk_object,
            created: self.head.created,
            model: &self.head.model,
            system_fingerprint: &self.head.fingerprint,
            choices,
            // OpenAI: null in every chunk but the last, if it was asked for.
            usage: self.form.include_usage.then_some(usage),
            llmo,
        })
    }
}

#[derive(Serialize)]
struct Whole<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [C],
    usage: WireUsage,
    llmo: Extension,
}

#[derive(Serialize)]
struct Chunk<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<WireUsage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llmo: Option<Extension>,
}

/// `finish_reason`.
pub(in crate::dialect) fn reason(finish: &Finish) -> &'static str {
    match finish.reason {
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        _ => "stop",
    }
}
