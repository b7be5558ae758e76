//! From generated text to text and calls, piece by piece.

use super::body::{Body, Step};
use super::json::{Beginning, Nesting, Unread};
use super::response::Unescape;
use super::{ToolFormat, ids};
use crate::model::ToolCallDelta;

/// What a piece of text gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Parsed {
    /// Text that is no call.
    pub text: String,
    /// Pieces of calls.
    pub calls: Vec<ToolCallDelta>,
}

/// Finds calls in an output. How the output is cut into pieces changes only how its arguments are cut.
///
/// What looks like a call and turns out to be none is passed on as text, nothing is lost. White space around calls is
/// dropped.
///
/// ```
/// use llmo_core::text::tool_calls::{ToolCallParser, ToolFormat};
///
/// let mut parser = ToolCallParser::new(ToolFormat::Hermes, ["weather"], 1);
/// let parsed = parser.push("Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":");
/// assert_eq!(parsed.text, "Let me see.");
/// assert_eq!(parsed.calls[0].name.as_deref(), Some("weather"));
/// assert_eq!(parsed.calls[1].arguments, "{\"city\":");
/// let parsed = parser.push(" \"Paris\"}}\n</tool_call>");
/// assert_eq!(parsed.calls[0].arguments, " \"Paris\"}");
/// assert!(parser.has_calls());
/// ```
#[derive(Debug)]
pub struct ToolCallParser {
    format: ToolFormat,
    names: Vec<String>,
    seed: u64,
    state: State,
    /// Text that may be the beginning of a mark, or white space that may be dropped.
    held: String,
    /// Calls so far.
    calls: u32,
}

#[derive(Debug)]
enum State {
    /// Text, in which a mark may come.
    Text,
    /// A call is expected: behind a mark, or where one may begin.
    Before,
    /// In a call.
    Call(Box<Body>),
    /// Behind a call, before the next, the closing mark, or text.
    After,
    /// Generic: the outer object's beginning.
    Outer(String),
    /// Generic: the text of `response`.
    Response(Unescape),
    /// Generic: another value of `response`.
    Value(Nesting),
    /// Generic: nothing more to say.
    End,
}

impl ToolCallParser {
    /// A parser of this form, for functions with these names. `seed` is what the ids of calls are made from.
    #[must_use]
    pub fn new(format: ToolFormat, names: impl IntoIterator<Item = impl Into<String>>, seed: u64) -> Self {
        let state = match format {
            ToolFormat::Generic => State::Outer(String::new()),
            ToolFormat::Llama3 => State::Before,
            _ => State::Text,
        };
        let names = names.into_iter().map(Into::into).collect();
        Self { format, names, seed, state, held: String::new(), calls: 0 }
    }

    /// Has there been a call?
    #[must_use]
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Takes more text.
    pub fn push(&mut self, text: &str) -> Parsed {
        let mut parsed = Parsed::default();
        for c in text.chars() {
            self.character(c, &mut parsed);
        }
        self.take_arguments(&mut parsed);
        parsed
    }

    /// The output is over: everything that was held back.
    pub fn finish(&mut self) -> Parsed {
        let mut parsed = Parsed::default();
        match std::mem::replace(&mut self.state, State::End) {
            State::Call(body) => {
                let unread = body.into_unread();
                if !unread.is_empty() {
                    parsed.text.push_str(&std::mem::take(&mut self.held));
                    parsed.text.push_str(&unread);
                }
            }
            State::Outer(raw) => parsed.text.push_str(&raw),
            State::End | State::Response(_) | State::Value(_) => {}
            State::Text | State::Before | State::After => {
                let held = std::mem::take(&mut self.held);
                // White space behind calls means nothing.
                if !(self.has_calls() && held.trim().is_empty()) {
                    parsed.text.push_str(&held);
                }
            }
        }
        parsed
    }

    fn character(&mut self, c: char, parsed: &mut Parsed) {
        match &mut self.state {
            State::Text => self.text(c, parsed),
            State::Before | State::After => self.between(c, parsed),
            State::Call(body) => {
                let step = body.push(c);
                self.step(step, parsed);
            }
            State::Outer(raw) => {
                raw.push(c);
                self.outer(parsed);
            }
            State::Response(unescape) => {
                if unescape.push(c, &mut parsed.text) {
                    self.state = State::End;
                }
            }
            State::Value(nesting) => {
                parsed.text.push(c);
                if nesting.push(c) {
                    self.state = State::End;
                }
            }
            State::End => {}
        }
    }

    /// Text up to a mark. White space and what may be a mark's beginning wait.
    fn text(&mut self, c: char, parsed: &mut Parsed) {
        self.held.push(c);
        let mark = self.open();
        if mark.is_empty() {
            parsed.text.push_str(&std::mem::take(&mut self.held));
            return;
        }
        if self.held.ends_with(mark) {
            let before = self.held.len() - mark.len();
            let text = self.held[..before].trim_end();
            parsed.text.push_str(text);
            // Kept, in case that what follows is no call.
            self.held.drain(..text.len());
            self.state = State::Before;
            return;
        }
        let keep = kept(&self.held, mark);
        let ready = self.held.len() - keep;
        parsed.text.extend(self.held.drain(..ready));
    }

