//! From a request's prompt to tokens, the same way as for llama.cpp: the model's own template, users' text guarded.

use llmo_core::ModelError;
use llmo_core::model::{GenerateRequest, Message, Prompt, TokenId, TokenizeOptions};
use llmo_core::text::tool_calls::ToolFormat;

use super::tokenizer::Tokenizer;
use crate::chat::ChatFormat;

/// Builds prompts for one model.
#[derive(Debug)]
pub(super) struct PromptBuilder {
    chat: Option<ChatFormat>,
}

impl PromptBuilder {
    /// `template` is the source of the model's chat template.
    ///
    /// # Errors
    /// As [`ChatTemplate::compile`](llmo_core::text::ChatTemplate::compile).
    pub(super) fn new(template: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, ModelError> {
        let (bos, eos) = tokenizer.bos_and_eos();
        let chat = template.map(|source| ChatFormat::new(source, bos, eos, tokenizer.special_texts())).transpose()?;
        Ok(Self { chat })
    }

    /// Can this model read conversations?
    pub(super) fn reads_chats(&self) -> bool {
        self.chat.is_some()
    }

    /// The form in which the model writes calls of functions.
    pub(super) fn tool_format(&self) -> ToolFormat {
        self.chat.as_ref().map_or(ToolFormat::Generic, ChatFormat::tools)
    }

    /// The text that the model is given for a conversation.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a conversation that the template refuses, and without a template.
    pub(super) fn text(&self, request: &GenerateRequest) -> Result<String, ModelError> {
        self.template()?.text(request)
    }

    /// The tokens of the request's prompt. Costs about a microsecond for four bytes of text.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a conversation that the template refuses, for tokens outside the vocabulary,
    /// and for a prompt of no tokens.
    pub(super) fn build(&self, request: &GenerateRequest, tokenizer: &Tokenizer) -> Result<Vec<TokenId>, ModelError> {
        let tokens = match &request.prompt {
            Prompt::Chat(messages) => self.chat(messages, request, tokenizer)?,
            Prompt::Text(text) => tokenizer.encode(text, TokenizeOptions::with_special())?,
            Prompt::Tokens(tokens) => {
                tokens.iter().try_for_each(|token| tokenizer.check(*token, "prompt"))?;
                tokens.clone()
            }
            _ => return Err(ModelError::invalid("prompt", "this form of prompt is unknown to the candle backend")),
        };
        if tokens.is_empty() {
            return Err(ModelError::invalid("prompt", "must not be empty"));
        }
        Ok(tokens)
    }

    fn chat(
        &self,
        messages: &[Message],
        request: &GenerateRequest,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<TokenId>, ModelError> {
        let chat = self.template()?;
        let rendered = chat.render(messages, &request.tools, &request.tool_choice)?;
        // The template writes BOS itself if it wants one; a model that needs one gets it only if it has not.
        let mut tokens: Vec<TokenId> = Vec::new();
        let mut options = TokenizeOptions::default();
        options.parse_special = true;
        for piece in chat.pieces(&rendered) {
            tokens.extend(tokenizer.encode(piece, options)?);
        }
        if let Some(bos) = tokenizer.wanted_bos().filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    fn template(&self) -> Result<&ChatFormat, ModelError> {
        let none = || ModelError::invalid("messages", "this model has no chat template; send a plain prompt");
        self.chat.as_ref().ok_or_else(none)
    }
}
