//! What the output of a request is held to, and how calls are read out of it.

use llmo_core::ModelError;
use llmo_core::model::{Event, EventStream, Finish, FinishReason, GenerateRequest, Usage};
use llmo_core::text::OutputAssembler;
use llmo_core::text::tool_calls::{ToolCallParser, ToolFormat};

use super::engine::Held;
use super::vocabulary::Vocabulary;
use crate::chat;
use crate::constraint::{Grammars, VocabularyToken};

/// Compiles constraints for a vocabulary.
pub(super) fn grammars(vocabulary: &Vocabulary) -> Grammars {
    let table = std::sync::Arc::clone(vocabulary.table());
    Grammars::new(move || {
        let token = |id| VocabularyToken { bytes: table.bytes(id).to_vec(), is_end: table.ends_generation(id) };
        (0..table.len() as u32).map(token).collect()
    })
}

/// An output that may begin.
pub(super) struct Ready {
    pub(super) held: Held,
    /// Finds calls in it.
    pub(super) parser: Option<ToolCallParser>,
    /// The request's `output_prefix` is the whole output already.
    pub(super) ended: Option<FinishReason>,
}

/// Prepares the output of a request: compiles what it is held to and goes through what was generated already.
///
/// # Errors
/// [`ModelError::InvalidRequest`] for functions, constraints or generated tokens that can't be taken.
pub(super) async fn prepare(
    request: &GenerateRequest,
    format: ToolFormat,
    vocabulary: &Vocabulary,
    grammars: &Grammars,
) -> Result<Ready, ModelError> {
    let table = vocabulary.table();
    table.check("output_prefix", request.output_prefix.iter().copied())?;
    let marks = if request.tools.is_empty() { Vec::new() } else { vocabulary.control_tokens(format.marks()) };
    let mut plan = chat::plan(format, request, &marks)?;
    let mut held = Held { matcher: None, shown: marks.into_iter().map(|(text, token)| (token, text)).collect() };
    if let Some(constraint) = &plan.constraint {
        let compiled = grammars.compile(constraint).await;
        let name = |error| if plan.of_tools { chat::renamed(error, "tools") } else { error };
        held.matcher = Some(compiled.map_err(name)?);
    }
    let mut output = OutputAssembler::new(request.stop.clone());
    for &token in &request.output_prefix {
        if let Some(matcher) = &mut held.matcher {
            matcher.accept(token).map_err(|error| chat::renamed(error, "output_prefix"))?;
        }
        let text = held.shown.iter().find(|(shown, _)| *shown == token);
        let step = output.push(text.map_or_else(|| table.bytes(token), |(_, text)| text.as_bytes()));
        if let Some(parser) = &mut plan.parser {
            // The caller has it.
            parser.push(&step.text);
        }
    }
    let is_complete = held.matcher.as_ref().is_some_and(|matcher| matcher.must_end());
    let has_output = !request.output_prefix.is_empty();
    let is_full = request.max_tokens.is_some_and(|most| request.output_prefix.len() as u64 >= u64::from(most));
    let ended = match (output.stopped().is_some() || (is_complete && has_output), is_full && has_output) {
        (true, _) => Some(FinishReason::Stop),
        (false, true) => Some(FinishReason::Length),
        (false, false) => None,
    };
    Ok(Ready { held, parser: plan.parser, ended })
}

/// The stream of a request whose output is complete.
pub(super) fn ended(reason: FinishReason, prompt_tokens: u64, generated: u64) -> EventStream {
    let finish = Finish::new(reason, Usage::new(prompt_tokens, generated));
    EventStream::new(futures::stream::iter([Ok(Event::Finish(finish))]))
}
