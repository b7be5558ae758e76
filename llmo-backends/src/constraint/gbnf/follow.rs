//! Which characters may come first in, and directly after, each part of a grammar.

use super::characters::Characters;
use super::item::{Grammar, Item};
use super::positions::Positions;

/// First and follow sets.
pub(super) struct Follow<'a> {
    grammar: &'a Grammar,
    automata: &'a [Option<Positions>],
    terminal_first: Vec<Characters>,
    first: Vec<Characters>,
    nullable: Vec<bool>,
    follow: Vec<Characters>,
    /// What may come after each terminal, by its number.
    pub(super) terminals: Vec<Characters>,
}

impl<'a> Follow<'a> {
    /// Computes the sets; `None` when the budget is used up. `automata` has those of all terminals in use.
    pub(super) fn of(grammar: &'a Grammar, automata: &'a [Option<Positions>], budget: &mut u64) -> Option<Self> {
        let rules = grammar.rules.len();
        let first =
            |automaton: &Option<Positions>| automaton.as_ref().map(Positions::first_characters).unwrap_or_default();
        let mut sets = Self {
            grammar,
            automata,
            terminal_first: automata.iter().map(first).collect(),
            first: vec![Characters::default(); rules],
            nullable: vec![false; rules],
            follow: vec![Characters::default(); rules],
            terminals: vec![Characters::default(); automata.len()],
        };
        while sets.first_pass(budget)? {}
        while sets.follow_pass(budget)? {}
        Some(sets)
    }

    fn first_pass(&mut self, budget: &mut u64) -> Option<bool> {
        let mut changed = false;
        for (number, rule) in self.grammar.rules.iter().enumerate() {
            let Some(item) = rule else { continue };
            let (first, nullable) = self.first_of(item, budget)?;
            changed |= self.first[number].extend(&first) || (nullable && !self.nullable[number]);
            self.nullable[number] |= nullable;
        }
        Some(changed)
    }

    fn first_of(&self, item: &Item, budget: &mut u64) -> Option<(Characters, bool)> {
        *budget = budget.checked_sub(1)?;
        Some(match item {
            Item::Terminal(number) => {
                let nullable = self.automata[*number].as_ref().is_none_or(|automaton| automaton.nullable);
                (self.terminal_first[*number].clone(), nullable)
            }
            Item::Rule(number) => (self.first[*number].clone(), self.nullable[*number]),
            Item::Sequence(items) => {
                let mut whole = Characters::default();
                for item in items {
                    let (first, nullable) = self.first_of(item, budget)?;
                    whole.extend(&first);
                    if !nullable {
                        return Some((whole, false));
                    }
                }
                (whole, true)
            }
            Item::Choice(items) => {
                let mut whole = (Characters::default(), false);
                for item in items {
                    let (first, nullable) = self.first_of(item, budget)?;
                    whole.0.extend(&first);
                    whole.1 |= nullable;
                }
                whole
            }
            Item::Repeat(item, least, _) => {
                let (first, nullable) = self.first_of(item, budget)?;
                (first, nullable || *least == 0)
            }
        })
    }

    fn follow_pass(&mut self, budget: &mut u64) -> Option<bool> {
        let mut changed = false;
        for (number, rule) in self.grammar.rules.iter().enumerate() {
            let Some(item) = rule else { continue };
            let after = self.follow[number].clone();
            changed |= self.walk(item, &after, budget)?;
        }
        Some(changed)
    }

    /// Tells everything in `item` what comes after it. True if that was news to a rule.
    fn walk(&mut self, item: &Item, after: &Characters, budget: &mut u64) -> Option<bool> {
        *budget = budget.checked_sub(1)?;
        Some(match item {
            Item::Terminal(number) => {
                self.terminals[*number].extend(after);
                false
            }
            Item::Rule(number) => self.follow[*number].extend(after),
            Item::Sequence(items) => {
                let mut changed = false;
                let mut after = after.clone();
                for item in items.iter().rev() {
                    changed |= self.walk(item, &after, budget)?;
                    let (first, nullable) = self.first_of(item, budget)?;
                    if nullable {
                        after.extend(&first);
                    } else {
                        after = first;
                    }
                }
                changed
            }
            Item::Choice(items) => {
                let mut changed = false;
                for item in items {
                    changed |= self.walk(item, after, budget)?;
                }
                changed
            }
            Item::Repeat(item, _, most) => {
                let mut after = after.clone();
                if most.is_none_or(|most| most > 1) {
                    after.extend(&self.first_of(item, budget)?.0);
                }
                self.walk(item, &after, budget)?
            }
        })
    }
}
