//! Which requests are to blame for deaths. Pure: the caller says what time it is.
//!
//! One death says little: many requests were there. Whoever was there is a suspect for a while. Suspects come back one at
//! a time (the caller sees to that), so that a second death leaves one suspect, and that one is refused. A suspect that
//! gets further than it was when the engine died has shown that it was a neighbour, and the next one may come.
//!
//! After a kill from outside all suspects are neighbours, and long answers would hold each other up for minutes. So the
//! first time a suspect needs to get [`FAR_ENOUGH`] only. One that was let go so early, and was there again when the engine
//! died, is kept alone for as long as it takes the next time.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use super::super::protocol::Call;

/// How long a request is under suspicion after one death.
const SUSPICION: Duration = Duration::from_secs(600);
/// How long it is refused after two.
const REFUSAL: Duration = Duration::from_secs(3600);
/// Tokens after which a suspect is let go, the first time.
const FAR_ENOUGH: u64 = 32;
/// Deaths that have a request refused.
const DEATHS: u32 = 2;
/// Most requests remembered. A death adds as many as were in flight.
const MOST: usize = 4096;

/// What a request asks for, as a number that says nothing about it. Different in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64);

/// A request that was there when the engine died.
#[derive(Debug, Clone, Copy)]
pub(super) struct Witness {
    pub(super) fingerprint: Fingerprint,
    /// Tokens that it had generated.
    pub(super) tokens: u64,
    /// It was a suspect, and got further than the last time.
    pub(super) cleared: bool,
}

/// What is known about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Clean,
    /// It was there at a death.
    Suspect {
        /// It is to be the only suspect until it has generated more tokens than these.
        tokens: u64,
    },
    /// It was there at two, the second time as the only suspect. It stays refused for so long.
    Refused(Duration),
}

#[derive(Debug)]
struct Record {
    deaths: u32,
    /// Tokens that it had generated.
    tokens: u64,
    /// It was let go early, and that was too early.
    strict: bool,
    until: Instant,
}

/// Takes fingerprints. Those of two of these have nothing to do with each other.
#[derive(Debug, Default)]
pub(super) struct Inkpad(RandomState);

impl Inkpad {
    /// The fingerprint of a call. Two calls for the same thing have the same, whoever makes them.
    pub(super) fn fingerprint(&self, call: &Call) -> Fingerprint {
        // What can't be encoded can't be sent either.
        let bytes = rmp_serde::to_vec_named(&call.content()).unwrap_or_default();
        Fingerprint(self.0.hash_one(bytes))
    }
}

/// The requests under suspicion.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    records: HashMap<Fingerprint, Record>,
}

impl Suspects {
    /// What is known about a request.
    pub(super) fn standing(&mut self, fingerprint: Fingerprint, now: Instant) -> Standing {
        match self.records.get(&fingerprint) {
            None => Standing::Clean,
            Some(record) if record.until <= now => {
                self.records.remove(&fingerprint);
                Standing::Clean
            }
            Some(record) if record.deaths >= DEATHS => Standing::Refused(record.until - now),
            // The same answer need not come out twice: twice as far is certainly further.
            Some(record) if record.strict => Standing::Suspect { tokens: record.tokens.saturating_mul(2) },
            Some(record) => Standing::Suspect { tokens: record.tokens.min(FAR_ENOUGH) },
        }
    }

    /// Takes in a death. Returns the requests that are refused from now on.
    pub(super) fn died(&mut self, witnesses: &[Witness], now: Instant) -> Vec<Fingerprint> {
        self.records.retain(|_, record| record.until > now);
        for witness in witnesses.iter().filter(|witness| witness.cleared) {
            if let Some(record) = self.records.get_mut(&witness.fingerprint)
                && witness.tokens <= record.tokens.saturating_mul(2)
            {
                record.strict = true;
                record.tokens = record.tokens.max(witness.tokens);
                record.until = record.until.max(now + SUSPICION);
            }
        }
        let mut seen = HashMap::new();
        for witness in witnesses.iter().filter(|witness| !witness.cleared) {
            // The same question asked twice at once was there at one death all the same.
            let tokens: &mut u64 = seen.entry(witness.fingerprint).or_default();
            *tokens = witness.tokens.max(*tokens);
        }
        let mut refused = Vec::new();
        for (fingerprint, tokens) in seen {
            let record =
                self.records.entry(fingerprint).or_insert(Record { deaths: 0, tokens: 0, strict: false, until: now });
            record.deaths += 1;
            record.tokens = tokens;
            record.until = now + if record.deaths >= DEATHS { REFUSAL } else { SUSPICION };
            if record.deaths >= DEATHS {
                refused.push(fingerprint);
            }
        }
        self.forget_some();
        refused
    }

    /// It came to its end.
    pub(super) fn acquit(&mut self, fingerprint: Fingerprint) {
        if self.records.get(&fingerprint).is_some_and(|record| record.deaths < DEATHS) {
            self.records.remove(&fingerprint);
        }
    }

