//! The scheduler over a fake model: token `n` is followed by `n + 1`, and faults come when asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_core::ModelError;
use llmo_core::model::{Event, EventStream, Finish, FinishReason, GenerateRequest, Prompt, TokenId};
use parking_lot::Mutex;

use super::events::Events;
use super::*;
use crate::llama_cpp::KvType;
use crate::llama_cpp::forward::{Feed, Forward, ForwardError};
use crate::llama_cpp::options::Speculation;
use crate::llama_cpp::vocabulary::TokenTable;

const VOCABULARY: u32 = 1000;
/// Ends a generation.
const END: TokenId = 999;
/// Running it panics.
const PANICS: TokenId = 998;
/// Running it fails.
const FAILS: TokenId = 997;

/// What tests see of the fake, and set.
#[derive(Default)]
pub(super) struct Control {
    /// Each run's feeds as (slot, tokens).
    pub(super) runs: Mutex<Vec<HashMap<u32, usize>>>,
    pub(super) tokens_run: AtomicUsize,
    pub(super) copies: AtomicUsize,
    /// All tokens that were run, in order.
    pub(super) fed: Mutex<Vec<TokenId>>,
    /// Each run takes this long, in microseconds.
    pub(super) step_us: AtomicU64,
    /// Runs wait while this is set.
    pub(super) stopped: AtomicBool,
}

struct Fake {
    control: Arc<Control>,
    caches: HashMap<u32, Vec<TokenId>>,
    rows: Vec<Vec<f32>>,
}

impl Forward for Fake {
    fn run(&mut self, feeds: &[Feed]) -> Result<(), ForwardError> {
        while self.control.stopped.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(self.control.step_us.load(Ordering::SeqCst)));
        let mut run = HashMap::new();
        self.rows.clear();
        for feed in feeds {
            assert_ne!(feed.token, PANICS, "asked to");
            if feed.token == FAILS {
                return Err(ForwardError("asked to".into()));
            }
            let cache = self.caches.entry(feed.slot).or_default();
            assert_eq!(cache.len(), feed.position as usize, "a sequence has no gaps");
            cache.push(feed.token);
            self.control.fed.lock().push(feed.token);
            *run.entry(feed.slot).or_default() += 1;
            let mut row = vec![0.0; VOCABULARY as usize];
            row[(feed.token as usize + 1) % VOCABULARY as usize] = 9.0;
            self.rows.push(row);
        }
        assert!(feeds.is_sorted_by_key(|feed| feed.slot));
        self.control.tokens_run.fetch_add(feeds.len(), Ordering::SeqCst);
        self.control.runs.lock().push(run);
        Ok(())
    }

    fn logits(&self, feed: usize) -> &[f32] {
        &self.rows[feed]
    }

    fn keep(&mut self, slot: u32, length: u32) -> u32 {
        self.caches.entry(slot).or_default().truncate(length as usize);
        length
    }

    fn can_copy(&self) -> bool {
        true
    }

    fn copy(&mut self, from: u32, to: u32) -> bool {
        self.control.copies.fetch_add(1, Ordering::SeqCst);
        self.caches.insert(to, self.caches.get(&from).cloned().unwrap_or_default());
        true
    }

    fn save(&mut self, slot: u32) -> Option<Vec<u8>> {
        Some(self.caches.get(&slot)?.iter().flat_map(|token| token.to_le_bytes()).collect())
    }

    fn restore(&mut self, slot: u32, state: &[u8]) -> bool {
        let tokens = state.chunks_exact(4).map(|bytes| TokenId::from_le_bytes(bytes.try_into().unwrap()));
        self.caches.insert(slot, tokens.collect());
        true
    }
}

/// An engine over the fake, used as the backend uses the real one.
pub(super) struct Bench {
    pub(super) control: Arc<Control>,
    pub(super) mailbox: Arc<Mailbox>,
    _thread: EngineThread,
}

impl Bench {
    pub(super) fn new(slots: u32, queue: usize) -> Self {
        Self::with_patience(slots, queue, Duration::from_secs(60))
    }

    fn with_patience(slots: u32, queue: usize, reader_patience: Duration) -> Self {
        Self::with(slots, queue, reader_patience, Speculation::Auto)
    }

    fn guessing(length: u32) -> Self {
        Self::with(2, 8, Duration::from_secs(60), Speculation::Always(length))
    }

