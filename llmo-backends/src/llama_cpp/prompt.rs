//! A request's prompt as tokens.

use llmo_core::ModelError;
use llmo_core::model::{GenerateRequest, Prompt, TokenId, TokenizeOptions};
use llmo_core::text::tool_calls::ToolFormat;

use super::vocabulary::Vocabulary;
use crate::chat::ChatFormat;

/// Turns prompts into tokens, as llama.cpp's own tools do, except that nothing a user writes becomes a control token.
#[derive(Debug, Clone)]
pub(super) struct PromptEncoder {
    vocabulary: Vocabulary,
    chat: Option<ChatFormat>,
    model: String,
}

impl PromptEncoder {
    /// For a model with this name, for error messages, and this chat template.
    pub(super) fn new(model: &str, vocabulary: Vocabulary, template: Option<&str>) -> Self {
        let (bos, eos) = vocabulary.text_of_bos_and_eos();
        let compile = |source| match ChatFormat::new(source, &bos, &eos, vocabulary.special_tokens()) {
            Ok(chat) => Some(chat),
            Err(error) => {
                // Plain prompts work all the same.
                tracing::warn!(model, %error, "the model can't chat");
                None
            }
        };
        Self { chat: template.and_then(compile), vocabulary, model: model.to_owned() }
    }

    /// Is there a chat template?
    pub(super) fn can_chat(&self) -> bool {
        self.chat.is_some()
    }

    /// The form in which the model writes calls of functions.
    pub(super) fn tool_format(&self) -> ToolFormat {
        self.chat.as_ref().map_or(ToolFormat::Generic, ChatFormat::tools)
    }

    /// The text that the model is given for a conversation.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a conversation that the template refuses; [`ModelError::Unsupported`] without a
    /// template.
    pub(super) fn text(&self, request: &GenerateRequest) -> Result<String, ModelError> {
        self.template()?.text(request)
    }

    /// The tokens of the request's prompt; at least one. Blocking: long texts take a millisecond for each 10 KB.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for tokens outside the vocabulary, an empty prompt, or a conversation that the
    /// template refuses; [`ModelError::Unsupported`] for a conversation if the model has no template.
    pub(super) fn encode(&self, request: &GenerateRequest) -> Result<Vec<TokenId>, ModelError> {
        let tokens = match &request.prompt {
            Prompt::Chat(_) => self.chat(request)?,
            Prompt::Text(text) => self.vocabulary.tokenize(text, TokenizeOptions::with_special()),
            Prompt::Tokens(tokens) => {
                self.vocabulary.table().check("prompt", tokens.iter().copied())?;
                tokens.clone()
            }
            _ => return Err(self.unsupported("this kind of prompt")),
        };
        if tokens.is_empty() {
            return Err(ModelError::invalid("prompt", "must not be empty"));
        }
        Ok(tokens)
    }

    fn chat(&self, request: &GenerateRequest) -> Result<Vec<TokenId>, ModelError> {
        let Prompt::Chat(messages) = &request.prompt else { return Ok(Vec::new()) };
        let chat = self.template()?;
        let rendered = chat.render(messages, &request.tools, &request.tool_choice)?;
        let mut options = TokenizeOptions::default();
        options.parse_special = true;
        let mut tokens: Vec<TokenId> = Vec::with_capacity(rendered.len() / 3);
        for piece in chat.pieces(&rendered) {
            tokens.extend(self.vocabulary.tokenize(piece, options));
        }
        // Many templates write the token themselves; a second one would harm the output.
        if let Some(bos) = self.vocabulary.bos_wanted()
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    fn template(&self) -> Result<&ChatFormat, ModelError> {
        self.chat.as_ref().ok_or_else(|| self.unsupported("chat: it has no chat template"))
    }

    fn unsupported(&self, what: &str) -> ModelError {
        ModelError::Unsupported { model: self.model.clone(), what: what.into() }
    }
}
