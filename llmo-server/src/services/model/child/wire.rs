//! Messages over a socket: each its length in four bytes, then MessagePack.
//!
//! Many messages go in one write. Whoever has something to say adds it to the [`Outbox`]; one task empties that.

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

/// Longest message, in bytes. The largest there are: vectors of a batch of texts.
const MAX_MESSAGE: usize = 256 << 20;
/// Bytes that may wait to be written before more are refused: the other side has stopped reading.
const MAX_WAITING: usize = 64 << 20;
/// Memory that is kept between writes, in bytes.
const KEPT: usize = 1 << 20;
const PREFIX: usize = 4;

/// Why a message can't be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It has no form on the wire, or too long a one.
    #[error("it can't be handed to the engine's process: {0}")]
    Message(String),
    /// Too much waits to be written.
    #[error("{0} bytes wait to be read by the engine's process")]
    Full(usize),
    /// Nobody reads any more.
    #[error("the engine's process has gone")]
    Closed,
}

/// Messages that wait to be written. What bounds them: a stream sends no more than its reader allowed, and requests are
/// refused past [`MAX_WAITING`].
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: BytesMut,
    closed: bool,
}

impl Outbox {
    /// Adds a message.
    ///
    /// # Errors
    /// [`SendError`]; then nothing was added.
    pub(super) fn send(&self, message: &impl Serialize) -> Result<(), SendError> {
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(SendError::Closed);
            }
            if waiting.bytes.len() > MAX_WAITING {
                return Err(SendError::Full(waiting.bytes.len()));
            }
            append(&mut waiting.bytes, message)?;
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Takes no more; what waits is still written.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_one();
    }

    /// Writes whatever comes until the outbox is closed and empty. After a write the next comes no sooner than `pace`: a
    /// decode step gives a token to each of many streams within a millisecond, and they should share a write.
    pub(super) async fn write_to(&self, mut socket: OwnedWriteHalf, pace: Duration) -> io::Result<()> {
        let mut batch = BytesMut::new();
        let mut next = Instant::now();
        loop {
            self.changed.notified().await;
            if Instant::now() < next {
                sleep_until(next).await;
            }
            next = Instant::now() + pace;
            let closed = {
                let mut waiting = self.waiting.lock();
                std::mem::swap(&mut waiting.bytes, &mut batch);
                waiting.closed
            };
            socket.write_all(&batch).await?;
            // A long message must not take its memory for good.
            batch = if batch.capacity() > KEPT { BytesMut::new() } else { batch };
            batch.clear();
            if closed {
                return socket.shutdown().await;
            }
        }
    }
}

