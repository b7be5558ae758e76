//! A translated grammar matches what the grammar matches.

use std::collections::HashMap;

use llmo_core::model::Constraint;
use proptest::prelude::*;

use super::parse::{Node, Rules, parse};
use super::to_lark;
use crate::constraint::tests::matches;
use crate::constraint::{Grammars, Matcher, VocabularyToken};

const JSON: &str = include_str!("testdata/json.gbnf");
const ARITHMETIC: &str = include_str!("testdata/arithmetic.gbnf");
const CHESS: &str = include_str!("testdata/chess.gbnf");
const LIST: &str = include_str!("testdata/list.gbnf");

fn compile(grammar: &str) -> Matcher {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let vocabulary = || {
        let bytes = (0..=255_u8).map(|byte| VocabularyToken { bytes: vec![byte], is_end: false });
        bytes.chain([VocabularyToken { bytes: Vec::new(), is_end: true }]).collect()
    };
    let compiled = runtime.block_on(Grammars::new(vocabulary).compile(&Constraint::Gbnf(grammar.into())));
    compiled.unwrap_or_else(|error| panic!("{error}\n{grammar}\n{}", to_lark(grammar).unwrap_or_default()))
}

#[test]
fn json_is_json() {
    let matcher = compile(JSON);
    for good in ["{}", "{ }", r#"{"a": [1, -2.5e3, "x\u00e9\n"], "b": {"c": null, "d": true}}"#, "{\"a\":\n\t[]}"] {
        assert!(matches(&matcher, good), "{good}");
    }
    for bad in ["", "[]", "{", r#"{"a"}"#, r#"{"a": 01}"#, r#"{"a": "x}"#, r#"{"a": 1,}"#] {
        assert!(!matches(&matcher, bad), "{bad}");
    }
    // Whole strings and numbers are terminals: masks are computed over a lexer's states, not over characters.
    let lark = to_lark(JSON).unwrap();
    assert!(lark.lines().filter(|line| line.starts_with('T')).count() < 12, "{lark}");
}

#[test]
fn a_rule_that_ends_like_its_successor_begins_is_not_cut_short() {
    let matcher = compile(ARITHMETIC);
    // `ws` may match the line break that must follow it.
    assert!(matches(&matcher, "x +1 = y\n") && matches(&matcher, "(a*b) -c =\n 3\n\n\nx=y\n"));
    assert!(!matches(&matcher, "x += y\n") && !matches(&matcher, "x = y"));
}

#[test]
fn chess_and_lists_work() {
    let chess = compile(CHESS);
    assert!(matches(&chess, "1. e4 e5\n2. Nf3 Nc6\n"), "{}", to_lark(CHESS).unwrap());
    assert!(!matches(&chess, "1. e9 e5\n"));
    let list = compile(LIST);
    assert!(matches(&list, "- milk\n- bread and butter\n") && !matches(&list, "- milk") && !matches(&list, "milk\n"));
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (grammar, place) in [
        ("root ::= \"a", "line 1, column 12"),
        ("root ::= a\na ::= [b", "line 2"),
        ("root ::= (\"a\"", "parenthesis"),
        ("root = \"a\"", "::= is expected"),
        ("root ::= \"a\"{3,2}", "below its lower bound"),
        ("root ::= * \"a\"", "nothing before this"),
        ("root ::= \"\\q\"", "unknown escape"),
        ("root ::= <think>", "single tokens"),
        ("root ::= a", "\"a\" is used and not defined"),
        ("root ::= \"a\"\nroot ::= \"b\"", "defined twice"),
        ("root ::= [^\\U00000000-\\U0010FFFF]", "matches nothing"),
        ("x ::= \"a\"", "no rule \"root\""),
        ("root ::= \"a\" )", "unexpected ')'"),
    ] {
        let error = to_lark(grammar).unwrap_err().to_string();
        assert!(error.contains(place), "{grammar}: {error}");
    }
}

/// Matches by trying everything, with what was tried remembered.
struct Reference<'a> {
    rules: &'a Rules,
    text: &'a [char],
    /// Ends that a rule reaches from a place; being computed while it is empty: a left recursion finds nothing new there.
    known: HashMap<(usize, usize), Vec<usize>>,
}

