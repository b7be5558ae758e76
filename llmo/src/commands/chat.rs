//! `llmo chat`: a conversation. `/help` lists what can be typed beside messages.

use llmo_config::Config;
use llmo_core::Model;
use llmo_core::model::{Message, Prompt};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::run::{print_stream, request};
use crate::cli::ChatArgs;
use crate::connect::connect;
use crate::error::{CliError, Result};

const HELP: &str = "/clear forgets the conversation, /system TEXT sets the instructions, /bye (or Ctrl-D) ends";

pub(crate) async fn run(arguments: &ChatArgs, config: &Config) -> Result {
    let model = connect(config, arguments.model.as_deref()).await?;
    let mut editor = DefaultEditor::new().map_err(|error| CliError::Message(format!("no line editing: {error}")))?;
    let mut conversation = Conversation::new(arguments.system.clone());
    eprintln!("{} is listening; {HELP}", model.info().id);
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(CliError::Message(format!("cannot read a line: {error}"))),
        };
        // A history that can't grow is no reason to end the conversation.
        let _ = editor.add_history_entry(&line);
        match Input::of(&line) {
            Input::Nothing => {}
            Input::End => return Ok(()),
            Input::Help => eprintln!("{HELP}"),
            Input::Clear => conversation.clear(),
            Input::System(text) => conversation = Conversation::new(Some(text.to_owned())),
            Input::Message(text) => {
                // The conversation goes on after an error: the question is simply not part of it.
                if let Err(error) = answer(model.as_ref(), &mut conversation, text, arguments).await {
                    eprintln!("error: {error}");
                }
            }
        }
    }
}

async fn answer(model: &dyn Model, conversation: &mut Conversation, text: &str, arguments: &ChatArgs) -> Result {
    let prompt = Prompt::Chat(conversation.with(text));
    let stream = model.generate(request(prompt, &arguments.sampling)).await?;
    let (reply, _) = print_stream(stream).await?;
    conversation.push(text, reply);
    Ok(())
}

/// What a line means.
#[derive(Debug, PartialEq)]
enum Input<'a> {
    Nothing,
    End,
    Help,
    Clear,
    System(&'a str),
    Message(&'a str),
}

impl<'a> Input<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "" => Self::Nothing,
            "/bye" | "/exit" | "/quit" => Self::End,
            "/help" | "/?" => Self::Help,
            "/clear" => Self::Clear,
            "/system" => Self::System(rest.trim()),
            _ => Self::Message(line),
        }
    }
}

/// The messages so far.
struct Conversation {
    system: Option<String>,
    messages: Vec<Message>,
}

impl Conversation {
    fn new(system: Option<String>) -> Self {
        let messages = system.iter().map(Message::system).collect();
        Self { system, messages }
    }

    fn clear(&mut self) {
        *self = Self::new(self.system.take());
    }

    fn with(&self, text: &str) -> Vec<Message> {
        self.messages.iter().cloned().chain([Message::user(text)]).collect()
    }

    fn push(&mut self, question: &str, reply: String) {
        self.messages.extend([Message::user(question), Message::assistant(reply)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_slashes_are_commands() {
        assert_eq!(Input::of("/system be brief "), Input::System("be brief"));
        assert_eq!(Input::of(" /etc/passwd is what? "), Input::Message("/etc/passwd is what?"));
        assert_eq!(Input::of("  "), Input::Nothing);
        assert_eq!(Input::of("/bye"), Input::End);
    }

    #[test]
    fn clearing_keeps_the_instructions() {
        let mut conversation = Conversation::new(Some("be brief".into()));
        conversation.push("hi", "hello".into());
        conversation.clear();
        assert_eq!(conversation.with("again"), [Message::system("be brief"), Message::user("again")]);
    }
}
