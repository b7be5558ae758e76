//! The automaton of a terminal: one state for each character in its expression (Glushkov 1961).
//!
//! Bounds of repetitions are left out: `x{3,5}` is taken for `x+`. The automaton accepts more than the terminal, so that
//! conflicts are found where there are none, never the other way round.

use super::characters::Characters;
use super::parse::Node;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// What each position matches.
    pub(super) sets: Vec<Characters>,
    /// Positions that may come first.
    pub(super) first: Vec<usize>,
    /// May each be the last?
    pub(super) is_last: Vec<bool>,
    /// Positions that may come after each.
    pub(super) next: Vec<Vec<usize>>,
    /// Does the terminal match nothing at all?
    pub(super) nullable: bool,
}

struct Part {
    first: Vec<usize>,
    last: Vec<usize>,
    nullable: bool,
}

impl Positions {
    /// The automaton of a terminal; `None` when the budget is used up.
    pub(super) fn of(node: &Node, budget: &mut u64) -> Option<Self> {
        let mut positions = Self::default();
        let part = positions.add(node, budget)?;
        positions.first = part.first;
        positions.nullable = part.nullable;
        positions.is_last = vec![false; positions.sets.len()];
        part.last.into_iter().for_each(|position| positions.is_last[position] = true);
        for next in &mut positions.next {
            next.sort_unstable();
            next.dedup();
        }
        Some(positions)
    }

    /// The characters that may come first.
    pub(super) fn first_characters(&self) -> Characters {
        let mut first = Characters::default();
        for &position in &self.first {
            first.extend(&self.sets[position]);
        }
        first
    }

    fn add(&mut self, node: &Node, budget: &mut u64) -> Option<Part> {
        *budget = budget.checked_sub(1)?;
        match node {
            Node::One(set) => {
                self.sets.push(set.clone());
                self.next.push(Vec::new());
                let position = self.sets.len() - 1;
                Some(Part { first: vec![position], last: vec![position], nullable: false })
            }
            Node::Sequence(nodes) => {
                let mut whole = Part { first: Vec::new(), last: Vec::new(), nullable: true };
                for node in nodes {
                    let part = self.add(node, budget)?;
                    self.connect(&whole.last, &part.first, budget)?;
                    if whole.nullable {
                        whole.first.extend_from_slice(&part.first);
                    }
                    if part.nullable {
                        whole.last.extend(part.last);
                    } else {
                        whole.last = part.last;
                    }
                    whole.nullable &= part.nullable;
                }
                Some(whole)
            }
            Node::Choice(nodes) => {
                let mut whole = Part { first: Vec::new(), last: Vec::new(), nullable: false };
                for node in nodes {
                    let part = self.add(node, budget)?;
                    whole.first.extend(part.first);
                    whole.last.extend(part.last);
                    whole.nullable |= part.nullable;
                }
                Some(whole)
            }
            Node::Repeat(node, least, most) => {
                let mut part = self.add(node, budget)?;
                if most.is_none_or(|most| most > 1) {
                    self.connect(&part.last, &part.first, budget)?;
                }
                part.nullable |= *least == 0;
                Some(part)
            }
            // Terminals have no rules in them.
            Node::Rule(_) => None,
        }
    }

    fn connect(&mut self, from: &[usize], to: &[usize], budget: &mut u64) -> Option<()> {
        *budget = budget.checked_sub((from.len() * to.len()) as u64)?;
        for &position in from {
            self.next[position].extend_from_slice(to);
        }
        Some(())
    }
}
