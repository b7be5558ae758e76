//! Regular expressions and choices, as grammars of one terminal.

use std::fmt::Write;

use llmo_core::ModelError;

use super::{PARAM, limits};

/// The grammar of texts that an expression matches as a whole. `^` at its beginning and `$` at its end are taken off.
pub(super) fn regex(expression: &str) -> Result<String, ModelError> {
    let expression = expression.strip_prefix('^').unwrap_or(expression);
    let ends = expression.ends_with('$')
        && expression[..expression.len() - 1].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0;
    let expression = if ends { &expression[..expression.len() - 1] } else { expression };
    if expression.is_empty() {
        return Err(ModelError::invalid(PARAM, "a regular expression must not be empty"));
    }
    check_repetitions(expression)?;
    // JSON schema's and Python's users mean these classes in ASCII; of white space all of Unicode's.
    let expression = llguidance::regex_to_lark(expression, "dw");
    Ok(format!("start: /({expression})/\n"))
}

/// The grammar of one of several texts.
pub(super) fn choice(texts: &[String]) -> Result<String, ModelError> {
    if texts.is_empty() || texts.len() > limits::CHOICES {
        let message = format!("1 to {} choices, got {}", limits::CHOICES, texts.len());
        return Err(ModelError::invalid(PARAM, message));
    }
    if texts.iter().any(String::is_empty) {
        return Err(ModelError::invalid(PARAM, "a choice must not be empty"));
    }
    // One terminal, so that a text that begins with another one is not cut short.
    let mut lark = String::from("start: /(");
    for (i, text) in texts.iter().enumerate() {
        lark.push_str(if i == 0 { "" } else { "|" });
        text.chars().for_each(|c| literal(&mut lark, c));
    }
    lark.push_str(")/\n");
    Ok(lark)
}

/// Writes a character as an expression that matches it, in a form that needs no escape anywhere.
pub(super) fn literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == ' ' || c == '_' {
        out.push(c);
    } else {
        // Writing to a String can't fail.
        let _ = write!(out, "\\x{{{:x}}}", u32::from(c));
    }
}

/// Refuses repetitions that multiply to more than the limit. Braces in classes are no repetitions; taking them for some
/// refuses nothing that is in use.
pub(super) fn check_repetitions(expression: &str) -> Result<(), ModelError> {
    let mut product = 1_u64;
    let mut escaped = false;
    for (i, c) in expression.char_indices() {
        if c == '{' && !escaped {
            let inside = expression[i + 1..].split('}').next().unwrap_or_default();
            if let Some(bound) = bound(inside) {
                check_bound(bound)?;
                // What follows each other adds up and what is inside each other multiplies. The compiler bounds sums;
                // a product is assumed where a group is repeated.
                if expression[..i].ends_with(')') {
                    product = product.saturating_mul(bound.max(1));
                }
            }
        }
        escaped = c == '\\' && !escaped;
    }
    check_bound(product)
}

/// Refuses the bounds of a repetition, as `3`, `3,` `,5`, `3,5` or `3..5`, if they are too large.
pub(super) fn check_numbers(inside: &str) -> Result<(), ModelError> {
    bound(inside).map_or(Ok(()), check_bound)
}

/// The larger number of a repetition; `None` if it is none.
fn bound(inside: &str) -> Option<u64> {
    let numbers = inside.split([',', '.']).map(str::trim).filter(|number| !number.is_empty());
    let numbers: Option<Vec<u64>> = numbers
        .map(|number| {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| number.parse().unwrap_or(u64::MAX))
        })
        .collect();
    numbers?.into_iter().max()
}

fn check_bound(bound: u64) -> Result<(), ModelError> {
    if bound <= limits::REPETITION {
        return Ok(());
    }
    Err(ModelError::invalid(PARAM, format!("repetitions up to {} are allowed, not {bound}", limits::REPETITION)))
}
