//! The forms in which families of models write calls.

/// A form of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToolFormat {
    /// Hermes, Qwen 2.5 and 3: `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`, once for each call.
    Hermes,
    /// Llama 3.1 to 3.3: the whole answer is `{"name": …, "parameters": {…}}`, perhaps behind `<|python_tag|>`, several
    /// with `;` between them.
    Llama3,
    /// Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`.
    Mistral,
    /// Models that were taught none: the whole answer is `{"tool_call": {"name": …, "arguments": {…}}}` or
    /// `{"response": "…"}`, explained in the system message and held by a grammar (as llama-server does).
    Generic,
}

impl ToolFormat {
    /// The form that a model with this chat template was taught.
    #[must_use]
    pub fn of_template(source: &str) -> Self {
        let has = |text: &str| source.contains(text);
        if !has("tools") {
            Self::Generic
        } else if has("<tool_call>") && !has("<function=") {
            Self::Hermes
        } else if has("[TOOL_CALLS]") && !has("[ARGS]") && !has("[CALL_ID]") {
            Self::Mistral
        } else if has("Environment: ipython") {
            Self::Llama3
        } else {
            Self::Generic
        }
    }

    /// Is it the model's own form, which its template explains?
    #[must_use]
    pub fn is_native(self) -> bool {
        self != Self::Generic
    }

    /// Texts that may be control tokens, and that the parser must see all the same.
    #[must_use]
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Hermes => &["<tool_call>", "</tool_call>"],
            Self::Llama3 => &["<|python_tag|>"],
            Self::Mistral => &["[TOOL_CALLS]"],
            Self::Generic => &[],
        }
    }

    /// The key of the arguments.
    pub(super) fn arguments_key(self) -> &'static str {
        if self == Self::Llama3 { "parameters" } else { "arguments" }
    }
}
