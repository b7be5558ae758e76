//! Who is served next: tenants take turns fairly; within a tenant the highest priority goes first, and of equals the first
//! that came. A priority is a tenant's word about its own requests: it moves none of another tenant's.
//!
//! Fair is meant in tokens, not requests: start-time fair queueing (Goyal, Vin, Cheng 1996). Each tenant has a virtual time
//! that its requests push forward by their tokens; the tenant that is furthest behind goes first, and of equals the one whose
//! request came first. A tenant that was away has no credit for that.
//!
//! Nobody starves: a request gains a level of priority for each [`LEVEL`] that it waits.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// After waiting so long, a request is as urgent as a fresh one of the next higher priority.
const LEVEL: Duration = Duration::from_secs(2);

/// What the order of service depends on.
pub(super) trait Queued {
    fn tenant(&self) -> Option<&str>;
    /// Larger goes first.
    fn priority(&self) -> i8;
    /// Tokens that serving it takes.
    fn tokens(&self) -> u64;
    fn queued_at(&self) -> Instant;
}

/// Requests in order of arrival, and what each tenant has had.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    waiting: Vec<T>,
    /// By tenant: the virtual time at which its next request may start, if that is later than now.
    virtual_times: HashMap<Option<String>, u64>,
    now: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), virtual_times: HashMap::new(), now: 0 }
    }
}

impl<T: Queued> FairQueue<T> {
    pub(super) fn push(&mut self, request: T) {
        self.waiting.push(request);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter()
    }

    /// Takes out everything, in order of arrival.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting)
    }

    /// Keeps only these.
    pub(super) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(keep);
    }

    /// Takes out those for which this is true.
    pub(super) fn extract(&mut self, out: impl FnMut(&mut T) -> bool) -> Vec<T> {
        self.waiting.extract_if(.., out).collect()
    }

    /// The next to be served.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        // Of equals the first: those that wait are in order of arrival.
        let tenant = self.waiting.iter().min_by_key(|request| self.starts_at(request.tenant()))?.tenant();
        let of_tenant = self.waiting.iter().enumerate().filter(|(_, request)| request.tenant() == tenant);
        let (index, _) = of_tenant.min_by_key(|(_, request)| Reverse(urgency(*request, now)))?;
        let request = self.waiting.remove(index);
        let start = self.starts_at(request.tenant());
        self.now = start;
        self.virtual_times.insert(request.tenant().map(str::to_owned), start.saturating_add(request.tokens().max(1)));
        // Times that have passed say nothing: the map is as small as the number of tenants that were just served.
        self.virtual_times.retain(|_, time| *time > start);
        Some(request)
    }

    fn starts_at(&self, tenant: Option<&str>) -> u64 {
        // A lookup without a copy of the name: the tenants served lately are few.
        let known = self.virtual_times.iter().find(|(name, _)| name.as_deref() == tenant);
        known.map_or(self.now, |(_, &time)| time.max(self.now))
    }
}

