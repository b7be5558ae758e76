//! Which slot a request gets, and where the beginning of its prompt comes from. A pure function of the slots.
//!
//! All costs are counted in tokens of prompts that have to be read, now or later:
//!
//! * what is not reused is read now;
//! * a copy costs a small fraction of a token for each token that the copied sequence holds;
//! * what is overwritten may be asked for again: its tokens, so far as no other slot holds them, times the chance of that;
//! * what is worth more than a copy is moved to a slot that is worth less, and only then overwritten;
//! * llama.cpp computes only neighbouring sequences together, so a slot away from those that run costs each step of the
//!   stream a pass of its own over the weights.

/// A beginning that is being read by another slot is waited for if it saves at least this many tokens.
const WORTH_WAITING: usize = 32;

/// A slot, seen from one request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in super::super) struct Candidate {
    /// No request uses it.
    pub(in super::super) is_free: bool,
    /// Tokens of the prompt that it holds and that may be reused.
    pub(in super::super) ready: usize,
    /// The same, when it has read its own prompt to the end.
    pub(in super::super) coming: usize,
    /// Tokens that it holds.
    pub(in super::super) held: usize,
    /// Of these, at the end, how many no other slot holds.
    pub(in super::super) unique: usize,
    /// How likely they are asked for again.
    pub(in super::super) chance: f64,
}

/// What things cost, in tokens of prompts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Costs {
    /// Copying a sequence, for each token that it holds; infinite where sequences can't be copied.
    pub(in super::super) copy: f64,
    /// A slot between running ones that does not run, or one away from them.
    pub(in super::super) gap: f64,
}

/// Where the beginning of a prompt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Source {
    /// The slot holds so many of its tokens (maybe none).
    Own(usize),
    /// Another slot holds so many.
    Copy { from: usize, tokens: usize },
    /// Another slot is about to have read so many.
    Await { from: usize, tokens: usize },
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Plan {
    /// The slot that it gets.
    pub(in super::super) slot: usize,
    /// First, what that slot holds is copied here.
    pub(in super::super) spill: Option<usize>,
    pub(in super::super) source: Source,
}

/// Decides for a prompt of `prompt` tokens. `None` if no slot is free.
pub(in super::super) fn plan(slots: &[Candidate], prompt: usize, costs: Costs) -> Option<Plan> {
    let free = (0..slots.len()).filter(|&index| slots[index].is_free);
    let choices = free.map(|slot| choice(slots, slot, prompt, costs));
    choices.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, plan)| plan)
}

/// Where the beginning comes from for a slot that has been chosen.
pub(in super::super) fn source(slots: &[Candidate], slot: usize, costs: Costs) -> Source {
    best_source(slots, slot, costs).1
}

fn best_source(slots: &[Candidate], slot: usize, costs: Costs) -> (f64, Source) {
    let own = (slots[slot].ready as f64, Source::Own(slots[slot].ready));
    let others = || slots.iter().enumerate().filter(|&(index, _)| index != slot);
    let copies = others().filter(|(_, other)| other.ready > 0).map(|(from, other)| {
        (other.ready as f64 - costs.copy * other.held as f64, Source::Copy { from, tokens: other.ready })
    });
    // Of equals the first: the slot's own.
    let ready = copies.fold(own, |best, next| if next.0 > best.0 { next } else { best });
    let coming = others().filter(|(_, other)| other.coming > other.ready).map(|(from, other)| {
        let held = other.held.max(other.coming);
        (other.coming as f64 - costs.copy * held as f64, Source::Await { from, tokens: other.coming })
    });
    let coming = coming.filter(|&(saved, _)| saved >= ready.0 + WORTH_WAITING as f64);
    coming.fold(ready, |best, next| if next.0 > best.0 { next } else { best })
}

fn choice(slots: &[Candidate], slot: usize, prompt: usize, costs: Costs) -> (f64, Plan) {
    let (saved, source) = best_source(slots, slot, costs);
    let kept = match source {
        Source::Own(tokens) => tokens,
        _ => 0,
    };
    let loss = |index: usize, kept: usize| {
        let lost = slots[index].unique.min(slots[index].held.saturating_sub(kept));
        lost as f64 * slots[index].chance
    };
    let others = (0..slots.len()).filter(|&other| {
        let is_source = matches!(source, Source::Copy { from, .. } | Source::Await { from, .. } if from == other);
        other != slot && slots[other].is_free && !is_source
    });
    let moved = costs.copy * slots[slot].held as f64;
    let spills = others.map(|other| (loss(other, 0) + moved, Some(other)));
    let (lost, spill) = spills.fold((loss(slot, kept), None), |best, next| if next.0 < best.0 { next } else { best });
    let cost = prompt as f64 - saved + lost + costs.gap * gaps(slots, slot) as f64;
    (cost, Plan { slot, spill, source })
}