    fn with(slots: u32, queue: usize, reader_patience: Duration, speculation: Speculation) -> Self {
        let control = Arc::new(Control::default());
        let mailbox = Arc::new(Mailbox::new(Limits { requests: queue, tokens: 100_000 }, slots));
        let table = (0..VOCABULARY).map(|token| (format!("{token} ").into_bytes(), token == END));
        let table = Arc::new(TokenTable::new(table));
        let rounding = Rounding::of(KvType::Q8_0, true, false, true);
        let settings =
            Settings { table, slots, context_length: 4096, prefill_chunk: 128, speculation, reader_patience, rounding };
        let fake = Fake { control: Arc::clone(&control), caches: HashMap::new(), rows: Vec::new() };
        let thread = EngineThread::spawn(Arc::clone(&mailbox), move |mailbox| {
            serve(&mut Engine::new(fake, settings, Arc::clone(mailbox)));
        });
        Self { control, mailbox, _thread: thread.unwrap() }
    }

    pub(super) fn submit(&self, request: GenerateRequest) -> Result<Submitted, ModelError> {
        let Prompt::Tokens(prompt) = request.prompt.clone() else { panic!("tokens only") };
        let max_tokens = request.max_tokens.unwrap_or(1000);
        let (job, started, events) = job(request, prompt, max_tokens, Held::default(), &self.mailbox);
        self.mailbox.submit(job)?;
        Ok(Submitted { started, events })
    }

    pub(super) async fn start(&self, request: GenerateRequest) -> Result<EventStream, ModelError> {
        let Submitted { started, events } = self.submit(request)?;
        started.await.unwrap_or(Err(ModelError::Internal("no word".into())))?;
        Ok(EventStream::new(events))
    }

    pub(super) async fn run(&self, request: GenerateRequest) -> Result<(Vec<TokenId>, Finish), ModelError> {
        let (delta, finish) = self.start(request).await?.collect_all().await?;
        Ok((delta.tokens, finish))
    }

