//! A queue in which tenants take turns.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Virtual time of one unit of work at weight 1.
const SCALE: f64 = 1_024.0;
/// Tenants without anything in the queue that are remembered for what they had lately.
const MOST_IDLE: usize = 1_024;
/// Requests of usual size that a tenant may have at once for having asked for less than its share before. Who asks at random
/// times for 0.8 of its share is rarely (0.03 %) more than that behind (M/D/1).
const SAVED: f64 = 16.0;
/// How quickly the usual size follows that of new requests.
const FOLLOW: f64 = 1.0 / 64.0;

/// A bounded queue of requests of many tenants. The next request is that of the tenant that had the least work done for its
/// weight; within a tenant the higher priority goes first, and equals in order.
///
/// Start-time fair queueing (Goyal, Vin, Cheng 1996): in any time in which two tenants both wait, they get work in proportion
/// to their weights, but for one request each, whatever the number and size of their requests. A tenant that asked for
/// less than its share saves up to a few requests' work (its start may lie that far behind the clock), so that its bursts
/// don't wait for who always asks for more.
///
/// When the queue is full, the newest request of the tenant with the most for its weight gives up its place to one of a
/// tenant that has less.
#[derive(Debug)]
pub struct FairQueue<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
    /// Lanes that are not empty, by when their next request starts in virtual time.
    turns: BTreeSet<(u64, Arc<str>)>,
    weights: BTreeMap<String, f64>,
    capacity: usize,
    len: usize,
    now: u64,
    next: u64,
    /// The usual work of a request.
    usual: f64,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: BTreeMap<Order, (u64, T)>,
    work: u64,
    weight: f64,
    /// Where in virtual time its next request starts.
    start: u64,
}

/// Higher priorities first, then the order of arrival.
type Order = (Reverse<i8>, u64);

/// A request's place in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    tenant: Arc<str>,
    order: Order,
}

/// What became of a request that wants to wait.
#[derive(Debug)]
pub enum Pushed<T> {
    /// It waits.
    Waits(Place),
    /// It waits, and this one gave up its place for it.
    Instead(Place, T),
    /// The queue is full of requests that are no less due.
    Full(T),
}

impl<T> FairQueue<T> {
    /// So many places. Tenants that have no weight here have 1.
    #[must_use]
    pub fn new(capacity: usize, weights: BTreeMap<String, f64>) -> Self {
        let (lanes, turns) = (HashMap::new(), BTreeSet::new());
        Self { lanes, turns, weights, capacity, len: 0, now: 0, next: 0, usual: 0.0 }
    }

    /// Requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Does nobody wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has this tenant had less than its share, as far as is remembered?
    #[must_use]
    pub fn is_behind(&self, tenant: &str) -> bool {
        self.lanes.get(tenant).is_some_and(|lane| lane.start < self.now)
    }

    /// Is the next request one of a tenant that has had less than its share?
    #[must_use]
    pub fn next_is_behind(&self) -> bool {
        self.turns.first().is_some_and(|(start, _)| *start < self.now)
    }

    /// Takes in that a tenant had this work done without waiting.
    pub fn charge(&mut self, tenant: &str, work: u64) {
        let (now, saved) = (self.now, self.saved(work));
        let lane = self.lane(tenant);
        let start = lane.soonest(now, saved);
        lane.start = start.saturating_add(cost(work, lane.weight));
        self.now = now.max(start);
        self.forget();
    }

    /// Lets a request wait.
    pub fn push(&mut self, tenant: &str, priority: i8, work: u64, item: T) -> Pushed<T> {
        let mut displaced = None;
        if self.len >= self.capacity {
            match self.displace(tenant) {
                Some(item) => displaced = Some(item),
                None => return Pushed::Full(item),
            }
        }
        let order = (Reverse(priority), self.next);
        self.next += 1;
        let (now, saved) = (self.now, self.saved(work));
        let lane = self.lane(tenant);
        if lane.waiting.is_empty() {
            lane.start = lane.soonest(now, saved);
        }
        lane.waiting.insert(order, (work, item));
        lane.work += work;
        let (start, tenant) = (lane.start, self.name(tenant));
        self.turns.insert((start, Arc::clone(&tenant)));
        self.len += 1;
        let place = Place { tenant, order };
        match displaced {
            None => Pushed::Waits(place),
            Some(item) => Pushed::Instead(place, item),
        }
    }