/// Slots that don't run between those that do, if this one did too.
fn gaps(slots: &[Candidate], slot: usize) -> usize {
    let runs = |index: usize| index == slot || !slots[index].is_free;
    let first = (0..slots.len()).find(|&index| runs(index)).unwrap_or(slot);
    let last = (0..slots.len()).rfind(|&index| runs(index)).unwrap_or(slot);
    (first..=last).filter(|&index| !runs(index)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COSTS: Costs = Costs { copy: 0.02, gap: 50.0 };

    fn free(ready: usize, held: usize, unique: usize) -> Candidate {
        Candidate { is_free: true, ready, coming: ready, held, unique, chance: 0.5 }
    }

    fn busy(ready: usize, coming: usize, held: usize) -> Candidate {
        Candidate { is_free: false, ready, coming, held, unique: held, chance: 0.5 }
    }

    #[test]
    fn a_free_slot_that_holds_the_beginning_reads_on() {
        let slots = [free(0, 0, 0), free(200, 202, 202)];
        let expected = Plan { slot: 1, spill: None, source: Source::Own(200) };
        assert_eq!(plan(&slots, 300, COSTS), Some(expected));
    }

    #[test]
    fn a_busy_slot_s_beginning_is_copied() {
        let slots = [busy(200, 200, 250), free(0, 0, 0)];
        let expected = Plan { slot: 1, spill: None, source: Source::Copy { from: 0, tokens: 200 } };
        assert_eq!(plan(&slots, 300, COSTS), Some(expected));
        let never = Costs { copy: f64::INFINITY, ..COSTS };
        assert_eq!(plan(&slots, 300, never).map(|plan| plan.source), Some(Source::Own(0)));
    }

    #[test]
    fn a_copy_that_costs_more_than_reading_is_not_made() {
        let slots = [busy(20, 20, 4000), free(0, 0, 0)];
        assert_eq!(plan(&slots, 300, COSTS).map(|plan| plan.source), Some(Source::Own(0)));
    }

    #[test]
    fn a_beginning_that_is_being_read_is_waited_for() {
        let slots = [busy(100, 600, 100), free(0, 0, 0)];
        let source = plan(&slots, 700, COSTS).map(|plan| plan.source);
        assert_eq!(source, Some(Source::Await { from: 0, tokens: 600 }));
        let little = [busy(100, 120, 100), free(0, 0, 0)];
        let source = plan(&little, 700, COSTS).map(|plan| plan.source);
        assert_eq!(source, Some(Source::Copy { from: 0, tokens: 100 }));
    }

    #[test]
    fn what_others_may_ask_for_is_copied_and_not_cut() {
        // Half of a long sequence is wanted; the rest of it is in no other slot.
        let slots = [free(500, 4000, 4000), free(0, 0, 0)];
        let plan = plan(&slots, 600, COSTS).unwrap();
        assert!(plan.slot == 1 || plan.spill == Some(1), "{plan:?}");
    }

    #[test]
    fn what_is_worth_least_is_overwritten() {
        let cheap = Candidate { chance: 0.1, ..free(0, 500, 500) };
        let copied_elsewhere = free(0, 3000, 10);
        assert_eq!(plan(&[free(0, 500, 500), cheap], 100, COSTS).map(|plan| plan.slot), Some(1));
        let slots = [free(0, 500, 500), cheap, copied_elsewhere];
        assert_eq!(plan(&slots, 100, Costs { gap: 0.0, ..COSTS }).map(|plan| plan.slot), Some(2));
    }

    #[test]
    fn streams_stay_neighbours_and_contents_move() {
        let mut slots = [free(0, 1000, 1000); 8];
        slots[3] = busy(0, 0, 10);
        slots[7] = free(0, 0, 0);
        let plan = plan(&slots, 100, COSTS).unwrap();
        assert!(plan.slot == 2 || plan.slot == 4, "{plan:?}");
        assert_eq!(plan.spill, Some(7));
    }

    proptest! {
        #[test]
        fn a_plan_names_a_free_slot_and_never_more_than_the_source_holds(
            slots in prop::collection::vec(
                (any::<bool>(), 0usize..300, 0usize..300, 0usize..300, 0.0f64..1.0).prop_map(
                    |(is_free, ready, more, unique, chance)| {
                        let held = ready + more;
                        let coming = if is_free { ready } else { ready + more / 2 };
                        Candidate { is_free, ready, coming, held, unique: unique.min(held), chance }
                    },
                ),
                1..12,
            ),
            prompt in 300usize..600,
        ) {
            let Some(plan) = plan(&slots, prompt, COSTS) else {
                prop_assert!(slots.iter().all(|slot| !slot.is_free));
                return Ok(());
            };
            prop_assert!(slots[plan.slot].is_free);
            if let Some(spill) = plan.spill {
                prop_assert!(slots[spill].is_free && spill != plan.slot);
            }
            match plan.source {
                Source::Own(tokens) => prop_assert_eq!(tokens, slots[plan.slot].ready),
                Source::Copy { from, tokens } => {
                    prop_assert!(from != plan.slot && plan.spill != Some(from));
                    prop_assert_eq!(tokens, slots[from].ready);
                }
                Source::Await { from, tokens } => {
                    prop_assert!(!slots[from].is_free && tokens > slots[from].ready);
                }
            }
        }
    }
}
