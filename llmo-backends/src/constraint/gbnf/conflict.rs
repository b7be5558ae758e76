//! Where the longest match would change the language.
//!
//! Two terminals conflict if one can match a text `w`, a character `c` can follow it in the grammar, and `wc` begins
//! something that the other (or the same one, going on) matches: a lexer would take the longer way, the grammar may need
//! the shorter one. Whether both can be expected at the same place is not asked, which finds too many conflicts, never
//! too few.

use super::characters::Characters;
use super::follow::Follow;
use super::item::Grammar;
use super::positions::Positions;

/// The terminals to split; `None` when the budget is used up.
pub(super) fn find(grammar: &Grammar, budget: &mut u64) -> Option<Vec<usize>> {
    let used = grammar.used();
    let mut automata: Vec<Option<Positions>> = Vec::new();
    automata.resize_with(grammar.terminals.len(), || None);
    for &number in &used {
        automata[number] = Some(Positions::of(&grammar.terminals[number], budget)?);
    }
    let follow = Follow::of(grammar, &automata, budget)?;
    let mut conflicts = Vec::new();
    for &longer in &used {
        let Some(long) = automata[longer].as_ref().filter(|automaton| automaton.sets.len() > 1 || repeats(automaton))
        else {
            continue;
        };
        for &shorter in &used {
            let Some(short) = &automata[shorter] else { continue };
            if goes_on(short, long, &follow.terminals[shorter], budget)? {
                // The longer one has more than one character, so it can be split.
                conflicts.push(longer);
                break;
            }
        }
    }
    Some(conflicts)
}

fn repeats(automaton: &Positions) -> bool {
    automaton.next.iter().any(|next| !next.is_empty())
}

/// Is there a text that `short` matches, and which `long` can go on from with one of these characters?
fn goes_on(short: &Positions, long: &Positions, after: &Characters, budget: &mut u64) -> Option<bool> {
    if after.is_empty() {
        return Some(false);
    }
    let width = long.sets.len();
    let mut seen = vec![false; short.sets.len() * width];
    *budget = budget.checked_sub((seen.len() / 64 + 1) as u64)?;
    let mut open = Vec::new();
    let mut visit = |a: usize, b: usize, open: &mut Vec<(usize, usize)>| {
        let pair = a * width + b;
        if !seen[pair] && short.sets[a].intersects(&long.sets[b]) {
            seen[pair] = true;
            open.push((a, b));
        }
    };
    for &a in &short.first {
        for &b in &long.first {
            *budget = budget.checked_sub(1)?;
            visit(a, b, &mut open);
        }
    }
    while let Some((a, b)) = open.pop() {
        if short.is_last[a] && long.next[b].iter().any(|&next| long.sets[next].intersects(after)) {
            return Some(true);
        }
        for &next_a in &short.next[a] {
            for &next_b in &long.next[b] {
                *budget = budget.checked_sub(1)?;
                visit(next_a, next_b, &mut open);
            }
        }
    }
    Some(false)
}