    /// The next request, and its work.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let (start, tenant) = self.turns.pop_first()?;
        let lane = self.lanes.get_mut(&tenant)?;
        let (_, (work, item)) = lane.waiting.pop_first()?;
        lane.work -= work;
        lane.start = start.saturating_add(cost(work, lane.weight));
        let (next, more) = (lane.start, !lane.waiting.is_empty());
        self.now = self.now.max(start);
        self.len -= 1;
        if more {
            self.turns.insert((next, tenant));
        }
        self.forget();
        Some((work, item))
    }

    /// Takes a request out, if it still waits.
    pub fn remove(&mut self, place: &Place) -> Option<T> {
        let lane = self.lanes.get_mut(&place.tenant)?;
        let (work, item) = lane.waiting.remove(&place.order)?;
        lane.work -= work;
        let (start, empty) = (lane.start, lane.waiting.is_empty());
        self.len -= 1;
        if empty {
            self.turns.remove(&(start, Arc::clone(&place.tenant)));
            self.forget();
        }
        Some(item)
    }

    /// Work that goes before a new request of this tenant and work, as things stand: all of its own, and of others as
    /// much as they get in the same time.
    #[must_use]
    pub fn ahead(&self, tenant: &str, work: u64) -> u64 {
        let own = self.lanes.get(tenant);
        let (mine, weight) = own.map_or((0, self.weight(tenant)), |lane| (lane.work, lane.weight));
        let others = self.lanes.iter().filter(|(name, lane)| &***name != tenant && !lane.waiting.is_empty());
        let turn = |lane: &Lane<T>| ((mine + work) as f64 / weight * lane.weight) as u64;
        others.map(|(_, lane)| lane.work.min(turn(lane))).fold(mine, u64::saturating_add)
    }

    /// Makes room for a request of `tenant` at the cost of who has the most for its weight, if that is somebody else and
    /// has more even after the change.
    fn displace(&mut self, tenant: &str) -> Option<T> {
        let load = |lane: &Lane<T>, count: usize| count as f64 / lane.weight;
        let mine = self.lanes.get(tenant).map_or(0.0, |lane| load(lane, lane.waiting.len()));
        let own_step = 1.0 / self.weight(tenant);
        let (name, lane) =
            self.lanes.iter().max_by(|a, b| load(a.1, a.1.waiting.len()).total_cmp(&load(b.1, b.1.waiting.len())))?;
        if &**name == tenant || load(lane, lane.waiting.len()) < mine + own_step || lane.waiting.is_empty() {
            return None;
        }
        let last = *lane.waiting.last_key_value()?.0;
        let place = Place { tenant: Arc::clone(name), order: last };
        self.remove(&place)
    }

    /// Takes in the size of a request; returns the work that may be saved up.
    fn saved(&mut self, work: u64) -> u64 {
        let work = work.max(1) as f64;
        self.usual += if self.usual == 0.0 { work } else { (work - self.usual) * FOLLOW };
        (SAVED * self.usual) as u64
    }

    fn lane(&mut self, tenant: &str) -> &mut Lane<T> {
        let weight = self.weight(tenant);
        let name = self.name(tenant);
        let now = self.now;
        self.lanes.entry(name).or_insert_with(|| Lane { waiting: BTreeMap::new(), work: 0, weight, start: now })
    }

    fn name(&self, tenant: &str) -> Arc<str> {
        self.lanes.get_key_value(tenant).map_or_else(|| tenant.into(), |(name, _)| Arc::clone(name))
    }

    fn weight(&self, tenant: &str) -> f64 {
        self.weights.get(tenant).copied().filter(|weight| weight.is_finite() && *weight > 0.0).unwrap_or(1.0)
    }

    /// Forgets idle tenants that have nothing to make up for; all idle ones if there are very many.
    fn forget(&mut self) {
        let idle = self.lanes.len() - self.turns.len();
        if idle > MOST_IDLE {
            let now = self.now;
            self.lanes.retain(|_, lane| !lane.waiting.is_empty() || lane.start > now);
            if self.lanes.len() - self.turns.len() > MOST_IDLE {
                self.lanes.retain(|_, lane| !lane.waiting.is_empty());
            }
        }
    }
}

