//! Which models may be in memory together: who has to go when another one comes. Pure.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Memory that a model takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Need {
    /// Bytes of its weights.
    pub(super) weights: u64,
    /// Bytes beside that: KV cache, buffers, an adapter.
    pub(super) own: u64,
}

impl Need {
    /// Bytes, all together.
    pub(super) fn total(&self) -> u64 {
        self.weights.saturating_add(self.own)
    }
}

/// A model in memory, or on its way there.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) need: Need,
    /// Never unloaded.
    pub(super) pinned: bool,
    /// It answers requests, or is being loaded.
    pub(super) busy: bool,
    pub(super) loaded_at: Instant,
    pub(super) used_at: Instant,
}

/// What has to be done before a model can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing.
    Fits,
    /// These have to go.
    Evict(Vec<String>),
    /// Those that could go have work.
    Busy,
    /// Those that could go came too recently; so long they stay.
    Held(Duration),
    /// It is too large, whoever goes. So much is left beside the pinned models.
    Never { available: u64 },
}

/// What has to be done before a model that takes `need` can come, with `tenants` there. The least recently used goes
/// first; nobody goes who came less than `hold` ago, so that two models that don't fit together don't swap for each
/// request.
pub(super) fn plan(tenants: &[Tenant], need: &Need, budget: u64, hold: Duration, now: Instant) -> Plan {
    let fits = |there: &[&Tenant]| taken(there.iter().map(|tenant| &tenant.need).chain([need])) <= budget;
    let all: Vec<&Tenant> = tenants.iter().collect();
    if fits(&all) {
        return Plan::Fits;
    }
    let pinned: Vec<&Tenant> = tenants.iter().filter(|tenant| tenant.pinned).collect();
    if !fits(&pinned) {
        return Plan::Never { available: budget.saturating_sub(taken(pinned.iter().map(|tenant| &tenant.need))) };
    }
    let held = |tenant: &Tenant| (tenant.loaded_at + hold).saturating_duration_since(now);
    let mut idle: Vec<&Tenant> = tenants.iter().filter(|tenant| !tenant.pinned && !tenant.busy).collect();
    let free: Vec<&Tenant> = idle.iter().copied().filter(|tenant| held(tenant).is_zero()).collect();
    if let Some(victims) = fewest(&all, free, fits) {
        return Plan::Evict(victims);
    }
    // Would it do to wait until they may go?
    idle.sort_by_key(|tenant| held(tenant));
    for count in 1..=idle.len() {
        if fits(&without(&all, &idle[..count])) {
            return Plan::Held(held(idle[count - 1]));
        }
    }
    Plan::Busy
}

/// The least recently used of `candidates`, as few as will do.
fn fewest(all: &[&Tenant], mut candidates: Vec<&Tenant>, fits: impl Fn(&[&Tenant]) -> bool) -> Option<Vec<String>> {
    candidates.sort_by_key(|tenant| tenant.used_at);
    let count = (1..=candidates.len()).find(|&count| fits(&without(all, &candidates[..count])))?;
    let mut victims = candidates[..count].to_vec();
    // The last one may have been so large that some of those before it can stay; the most recently used first.
    for spared in (0..count).rev() {
        let fewer: Vec<&Tenant> =
            victims.iter().copied().filter(|victim| !std::ptr::eq(*victim, candidates[spared])).collect();
        if fits(&without(all, &fewer)) {
            victims = fewer;
        }
    }
    Some(victims.into_iter().map(|tenant| tenant.id.clone()).collect())
}

fn without<'a>(all: &[&'a Tenant], leaving: &[&Tenant]) -> Vec<&'a Tenant> {
    all.iter().copied().filter(|tenant| !leaving.iter().any(|gone| std::ptr::eq(*gone, *tenant))).collect()
}