    /// Between calls, their brackets and marks.
    fn between(&mut self, c: char, parsed: &mut Parsed) {
        let behind = matches!(self.state, State::After);
        if c == '{' && !(behind && self.format == ToolFormat::Hermes) {
            let mut body = Body::default();
            let step = body.push(c);
            self.state = State::Call(Box::new(body));
            self.step(step, parsed);
            return;
        }
        self.held.push(c);
        let fits = match self.format {
            ToolFormat::Hermes if behind => {
                let close = "</tool_call>";
                if self.held.trim_start() == close {
                    self.held.clear();
                    self.state = State::Text;
                    return;
                }
                close.starts_with(self.held.trim_start())
            }
            ToolFormat::Hermes => c.is_whitespace(),
            ToolFormat::Mistral if behind => {
                if c == ']' {
                    self.held.clear();
                    self.state = State::Text;
                    return;
                }
                c.is_whitespace() || c == ','
            }
            ToolFormat::Mistral => c.is_whitespace() || c == '[',
            ToolFormat::Llama3 => {
                let mark = "<|python_tag|>";
                let seen = self.held.trim_start_matches(|c: char| c.is_whitespace() || (behind && c == ';'));
                mark.starts_with(seen) || seen.strip_prefix(mark).is_some_and(|rest| rest.trim().is_empty())
            }
            ToolFormat::Generic => false,
        };
        if !fits {
            self.back_to_text(parsed);
        }
    }

    /// What was held is text after all, and so is what follows, up to the next mark.
    fn back_to_text(&mut self, parsed: &mut Parsed) {
        self.state = State::Text;
        let held = std::mem::take(&mut self.held);
        let mark = self.open();
        // A mark that was read is not looked for again; what it left may begin another one.
        let skip = if !mark.is_empty() { held.find(mark).map_or(0, |at| at + mark.len()) } else { 0 };
        parsed.text.push_str(&held[..skip]);
        for c in held[skip..].chars() {
            self.character(c, parsed);
        }
    }

    fn step(&mut self, step: Step, parsed: &mut Parsed) {
        match step {
            Step::More => {}
            Step::Named(name) => {
                if self.is_call(&name) {
                    if let State::Call(body) = &mut self.state {
                        body.confirm();
                    }
                    self.begin(name, parsed);
                } else {
                    // Without a mark, an object that has a name and arguments may be just an answer.
                    parsed.text.push_str(&std::mem::take(&mut self.held));
                    if let State::Call(body) = &mut self.state {
                        parsed.text.push_str(&std::mem::take(body).into_unread());
                    }
                    self.state = State::Text;
                }
            }
            Step::Done(call) => {
                if let Some((name, arguments)) = call {
                    self.begin(name, parsed);
                    parsed.calls.push(ToolCallDelta::arguments(self.calls - 1, arguments));
                } else {
                    self.take_arguments(parsed);
                }
                self.state = if self.format == ToolFormat::Generic { State::End } else { State::After };
            }
            Step::NoCall(raw) => {
                parsed.text.push_str(&std::mem::take(&mut self.held));
                parsed.text.push_str(&raw);
                self.state = State::Text;
            }
        }
    }

    /// A name that is none of the functions' is a call all the same where a mark says so: the caller will tell the model.
    fn is_call(&self, name: &str) -> bool {
        self.format != ToolFormat::Llama3 || self.names.iter().any(|known| known == name)
    }

    fn begin(&mut self, name: String, parsed: &mut Parsed) {
        self.held.clear();
        let id = ids::id(self.format, self.seed, self.calls);
        parsed.calls.push(ToolCallDelta::first(self.calls, id, name));
        self.calls += 1;
    }

    fn take_arguments(&mut self, parsed: &mut Parsed) {
        if let State::Call(body) = &mut self.state {
            let piece = body.take_piece();
            if !piece.is_empty() {
                parsed.calls.push(ToolCallDelta::arguments(self.calls.saturating_sub(1), piece));
            }
        }
    }

    fn outer(&mut self, parsed: &mut Parsed) {
        let State::Outer(raw) = &mut self.state else { return };
        match outer(raw) {
            Ok(Outer::Call) => {
                let mut body = Body::default();
                let step = body.push('{');
                self.state = State::Call(Box::new(body));
                self.step(step, parsed);
            }
            Ok(Outer::Text) => self.state = State::Response(Unescape::default()),
            Ok(Outer::Value(c)) => {
                parsed.text.push(c);
                let mut nesting = Nesting::default();
                nesting.push(c);
                self.state = State::Value(nesting);
            }
            Err(Unread::Incomplete) => {}
            Err(Unread::Other) => {
                parsed.text.push_str(raw);
                self.state = State::Text;
            }
        }
    }

    /// What a call is announced with in text.
    fn open(&self) -> &'static str {
        match self.format {
            ToolFormat::Hermes => "<tool_call>",
            ToolFormat::Mistral => "[TOOL_CALLS]",
            _ => "",
        }
    }
}

enum Outer {
    Call,
    Text,
    Value(char),
}

/// What the outer object of the generic form holds; the last character of `raw` is the first one of it.
fn outer(raw: &str) -> Result<Outer, Unread> {
    let mut json = Beginning { rest: raw };
    json.eat('{')?;
    let key = json.string()?;
    json.eat(':')?;
    match (key.as_str(), json.peek()?) {
        ("tool_call", '{') => Ok(Outer::Call),
        ("response", '"') => Ok(Outer::Text),
        ("response", c @ ('{' | '[')) => Ok(Outer::Value(c)),
        _ => Err(Unread::Other),
    }
}

/// How many bytes at the end of `text` may be white space before a mark, and the mark's beginning.
fn kept(text: &str, mark: &str) -> usize {
    let begun = (1..mark.len()).rev().find(|&length| mark.is_char_boundary(length) && text.ends_with(&mark[..length]));
    let before = &text[..text.len() - begun.unwrap_or(0)];
    text.len() - before.trim_end().len()
}
