//! Several generations read as one sequence of events, each with its choice's number.

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use llmo_core::model::{Event, Finish};
use llmo_core::{EventStream, ModelError};

/// The generations of one request. Fair: a fast choice does not starve a slow one.
pub(super) struct Merged {
    events: Events,
    finishes: Vec<Option<Finish>>,
}

enum Events {
    /// Nearly always: nothing to merge.
    One(EventStream),
    Many(SelectAll<BoxStream<'static, (usize, Result<Event, ModelError>)>>),
}

impl Merged {
    pub(super) fn new(mut streams: Vec<EventStream>) -> Self {
        let finishes = vec![None; streams.len()];
        if let [_] = streams[..]
            && let Some(one) = streams.pop()
        {
            return Self { events: Events::One(one), finishes };
        }
        let numbered = streams.into_iter().enumerate();
        let events = numbered.map(|(choice, stream)| stream.map(move |event| (choice, event)).boxed()).collect();
        Self { events: Events::Many(events), finishes }
    }

    /// How many choices there are.
    pub(super) fn len(&self) -> usize {
        self.finishes.len()
    }

    /// The next event of any choice; `None` when all have ended. Finishes are remembered.
    pub(super) async fn next(&mut self) -> Option<(usize, Result<Event, ModelError>)> {
        let (choice, event) = match &mut self.events {
            Events::One(stream) => (0, stream.next().await?),
            Events::Many(streams) => streams.next().await?,
        };
        if let Ok(Event::Finish(finish)) = &event {
            self.finishes[choice] = Some(finish.clone());
        }
        Some((choice, event))
    }

    /// The finishes, in the order of choices.
    ///
    /// # Errors
    /// [`ModelError::Upstream`] if a generation ended without one.
    pub(super) fn into_finishes(self) -> Result<Vec<Finish>, ModelError> {
        let missing = || ModelError::Upstream { message: "the stream ended without a finish".into(), started: true };
        self.finishes.into_iter().map(|finish| finish.ok_or_else(missing)).collect()
    }
}