/// Bytes that these take together.
pub(super) fn taken<'a>(needs: impl Iterator<Item = &'a Need>) -> u64 {
    needs.fold(0, |sum, need| sum.saturating_add(need.total()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = Duration::from_secs(10);

    fn need(bytes: u64) -> Need {
        Need { weights: bytes, ..Need::default() }
    }

    /// `used` seconds ago, loaded a minute ago.
    fn tenant(id: &str, bytes: u64, used: u64, now: Instant) -> Tenant {
        Tenant {
            id: id.into(),
            need: need(bytes),
            pinned: false,
            busy: false,
            loaded_at: now - Duration::from_secs(60),
            used_at: now - Duration::from_secs(used),
        }
    }

    fn start() -> Instant {
        Instant::now() + Duration::from_secs(1_000)
    }

    #[test]
    fn the_least_recently_used_goes() {
        let now = start();
        let there = [tenant("a", 4, 1, now), tenant("b", 4, 30, now)];
        assert_eq!(plan(&there, &need(2), 10, HOLD, now), Plan::Fits);
        assert_eq!(plan(&there, &need(4), 10, HOLD, now), Plan::Evict(vec!["b".into()]));
        assert_eq!(plan(&there, &need(8), 10, HOLD, now), Plan::Evict(vec!["b".into(), "a".into()]));
    }

    #[test]
    fn nobody_goes_whose_place_is_not_needed() {
        let now = start();
        let there = [tenant("small", 1, 50, now), tenant("large", 9, 30, now)];
        assert_eq!(plan(&there, &need(8), 10, HOLD, now), Plan::Evict(vec!["large".into()]));
    }

    #[test]
    fn pinned_busy_and_fresh_models_stay() {
        let now = start();
        let with = |set: fn(&mut Tenant, Instant)| {
            let mut one = tenant("a", 8, 30, now);
            set(&mut one, now);
            plan(&[one], &need(4), 10, HOLD, now)
        };
        assert_eq!(with(|t, _| t.pinned = true), Plan::Never { available: 2 });
        assert_eq!(with(|t, _| t.busy = true), Plan::Busy);
        let fresh = with(|t, now| t.loaded_at = now - Duration::from_secs(4));
        assert_eq!(fresh, Plan::Held(Duration::from_secs(6)));
        assert_eq!(plan(&[], &need(11), 10, HOLD, now), Plan::Never { available: 10 });
    }

    proptest! {
        #[test]
        fn who_is_told_to_go_makes_room_and_may_go(
            sizes in prop::collection::vec((0_u64..20, 0_u64..100, 0_u64..30, any::<bool>(), any::<bool>()), 0..8),
            wanted in 0_u64..40,
            budget in 0_u64..60,
        ) {
            let now = start();
            let tenants: Vec<Tenant> = sizes
                .iter()
                .enumerate()
                .map(|(i, &(bytes, used, loaded, pinned, busy))| Tenant {
                    pinned,
                    busy,
                    loaded_at: now - Duration::from_secs(loaded),
                    ..tenant(&i.to_string(), bytes, used, now)
                })
                .collect();
            let sum: u64 = tenants.iter().map(|t| t.need.total()).sum();
            match plan(&tenants, &need(wanted), budget, HOLD, now) {
                Plan::Fits => prop_assert!(sum + wanted <= budget),
                Plan::Evict(ids) => {
                    let gone: Vec<&Tenant> = tenants.iter().filter(|t| ids.contains(&t.id)).collect();
                    prop_assert_eq!(gone.len(), ids.len());
                    prop_assert!(gone.iter().all(|t| !t.pinned && !t.busy && t.loaded_at + HOLD <= now));
                    prop_assert!(sum - gone.iter().map(|t| t.need.total()).sum::<u64>() + wanted <= budget);
                }
                Plan::Held(wait) => prop_assert!(wait <= HOLD && !wait.is_zero()),
                Plan::Busy => prop_assert!(tenants.iter().any(|t| t.busy)),
                Plan::Never { .. } => {
                    let pinned: u64 = tenants.iter().filter(|t| t.pinned).map(|t| t.need.total()).sum();
                    prop_assert!(pinned + wanted > budget);
                }
            }
        }
    }
}
