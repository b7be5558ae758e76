//! Writes a grammar in llguidance's Lark.

use std::fmt::Write;

use super::item::{Grammar, Item};
use super::parse::Node;

/// The grammar as text.
pub(super) fn lark(grammar: &Grammar) -> String {
    let mut printer = Printer { groups: Vec::new() };
    let mut out = format!("start: r{}\n", grammar.root);
    for (number, rule) in grammar.rules.iter().enumerate() {
        if let Some(item) = rule {
            let body = printer.choices(item);
            // Writing to a String can't fail.
            let _ = writeln!(out, "r{number}: {body}");
        }
    }
    for (number, group) in printer.groups.iter().enumerate() {
        let _ = writeln!(out, "g{number}: {group}");
    }
    for number in grammar.used() {
        let _ = write!(out, "T{number}: /(");
        expression(&grammar.terminals[number], &mut out);
        out.push_str(")/\n");
    }
    out
}

struct Printer {
    /// Rules for what would be in parentheses: llguidance bounds their depth.
    groups: Vec<String>,
}

impl Printer {
    fn choices(&mut self, item: &Item) -> String {
        match item {
            Item::Choice(items) => items.iter().map(|item| self.sequence(item)).collect::<Vec<_>>().join(" | "),
            other => self.sequence(other),
        }
    }

    fn sequence(&mut self, item: &Item) -> String {
        match item {
            Item::Sequence(items) if items.is_empty() => "\"\"".into(),
            Item::Sequence(items) => items.iter().map(|item| self.atom(item)).collect::<Vec<_>>().join(" "),
            other => self.atom(other),
        }
    }

    fn atom(&mut self, item: &Item) -> String {
        match item {
            Item::Terminal(number) => format!("T{number}"),
            Item::Rule(number) => format!("r{number}"),
            Item::Sequence(items) if items.is_empty() => "\"\"".into(),
            Item::Sequence(_) | Item::Choice(_) => {
                let body = self.choices(item);
                self.group(body)
            }
            Item::Repeat(inner, least, most) => {
                let atom = self.atom(inner);
                // A name that is repeated: Lark has one suffix an element.
                let atom = if matches!(**inner, Item::Repeat(..)) { self.group(atom) } else { atom };
                match (least, most) {
                    (_, Some(0)) => "\"\"".into(),
                    (0, None) => atom + "*",
                    (1, None) => atom + "+",
                    (0, Some(1)) => atom + "?",
                    (least, None) => format!("{atom}{{{least},}}"),
                    (least, Some(most)) => format!("{atom}{{{least},{most}}}"),
                }
            }
        }
    }

    fn group(&mut self, body: String) -> String {
        self.groups.push(body);
        format!("g{}", self.groups.len() - 1)
    }
}

fn expression(node: &Node, out: &mut String) {
    match node {
        Node::One(set) => set.write(out),
        Node::Sequence(nodes) => nodes.iter().for_each(|node| match node {
            Node::Choice(_) => group(node, out),
            node => expression(node, out),
        }),
        Node::Choice(nodes) => {
            for (i, node) in nodes.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "|" });
                expression(node, out);
            }
        }
        Node::Repeat(inner, least, most) => {
            match **inner {
                Node::One(_) => expression(inner, out),
                _ => group(inner, out),
            }
            // Writing to a String can't fail.
            let _ = match (least, most) {
                (0, None) => write!(out, "*"),
                (1, None) => write!(out, "+"),
                (0, Some(1)) => write!(out, "?"),
                (least, None) => write!(out, "{{{least},}}"),
                (least, Some(most)) => write!(out, "{{{least},{most}}}"),
            };
        }
        Node::Rule(_) => {}
    }
}

fn group(node: &Node, out: &mut String) {
    out.push_str("(?:");
    expression(node, out);
    out.push(')');
}
