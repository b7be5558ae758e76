//! Dropping cancels and frees.

use std::time::Duration;

use futures::StreamExt;

use super::Subject;
use crate::conformance::wait::{in_time, ok};

pub(super) async fn check(subject: &Subject) {
    subject.idle("the model comes to rest").await;
    a_dropped_stream_frees_its_slot(subject).await;
    an_unread_stream_frees_its_slot(subject).await;
    a_dropped_future_starts_nothing(subject).await;
    subject.still_works("dropped requests").await;
}

async fn a_dropped_stream_frees_its_slot(subject: &Subject) {
    let rule = "a stream that is dropped frees its slot";
    for _ in 0..3 {
        let mut stream = ok(rule, subject.model.generate(subject.request()).await);
        let first = in_time(rule, subject.options.patience, stream.next()).await;
        assert!(matches!(first, Some(Ok(_))), "{rule}: {first:?}");
        drop(stream);
        subject.idle(rule).await;
    }
}

async fn an_unread_stream_frees_its_slot(subject: &Subject) {
    let rule = "a stream that nobody reads frees its slot when it is dropped";
    drop(ok(rule, in_time(rule, subject.options.patience, subject.model.generate(subject.request())).await));
    subject.idle(rule).await;
}

async fn a_dropped_future_starts_nothing(subject: &Subject) {
    let rule = "a request that is dropped before it is accepted holds nothing";
    drop(subject.model.generate(subject.request()));
    subject.idle(rule).await;
    // Dropped wherever it waits at first.
    drop(tokio::time::timeout(Duration::ZERO, subject.model.generate(subject.request())).await);
    subject.idle(rule).await;
}
