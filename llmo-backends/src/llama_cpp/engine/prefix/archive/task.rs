//! The archive's own thread: all that waits for a store happens here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use llmo_core::Store;
use llmo_core::store::{GetOptions, ObjectMeta, StoreError, StorePath, StorePutOptions};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::format::{Entry, Fault, Head};
use super::shelf::{Arrival, Shelf};
use crate::llama_cpp::prefix_store::PrefixStore;

/// Other replicas' entries are found after this time.
const LOOK_AROUND: Duration = Duration::from_secs(60);
/// A store that takes longer is left alone.
const PATIENCE: Duration = Duration::from_secs(10);
/// The head of an entry with some 16 000 tokens fits into these bytes; longer ones are not made.
const HEAD: u64 = 72 << 10;
pub(super) const TOKENS_AT_MOST: usize = 16_000;

pub(super) enum Command {
    Fetch { number: u64, path: StorePath },
    Save(Entry),
}

pub(super) struct Task {
    store: Arc<dyn Store>,
    /// All entries of the model, whatever their identity: bounds hold for them together.
    model: StorePath,
    /// Those of our identity.
    own: StorePath,
    identity: String,
    max_bytes: u64,
    max_entries: usize,
    shelf: Arc<Shelf>,
}

impl Task {
    pub(super) fn new(options: PrefixStore, model: &str, identity: String, shelf: Arc<Shelf>) -> Result<Self, String> {
        let name = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        let model = options.directory.join(&name(model)).map_err(|e| e.to_string())?;
        let own = model.join(&name(&identity)).map_err(|e| e.to_string())?;
        let PrefixStore { store, max_bytes, max_entries, .. } = options;
        Ok(Self { store, model, own, identity, max_bytes, max_entries, shelf })
    }

    /// Works until the engine's end of the channel is gone.
    pub(super) fn run(self, commands: mpsc::Receiver<Command>) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.work(commands)),
            Err(error) => tracing::warn!(%error, "no runtime for the prefix store: nothing is kept"),
        }
    }

    async fn work(self, mut commands: mpsc::Receiver<Command>) {
        let mut look_around = interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Somebody waits for what is asked; for the rest, nobody does.
                biased;
                command = commands.recv() => match command {
                    Some(Command::Fetch { number, path }) => {
                        let arrival = self.fetch(&path).await;
                        self.shelf.arrived(number, arrival);
                    }
                    Some(Command::Save(entry)) => self.save(entry).await,
                    None => return,
                },
                _ = look_around.tick() => self.look_around().await,
            }
        }
    }

    async fn fetch(&self, path: &StorePath) -> Arrival {
        let read = within("read", path, self.read(path, GetOptions::default())).await;
        let Some(bytes) = read else { return Arrival::Missing };
        match Entry::decode(&bytes, &self.identity) {
            Ok(entry) => Arrival::Here(Arc::new(entry)),
            Err(fault) => {
                self.remove(path, fault).await;
                Arrival::Missing
            }
        }
    }

    async fn save(&self, entry: Entry) {
        if entry.tokens.len() > TOKENS_AT_MOST || entry.state.len() as u64 > self.max_bytes / 4 {
            tracing::debug!(tokens = entry.tokens.len(), "too large for the prefix store");
            return;
        }
        let tokens: Vec<u8> = entry.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let salt = blake3::hash(&entry.salt).to_hex();
        let name = format!("{}/{}.kv", &salt[..32], &blake3::hash(&tokens).to_hex()[..32]);
        let Ok(path) = self.own.join(&name) else { return };
        let bytes = Bytes::from(entry.encode(&self.identity));
        let size = bytes.len();
        let mut options = StorePutOptions::default();
        options.expected_size = Some(size as u64);
        let data = stream::once(async move { Ok(bytes) }).boxed();
        if within("write", &path, self.store.put(&path, data, options)).await.is_some() {
            tracing::info!(%path, tokens = entry.tokens.len(), bytes = size, "the beginning of a prompt is kept");
            self.shelf.add(path, Head { salt: entry.salt, tokens: entry.tokens, long: entry.long });
            self.look_around().await;
        }
    }

    /// Learns what there is, and removes what is too much: the oldest first.
    async fn look_around(&self) {
        let Some(mut objects) = within("list", &self.model, self.store.list(Some(&self.model))).await else { return };
        objects.sort_by_key(|object| std::cmp::Reverse(object.modified));
        let (mut bytes, mut kept) = (0u64, Vec::new());
        for object in objects {
            bytes = bytes.saturating_add(object.size);
            if bytes > self.max_bytes || kept.len() >= self.max_entries {
                tracing::debug!(path = %object.path, "the prefix store is full: its oldest entry goes");
                self.delete(&object.path).await;
            } else {
                kept.push(object);
            }
        }
        self.shelf.retain(|path| kept.iter().any(|object| object.path == *path));
        for ObjectMeta { path, .. } in kept.iter().filter(|object| object.path.is_under(&self.own)) {
            if !self.shelf.knows(path) {
                self.learn(path).await;
            }
        }
    }

    async fn learn(&self, path: &StorePath) {
        let Some(bytes) = within("read", path, self.read(path, GetOptions::range(0, HEAD))).await else { return };
        match Head::decode(&bytes, &self.identity) {
            Ok(head) => self.shelf.add(path.clone(), head),
            Err(fault) => self.remove(path, fault).await,
        }
    }

    async fn read(&self, path: &StorePath, options: GetOptions) -> Result<Vec<u8>, StoreError> {
        let mut object = self.store.get(path, options).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(object.range.end - object.range.start).unwrap_or(0));
        while let Some(chunk) = object.data.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    async fn remove(&self, path: &StorePath, fault: Fault) {
        tracing::warn!(%path, %fault, "an entry of the prefix store can't be used and is removed");
        self.delete(path).await;
    }

    async fn delete(&self, path: &StorePath) {
        // Another replica may have been quicker.
        within("delete", path, self.store.delete(path)).await;
    }
}

/// The result of a store's operation, if it comes in time. A failure is no more than a miss.
async fn within<T>(what: &str, path: &StorePath, work: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(StoreError::NotFound(_))) => None,
        Ok(Err(error)) => {
            tracing::warn!(what, %path, %error, "the prefix store failed");
            None
        }
        Err(_) => {
            tracing::warn!(what, %path, "the prefix store takes too long");
            None
        }
    }
}
