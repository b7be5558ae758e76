//! The thread that computes embeddings, one request after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use llmo_core::ModelError;
use llmo_core::model::TokenId;
use tokio::sync::oneshot;

use super::batch;
use super::network::Network;
use crate::candle::queue::{Job, Queue};

/// Texts to embed, or pairs of texts to judge, and who wants to know.
#[derive(Debug)]
pub(super) struct Embedding {
    pub(super) texts: Vec<Vec<TokenId>>,
    /// Where the second text of each pair begins; `None`: they are texts to embed. The vector of a pair is its score.
    pub(super) seconds: Option<Vec<usize>>,
    pub(super) reply: oneshot::Sender<Result<Vec<Vec<f32>>, ModelError>>,
}

impl Job for Embedding {
    fn tokens(&self) -> u64 {
        self.texts.iter().map(|text| text.len() as u64).sum()
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// Starts the thread; it ends once the queue is closed and empty.
///
/// # Errors
/// [`ModelError::Internal`] if the system refuses a thread.
pub(super) fn start(queue: Arc<Queue<Embedding>>, network: Network) -> Result<(), ModelError> {
    let work = move || {
        while let Some(job) = queue.take() {
            let computed = catch_unwind(AssertUnwindSafe(|| compute(&network, &job)));
            let panicked = |_| Some(Err(ModelError::Internal("the network panicked".into())));
            if let Some(result) = computed.unwrap_or_else(panicked) {
                // Nobody waits any more if this fails.
                let _ = job.reply.send(result);
            }
        }
    };
    thread::Builder::new()
        .name("llmo-bert".into())
        .spawn(work)
        .map(|_| ())
        .map_err(|error| ModelError::Internal(format!("no thread for the model: {error}")))
}

/// Vectors in the order of the texts; `None` if nobody waits for them any more.
fn compute(network: &Network, job: &Embedding) -> Option<Result<Vec<Vec<f32>>, ModelError>> {
    let lengths: Vec<usize> = job.texts.iter().map(Vec::len).collect();
    let mut vectors = vec![Vec::new(); job.texts.len()];
    for batch in batch::plan(&lengths) {
        if job.is_abandoned() {
            return None;
        }
        let texts: Vec<&[TokenId]> = batch.iter().map(|&text| job.texts[text].as_slice()).collect();
        let computed = match &job.seconds {
            None => network.embed(&texts),
            Some(seconds) => {
                let seconds: Vec<usize> = batch.iter().map(|&text| seconds[text]).collect();
                network.score(&texts, &seconds).map(|scores| scores.into_iter().map(|score| vec![score]).collect())
            }
        };
        match computed {
            Ok(computed) => batch.iter().zip(computed).for_each(|(&text, vector)| vectors[text] = vector),
            Err(error) => return Some(Err(ModelError::Internal(format!("candle: {error}")))),
        }
    }
    Some(Ok(vectors))
}