impl<T> Lane<T> {
    /// Where its next request may start at the soonest.
    fn soonest(&self, now: u64, saved: u64) -> u64 {
        self.start.max(now.saturating_sub(cost(saved, self.weight)))
    }
}

fn cost(work: u64, weight: f64) -> u64 {
    ((work.max(1) as f64) * SCALE / weight) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue(capacity: usize) -> FairQueue<(&'static str, u32)> {
        FairQueue::new(capacity, BTreeMap::new())
    }

    fn order(queue: &mut FairQueue<(&'static str, u32)>) -> Vec<(&'static str, u32)> {
        std::iter::from_fn(|| queue.pop().map(|(_, item)| item)).collect()
    }

    #[test]
    fn tenants_take_turns_however_many_requests_one_has() {
        let mut queue = queue(100);
        (0..20).for_each(|i| drop(queue.push("many", 0, 10, ("many", i))));
        (0..2).for_each(|i| drop(queue.push("few", 0, 10, ("few", i))));
        let order = order(&mut queue);
        assert!(order[..4].contains(&("few", 0)) && order[..4].contains(&("few", 1)), "{order:?}");
        assert_eq!(order.len(), 22);
    }

    #[test]
    fn turns_are_counted_in_work_and_weighed() {
        let mut queue = FairQueue::new(1_000, BTreeMap::from([("heavy".to_owned(), 3.0)]));
        for i in 0..200 {
            queue.push("long", 0, 40, ("long", i));
            queue.push("short", 0, 10, ("short", i));
            queue.push("heavy", 0, 10, ("heavy", i));
        }
        let mut work = HashMap::new();
        for _ in 0..100 {
            let (cost, (name, _)) = queue.pop().expect("enough wait");
            *work.entry(name).or_insert(0) += cost;
        }
        let of = |name| f64::from(u32::try_from(work[name]).expect("small"));
        assert!((of("long") / of("short") - 1.0).abs() < 0.3, "{work:?}");
        assert!((of("heavy") / of("short") - 3.0).abs() < 0.5, "{work:?}");
    }

    #[test]
    fn priorities_order_a_tenant_s_own_requests_only() {
        let mut queue = queue(100);
        queue.push("a", 0, 10, ("a", 0));
        queue.push("a", 5, 10, ("a", 5));
        queue.push("b", -3, 10, ("b", 0));
        queue.push("a", 100, 10, ("a", 100));
        let order = order(&mut queue);
        let of_a: Vec<u32> = order.iter().filter(|(name, _)| *name == "a").map(|(_, i)| *i).collect();
        assert_eq!(of_a, [100, 5, 0]);
        assert!(order[..2].contains(&("b", 0)), "{order:?}");
    }

    #[test]
    fn work_that_did_not_wait_counts_too() {
        let mut queue = queue(100);
        (0..10).for_each(|_| queue.charge("busy", 100));
        queue.push("busy", 0, 10, ("busy", 0));
        queue.push("new", 0, 10, ("new", 0));
        assert_eq!(order(&mut queue), [("new", 0), ("busy", 0)]);
    }

    #[test]
    fn who_asked_for_less_than_its_share_has_a_burst_served_first_but_not_more() {
        let mut queue = queue(1_000);
        queue.charge("calm", 10);
        (0..500).for_each(|i| drop(queue.push("many", 0, 10, ("many", i))));
        (0..100).for_each(|_| assert!(queue.pop().is_some()));
        (0..50).for_each(|i| drop(queue.push("calm", 0, 10, ("calm", i))));
        let order = order(&mut queue);
        let first = order.iter().take_while(|(name, _)| *name == "calm").count();
        assert!((10..=18).contains(&first), "{first} at once");
        let then = order[first..first + 40].iter().filter(|(name, _)| *name == "calm").count();
        assert!((18..=22).contains(&then), "{then} of 40 after that");
    }

    #[test]
    fn a_new_name_has_nothing_saved_up() {
        let mut queue = queue(1_000);
        (0..500).for_each(|i| drop(queue.push("many", 0, 10, ("many", i))));
        (0..100).for_each(|_| assert!(queue.pop().is_some()));
        (0..10).for_each(|i| drop(queue.push("made up", 0, 10, ("made up", i))));
        let order = order(&mut queue);
        assert!(order[..4].iter().filter(|(name, _)| *name == "made up").count() <= 3, "{:?}", &order[..4]);
    }

    #[test]
    fn a_full_queue_makes_room_for_who_has_less() {
        let mut queue = queue(4);
        (0..4).for_each(|i| drop(queue.push("many", 0, 10, ("many", i))));
        assert!(matches!(queue.push("many", 0, 10, ("many", 4)), Pushed::Full(("many", 4))));
        assert!(matches!(queue.push("few", 0, 10, ("few", 0)), Pushed::Instead(_, ("many", 3))));
        assert!(matches!(queue.push("few", 0, 10, ("few", 1)), Pushed::Instead(_, ("many", 2))));
        assert!(matches!(queue.push("few", 0, 10, ("few", 2)), Pushed::Full(_)), "half each is fair");
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn a_new_tenant_waits_for_its_turn_only() {
        let mut queue = queue(1_000);
        (0..500).for_each(|i| drop(queue.push("many", 0, 10, ("many", i))));
        assert_eq!(queue.ahead("few", 10), 10);
        assert_eq!(queue.ahead("many", 10), 5_000);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_over_the_bound(
            steps in prop::collection::vec((0_u8..4, 0_usize..5, -3_i8..3, 1_u64..100), 1..300),
            capacity in 1_usize..20,
        ) {
            let names = ["a", "b", "c", "d", "e"];
            let mut queue = FairQueue::new(capacity, BTreeMap::from([("b".to_owned(), 2.5)]));
            let (mut waiting, mut places) = (BTreeSet::new(), Vec::new());
            for (id, (step, tenant, priority, work)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => match queue.push(names[tenant], priority, work, id) {
                        Pushed::Waits(place) => { waiting.insert(id); places.push(place); }
                        Pushed::Instead(place, other) => {
                            prop_assert!(waiting.remove(&other));
                            waiting.insert(id);
                            places.push(place);
                        }
                        Pushed::Full(same) => prop_assert_eq!(same, id),
                    },
                    2 => match queue.pop() {
                        Some((_, item)) => prop_assert!(waiting.remove(&item)),
                        None => prop_assert!(waiting.is_empty()),
                    },
                    _ => if let Some(place) = places.pop()
                        && let Some(item) = queue.remove(&place) {
                        prop_assert!(waiting.remove(&item));
                    },
                }
                prop_assert_eq!(queue.len(), waiting.len());
                prop_assert!(queue.len() <= capacity);
            }
            while let Some((_, item)) = queue.pop() {
                prop_assert!(waiting.remove(&item));
            }
            prop_assert!(waiting.is_empty());
        }
    }

    #[test]
    fn endless_names_are_forgotten() {
        let mut queue = queue(10);
        (0..10_000).for_each(|i| queue.charge(&format!("tenant-{i}"), 10));
        assert!(queue.lanes.len() <= MOST_IDLE + 1);
    }
}