/// The priority with what waiting adds to it, and of equals the nominally higher one.
fn urgency(request: &impl Queued, now: Instant) -> (u64, i8) {
    /// So that the lowest priority is no less than zero.
    const LOWEST: i64 = -(i8::MIN as i64);
    let levels = now.saturating_duration_since(request.queued_at()).as_millis() / LEVEL.as_millis();
    let priority = u64::try_from(i64::from(request.priority()) + LOWEST).unwrap_or(0);
    (priority.saturating_add(u64::try_from(levels).unwrap_or(u64::MAX)), request.priority())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Request {
        number: usize,
        tenant: Option<String>,
        priority: i8,
        tokens: u64,
        queued_at: Instant,
    }

    impl Queued for Request {
        fn tenant(&self) -> Option<&str> {
            self.tenant.as_deref()
        }

        fn priority(&self) -> i8 {
            self.priority
        }

        fn tokens(&self) -> u64 {
            self.tokens
        }

        fn queued_at(&self) -> Instant {
            self.queued_at
        }
    }

    fn request(number: usize, tenant: &str, priority: i8, tokens: u64, queued_at: Instant) -> Request {
        Request { number, tenant: Some(tenant.to_owned()), priority, tokens, queued_at }
    }

    fn order(queue: &mut FairQueue<Request>, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop(now)).map(|request| request.number).collect()
    }

    #[test]
    fn higher_priorities_go_first_and_equals_in_order() {
        let now = Instant::now();
        let mut queue = FairQueue::default();
        for (number, priority) in [0, 0, 5, -3, 5, 0].into_iter().enumerate() {
            queue.push(request(number, "a", priority, 10, now));
        }
        assert_eq!(order(&mut queue, now), [2, 4, 0, 1, 5, 3]);
    }

    #[test]
    fn a_flood_of_one_tenant_leaves_others_their_turn() {
        let now = Instant::now();
        let mut queue = FairQueue::default();
        (0..50).for_each(|number| queue.push(request(number, "flood", 0, 100, now)));
        queue.push(request(100, "quiet", 0, 100, now));
        queue.push(request(101, "quiet", 0, 100, now));
        let order = order(&mut queue, now + Duration::from_secs(60));
        let place = |number| order.iter().position(|&n| n == number).unwrap();
        assert!(place(100) <= 1 && place(101) <= 3, "{order:?}");
    }

    #[test]
    fn a_high_priority_moves_no_other_tenant_s_requests() {
        let now = Instant::now();
        let mut queue = FairQueue::default();
        (0..50).for_each(|number| queue.push(request(number, "loud", i8::MAX, 100, now)));
        queue.push(request(100, "quiet", i8::MIN, 100, now));
        queue.push(request(101, "quiet", 0, 100, now));
        let order = order(&mut queue, now);
        let place = |number| order.iter().position(|&n| n == number).unwrap();
        assert!(place(101) <= 1 && place(100) <= 3, "{order:?}");
    }

    #[test]
    fn turns_are_counted_in_tokens() {
        let now = Instant::now();
        let mut queue = FairQueue::default();
        (0..4).for_each(|number| queue.push(request(number, "long", 0, 900, now)));
        (10..40).for_each(|number| queue.push(request(number, "short", 0, 100, now)));
        let order = order(&mut queue, now);
        let until_second_long = order.iter().position(|&number| number == 1).unwrap();
        assert!((8..=11).contains(&until_second_long), "{order:?}");
    }

    #[test]
    fn a_tenant_that_was_away_has_no_credit() {
        let now = Instant::now();
        let mut queue = FairQueue::default();
        (0..20).for_each(|number| queue.push(request(number, "a", 0, 100, now)));
        (0..10).for_each(|_| assert!(queue.pop(now).is_some()));
        (100..110).for_each(|number| queue.push(request(number, "b", 0, 100, now)));
        let first: Vec<bool> = order(&mut queue, now)[..8].iter().map(|&number| number >= 100).collect();
        assert!(first.iter().filter(|&&is_b| is_b).count() <= 5, "{first:?}");
    }

    #[test]
    fn waiting_makes_urgent() {
        let start = Instant::now();
        let mut queue = FairQueue::default();
        queue.push(request(0, "a", -10, 1, start));
        let now = start + 11 * LEVEL;
        queue.push(request(1, "a", 0, 1, now));
        assert_eq!(order(&mut queue, now), [0, 1]);
    }

    proptest! {
        #[test]
        fn everybody_is_served_once_and_the_books_stay_small(
            requests in prop::collection::vec((0u8..4, -3i8..4, 0u64..500, 0u64..30), 1..60)
        ) {
            let start = Instant::now();
            let mut queue = FairQueue::default();
            for (number, (tenant, priority, tokens, waited)) in requests.iter().enumerate() {
                let queued_at = start + Duration::from_secs(30 - waited);
                queue.push(request(number, &tenant.to_string(), *priority, *tokens, queued_at));
            }
            let mut order = order(&mut queue, start + Duration::from_secs(30));
            order.sort_unstable();
            prop_assert_eq!(order, (0..requests.len()).collect::<Vec<_>>());
            prop_assert!(queue.virtual_times.len() <= 4);
        }
    }
}
