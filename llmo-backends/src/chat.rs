//! From a conversation to the text that a model reads, and from its output to text and calls. Shared by all backends
//! that run a model themselves.

use futures::StreamExt;
use llmo_core::ModelError;
use llmo_core::model::{
    Constraint, Delta, Event, EventStream, FinishReason, GenerateRequest, Message, Prompt, Role, TokenId, Tool,
    ToolChoice,
};
use llmo_core::text::tool_calls::{Parsed, ToolCallParser, ToolFormat, generic, grammar};
use llmo_core::text::{ChatTemplate, Conversation, SpecialTokens, TemplateError};
use serde_json::{Value, json};

use crate::constraint;

/// A model's chat template, and what it says of functions.
#[derive(Debug, Clone)]
pub(crate) struct ChatFormat {
    template: ChatTemplate,
    special: SpecialTokens,
    tools: ToolFormat,
    takes_system: bool,
}

impl ChatFormat {
    /// The format of a template, for a model with these special tokens.
    ///
    /// # Errors
    /// As [`ChatTemplate::compile`].
    pub(crate) fn new(source: &str, bos: &str, eos: &str, special: Vec<String>) -> Result<Self, TemplateError> {
        Ok(Self {
            template: ChatTemplate::compile(source, bos, eos)?,
            special: SpecialTokens::new(special),
            tools: ToolFormat::of_template(source),
            takes_system: !source.contains("System role not supported"),
        })
    }

    /// The form in which the model writes calls.
    pub(crate) fn tools(&self) -> ToolFormat {
        self.tools
    }

    /// The prompt, to be tokenised in [pieces](Self::pieces).
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] if the template refuses the conversation.
    pub(crate) fn render(
        &self,
        messages: &[Message],
        tools: &[Tool],
        choice: &ToolChoice,
    ) -> Result<String, ModelError> {
        let tools: &[Tool] = if *choice == ToolChoice::None { &[] } else { tools };
        let guard = |messages: &[Message]| messages.iter().map(|m| self.special.guard_message(m)).collect::<Vec<_>>();
        let of_functions = |message: &Message| message.role == Role::Tool || !message.tool_calls.is_empty();
        if self.tools.is_native() {
            let (messages, tools) =
                (guard(messages), tools.iter().map(|t| self.special.guard_tool(t)).collect::<Vec<_>>());
            let conversation = Conversation::new(&messages).tools(&tools).generation_prompt(true);
            return Ok(self.template.render_conversation(&conversation)?);
        }
        if tools.is_empty() && !messages.iter().any(of_functions) {
            return Ok(self.template.render(&guard(messages), true)?);
        }
        let explained = generic::explain(messages, tools, choice);
        let explained = if self.takes_system { explained } else { generic::without_system(explained) };
        Ok(self.template.render(&guard(&explained), true)?)
    }

    /// The parts of a rendered prompt: special tokens are recognised in each, none reaches from one to the next.
    pub(crate) fn pieces<'a>(&self, rendered: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.special.pieces(rendered)
    }

    /// The prompt as people read it.
    ///
    /// # Errors
    /// As [`render`](Self::render); [`ModelError::InvalidRequest`] for a prompt that is no conversation.
    pub(crate) fn text(&self, request: &GenerateRequest) -> Result<String, ModelError> {
        let Prompt::Chat(messages) = &request.prompt else {
            return Err(ModelError::invalid("messages", "only a conversation can be rendered"));
        };
        let rendered = self.render(messages, &request.tools, &request.tool_choice)?;
        Ok(self.pieces(&rendered).collect())
    }
}

/// What follows from a request's functions and constraint.
#[derive(Debug)]
pub(crate) struct OutputPlan {
    /// What the output is held to.
    pub(crate) constraint: Option<Constraint>,
    /// Is the constraint made of the functions?
    pub(crate) of_tools: bool,
    /// Finds calls in the output.
    pub(crate) parser: Option<ToolCallParser>,
}

/// Plans the output of a request for a model that writes calls in this form; `control` has the marks that are control
/// tokens.
///
/// # Errors
/// [`ModelError::InvalidRequest`] for functions that can't be offered.
pub(crate) fn plan(
    format: ToolFormat,
    request: &GenerateRequest,
    control: &[(String, TokenId)],
) -> Result<OutputPlan, ModelError> {
    let GenerateRequest { tools, tool_choice: choice, .. } = request;
    if tools.is_empty() || *choice == ToolChoice::None {
        return Ok(OutputPlan { constraint: request.constraint.clone(), of_tools: false, parser: None });
    }
    if matches!(request.prompt, Prompt::Text(_)) {
        return Err(ModelError::invalid("tools", "functions can be called in a conversation only"));
    }
    for (i, tool) in tools.iter().enumerate() {
        constraint::check_schema(&tool.parameters).map_err(|error| renamed(error, &format!("tools[{i}]")))?;
    }
    let must_call = matches!(choice, ToolChoice::Required | ToolChoice::Named(_));
    let answer: Option<Value> = match &request.constraint {
        _ if must_call => None,
        None => None,
        Some(Constraint::JsonObject) => Some(json!({"type": "object"})),
        Some(Constraint::JsonSchema(schema)) => {
            constraint::check_schema(schema)?;
            Some(schema.clone())
        }
        Some(_) => {
            return Err(ModelError::invalid(constraint::PARAM, "with tools, only JSON formats can be asked for"));
        }
    };
    let constraint = grammar::constraint(format, tools, choice, request.parallel_tool_calls, answer.as_ref(), control);
    let names = tools.iter().map(|tool| tool.name.clone());
    let parser = ToolCallParser::new(format, names, fastrand::u64(..));
    Ok(OutputPlan { constraint, of_tools: true, parser: Some(parser) })
}

/// The error of a grammar that was made of functions names them.
pub(crate) fn renamed(error: ModelError, param: &str) -> ModelError {
    match error {
        ModelError::InvalidRequest { message, .. } => ModelError::invalid(param, message),
        other => other,
    }
}

/// Takes calls out of the text of a stream.
pub(crate) fn with_calls(stream: EventStream, mut parser: ToolCallParser) -> EventStream {
    stream.map_stream(|events| {
        events.flat_map(move |event| {
            let events = match event {
                Ok(Event::Delta(delta)) => vec![Ok(Event::Delta(parse(&mut parser, delta)))],
                Ok(Event::Finish(mut finish)) => {
                    let rest = filled(Delta::default(), parser.finish());
                    if parser.has_calls() && finish.reason == FinishReason::Stop {
                        finish.reason = FinishReason::ToolCalls;
                    }
                    let rest = (!rest.text.is_empty() || !rest.tool_calls.is_empty()).then_some(Ok(Event::Delta(rest)));
                    rest.into_iter().chain([Ok(Event::Finish(finish))]).collect()
                }
                other => vec![other],
            };
            futures::stream::iter(events)
        })
    })
}

fn parse(parser: &mut ToolCallParser, mut delta: Delta) -> Delta {
    let parsed = parser.push(&std::mem::take(&mut delta.text));
    filled(delta, parsed)
}

fn filled(mut delta: Delta, parsed: Parsed) -> Delta {
    delta.text = parsed.text;
    delta.tool_calls = parsed.calls;
    delta
}
