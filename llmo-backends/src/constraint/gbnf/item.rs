//! The grammar during translation: rules over terminals.

use std::collections::HashMap;

use super::parse::{Node, Rules};

/// Largest terminal, in nodes, that rules are put into.
const TERMINAL_NODES: usize = 2000;

/// A part of a rule.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// The terminal of this number.
    Terminal(usize),
    /// The rule of this number.
    Rule(usize),
    Sequence(Vec<Item>),
    Choice(Vec<Item>),
    Repeat(Box<Item>, u32, Option<u32>),
}

/// Rules over terminals. A terminal is a [`Node`] without rules in it.
#[derive(Debug)]
pub(super) struct Grammar {
    /// By number; `None` for those that were put into terminals.
    pub(super) rules: Vec<Option<Item>>,
    pub(super) root: usize,
    pub(super) terminals: Vec<Node>,
    numbers: HashMap<Node, usize>,
}

/// Makes terminals as large as possible: of everything that is not recursive.
pub(super) fn lift(rules: &Rules) -> Grammar {
    let sizes = sizes(rules);
    let mut grammar = Grammar {
        rules: vec![None; rules.nodes.len()],
        root: rules.root,
        terminals: Vec::new(),
        numbers: HashMap::new(),
    };
    let lift = Lift { rules, sizes: &sizes };
    let mut open = vec![rules.root];
    while let Some(number) = open.pop() {
        if grammar.rules[number].is_none() {
            let item = lift.item(&rules.nodes[number], &mut grammar);
            references(&item, &mut open);
            grammar.rules[number] = Some(item);
        }
    }
    grammar
}

/// How many nodes each rule has once all rules are put into it; `None` if it is recursive or too large.
fn sizes(rules: &Rules) -> Vec<Option<usize>> {
    let mut sizes: Vec<Option<usize>> = vec![None; rules.nodes.len()];
    // From the rules that need no others on. Each pass finds at least one more or is the last.
    loop {
        let mut changed = false;
        for (number, node) in rules.nodes.iter().enumerate() {
            if sizes[number].is_none()
                && let Some(size) = size(node, &sizes)
            {
                sizes[number] = Some(size);
                changed = true;
            }
        }
        if !changed {
            return sizes;
        }
    }
}

fn size(node: &Node, sizes: &[Option<usize>]) -> Option<usize> {
    let size = match node {
        Node::One(_) => 1,
        Node::Rule(number) => (*sizes.get(*number)?)?,
        Node::Sequence(nodes) | Node::Choice(nodes) => {
            let mut sum = 1_usize;
            for node in nodes {
                sum = sum.saturating_add(size(node, sizes)?);
            }
            sum
        }
        Node::Repeat(node, ..) => size(node, sizes)? + 1,
    };
    (size <= TERMINAL_NODES).then_some(size)
}

fn references(item: &Item, found: &mut Vec<usize>) {
    match item {
        Item::Terminal(_) => {}
        Item::Rule(number) => found.push(*number),
        Item::Sequence(items) | Item::Choice(items) => items.iter().for_each(|item| references(item, found)),
        Item::Repeat(item, ..) => references(item, found),
    }
}

struct Lift<'a> {
    rules: &'a Rules,
    sizes: &'a [Option<usize>],
}

