//! How long the body of a response is, and whether its connection lasts (RFC 9112, 6.3 and 9.3). Pure.
//!
//! Whatever two readers could understand differently is an error: who controls a part of an answer must not be able to
//! make up the begin of the next.

use http::StatusCode;
use httparse::Header;

use super::error::Error;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The framing that a head tells, in answer to a `POST`.
pub(super) fn framing(status: StatusCode, fields: &[Header<'_>]) -> Result<Framing, Error> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    let length = length(fields)?;
    let mut codings = values(fields, "transfer-encoding").flat_map(list).peekable();
    if codings.peek().is_some() {
        // A coding under `chunked` was not asked for; `chunked` twice is forbidden.
        if codings.next().is_none_or(|coding| !coding.eq_ignore_ascii_case(b"chunked")) || codings.next().is_some() {
            return Err(Error::Malformed("its transfer coding is unknown"));
        }
        if length.is_some() {
            return Err(Error::Malformed("it has both a length and a transfer coding"));
        }
        return Ok(Framing::Chunked);
    }
    Ok(length.map_or(Framing::UntilClose, Framing::Length))
}

/// May another request follow? Version 1.1 says so unless it says otherwise, 1.0 the other way round.
pub(super) fn keeps_alive(is_new: bool, fields: &[Header<'_>]) -> bool {
    let says =
        |what: &[u8]| values(fields, "connection").flat_map(list).any(|option| option.eq_ignore_ascii_case(what));
    !says(b"close") && (is_new || says(b"keep-alive"))
}

/// The length, if there is one: the same each time that it is said.
fn length(fields: &[Header<'_>]) -> Result<Option<u64>, Error> {
    let mut length = None;
    for value in values(fields, "content-length") {
        for one in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let one = number(one).ok_or(Error::Malformed("its length is none"))?;
            if length.is_some_and(|other| other != one) {
                return Err(Error::Malformed("it has two lengths"));
            }
            length = Some(one);
        }
    }
    Ok(length)
}

/// Digits only: no sign, no space.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn values<'a>(fields: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// The members of a list that has commas between them.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(lines: &[(&'a str, &'a str)]) -> Vec<Header<'a>> {
        lines.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect()
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (lines, expected) in [
            (&[][..], Framing::UntilClose),
            (&[("Content-Length", "7")], Framing::Length(7)),
            (&[("content-length", "7"), ("content-length", "7, 7")], Framing::Length(7)),
            (&[("Transfer-Encoding", "Chunked")], Framing::Chunked),
        ] {
            assert_eq!(framing(StatusCode::OK, &fields(lines)).unwrap(), expected, "{lines:?}");
        }
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
            assert_eq!(framing(status, &fields(&[("content-length", "7")])).unwrap(), Framing::Length(0));
        }
    }

    #[test]
    fn doubtful_lengths_are_refused() {
        for lines in [
            &[("content-length", "-1")][..],
            &[("content-length", "+1")],
            &[("content-length", "")],
            &[("content-length", "1,")],
            &[("content-length", "0x10")],
            &[("content-length", "1 2")],
            &[("content-length", "18446744073709551616")],
            &[("content-length", "1, 2")],
            &[("content-length", "1"), ("content-length", "2")],
            &[("content-length", "1"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "identity")],
        ] {
            assert!(framing(StatusCode::OK, &fields(lines)).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn connections_last_as_their_version_says_unless_told_otherwise() {
        assert!(keeps_alive(true, &[]) && !keeps_alive(false, &[]));
        assert!(!keeps_alive(true, &fields(&[("Connection", "x, Close")])));
        assert!(keeps_alive(false, &fields(&[("connection", "Keep-Alive")])));
        assert!(!keeps_alive(false, &fields(&[("connection", "keep-alive"), ("connection", "close")])));
    }
}
