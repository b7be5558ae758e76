//! The order of messages.

use llmo_core::model::{Message, Role};

use crate::fault::Fault;

/// Refuses orders that no chat template makes sense of; `param` is the list's name.
pub(super) fn check_order(param: &str, messages: &[Message]) -> Result<(), Fault> {
    for (i, pair) in messages.windows(2).enumerate() {
        if pair[1].role == Role::Tool && !matches!(pair[0].role, Role::Assistant | Role::Tool) {
            let why = "the result of a call must follow the assistant's message that called the function";
            return Err(Fault::invalid(format!("{param}[{}]", i + 1), why));
        }
    }
    match (messages.first(), messages.last()) {
        (Some(first), _) if first.role == Role::Tool => {
            Err(Fault::invalid(format!("{param}[0]"), "a conversation can't begin with the result of a call"))
        }
        (_, Some(last)) if last.role == Role::Assistant => {
            let why = "the last message must not be the assistant's: it can't be continued";
            Err(Fault::invalid(format!("{param}[{}]", messages.len() - 1), why))
        }
        _ => Ok(()),
    }
}