impl Lift<'_> {
    fn item(&self, node: &Node, grammar: &mut Grammar) -> Item {
        if size(node, self.sizes).is_some() {
            return grammar.terminal(self.expand(node));
        }
        match node {
            Node::Rule(number) => Item::Rule(*number),
            Node::Sequence(nodes) => Item::Sequence(self.joined(nodes, grammar, Node::Sequence)),
            Node::Choice(nodes) => Item::Choice(self.joined(nodes, grammar, Node::Choice)),
            Node::Repeat(node, least, most) => Item::Repeat(Box::new(self.item(node, grammar)), *least, *most),
            Node::One(_) => Item::Sequence(Vec::new()),
        }
    }

    /// Neighbours that can be in a terminal together are.
    fn joined(&self, nodes: &[Node], grammar: &mut Grammar, join: fn(Vec<Node>) -> Node) -> Vec<Item> {
        let mut items = Vec::new();
        let mut waiting: Vec<Node> = Vec::new();
        let mut waiting_size = 0;
        for node in nodes {
            let size = size(node, self.sizes);
            if !waiting.is_empty() && size.is_none_or(|size| waiting_size + size > TERMINAL_NODES) {
                items.push(grammar.terminal(one_or(std::mem::take(&mut waiting), join)));
                waiting_size = 0;
            }
            match size {
                Some(size) => {
                    waiting.push(self.expand(node));
                    waiting_size += size;
                }
                None => items.push(self.item(node, grammar)),
            }
        }
        if !waiting.is_empty() {
            items.push(grammar.terminal(one_or(waiting, join)));
        }
        items
    }

    fn expand(&self, node: &Node) -> Node {
        match node {
            Node::One(set) => Node::One(set.clone()),
            Node::Rule(number) => self.expand(&self.rules.nodes[*number]),
            Node::Sequence(nodes) => Node::Sequence(nodes.iter().map(|node| self.expand(node)).collect()),
            Node::Choice(nodes) => Node::Choice(nodes.iter().map(|node| self.expand(node)).collect()),
            Node::Repeat(node, least, most) => Node::Repeat(Box::new(self.expand(node)), *least, *most),
        }
    }
}

fn one_or(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => Node::Sequence(nodes),
    }
}

impl Grammar {
    fn terminal(&mut self, node: Node) -> Item {
        if matches!(&node, Node::Sequence(nodes) if nodes.is_empty()) || matches!(&node, Node::Repeat(_, _, Some(0))) {
            return Item::Sequence(Vec::new());
        }
        if let Some(number) = self.numbers.get(&node) {
            return Item::Terminal(*number);
        }
        self.terminals.push(node.clone());
        self.numbers.insert(node, self.terminals.len() - 1);
        Item::Terminal(self.terminals.len() - 1)
    }

    /// Splits these terminals one level: a sequence into its elements, and so on.
    pub(super) fn split(&mut self, terminals: &[usize]) {
        let mut parts: HashMap<usize, Item> = HashMap::new();
        for &number in terminals {
            let part = match self.terminals[number].clone() {
                Node::Sequence(nodes) => Item::Sequence(nodes.into_iter().map(|node| self.terminal(node)).collect()),
                Node::Choice(nodes) => Item::Choice(nodes.into_iter().map(|node| self.terminal(node)).collect()),
                Node::Repeat(node, least, most) => Item::Repeat(Box::new(self.terminal(*node)), least, most),
                Node::One(_) | Node::Rule(_) => Item::Terminal(number),
            };
            parts.insert(number, part);
        }
        for rule in self.rules.iter_mut().flatten() {
            replace(rule, &parts);
        }
    }

    /// Splits everything into single characters.
    pub(super) fn split_all(&mut self) {
        loop {
            let used = self.used();
            let large: Vec<usize> =
                used.into_iter().filter(|&number| !matches!(self.terminals[number], Node::One(_))).collect();
            if large.is_empty() {
                return;
            }
            self.split(&large);
        }
    }

    /// The terminals that rules refer to, each once.
    pub(super) fn used(&self) -> Vec<usize> {
        let mut used = vec![false; self.terminals.len()];
        self.rules.iter().flatten().for_each(|item| mark(item, &mut used));
        (0..used.len()).filter(|&number| used[number]).collect()
    }
}

fn mark(item: &Item, used: &mut [bool]) {
    match item {
        Item::Terminal(number) => used[*number] = true,
        Item::Rule(_) => {}
        Item::Sequence(items) | Item::Choice(items) => items.iter().for_each(|item| mark(item, used)),
        Item::Repeat(item, ..) => mark(item, used),
    }
}

fn replace(item: &mut Item, parts: &HashMap<usize, Item>) {
    match item {
        Item::Terminal(number) => {
            if let Some(part) = parts.get(number) {
                *item = part.clone();
            }
        }
        Item::Rule(_) => {}
        Item::Sequence(items) | Item::Choice(items) => items.iter_mut().for_each(|item| replace(item, parts)),
        Item::Repeat(item, ..) => replace(item, parts),
    }
}