    /// Waits until this is true of the load; panics after ten seconds.
    pub(super) async fn until(&self, what: impl Fn(&llmo_core::model::Load) -> bool) {
        let start = Instant::now();
        while !what(&self.mailbox.load()) {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", self.mailbox.load());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(super) struct Submitted {
    pub(super) started: tokio::sync::oneshot::Receiver<Result<(), ModelError>>,
    pub(super) events: Events,
}

pub(super) fn prompt(tokens: impl IntoIterator<Item = TokenId>) -> GenerateRequest {
    GenerateRequest::new(Prompt::Tokens(tokens.into_iter().collect()))
}

pub(super) fn is_idle(load: &llmo_core::model::Load) -> bool {
    load.in_flight() == 0 && load.kv_used == 0.0
}

#[tokio::test]
async fn tokens_come_in_order_and_end_with_one_finish() {
    let bench = Bench::new(2, 8);
    let (tokens, finish) = bench.run(prompt([5, 6, 7]).max_tokens(4)).await.unwrap();
    assert_eq!(tokens, [8, 9, 10, 11]);
    assert_eq!(
        (finish.reason, finish.usage.prompt_tokens, finish.usage.completion_tokens),
        (FinishReason::Length, 3, 4)
    );
}

#[tokio::test]
async fn the_token_that_ends_a_generation_is_neither_sent_nor_counted() {
    let bench = Bench::new(1, 8);
    let mut request = prompt([3]);
    request.sampling.logit_bias = vec![(END, 100.0)];
    let (tokens, finish) = bench.run(request).await.unwrap();
    assert_eq!((tokens.len(), finish.reason, finish.usage.completion_tokens), (0, FinishReason::Stop, 0));
}

#[tokio::test]
async fn a_stop_string_ends_the_stream_and_is_not_sent() {
    let bench = Bench::new(1, 8);
    let stream = bench.start(prompt([10]).stop("3 14")).await.unwrap();
    let (delta, finish) = stream.collect_all().await.unwrap();
    assert_eq!((delta.text.as_str(), finish.stop.as_deref()), ("11 12 1", Some("3 14")));
    assert_eq!(delta.tokens, [11, 12, 13, 14]);
}

#[tokio::test]
async fn more_requests_than_slots_all_finish() {
    let bench = Bench::new(4, 64);
    let all = futures::future::join_all((0..40).map(|i| bench.run(prompt([i * 10]).max_tokens(9)))).await;
    for (i, result) in (0..).zip(all) {
        assert_eq!(result.unwrap().0, (i * 10 + 1..i * 10 + 10).collect::<Vec<TokenId>>());
    }
    bench.until(is_idle).await;
}

#[tokio::test]
async fn streams_join_and_leave_between_steps() {
    let bench = Bench::new(4, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let long = bench.run(prompt([1]).max_tokens(200));
    let short = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        bench.run(prompt([500]).max_tokens(5)).await
    };
    let (long, short) = tokio::join!(long, short);
    assert!(long.is_ok() && short.is_ok());
    let runs = bench.control.runs.lock();
    let together = runs.iter().filter(|run| run.len() == 2).count();
    assert_eq!(together, 4, "the short stream's tokens but the first run in the long one's batches");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let bench = Bench::new(1, 2);
    bench.control.stopped.store(true, Ordering::SeqCst);
    let _running = bench.start(prompt([1])).await.unwrap();
    let _waiting = [bench.submit(prompt([2])).ok().unwrap(), bench.submit(prompt([3])).ok().unwrap()];
    match bench.submit(prompt([4])).err() {
        Some(ModelError::Overloaded { retry_after, .. }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.mailbox.load().queued_requests, 2);
    bench.control.stopped.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn callers_that_left_the_queue_don_t_take_places_in_it() {
    let bench = Bench::new(1, 2);
    bench.control.stopped.store(true, Ordering::SeqCst);
    let _running = bench.start(prompt([1])).await.unwrap();
    drop([bench.submit(prompt([2])).ok().unwrap(), bench.submit(prompt([3])).ok().unwrap()]);
    assert!(bench.submit(prompt([4])).is_ok());
    bench.control.stopped.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_ends_it_without_a_start() {
    let bench = Bench::new(1, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let _running = bench.start(prompt([1]).max_tokens(900)).await.unwrap();
    let late = prompt([700, 701]).deadline_after(Instant::now(), Duration::from_millis(10));
    match bench.run(late).await {
        Err(ModelError::DeadlineExceeded { stage }) => assert_eq!(stage, "in the queue"),
        other => panic!("{other:?}"),
    }
    assert!(bench.control.runs.lock().iter().all(|run| run.values().all(|&tokens| tokens == 1)));
}

#[tokio::test]
async fn a_deadline_that_passes_while_generating_ends_the_stream() {
    let bench = Bench::new(1, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let request = prompt([1]).deadline_after(Instant::now(), Duration::from_millis(50));
    match bench.run(request).await {
        Err(ModelError::DeadlineExceeded { stage }) => assert_eq!(stage, "while generating"),
        other => panic!("{other:?}"),
    }
    bench.until(is_idle).await;
}

#[tokio::test]
async fn dropping_a_stream_frees_its_slot_within_a_step() {
    let bench = Bench::new(1, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let mut stream = bench.start(prompt([1]).max_tokens(900)).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let before = bench.control.tokens_run.load(Ordering::SeqCst);
    drop(stream);
    bench.until(is_idle).await;
    // One step may have begun, and one delta may have been on its way when it was dropped.
    assert!(bench.control.tokens_run.load(Ordering::SeqCst) <= before + 3);
}

#[tokio::test]
async fn dropping_in_the_middle_of_a_long_prompt_stops_reading_it() {
    let bench = Bench::new(1, 8);
    bench.control.step_us.store(5000, Ordering::SeqCst);
    let stream = bench.start(prompt((0..3000).map(|i| i % 900))).await.unwrap();
    drop(stream);
    bench.until(is_idle).await;
    assert!(bench.control.tokens_run.load(Ordering::SeqCst) <= 512);
}

#[tokio::test]
async fn a_long_prompt_is_read_in_chunks_between_which_streams_go_on() {
    let bench = Bench::new(2, 8);
    bench.control.step_us.store(500, Ordering::SeqCst);
    let mut stream = bench.start(prompt([1]).max_tokens(900)).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let keep_reading = tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
    bench.run(prompt((0..2000).map(|i| i % 900)).max_tokens(1)).await.unwrap();
    let runs = bench.control.runs.lock();
    assert!(runs.iter().all(|run| run.values().sum::<usize>() <= 128));
    let chunks: Vec<bool> = runs.iter().map(|run| run.values().any(|&tokens| tokens > 1)).collect();
    assert!(chunks.windows(2).all(|pair| pair != [true, true]), "a step of the stream after every chunk");
    keep_reading.abort();
}

#[tokio::test]
async fn a_prompt_that_begins_like_the_last_one_is_not_read_again() {
    let bench = Bench::new(2, 8);
    let system: Vec<TokenId> = (100..150).collect();
    let ask = |last| prompt(system.iter().copied().chain([last])).max_tokens(3);
    let (_, first) = bench.run(ask(1)).await.unwrap();
    let (tokens, second) = bench.run(ask(2)).await.unwrap();
    assert_eq!((first.usage.cached_tokens, second.usage.cached_tokens), (0, 50));
    assert_eq!(tokens, [3, 4, 5]);
    // What was generated is part of the sequence: a conversation goes on where it was.
    let whole = prompt(system.iter().copied().chain([2, 3, 4, 5, 6])).max_tokens(1);
    assert_eq!(bench.run(whole).await.unwrap().1.usage.cached_tokens, 53);
}

#[tokio::test]
async fn another_tenant_s_prompt_is_read_again() {
    let bench = Bench::new(1, 8);
    let mut request = prompt(100..150).max_tokens(1);
    request.tenant = Some("a".into());
    bench.run(request.clone()).await.unwrap();
    request.tenant = Some("b".into());
    assert_eq!(bench.run(request.clone()).await.unwrap().1.usage.cached_tokens, 0);
    assert_eq!(bench.run(request).await.unwrap().1.usage.cached_tokens, 49);
}

#[tokio::test]
async fn a_slow_reader_pauses_alone_and_goes_on_where_it_was() {
    let bench = Bench::new(2, 8);
    let mut slow = bench.start(prompt([1]).max_tokens(500)).await.unwrap();
    bench.until(|load| load.slots_free == 1).await;
    let (tokens, _) = bench.run(prompt([1]).max_tokens(900)).await.unwrap();
    assert_eq!(tokens.len(), 900);
    let mut read = 0;
    while let Some(event) = slow.next().await {
        read += usize::from(matches!(event.unwrap(), Event::Delta(_)));
    }
    assert_eq!(read, 500);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_slot_and_is_told_why() {
    let bench = Bench::with_patience(1, 8, Duration::from_millis(20));
    let stream = bench.start(prompt([1]).max_tokens(500)).await.unwrap();
    // Between the queue and the slot it is nowhere: idle is what comes after the first token.
    bench.until(|load| load.decode_tokens > 0 && is_idle(load)).await;
    match stream.collect_all().await {
        Err(ModelError::DeadlineExceeded { stage }) => assert_eq!(stage, "while the reader took nothing"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_panic_ends_the_running_streams_with_an_error_and_the_engine_goes_on() {
    let bench = Bench::new(2, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let other = bench.start(prompt([1]).max_tokens(900)).await.unwrap();
    let cause = bench.run(prompt([PANICS])).await;
    assert!(matches!(&cause, Err(ModelError::Internal(message)) if message.contains("asked to")), "{cause:?}");
    assert!(matches!(other.collect_all().await, Err(ModelError::Internal(_))));
    assert_eq!(bench.run(prompt([1]).max_tokens(2)).await.unwrap().0, [2, 3]);
}

#[tokio::test]
async fn an_engine_that_panics_again_and_again_refuses_instead_of_hanging() {
    let bench = Bench::new(1, 8);
    for _ in 0..5 {
        assert!(bench.run(prompt([PANICS])).await.is_err());
    }
    let start = Instant::now();
    while bench.run(prompt([1]).max_tokens(1)).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(matches!(bench.run(prompt([1])).await, Err(ModelError::Internal(_))));
}

#[tokio::test]
async fn a_failed_run_ends_only_the_streams_in_it() {
    let bench = Bench::new(2, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let fine = bench.start(prompt([1]).max_tokens(50)).await.unwrap();
    let failed = bench.run(prompt([FAILS])).await;
    assert!(matches!(failed, Err(ModelError::Internal(_))), "{failed:?}");
    assert_eq!(fine.collect_all().await.unwrap().0.tokens.len(), 50);
}

#[tokio::test]
async fn a_dropped_engine_refuses_new_requests_and_lets_running_ones_end() {
    let bench = Bench::new(1, 8);
    bench.control.step_us.store(1000, Ordering::SeqCst);
    let stream = bench.start(prompt([1]).max_tokens(30)).await.unwrap();
    let mailbox = Arc::clone(&bench.mailbox);
    drop(bench);
    let request = prompt([1]);
    let (late, _, _events) = job(request, vec![1], 1, Held::default(), &mailbox);
    assert!(matches!(mailbox.submit(late), Err(ModelError::Shutdown)));
    assert_eq!(stream.collect_all().await.unwrap().0.tokens.len(), 30);
}

#[tokio::test]
async fn seeded_output_does_not_depend_on_the_rest_of_the_batch() {
    let bench = Bench::new(4, 64);
    let mut request = prompt([5, 6]).max_tokens(40);
    request.sampling.temperature = 2.0;
    request.sampling.seed = Some(3);
    // Flat enough to leave the ramp, and never a token with a fault.
    request.sampling.logit_bias = [END, PANICS, FAILS].map(|token| (token, -100.0)).to_vec();
    let alone = bench.run(request.clone()).await.unwrap().0;
    let noise = (0..12).map(|i| bench.run(prompt([i * 20]).max_tokens(60)));
    let (together, _) = tokio::join!(bench.run(request), futures::future::join_all(noise));
    assert_eq!(together.unwrap().0, alone);
}

/// 10 to 39 and then 10 and 11 again: 12 to 39 are guessed right, and 10 is guessed wrong behind them.
fn repeating() -> GenerateRequest {
    prompt((10..40).chain([10, 11]))
}

#[tokio::test]
async fn right_guesses_save_runs_and_wrong_ones_leave_no_trace() {
    let bench = Bench::guessing(4);
    let (tokens, finish) = bench.run(repeating().max_tokens(60)).await.unwrap();
    assert_eq!(tokens, (12..72).collect::<Vec<TokenId>>());
    assert_eq!(finish.usage.completion_tokens, 60);
    let load = bench.mailbox.load();
    assert!(load.draft_accepted_tokens >= 20 && load.draft_tokens > load.draft_accepted_tokens, "{load:?}");
    let runs = bench.control.runs.lock().len();
    assert_eq!(runs as u64, 1 + 59 - load.draft_accepted_tokens, "the prompt, then one run for each token not guessed");
}

#[tokio::test]
async fn an_output_that_ends_among_guesses_leaves_only_its_own_tokens_in_the_cache() {
    let bench = Bench::guessing(8);
    let (tokens, _) = bench.run(repeating().max_tokens(5).stop("16")).await.unwrap();
    assert_eq!(tokens, (12..17).collect::<Vec<TokenId>>());
    let longer = prompt((10..40).chain(10..20)).max_tokens(1);
    let (tokens, finish) = bench.run(longer).await.unwrap();
    // The prompt's 32 tokens and 12 to 15, which were run; the last one never is.
    assert_eq!((tokens, finish.usage.cached_tokens), (vec![20], 36));
}

#[tokio::test]
async fn seeded_output_is_the_same_with_guesses() {
    let mut request = repeating().max_tokens(200);
    request.sampling.temperature = 0.9;
    request.sampling.repetition_penalty = 1.02;
    request.sampling.seed = Some(11);
    request.sampling.logit_bias = [END, PANICS, FAILS].map(|token| (token, -100.0)).to_vec();
    let plain = Bench::new(2, 8).run(request.clone()).await.unwrap().0;
    let bench = Bench::guessing(6);
    assert_eq!(bench.run(request).await.unwrap().0, plain);
    let load = bench.mailbox.load();
    assert!(load.draft_accepted_tokens > 0 && load.draft_tokens > load.draft_accepted_tokens, "{load:?}");
}

#[tokio::test]
async fn a_reader_that_is_slow_gets_no_more_guesses_than_it_has_room_for() {
    let bench = Bench::guessing(100);
    let cycle = prompt((10..40).cycle().take(300)).max_tokens(500);
    let mut slow = bench.start(cycle).await.unwrap();
    let mut tokens = 0;
    while let Some(event) = slow.next().await {
        if let Event::Delta(delta) = event.unwrap() {
            tokens += delta.tokens.len();
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(tokens, 500);
}
