//! What can go wrong with a chat template.

use crate::model::ModelError;

/// Why a template could not be compiled or rendered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is not one: refuse the model at import.
    #[error("the chat template is invalid: {0}")]
    Syntax(String),
    /// The template called `raise_exception`: it does not take this conversation.
    #[error("the model's chat template refuses the conversation: {0}")]
    Rejected(String),
    /// The template used up the work or the memory that it is allowed.
    #[error("the chat template needs more time or memory than it is allowed")]
    Exhausted,
    /// The template does something that its engine can't.
    #[error("the chat template failed: {0}")]
    Failed(String),
}

impl From<TemplateError> for ModelError {
    /// A refused conversation is the caller's to change; everything else is a fault of the model's file.
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::Rejected(_) => Self::invalid("messages", error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(at) = cause {
            if let Some(Raised(message)) = at.downcast_ref() {
                return Self::Rejected(message.clone());
            }
            if at.downcast_ref().is_some_and(|e: &minijinja::Error| e.kind() == minijinja::ErrorKind::OutOfFuel) {
                return Self::Exhausted;
            }
            cause = at.source();
        }
        match error.kind() {
            minijinja::ErrorKind::SyntaxError => Self::Syntax(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// The message that a template gave to `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);
