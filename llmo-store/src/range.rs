//! Which bytes of an object are asked for, and reading exactly those.

use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use llmo_core::store::{ByteStream, GetOptions, Result, StoreError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use crate::stream_end::with_end;

const PIECE: usize = 256 << 10;

/// The bytes that `options` mean in an object of `size` bytes.
///
/// # Errors
/// [`StoreError::InvalidRange`] if they start past the end. Starting at the end is an empty range.
pub(crate) fn resolve(options: &GetOptions, size: u64) -> Result<Range<u64>> {
    if options.offset > size {
        return Err(StoreError::InvalidRange { offset: options.offset, size });
    }
    let end = options.length.map_or(size, |length| options.offset.saturating_add(length).min(size));
    Ok(options.offset..end)
}

/// `length` bytes from a reader; `doing` names the work in errors.
pub(crate) fn read(reader: impl AsyncRead + Send + Unpin + 'static, length: u64, doing: String) -> ByteStream {
    let pieces = ReaderStream::with_capacity(reader.take(length), PIECE);
    let named = doing.clone();
    let pieces = pieces.map(move |piece| piece.map_err(|e| crate::local::io_fault(&named, e)));
    exactly(pieces, length, doing)
}

/// Turns an early end into an error: half an object must never pass for a whole one.
pub(crate) fn exactly(
    pieces: impl Stream<Item = Result<Bytes>> + Send + 'static,
    length: u64,
    doing: String,
) -> ByteStream {
    let mut left = length;
    with_end(pieces)
        .filter_map(move |step| {
            let out = match step {
                Some(Ok(piece)) => {
                    left = left.saturating_sub(piece.len() as u64);
                    Some(Ok(piece))
                }
                Some(Err(error)) => {
                    left = 0;
                    Some(Err(error))
                }
                None if left > 0 => {
                    Some(Err(StoreError::SizeMismatch { path: doing.clone(), expected: length, actual: length - left }))
                }
                None => None,
            };
            std::future::ready(out)
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_at_the_end_and_start_before_it() {
        assert_eq!(resolve(&GetOptions::default(), 5).ok(), Some(0..5));
        assert_eq!(resolve(&GetOptions::from(5), 5).ok(), Some(5..5));
        assert_eq!(resolve(&GetOptions::range(2, u64::MAX), 5).ok(), Some(2..5));
        assert!(matches!(resolve(&GetOptions::from(6), 5), Err(StoreError::InvalidRange { offset: 6, size: 5 })));
    }

    #[tokio::test]
    async fn an_early_end_is_an_error() {
        let pieces = read(&b"abc"[..], 5, "reading x".into());
        let all: Vec<_> = pieces.collect().await;
        assert!(matches!(all.last(), Some(Err(StoreError::SizeMismatch { expected: 5, actual: 3, .. }))));
    }
}
