//! From a request's prompt to tokens, the same way as for llama.cpp: the model's own template, users' text guarded.

use llmo_core::ModelError;
use llmo_core::model::{Message, Prompt, TokenId, TokenizeOptions};
use llmo_core::text::SpecialTokens;
use llmo_core::text::template::ChatTemplate;

use super::tokenizer::Tokenizer;

/// Builds prompts for one model.
#[derive(Debug)]
pub(super) struct PromptBuilder {
    template: Option<ChatTemplate>,
    special: SpecialTokens,
}

impl PromptBuilder {
    /// `template` is the source of the model's chat template.
    ///
    /// # Errors
    /// As [`ChatTemplate::compile`].
    pub(super) fn new(template: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, ModelError> {
        let (bos, eos) = tokenizer.bos_and_eos();
        let template = template.map(|source| ChatTemplate::compile(source, bos, eos)).transpose()?;
        Ok(Self { template, special: SpecialTokens::new(tokenizer.special_texts()) })
    }

    /// Can this model read conversations?
    pub(super) fn reads_chats(&self) -> bool {
        self.template.is_some()
    }

    /// The prompt's tokens. Costs about a microsecond for four bytes of text.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a conversation that the template refuses, for tokens outside the vocabulary,
    /// and for a prompt of no tokens.
    pub(super) fn build(&self, prompt: &Prompt, tokenizer: &Tokenizer) -> Result<Vec<TokenId>, ModelError> {
        let tokens = match prompt {
            Prompt::Chat(messages) => self.chat(messages, tokenizer)?,
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

    fn chat(&self, messages: &[Message], tokenizer: &Tokenizer) -> Result<Vec<TokenId>, ModelError> {
        let Some(template) = &self.template else {
            return Err(ModelError::invalid("messages", "this model has no chat template; send a plain prompt"));
        };
        let guarded: Vec<Message> = messages
            .iter()
            .map(|message| Message::new(message.role, self.special.guard(&message.content).into_owned()))
            .collect();
        let rendered = template.render(&guarded, true)?;
        // The template writes BOS itself if it wants one; a model that needs one gets it only if it has not.
        let mut tokens: Vec<TokenId> = Vec::new();
        let mut options = TokenizeOptions::default();
        options.parse_special = true;
        for piece in self.special.pieces(&rendered) {
            tokens.extend(tokenizer.encode(piece, options)?);
        }
        if let Some(bos) = tokenizer.wanted_bos().filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }
}
