//! One replica's identity and live counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmo_core::model::Load;
use tokio::sync::{Notify, watch};

use super::{Access, Claim, Lease, ModelNames, TokenLoad};

/// Serials are handed out once in a process: whoever remembers one never means another replica.
static NEXT_SERIAL: AtomicU32 = AtomicU32::new(0);

/// A replica that dies again sooner gets no more free retries: it flaps.
const FREE_RETRIES_EVERY_MS: u64 = 10_000;

/// Its first token may be waited for as at any other.
const NO_TRIAL: u64 = u64::MAX;
/// It was too slow, and nobody has tried it since.
const UNTRIED: u64 = 0;
/// A request that tries it and has come to nothing by then may have been cancelled.
const TRIAL_MS: u64 = 2_000;

/// One upstream. Lives as long as the gateway knows it; snapshots share it.
///
/// What changes with every request is counted here, in atomics; what changes seldom is in the
/// [`Snapshot`](super::Snapshot).
#[derive(Debug)]
pub struct Replica {
    id: String,
    base_url: String,
    names: ModelNames,
    access: Access,
    foreign_dialect: AtomicBool,
    serial: u32,
    since: Instant,
    in_flight: AtomicU32,
    foreign: AtomicU32,
    tokens: TokenLoad,
    weight: AtomicU32,
    retiring: AtomicBool,
    failures_in_a_row: AtomicU32,
    requests: AtomicU64,
    failed: AtomicU64,
    heard_ms: AtomicU64,
    free_retries: AtomicU32,
    died_ms: AtomicU64,
    trial_ms: AtomicU64,
    check: Notify,
    down: watch::Sender<bool>,
}

