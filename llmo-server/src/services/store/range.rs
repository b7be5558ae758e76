//! The `range` header.

use llmo_core::store::GetOptions;

/// The bytes that a `range` header asks for, in an object of `size` bytes.
///
/// `None` for what a server may ignore: other units, several ranges, what isn't a range at all. A range that can't be
/// satisfied starts past the end, and the store says so.
pub(super) fn parse(header: &str, size: u64) -> Option<GetOptions> {
    let (first, last) = header.strip_prefix("bytes=")?.trim().split_once('-')?;
    if first.is_empty() {
        let length: u64 = number(last)?;
        // The last zero bytes are no bytes: not satisfiable.
        return Some(GetOptions::from(if length == 0 { size + 1 } else { size.saturating_sub(length) }));
    }
    let first = number(first)?;
    if first >= size {
        return Some(GetOptions::from(size + 1));
    }
    if last.is_empty() {
        return Some(GetOptions::from(first));
    }
    let last = number(last)?;
    (last >= first).then(|| GetOptions::range(first, (last - first).saturating_add(1)))
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood_in_its_three_forms() {
        assert_eq!(parse("bytes=2-5", 10), Some(GetOptions::range(2, 4)));
        assert_eq!(parse("bytes=2-", 10), Some(GetOptions::from(2)));
        assert_eq!(parse("bytes=-3", 10), Some(GetOptions::from(7)));
        assert_eq!(parse("bytes=-30", 10), Some(GetOptions::from(0)));
        assert_eq!(parse("bytes=0-18446744073709551615", 10), Some(GetOptions::range(0, u64::MAX)));
    }

    #[test]
    fn a_range_past_the_end_is_told_from_no_range() {
        for past in ["bytes=10-", "bytes=11-12", "bytes=-0"] {
            assert_eq!(parse(past, 10), Some(GetOptions::from(11)), "{past}");
        }
        for none in [
            "lines=1-2",
            "bytes=1-2,4-5",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=a-b",
            "bytes=",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(parse(none, 10), None, "{none}");
        }
    }
}
