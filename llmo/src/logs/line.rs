//! What a log line says about itself, whether it is text or JSON.

/// When it was written: an RFC 3339 time in UTC, at its beginning or as the field `timestamp`. Such times sort as text.
/// `None` for lines that have none: what native code prints, the rest of a panic.
pub(super) fn time(line: &str) -> Option<&str> {
    let start = match line.strip_prefix('{') {
        Some(_) => line.find("\"timestamp\":\"")? + "\"timestamp\":\"".len(),
        // Colours come before it on a terminal.
        None => {
            line.find(|c: char| c.is_ascii_digit()).filter(|&at| line[..at].chars().all(|c| "\u{1b}[".contains(c)))?
        }
    };
    let rest = skip_colour(&line[start..]);
    let end = rest.find(['Z', '"', ' '])?;
    let time = &rest[..end];
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = time.len() >= shape.len()
        && time
            .bytes()
            .zip(shape)
            .all(|(byte, shape)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape });
    fits.then_some(time)
}

/// `2m2026-…`: the number of a colour, then the time.
fn skip_colour(text: &str) -> &str {
    match text.split_once('m') {
        Some((number, rest)) if number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => text,
    }
}

/// Is it about this request (or this trace)?
pub(super) fn names(line: &str, id: &str) -> bool {
    let whole = |c: char| !(c.is_ascii_alphanumeric() || "-_.:".contains(c));
    line.match_indices(id).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_none_or(whole);
        before && line[at + id.len()..].chars().next().is_none_or(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_json_and_colours_have_a_time() {
        for line in [
            "2026-11-23T21:47:30.123456Z  INFO llmo_gateway: listening",
            "{\"timestamp\":\"2026-11-23T21:47:30.123456Z\",\"level\":\"INFO\"}",
            "{\"level\":\"INFO\",\"timestamp\":\"2026-11-23T21:47:30.123456Z\"}",
            "\u{1b}[2m2026-11-23T21:47:30.123456Z\u{1b}[0m INFO x",
        ] {
            assert_eq!(time(line), Some("2026-11-23T21:47:30.123456"), "{line}");
        }
    }

    #[test]
    fn other_lines_have_none() {
        for line in [
            "",
            "llama_context: n_ctx = 4096",
            "2026 was a year",
            "   at src/main.rs:5",
            "{\"a\":1}",
            "ä2026-11-23T21:47:30Z",
        ] {
            assert_eq!(time(line), None, "{line}");
        }
    }

    #[test]
    fn an_id_is_not_found_in_a_longer_one() {
        assert!(names("request_id=\"r-1\" x", "r-1"));
        assert!(names("{\"request_id\":\"r-1\"}", "r-1"));
        assert!(!names("request_id=\"r-12\"", "r-1"));
        assert!(!names("request_id=\"ar-1\"", "r-1"));
    }
}