impl Replica {
    /// An upstream at `base_url`; its id is the URL without scheme and trailing slash.
    #[must_use]
    pub fn new(base_url: &str, now: Instant) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let id = base_url.split_once("://").map_or(base_url.as_str(), |(_, rest)| rest);
        // Credentials in a URL must not reach headers, metrics and the dashboard.
        let id = id.rsplit_once('@').map_or(id, |(_, host)| host).to_owned();
        Self {
            id,
            base_url,
            names: ModelNames::default(),
            access: Access::default(),
            foreign_dialect: AtomicBool::new(false),
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            since: now,
            in_flight: AtomicU32::new(0),
            foreign: AtomicU32::new(0),
            tokens: TokenLoad::default(),
            weight: AtomicU32::new(1.0_f32.to_bits()),
            retiring: AtomicBool::new(false),
            failures_in_a_row: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            free_retries: AtomicU32::new(0),
            died_ms: AtomicU64::new(0),
            trial_ms: AtomicU64::new(NO_TRIAL),
            check: Notify::new(),
            down: watch::Sender::new(false),
        }
    }

    /// The same, used for certain models only, or under other names.
    #[must_use]
    pub fn with_names(mut self, names: ModelNames) -> Self {
        self.names = names;
        self
    }

    /// The same, spoken to like this.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How it wants to be spoken to.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Does it take parameters that OpenAI does not have? As configured, else as its last health check told.
    #[must_use]
    pub fn takes_extensions(&self) -> bool {
        self.access.extensions.unwrap_or(!self.foreign_dialect.load(Ordering::Relaxed))
    }

    /// Takes in whether it seems to know parameters that OpenAI does not have.
    pub fn seems_to_take_extensions(&self, takes: bool) {
        self.foreign_dialect.store(!takes, Ordering::Relaxed);
    }

    /// Which of its models are used, and what they are called.
    #[must_use]
    pub fn names(&self) -> &ModelNames {
        &self.names
    }

    /// Host, port and path: what `x-llmo-replica` and metrics say.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is, without a trailing slash.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Requests that this gateway has running there.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// All requests there, as far as known: our own now, and those of others when it last reported.
    #[must_use]
    pub fn occupied(&self) -> u32 {
        self.in_flight().saturating_add(self.foreign.load(Ordering::Relaxed))
    }

    /// Takes in what the replica says of its models. Our own requests are in these numbers: they are counted live
    /// instead.
    pub fn report<'a>(&self, loads: impl Iterator<Item = &'a Load> + Clone) {
        let reported = loads.clone().map(Load::in_flight).fold(0, u32::saturating_add);
        let foreign = reported.saturating_sub(self.in_flight());
        self.foreign.store(foreign, Ordering::Relaxed);
        self.tokens.report(loads, foreign);
    }

    /// The work that waits there, in tokens.
    #[must_use]
    pub fn tokens(&self) -> &TokenLoad {
        &self.tokens
    }

    /// A number that no other replica of this process ever has.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Its share of requests relative to others (1.0 for most); 0: none.
    #[must_use]
    pub fn weight(&self) -> f32 {
        f32::from_bits(self.weight.load(Ordering::Relaxed))
    }

    /// Sets the weight; what is no number, or negative, counts as 0. Of effect with the next snapshot: see
    /// [`Pool::set_weight`](super::Pool::set_weight).
    pub fn set_weight(&self, weight: f32) {
        self.weight.store(weight.max(0.0).to_bits(), Ordering::Relaxed);
    }

    /// Gets no more requests, and is removed once it has none.
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Relaxed)
    }

    pub(super) fn set_retiring(&self, retiring: bool) {
        self.retiring.store(retiring, Ordering::Relaxed);
    }

    /// Requests sent there, and how many of them failed through its fault.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Counts a request in until the lease is dropped.
    #[must_use]
    pub fn lease(self: &Arc<Self>) -> Lease {
        Lease::new(Arc::clone(self), Claim::default())
    }

    pub(super) fn began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Something came from it: it lives, whatever a health check in the same moment thinks.
    pub fn heard(&self, now: Instant) {
        self.heard_ms.store(self.millis(now), Ordering::Relaxed);
    }

    /// Did something come from it within the last `window`?
    #[must_use]
    pub fn heard_within(&self, window: Duration, now: Instant) -> bool {
        let heard = self.heard_ms.load(Ordering::Relaxed);
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        heard != 0 && self.millis(now).saturating_sub(heard) <= window
    }

    /// Counts a failed request; returns how many failed in a row.
    pub fn count_failure(&self) -> u32 {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// A request went well: the row of failures ends.
    pub fn count_success(&self) {
        // Reads are shared between cores, writes are not: the good case must not write.
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Failed requests in a row.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row.load(Ordering::Relaxed)
    }

    /// Asks for a health check now.
    pub fn ask_check(&self) {
        self.check.notify_one();
    }

    /// Asks for a health check if nothing came from it within `silence`.
    pub fn doubt(&self, silence: Duration, now: Instant) {
        if !self.heard_within(silence, now) {
            self.ask_check();
        }
    }

    /// Waits until somebody asks for a health check.
    pub async fn check_asked(&self) {
        self.check.notified().await;
    }

    /// Tells running attempts whether the replica is down. Only the pool says so.
    pub(super) fn set_down(&self, down: bool, now: Instant) {
        let died = self.down.send_if_modified(|was| std::mem::replace(was, down) != down) && down;
        let now = self.millis(now);
        let died_before = self.died_ms.load(Ordering::Relaxed);
        if died && (died_before == 0 || now.saturating_sub(died_before) >= FREE_RETRIES_EVERY_MS) {
            self.died_ms.store(now, Ordering::Relaxed);
            self.free_retries.store(self.in_flight(), Ordering::Relaxed);
        }
    }

    /// Takes one of the retries that its death gave: one for each request it took down, outside the retry budget.
    /// A death fails every request it had at once, but only once.
    #[must_use]
    pub fn take_free_retry(&self) -> bool {
        self.free_retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// It was too slow: from now on one request at a time, until one shows that it is quick again.
    pub(super) fn put_on_trial(&self) {
        self.trial_ms.store(UNTRIED, Ordering::Relaxed);
    }

    /// A first token came quickly.
    pub(super) fn passed_trial(&self) {
        // As in `count_success`.
        if self.trial_ms.load(Ordering::Relaxed) != NO_TRIAL {
            self.trial_ms.store(NO_TRIAL, Ordering::Relaxed);
        }
    }

    /// May a request be sent there, as far as its trial goes? Whoever gets a yes is the one that tries it.
    pub fn may_try(&self, now: Instant) -> bool {
        let tried = self.trial_ms.load(Ordering::Relaxed);
        if tried == NO_TRIAL {
            return true;
        }
        let now = self.millis(now);
        (tried == UNTRIED || now.saturating_sub(tried) > TRIAL_MS)
            && self.trial_ms.compare_exchange(tried, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Is it down as of now?
    #[must_use]
    pub fn is_down(&self) -> bool {
        *self.down.borrow()
    }

    /// Waits until it is down.
    pub async fn until_down(&self) {
        let mut down = self.down.subscribe();
        if down.wait_for(|down| *down).await.is_err() {
            // The sender is in `self`, which is borrowed: it can't be gone.
            std::future::pending().await
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        // Zero means "never".
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica() -> Arc<Replica> {
        Arc::new(Replica::new("http://user:secret@127.0.0.1:8081/", Instant::now()))
    }

    #[test]
    fn the_id_has_no_scheme_and_no_credentials() {
        assert_eq!(replica().id(), "127.0.0.1:8081");
        assert_eq!(replica().base_url(), "http://user:secret@127.0.0.1:8081");
    }

    #[test]
    fn own_requests_are_not_counted_twice() {
        let replica = replica();
        let lease = replica.lease();
        let mut load = Load::idle(5);
        load.slots_free = 0;
        replica.report([load].iter());
        assert_eq!(replica.occupied(), 5);
        drop(lease);
        assert_eq!(replica.occupied(), 4);
    }

    #[test]
    fn a_success_ends_the_row_of_failures() {
        let replica = replica();
        assert_eq!((replica.count_failure(), replica.count_failure()), (1, 2));
        replica.count_success();
        assert_eq!(replica.count_failure(), 1);
    }

    #[test]
    fn a_death_gives_one_free_retry_a_request_but_flapping_gives_none() {
        let (replica, now) = (replica(), Instant::now());
        let _leases = [replica.lease(), replica.lease()];
        let free = || std::iter::repeat_with(|| replica.take_free_retry()).take_while(|free| *free).count();
        replica.set_down(true, now);
        assert_eq!(free(), 2);
        replica.set_down(false, now);
        replica.set_down(true, now + Duration::from_secs(1));
        assert_eq!(free(), 0);
        replica.set_down(false, now);
        replica.set_down(true, now + Duration::from_secs(20));
        assert_eq!(free(), 2);
    }

    #[test]
    fn on_trial_one_request_at_a_time_goes_there() {
        let (replica, now) = (replica(), Instant::now());
        assert!(replica.may_try(now) && replica.may_try(now));
        replica.put_on_trial();
        assert!(replica.may_try(now));
        assert!(!replica.may_try(now + Duration::from_secs(1)));
        assert!(replica.may_try(now + Duration::from_secs(3)), "the first may have been cancelled");
        replica.passed_trial();
        assert!(replica.may_try(now) && replica.may_try(now));
    }

    #[tokio::test]
    async fn waiters_learn_that_a_replica_went_down() {
        let replica = replica();
        let waiter = tokio::spawn({
            let replica = Arc::clone(&replica);
            async move { replica.until_down().await }
        });
        replica.set_down(true, Instant::now());
        tokio::time::timeout(Duration::from_secs(5), waiter).await.expect("in time").expect("no panic");
    }
}