impl Reference<'_> {
    fn ends(&mut self, node: &Node, at: usize) -> Vec<usize> {
        let mut ends = match node {
            Node::One(set) => {
                let mut one = super::characters::Characters::default();
                match self.text.get(at) {
                    Some(&c) => {
                        one.insert(c, c);
                        if set.intersects(&one) { vec![at + 1] } else { Vec::new() }
                    }
                    None => Vec::new(),
                }
            }
            Node::Rule(number) => self.rule(*number, at),
            Node::Sequence(nodes) => nodes.iter().fold(vec![at], |ends, node| self.all(node, &ends)),
            Node::Choice(nodes) => nodes.iter().flat_map(|node| self.ends(node, at)).collect(),
            Node::Repeat(node, least, most) => {
                let mut now = vec![at];
                let mut found = if *least == 0 { vec![at] } else { Vec::new() };
                // Longer than the text only if nothing is matched, which the first rounds have found.
                for round in 1..=most.unwrap_or(u32::MAX).min(least + self.text.len() as u32 + 1) {
                    now = self.all(node, &now);
                    if round >= *least {
                        found.extend(&now);
                    }
                }
                found
            }
        };
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    fn all(&mut self, node: &Node, from: &[usize]) -> Vec<usize> {
        let mut ends: Vec<usize> = from.iter().flat_map(|&at| self.ends(node, at)).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    fn rule(&mut self, number: usize, at: usize) -> Vec<usize> {
        if let Some(ends) = self.known.get(&(number, at)) {
            return ends.clone();
        }
        self.known.insert((number, at), Vec::new());
        // Recursion to the same place grows until nothing is added.
        loop {
            let ends = self.ends(&self.rules.nodes[number].clone(), at);
            let before = self.known.insert((number, at), ends.clone());
            if before.is_some_and(|before| before == ends) {
                return ends;
            }
            self.known.retain(|&(_, place), _| place <= at);
            self.known.insert((number, at), ends);
        }
    }
}

fn reference(rules: &Rules, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut reference = Reference { rules, text: &text, known: HashMap::new() };
    reference.rule(rules.root, 0).contains(&text.len())
}

fn element() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("\"a\"".to_owned()),
        Just("\"ab\"".to_owned()),
        Just("\"ba\"".to_owned()),
        Just("[ab]".to_owned()),
        Just("[^a]".to_owned()),
        Just("x".to_owned()),
        Just("y".to_owned()),
        Just("\"\"".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join(" ")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" | "))),
            (inner.clone(), prop_oneof![Just("*"), Just("+"), Just("?"), Just("{1,2}"), Just("{2}")])
                .prop_map(|(part, suffix)| format!("({part}){suffix}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Rules `x` and `y` may refer to each other only through a character, so that the reference needs no fixpoint.
    #[test]
    fn a_translation_matches_what_the_grammar_matches(
        root in element(),
        x in element(),
        y in element(),
        texts in prop::collection::vec("[abc]{0,7}", 12),
    ) {
        let x = x.replace(['x', 'y'], "\"b\"");
        let y = format!("\"c\" | \"a\" ({y})").replace('y', "root");
        let grammar = format!("root ::= \"c\"? ({root})\nx ::= {x}\ny ::= {y}\n");
        let Ok(rules) = parse(&grammar) else { return Err(TestCaseError::reject("not a grammar")) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let vocabulary = || {
            let bytes = (0..=255_u8).map(|byte| VocabularyToken { bytes: vec![byte], is_end: false });
            bytes.chain([VocabularyToken { bytes: Vec::new(), is_end: true }]).collect()
        };
        // Some of them match nothing but the empty text, which the compiler may refuse.
        let Ok(matcher) = runtime.block_on(Grammars::new(vocabulary).compile(&Constraint::Gbnf(grammar.clone()))) else {
            return Ok(());
        };
        for text in texts {
            prop_assert_eq!(
                matches(&matcher, &text), reference(&rules, &text),
                "{:?} against\n{}\n{}", text, grammar, to_lark(&grammar).unwrap()
            );
        }
    }
}
