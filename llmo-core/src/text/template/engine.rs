//! The Jinja engine, set up as transformers sets up its own.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};

use super::error::Raised;
use super::{NAME, TemplateError, json, text_of_values};

/// Longest source, in bytes. The longest real templates have some 30 KB.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Depth of macro calls and includes: far above real templates, and safe on a 2 MiB stack.
const MAX_RECURSION: usize = 64;

/// An environment that holds `source` as its only template.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, TemplateError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(TemplateError::Syntax(format!("longer than {MAX_SOURCE_BYTES} bytes")));
    }
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| TemplateError::Failed(error.to_string()))?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_formatter(text_of_values::emit);
    environment.set_unknown_method_callback(text_of_values::method);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", text_of_values::string);
    environment.add_filter("join", text_of_values::join);
    environment.add_filter("format", text_of_values::format);
    environment.remove_filter("pprint");
    environment.add_function("raise_exception", raise_exception);
    environment.add_template_owned(NAME, without_generation_blocks(source))?;
    Ok(environment)
}

fn raise_exception(state: &State, message: &Value) -> Result<Value, Error> {
    let message = text_of_values::bounded_text(state, message)?;
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// transformers' `{% generation %}` marks what the model says, for training. Here it is a block that always runs.
fn without_generation_blocks(source: &str) -> String {
    let mut output = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        output.push_str(before);
        output.push_str("{%");
        rest = after;
        let sign = if after.starts_with(['-', '+']) { &after[..1] } else { "" };
        let tag = after[sign.len()..].trim_start();
        for (name, instead) in [("generation", " if true "), ("endgeneration", " endif ")] {
            if let Some(end) = tag.strip_prefix(name).map(str::trim_start)
                && (end.starts_with("%}") || end.starts_with("-%}") || end.starts_with("+%}"))
            {
                output.push_str(sign);
                output.push_str(instead);
                rest = end;
            }
        }
    }
    output.push_str(rest);
    output
}
