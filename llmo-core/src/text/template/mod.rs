//! Chat templates: the model's own Jinja template turns a conversation into a prompt.
//!
//! Templates come from model files and are not trusted. They run with fuel, which pays for every instruction and for
//! every byte they produce, so a template that loops or grows ends with [`TemplateError::Exhausted`] in milliseconds.
//! The dialect is that of Hugging Face's transformers: `trim_blocks` and `lstrip_blocks`, Python's string and dict
//! methods, `raise_exception`, `tojson`, loop controls, and the `generation` block, which only marks and changes nothing.

mod clock;
mod conversation;
mod engine;
mod error;
mod isolation;
mod json;
mod text_of_values;

use minijinja::value::Value;
use minijinja::{Environment, context};

use crate::model::Message;
pub use conversation::Conversation;
pub use error::TemplateError;
use isolation::Isolation;

/// Name of the only template in its environment.
const NAME: &str = "chat";
/// Fuel for any conversation. A unit is one instruction or 64 bytes of text made: this bounds memory to some 5 MB.
const BASE_FUEL: u64 = 50_000;
/// Fuel for each message. Real templates use less than a hundred.
const FUEL_PER_MESSAGE: u64 = 400;
/// How many times a template may copy all text of the conversation.
const COPIES: u64 = 16;
/// Fuel for the largest conversation: bounds how deep values can be nested, see [`isolation`].
const MAX_FUEL: u64 = 500_000;

/// A compiled chat template.
///
/// ```
/// use llmo_core::model::Message;
/// use llmo_core::text::ChatTemplate;
///
/// let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}\
///               {% if add_generation_prompt %}<|assistant|>{% endif %}";
/// let template = ChatTemplate::compile(source, "<s>", "</s>")?;
/// assert_eq!(template.render(&[Message::user("Hi")], true)?, "<|user|>Hi</s><|assistant|>");
/// # Ok::<(), llmo_core::text::TemplateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: Value,
    eos: Value,
    isolation: Isolation,
}

impl ChatTemplate {
    /// Compiles a template; `bos` and `eos` are the texts of those tokens, empty where the model has none.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`] if it is not a template or longer than 1 MiB.
    pub fn compile(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let environment = engine::environment(source)?;
        Ok(Self { environment, bos: Value::from(bos), eos: Value::from(eos), isolation: Isolation::default() })
    }

    /// Lets the template ask for the date: `strftime_now` tells this Unix time (seconds, UTC).
    ///
    /// Without it the function is undefined, templates fall back to a fixed date or none, and prompts stay the same
    /// from day to day, which caches need.
    #[must_use]
    pub fn at(mut self, unix_seconds: u64) -> Self {
        self.environment.add_function("strftime_now", move |format: &str| clock::strftime(unix_seconds, format));
        self
    }

    /// Renders a conversation; with `add_generation_prompt` up to where the model's answer begins.
    ///
    /// # Errors
    /// [`TemplateError::Rejected`] if the template does not take this conversation (its own words),
    /// [`TemplateError::Exhausted`], [`TemplateError::Failed`].
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TemplateError> {
        self.render_conversation(&Conversation::new(messages).generation_prompt(add_generation_prompt))
    }

    /// Renders a conversation with everything that belongs to it.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_conversation(&self, conversation: &Conversation<'_>) -> Result<String, TemplateError> {
        let bytes = conversation.bytes() as u64;
        let messages = conversation.messages.len() as u64;
        let fuel = BASE_FUEL + FUEL_PER_MESSAGE * messages + COPIES * bytes.div_ceil(64);
        // A description of functions is written as JSON, byte by byte.
        let fuel = fuel + conversation.json_bytes() as u64;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel.min(MAX_FUEL)));
        let variables = context! {
            messages => conversation.messages_value(),
            add_generation_prompt => conversation.add_generation_prompt,
            bos_token => &self.bos,
            eos_token => &self.eos,
            tools => conversation.tools_value(),
            documents => Value::from(()),
        };
        self.isolation.run(move || Ok(environment.get_template(NAME)?.render(variables)?))
    }
}