fn append(bytes: &mut BytesMut, message: &impl Serialize) -> Result<(), SendError> {
    let start = bytes.len();
    bytes.put_u32_le(0);
    let written = rmp_serde::encode::write_named(&mut bytes.writer(), message);
    let length = bytes.len() - start - PREFIX;
    let length = match (written, u32::try_from(length)) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(()), Ok(length)) if length as usize <= MAX_MESSAGE => Ok(length),
        (Ok(()), _) => Err(format!("{length} bytes; at most {MAX_MESSAGE}")),
    };
    match length {
        Ok(length) => {
            bytes[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        Err(reason) => {
            bytes.truncate(start);
            Err(SendError::Message(reason))
        }
    }
}

/// Messages that come in.
pub(super) struct Inbox(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

impl Inbox {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_length(PREFIX)
            .max_frame_length(MAX_MESSAGE)
            .new_codec();
        Self(FramedRead::new(socket, codec))
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or what came is no message.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match self.0.next().await {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(frame)) => {
                let message = rmp_serde::from_slice(&frame);
                message.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use llmo_config::KvChoice;
    use llmo_core::GenerateRequest;
    use llmo_core::model::{
        Constraint, Delta, Event, LoadProgress, LoadStep, ModelInfo, Quantisation, TokenLogprob, Tool, ToolChoice,
        TopLogprob,
    };
    use serde_json::json;
    use tokio::net::UnixStream;

    use super::super::super::budget::Need;
    use super::super::super::terms::Outcome;
    use super::super::protocol::{Call, Command, Report, Run};
    use super::*;

    async fn across<S: Serialize, R: DeserializeOwned>(messages: &[S]) -> Vec<R> {
        let (here, there) = UnixStream::pair().unwrap();
        let outbox = Outbox::default();
        messages.iter().for_each(|message| outbox.send(message).unwrap());
        outbox.close();
        let mut inbox = Inbox::new(there.into_split().0);
        let writing = outbox.write_to(here.into_split().1, Duration::ZERO);
        let reading = async {
            let mut received = Vec::new();
            while let Some(message) = inbox.next().await.unwrap() {
                received.push(message);
            }
            received
        };
        let (written, received) = tokio::join!(writing, reading);
        written.unwrap();
        received
    }

    #[tokio::test]
    async fn requests_arrive_whole() {
        let mut request = GenerateRequest::ask("zażółć\u{0}");
        request.constraint = Some(Constraint::JsonSchema(json!({"type": "object", "n": [1, -2, 0.5, null, u64::MAX]})));
        request.tools = vec![Tool::new("f", json!({}))];
        request.tool_choice = ToolChoice::Named("f".into());
        request.sampling.logit_bias = vec![(3, f32::NEG_INFINITY)];
        request.sampling.seed = Some(u64::MAX);
        let run =
            Run { id: 7, time: Some(Duration::from_millis(1500)), call: Call::Generate(Box::new(request.clone())) };
        let received: Vec<Command> = across(&[Command::Run(Box::new(run)), Command::Cancel(7)]).await;
        let Command::Run(run) = &received[0] else { panic!("{received:?}") };
        let Call::Generate(arrived) = &run.call else { panic!("{run:?}") };
        assert_eq!((run.id, run.time), (7, Some(Duration::from_millis(1500))));
        assert_eq!(**arrived, request);
        assert!(matches!(received[1], Command::Cancel(7)));
    }

    #[tokio::test]
    async fn events_arrive_as_they_were_whatever_is_left_out_of_them() {
        let mut delta = Delta::new("t", vec![1, 2]);
        let top = vec![TopLogprob { token: 9, bytes: vec![0xff], logprob: f32::NEG_INFINITY }];
        delta.logprobs.push(TokenLogprob { token: 1, bytes: vec![0xc5], logprob: -0.1, top });
        let mut info = ModelInfo::new("m", "llama.cpp");
        info.quantisation = Quantisation::Named("Q4_1".into());
        let need = Some(Need { weights: 1, own: u64::MAX });
        let outcome = Outcome { need, kv_type: KvChoice::Q8_0 };
        let progress = [LoadProgress::new(LoadStep::Tuning), LoadProgress::new(LoadStep::Loading).of(1, 3)];
        let sent = [
            Report::Event(1, Event::Delta(delta.clone())),
            Report::Event(2, Event::Delta(Delta::default())),
            Report::Loaded(Box::new(info.clone()), outcome.clone()),
            Report::Loading(progress[0]),
            Report::Loading(progress[1]),
        ];
        let received: Vec<Report> = across(&sent).await;
        assert!(matches!(&received[0], Report::Event(1, Event::Delta(arrived)) if *arrived == delta));
        assert!(matches!(&received[1], Report::Event(2, Event::Delta(arrived)) if *arrived == Delta::default()));
        assert!(matches!(&received[2], Report::Loaded(arrived, told) if (&**arrived, told) == (&info, &outcome)));
        assert!(matches!(&received[3..], [Report::Loading(a), Report::Loading(b)] if [*a, *b] == progress));
    }

    #[tokio::test]
    async fn a_reader_that_stops_makes_requests_be_refused_and_costs_bounded_memory() {
        let outbox = Outbox::default();
        let message = vec![0_u8; 8 << 20];
        let sent = (0..100).take_while(|_| outbox.send(&message).is_ok()).count();
        assert!((1..10).contains(&sent), "{sent}");
        assert!(matches!(outbox.send(&1_u8), Err(SendError::Full(_))));
    }

    #[tokio::test]
    async fn noise_is_an_error_and_no_allocation() {
        for noise in [&[0xff_u8; 64][..], &[1, 0, 0, 0, 0xc1]] {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(noise).await.unwrap();
            let mut inbox = Inbox::new(there.into_split().0);
            assert!(inbox.next::<Report>().await.is_err());
        }
    }

    #[tokio::test]
    async fn a_closed_outbox_takes_nothing() {
        let outbox = Arc::new(Outbox::default());
        outbox.close();
        assert!(matches!(outbox.send(&1_u8), Err(SendError::Closed)));
    }
}