    /// Those whose time is up first go first, and they are the mere suspects.
    fn forget_some(&mut self) {
        let excess = self.records.len().saturating_sub(MOST);
        if excess > 0 {
            let mut ends: Vec<_> =
                self.records.iter().map(|(&fingerprint, record)| (record.until, fingerprint)).collect();
            ends.sort_unstable_by_key(|&(until, _)| until);
            for (_, fingerprint) in ends.iter().take(excess) {
                self.records.remove(fingerprint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::GenerateRequest;

    use super::*;

    fn witness(n: u64) -> Witness {
        Witness { fingerprint: Fingerprint(n), tokens: 3, cleared: false }
    }

    #[test]
    fn one_death_makes_suspects_and_a_second_one_a_refusal() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        assert!(suspects.died(&[witness(1), witness(2)], now).is_empty());
        assert_eq!(suspects.standing(Fingerprint(1), now), Standing::Suspect { tokens: 3 });
        assert_eq!(suspects.died(&[witness(1), witness(3)], now), [Fingerprint(1)]);
        assert_eq!(suspects.standing(Fingerprint(1), now), Standing::Refused(REFUSAL));
        assert!(matches!(suspects.standing(Fingerprint(2), now), Standing::Suspect { .. }));
        assert!(matches!(suspects.standing(Fingerprint(3), now), Standing::Suspect { .. }));
        assert_eq!(suspects.standing(Fingerprint(4), now), Standing::Clean);
    }

    #[test]
    fn the_same_request_twice_at_one_death_was_there_once() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        assert!(suspects.died(&[witness(1), witness(1)], now).is_empty());
    }

    #[test]
    fn whoever_got_further_than_the_last_time_is_not_blamed() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[witness(1)], now);
        assert!(suspects.died(&[Witness { cleared: true, tokens: 7, ..witness(1) }], now).is_empty());
        assert_eq!(suspects.standing(Fingerprint(1), now), Standing::Suspect { tokens: 3 });
    }

    #[test]
    fn a_fault_far_into_an_answer_takes_one_death_more() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        let late = Witness { tokens: 200, ..witness(1) };
        suspects.died(&[late], now);
        assert_eq!(suspects.standing(late.fingerprint, now), Standing::Suspect { tokens: FAR_ENOUGH });
        assert!(suspects.died(&[Witness { cleared: true, tokens: 210, ..late }], now).is_empty());
        assert_eq!(suspects.standing(late.fingerprint, now), Standing::Suspect { tokens: 420 });
        assert_eq!(suspects.died(&[Witness { tokens: 190, ..late }], now), [late.fingerprint]);
    }

    #[test]
    fn suspicion_and_refusal_end() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[witness(1), witness(2)], now);
        suspects.died(&[witness(1)], now);
        assert_eq!(suspects.standing(Fingerprint(2), now + SUSPICION), Standing::Clean);
        assert!(matches!(suspects.standing(Fingerprint(1), now + SUSPICION), Standing::Refused(_)));
        assert_eq!(suspects.standing(Fingerprint(1), now + REFUSAL), Standing::Clean);
    }

    #[test]
    fn an_end_acquits_a_suspect_but_not_one_that_is_refused() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[witness(1), witness(2)], now);
        suspects.died(&[witness(2)], now);
        suspects.acquit(Fingerprint(1));
        suspects.acquit(Fingerprint(2));
        assert_eq!(suspects.standing(Fingerprint(1), now), Standing::Clean);
        assert!(matches!(suspects.standing(Fingerprint(2), now), Standing::Refused(_)));
    }

    #[test]
    fn memory_is_bounded_and_the_refused_are_kept_longest() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.died(&[witness(1)], now);
        suspects.died(&[witness(1)], now);
        let crowd: Vec<_> = (2..20_000).map(witness).collect();
        suspects.died(&crowd, now);
        assert_eq!(suspects.records.len(), MOST);
        assert!(matches!(suspects.standing(Fingerprint(1), now), Standing::Refused(_)));
    }

    #[test]
    fn who_asks_and_with_which_seed_does_not_matter_but_what_is_asked_does() {
        let inkpad = Inkpad::default();
        let of = |request: &GenerateRequest| inkpad.fingerprint(&Call::Generate(Box::new(request.clone())));
        let one = GenerateRequest::ask("hello");
        let mut other = one.clone();
        other.request_id = Some("r".into());
        other.tenant = Some("t".into());
        other.sampling.seed = Some(1);
        other.deadline = Some(Instant::now());
        assert_eq!(of(&one), of(&other));
        assert_ne!(of(&one), of(&GenerateRequest::ask("hello!")));
        assert_ne!(of(&one), of(&one.clone().max_tokens(3)));
        assert_ne!(of(&one), inkpad.fingerprint(&Call::Render(Box::new(one.clone()))));
    }
}
