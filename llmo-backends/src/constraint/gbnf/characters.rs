//! Sets of characters.

use std::fmt::Write;

const LAST: u32 = 0x10_FFFF;

/// Ranges of code points, both ends included, in order and apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Characters(Vec<(u32, u32)>);

impl Characters {
    /// Every character.
    pub(super) fn all() -> Self {
        Self(vec![(0, LAST)])
    }

    pub(super) fn one(c: char) -> Self {
        Self(vec![(c.into(), c.into())])
    }

    /// Adds a range, both ends included.
    pub(super) fn insert(&mut self, first: char, last: char) {
        self.0.push((first.into(), last.into()));
        self.normalise();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn negated(&self) -> Self {
        let mut ranges = Vec::new();
        let mut next = 0;
        for &(first, last) in &self.0 {
            if first > next {
                ranges.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= LAST {
            ranges.push((next, LAST));
        }
        Self(ranges)
    }

    pub(super) fn intersects(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            if x.1 < y.0 {
                a.next();
            } else if y.1 < x.0 {
                b.next();
            } else {
                return true;
            }
        }
        false
    }

    /// Adds another set. True if that changed anything.
    pub(super) fn extend(&mut self, other: &Self) -> bool {
        if other.0.is_empty() || self == other {
            return false;
        }
        let before = self.0.clone();
        self.0.extend_from_slice(&other.0);
        self.normalise();
        before != self.0
    }

    fn normalise(&mut self) {
        self.0.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(self.0.len());
        for &(first, last) in &self.0 {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }

    /// Writes the set as a regular expression that needs no escape in Lark.
    pub(super) fn write(&self, out: &mut String) {
        // Surrogates are no characters, and no expression may name them.
        let up = |code: u32| if (0xD800..0xE000).contains(&code) { 0xE000 } else { code };
        let down = |code: u32| if (0xD800..0xE000).contains(&code) { 0xD7FF } else { code };
        if let [(first, last)] = self.0[..]
            && first == last
            && let Some(c) = char::from_u32(first)
        {
            return super::super::pattern::literal(out, c);
        }
        out.push('[');
        for &(first, last) in &self.0 {
            let (first, last) = (up(first), down(last));
            if first <= last {
                // Writing to a String can't fail.
                let _ = write!(out, "\\x{{{first:x}}}-\\x{{{last:x}}}");
            }
        }
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_negated_and_compared() {
        let mut set = Characters::one('b');
        set.insert('d', 'f');
        set.insert('c', 'c');
        assert_eq!(set.0, [(98, 102)]);
        assert_eq!(set.negated().0, [(0, 97), (103, LAST)]);
        assert_eq!(set.negated().negated(), set);
        assert!(set.intersects(&Characters::one('d')) && !set.intersects(&Characters::one('a')));
        assert!(Characters::all().negated().is_empty());
    }
}
