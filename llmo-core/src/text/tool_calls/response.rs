//! The text in `{"response": "…"}`, unescaped as it comes.

/// Unescapes a JSON string, from behind its opening quote on.
#[derive(Debug, Default)]
pub(super) struct Unescape {
    /// An escape that is not complete.
    escape: String,
    /// The first half of a character outside the basic plane.
    high: Option<u16>,
}

impl Unescape {
    /// Takes the next character and adds what it means to `out`. True if it was the closing quote.
    pub(super) fn push(&mut self, c: char, out: &mut String) -> bool {
        if self.escape.is_empty() {
            match c {
                '"' => {
                    self.flush(out);
                    return true;
                }
                '\\' => self.escape.push(c),
                c => {
                    self.flush(out);
                    out.push(c);
                }
            }
            return false;
        }
        self.escape.push(c);
        let plain = match (self.escape.len(), c) {
            (2, 'u') => return false,
            (2, 'n') => '\n',
            (2, 't') => '\t',
            (2, 'r') => '\r',
            (2, 'b') => '\u{8}',
            (2, 'f') => '\u{c}',
            (2, c) => c,
            (6.., _) => {
                let unit = u16::from_str_radix(&self.escape[2..], 16).unwrap_or(0xFFFD);
                self.escape.clear();
                self.unit(unit, out);
                return false;
            }
            _ => return false,
        };
        self.escape.clear();
        self.flush(out);
        out.push(plain);
        false
    }

    fn unit(&mut self, unit: u16, out: &mut String) {
        match (self.high.take(), unit) {
            (None, 0xD800..0xDC00) => self.high = Some(unit),
            (high, unit) => {
                let units = high.into_iter().chain([unit]);
                out.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
        }
    }

    fn flush(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
