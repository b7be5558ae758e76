//! Lines of several sources in the order of their times.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Lines that wait for their turn.
///
/// A line without a time belongs to the one before it in the same source. Lines of one source are never swapped: if a clock
/// goes back, its lines take the last time seen.
#[derive(Default)]
pub(super) struct Merge {
    /// The last time of each source.
    last: Vec<String>,
    /// By time, source and number.
    waiting: BTreeMap<(String, usize, u64), (String, Instant)>,
    number: u64,
}

impl Merge {
    /// A line has come, which was written at `time`. A source is new with its first line.
    pub(super) fn push(&mut self, source: usize, time: Option<&str>, text: &str, now: Instant) {
        if self.last.len() <= source {
            self.last.resize(source + 1, String::new());
        }
        if let Some(time) = time
            && time > self.last[source].as_str()
        {
            time.clone_into(&mut self.last[source]);
        }
        self.number += 1;
        self.waiting.insert((self.last[source].clone(), source, self.number), (text.to_owned(), now));
    }

    /// Everything, with its source.
    pub(super) fn all(&mut self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.waiting).into_iter().map(|((_, source, _), (text, _))| (source, text)).collect()
    }

    /// What has waited for `hold`, and everything that comes before it.
    pub(super) fn older_than(&mut self, now: Instant, hold: Duration) -> Vec<(usize, String)> {
        let ripe = self.waiting.iter().rev().find(|(_, (_, came))| now.saturating_duration_since(*came) >= hold);
        let Some(last) = ripe.map(|(key, _)| key.clone()) else { return Vec::new() };
        let mut later = self.waiting.split_off(&last);
        let of_last = later.remove_entry(&last);
        let ready = std::mem::replace(&mut self.waiting, later);
        ready.into_iter().chain(of_last).map(|((_, source, _), (text, _))| (source, text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;

    fn push(merge: &mut Merge, source: usize, text: &str, now: Instant) {
        merge.push(source, line::time(text), text, now);
    }

    fn texts(lines: &[(usize, String)]) -> Vec<&str> {
        lines.iter().map(|(_, text)| text.as_str()).collect()
    }

    const A1: &str = "2026-11-23T10:00:01.000000Z INFO a1";
    const A3: &str = "2026-11-23T10:00:03.000000Z INFO a3";
    const B2: &str = "{\"timestamp\":\"2026-11-23T10:00:02.000000Z\",\"message\":\"b2\"}";

    #[test]
    fn lines_come_by_time_and_those_without_one_stay_with_theirs() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        for (source, text) in [(0, A1), (0, "  more of a1"), (0, A3), (1, B2), (1, "  more of b2")] {
            push(&mut merge, source, text, now);
        }
        assert_eq!(texts(&merge.all()), [A1, "  more of a1", B2, "  more of b2", A3]);
    }

    #[test]
    fn a_late_line_of_another_service_is_waited_for() {
        let (mut merge, start) = (Merge::default(), Instant::now());
        let hold = Duration::from_millis(300);
        push(&mut merge, 0, A3, start);
        assert!(merge.older_than(start + hold / 2, hold).is_empty());
        push(&mut merge, 1, B2, start + hold / 2);
        assert_eq!(texts(&merge.older_than(start + hold, hold)), [B2, A3]);
        assert!(merge.all().is_empty());
    }

    #[test]
    fn lines_of_one_service_keep_their_order_when_its_clock_goes_back() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        push(&mut merge, 0, A3, now);
        push(&mut merge, 0, A1, now);
        assert_eq!(texts(&merge.all()), [A3, A1]);
    }
}
