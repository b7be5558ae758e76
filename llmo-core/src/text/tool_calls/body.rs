//! One call, as the JSON object that every form writes.

use serde_json::Value;

use super::json::{Beginning, Nesting, Unread};

/// Longest beginning, name included, before the arguments are passed on as they come.
const LONGEST_BEGINNING: usize = 1024;

/// Reads `{"name": …, "arguments": {…}}`. Where the keys come in this order, arguments are passed on as they come;
/// otherwise the object is read whole.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Everything so far, until the name is known.
    raw: String,
    state: State,
    object: Nesting,
    arguments: Nesting,
    /// Of the arguments: what was not handed out yet.
    piece: String,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum State {
    #[default]
    Beginning,
    Arguments,
    /// Behind the arguments, up to the end of the object.
    Rest,
    /// The whole object is needed.
    Whole,
}

/// What a character led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More is needed.
    More,
    /// The name is known, and the arguments begin. To be confirmed, or else what was read is asked for.
    Named(String),
    /// The object is complete. With a name and arguments if they were not told yet.
    Done(Option<(String, String)>),
    /// It is no call; this was read.
    NoCall(String),
}

impl Body {
    /// Takes the next character, from the opening brace on.
    pub(super) fn push(&mut self, c: char) -> Step {
        let ended = self.object.push(c);
        match self.state {
            State::Beginning => {
                self.raw.push(c);
                match beginning(&self.raw) {
                    Ok(name) => {
                        self.state = State::Arguments;
                        self.arguments.push(c);
                        self.piece.push(c);
                        Step::Named(name)
                    }
                    Err(unread) => {
                        if unread == Unread::Other || self.raw.len() > LONGEST_BEGINNING {
                            self.state = State::Whole;
                        }
                        self.end_of_whole(ended)
                    }
                }
            }
            State::Arguments => {
                self.piece.push(c);
                if self.arguments.push(c) {
                    self.state = State::Rest;
                }
                Step::More
            }
            State::Rest if ended => Step::Done(None),
            State::Rest => Step::More,
            State::Whole => {
                self.raw.push(c);
                self.end_of_whole(ended)
            }
        }
    }

    fn end_of_whole(&mut self, ended: bool) -> Step {
        if !ended {
            return Step::More;
        }
        let raw = std::mem::take(&mut self.raw);
        match whole(&raw) {
            Some(call) => Step::Done(Some(call)),
            None => Step::NoCall(raw),
        }
    }

    /// It is a call: what was read so far is told.
    pub(super) fn confirm(&mut self) {
        self.raw.clear();
    }

    /// Arguments that came since this was asked.
    pub(super) fn take_piece(&mut self) -> String {
        std::mem::take(&mut self.piece)
    }

    /// What was read without being told: the text is over and this was no call.
    pub(super) fn into_unread(self) -> String {
        self.raw
    }
}

/// The name, if the text is a call's up to the first character of its arguments.
fn beginning(raw: &str) -> Result<String, Unread> {
    let mut json = Beginning { rest: raw };
    json.eat('{')?;
    if json.string()? != "name" {
        return Err(Unread::Other);
    }
    json.eat(':')?;
    let name = json.string()?;
    json.eat(',')?;
    if !is_arguments(&json.string()?) {
        return Err(Unread::Other);
    }
    json.eat(':')?;
    if json.peek()? == '{' { Ok(name) } else { Err(Unread::Other) }
}

fn is_arguments(key: &str) -> bool {
    matches!(key, "arguments" | "parameters")
}

fn whole(raw: &str) -> Option<(String, String)> {
    let object: Value = serde_json::from_str(raw).ok()?;
    let name = object.get("name")?.as_str()?.to_owned();
    let arguments = match object.get("arguments").or_else(|| object.get("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        // Some models write the object as text.
        Some(Value::String(text)) if serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object()) => {
            text.clone()
        }
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        Some(_) => return None,
    };
    Some((name, arguments))
}
