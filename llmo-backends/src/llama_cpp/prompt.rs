//! A request's prompt as tokens.

use llmo_core::ModelError;
use llmo_core::model::{Message, Prompt, TokenId, TokenizeOptions};
use llmo_core::text::{ChatTemplate, SpecialTokens};

use super::vocabulary::Vocabulary;

/// Turns prompts into tokens, as llama.cpp's own tools do, except that nothing a user writes becomes a control token.
#[derive(Debug, Clone)]
pub(super) struct PromptEncoder {
    vocabulary: Vocabulary,
    special: SpecialTokens,
    template: Option<ChatTemplate>,
    model: String,
}

impl PromptEncoder {
    /// For a model with this name, for error messages, and this chat template.
    pub(super) fn new(model: &str, vocabulary: Vocabulary, template: Option<&str>) -> Self {
        let (bos, eos) = vocabulary.text_of_bos_and_eos();
        let compile = |source| match ChatTemplate::compile(source, &bos, &eos) {
            Ok(template) => Some(template),
            Err(error) => {
                // Plain prompts work all the same.
                tracing::warn!(model, %error, "the model can't chat");
                None
            }
        };
        Self {
            special: SpecialTokens::new(vocabulary.special_tokens()),
            template: template.and_then(compile),
            vocabulary,
            model: model.to_owned(),
        }
    }

    /// Is there a chat template?
    pub(super) fn can_chat(&self) -> bool {
        self.template.is_some()
    }

    /// The prompt's tokens; at least one. Blocking: long texts take a millisecond for each 10 KB.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for tokens outside the vocabulary, an empty prompt, or a conversation that the
    /// template refuses; [`ModelError::Unsupported`] for a conversation if the model has no template.
    pub(super) fn encode(&self, prompt: Prompt) -> Result<Vec<TokenId>, ModelError> {
        let tokens = match prompt {
            Prompt::Chat(messages) => self.chat(&messages)?,
            Prompt::Text(text) => self.vocabulary.tokenize(&text, TokenizeOptions::with_special()),
            Prompt::Tokens(tokens) => {
                self.vocabulary.table().check("prompt", tokens.iter().copied())?;
                tokens
            }
            _ => return Err(self.unsupported("this kind of prompt")),
        };
        if tokens.is_empty() {
            return Err(ModelError::invalid("prompt", "must not be empty"));
        }
        Ok(tokens)
    }

    fn chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        let template = self.template.as_ref().ok_or_else(|| self.unsupported("chat: it has no chat template"))?;
        let guarded: Vec<Message> =
            messages.iter().map(|m| Message::new(m.role, self.special.guard(&m.content))).collect();
        let rendered = template.render(&guarded, true)?;
        let mut options = TokenizeOptions::default();
        options.parse_special = true;
        let mut tokens: Vec<TokenId> = Vec::with_capacity(rendered.len() / 3);
        for piece in self.special.pieces(&rendered) {
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

    fn unsupported(&self, what: &str) -> ModelError {
        ModelError::Unsupported { model: self.model.clone(), what: what.into() }
    }
}
