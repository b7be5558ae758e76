//! Where a JSON value ends, found character by character.

/// Follows one JSON object or array from its first character on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Nesting {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Takes the next character. True if the value ends with it.
    pub(super) fn push(&mut self, c: char) -> bool {
        if self.in_string {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// Reads the beginning of a JSON text, part by part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning<'a> {
    pub(super) rest: &'a str,
}

/// Why a beginning could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// There is more to come.
    Incomplete,
    /// It is something else.
    Other,
}

impl<'a> Beginning<'a> {
    /// White space, then this character.
    pub(super) fn eat(&mut self, expected: char) -> Result<(), Unread> {
        self.skip_space();
        match self.rest.chars().next() {
            None => Err(Unread::Incomplete),
            Some(c) if c == expected => {
                self.rest = &self.rest[c.len_utf8()..];
                Ok(())
            }
            Some(_) => Err(Unread::Other),
        }
    }

    /// White space, then a whole string.
    pub(super) fn string(&mut self) -> Result<String, Unread> {
        self.skip_space();
        let begin = self.rest;
        self.eat('"')?;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            if c == '"' && !escaped {
                let end = begin.len() - self.rest.len() + at + 1;
                self.rest = &begin[end..];
                return serde_json::from_str(&begin[..end]).map_err(|_| Unread::Other);
            }
            escaped = c == '\\' && !escaped;
        }
        Err(Unread::Incomplete)
    }

    /// White space, then the first character of a value, which is left.
    pub(super) fn peek(&mut self) -> Result<char, Unread> {
        self.skip_space();
        self.rest.chars().next().ok_or(Unread::Incomplete)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\t', '\r']);
    }
}
