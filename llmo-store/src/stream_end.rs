//! Streams whose consumer must notice the end.

use futures::{Stream, StreamExt};

/// The items of a stream, each as `Some`, and one `None` when it has ended.
pub(crate) fn with_end<S: Stream>(stream: S) -> impl Stream<Item = Option<S::Item>> {
    stream.map(Some).chain(futures::stream::once(std::future::ready(None)))
}
