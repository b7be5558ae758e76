//! Sequences by their tokens: a radix tree in which every node knows whose sequences go through it.
//!
//! The idea is SGLang's RadixAttention (Zheng et al., 2023), with slots in the place of pages: llama.cpp keeps the cells
//! of a sequence together.

use std::collections::HashMap;

use llmo_core::model::TokenId;

use super::Salt;

/// Most holders: llama.cpp's own limit on sequences.
const MOST: usize = 256;

/// A set of holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Holders([u64; MOST / 64]);

impl Holders {
    fn insert(&mut self, holder: usize) {
        self.0[holder / 64] |= 1 << (holder % 64);
    }

    fn remove(&mut self, holder: usize) {
        self.0[holder / 64] &= !(1 << (holder % 64));
    }

    fn without(mut self, others: Self) -> Self {
        self.0.iter_mut().zip(others.0).for_each(|(mine, other)| *mine &= !other);
        self
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn count(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(move |holder| self.0[holder / 64] >> (holder % 64) & 1 == 1)
    }
}

#[derive(Debug, Default)]
struct Node {
    /// The tokens that lead here from the parent. Empty only in roots.
    edge: Vec<TokenId>,
    parent: Option<usize>,
    children: HashMap<TokenId, usize>,
    holders: Holders,
}

/// At most one sequence for each of up to 256 holders.
///
/// Its memory is bounded by the tokens of the sequences in it: a node lives as long as somebody's sequence goes through.
#[derive(Debug, Default)]
pub(in super::super) struct RadixIndex {
    nodes: Vec<Node>,
    vacant: Vec<usize>,
    roots: HashMap<Salt, usize>,
    /// By holder: the node where its sequence ends.
    ends: HashMap<usize, usize>,
}

impl RadixIndex {
    /// The holder's sequence is this one from now on; nothing but that remains of an earlier one.
    pub(in super::super) fn insert(&mut self, holder: usize, salt: &Salt, tokens: &[TokenId]) {
        self.remove(holder);
        if tokens.is_empty() || holder >= MOST {
            return;
        }
        let mut at = match self.roots.get(salt) {
            Some(&root) => root,
            None => {
                let root = self.add(Node::default());
                self.roots.insert(salt.clone(), root);
                root
            }
        };
        self.nodes[at].holders.insert(holder);
        let mut rest = tokens;
        while let Some(&first) = rest.first() {
            let next = match self.nodes[at].children.get(&first).copied() {
                Some(child) => {
                    let common = common(&self.nodes[child].edge, rest);
                    if common < self.nodes[child].edge.len() { self.split(child, common) } else { child }
                }
                None => {
                    let leaf = self.add(Node { edge: rest.to_vec(), parent: Some(at), ..Node::default() });
                    self.nodes[at].children.insert(first, leaf);
                    leaf
                }
            };
            self.nodes[next].holders.insert(holder);
            rest = &rest[self.nodes[next].edge.len()..];
            at = next;
        }
        self.ends.insert(holder, at);
    }

    /// Forgets the holder's sequence.
    pub(in super::super) fn remove(&mut self, holder: usize) {
        let Some(end) = self.ends.remove(&holder) else { return };
        let mut at = Some(end);
        while let Some(node) = at {
            at = self.nodes[node].parent;
            self.nodes[node].holders.remove(holder);
            if self.nodes[node].holders.is_empty() {
                self.delete(node);
            } else {
                self.merge_with_child(node);
            }
        }
    }

    /// All holders whose sequences begin as `tokens` do, with the number of tokens in common, the longest first.
    pub(in super::super) fn common(&self, salt: &Salt, tokens: &[TokenId]) -> Vec<(usize, usize)> {
        let Some(&root) = self.roots.get(salt) else { return Vec::new() };
        let mut path: Vec<(Holders, usize)> = Vec::new();
        let (mut at, mut depth) = (root, 0);
        while let Some(&child) = tokens.get(depth).and_then(|first| self.nodes[at].children.get(first)) {
            let matched = common(&self.nodes[child].edge, &tokens[depth..]);
            depth += matched;
            path.push((self.nodes[child].holders, depth));
            if matched < self.nodes[child].edge.len() {
                break;
            }
            at = child;
        }
        let mut seen = Holders::default();
        let mut found = Vec::new();
        for &(holders, depth) in path.iter().rev() {
            found.extend(holders.without(seen).iter().map(|holder| (holder, depth)));
            seen = holders;
        }
        found
    }

    /// How many tokens of the holder's sequence, all at its end, are in nobody else's.
    pub(in super::super) fn unique(&self, holder: usize) -> usize {
        let mut at = self.ends.get(&holder).copied();
        let mut tokens = 0;
        while let Some(node) = at.filter(|&node| self.nodes[node].holders.count() == 1) {
            tokens += self.nodes[node].edge.len();
            at = self.nodes[node].parent;
        }
        tokens
    }

    fn add(&mut self, node: Node) -> usize {
        if let Some(index) = self.vacant.pop() {
            self.nodes[index] = node;
            return index;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Puts a node between this one and its parent, which takes the first `at` tokens of its edge. Gives the new one.
    fn split(&mut self, node: usize, at: usize) -> usize {
        let rest = self.nodes[node].edge.split_off(at);
        let first = std::mem::replace(&mut self.nodes[node].edge, rest);
        let (parent, holders) = (self.nodes[node].parent, self.nodes[node].holders);
        let children = HashMap::from([(self.nodes[node].edge[0], node)]);
        let key = first[0];
        let between = self.add(Node { edge: first, parent, children, holders });
        self.nodes[node].parent = Some(between);
        if let Some(parent) = parent {
            self.nodes[parent].children.insert(key, between);
        }
        between
    }

    fn delete(&mut self, node: usize) {
        let Node { edge, parent, .. } = std::mem::take(&mut self.nodes[node]);
        match parent {
            Some(parent) => {
                self.nodes[parent].children.remove(&edge[0]);
            }
            None => self.roots.retain(|_, &mut root| root != node),
        }
        self.vacant.push(node);
    }

    /// Undoes a split that nobody needs any more.
    fn merge_with_child(&mut self, node: usize) {
        let is_root = self.nodes[node].parent.is_none();
        let mut children = self.nodes[node].children.values();
        let (Some(&child), None, false) = (children.next(), children.next(), is_root) else { return };
        if self.nodes[child].holders != self.nodes[node].holders || self.ends.values().any(|&end| end == node) {
            return;
        }
        let below = std::mem::take(&mut self.nodes[child]);
        self.vacant.push(child);
        for &grandchild in below.children.values() {
            self.nodes[grandchild].parent = Some(node);
        }
        self.nodes[node].edge.extend(below.edge);
        self.nodes[node].children = below.children;
        self.ends.values_mut().filter(|end| **end == child).for_each(|end| *end = node);
    }
}

fn common(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use llmo_core::GenerateRequest;
    use llmo_core::model::Prompt;
    use proptest::prelude::*;

    use super::*;

    fn salt(tenant: &str) -> Salt {
        let mut request = GenerateRequest::new(Prompt::Tokens(vec![1]));
        request.tenant = Some(tenant.to_owned());
        Salt::of(&request)
    }

    #[test]
    fn the_longest_common_prefix_comes_first() {
        let mut index = RadixIndex::default();
        let salt = Salt::default();
        index.insert(0, &salt, &[1, 2]);
        index.insert(1, &salt, &[1, 2, 3, 9]);
        index.insert(2, &salt, &[5]);
        assert_eq!(index.common(&salt, &[1, 2, 3, 4]), [(1, 3), (0, 2)]);
        assert_eq!(index.common(&salt, &[7]), []);
        assert_eq!((index.unique(0), index.unique(1), index.unique(2)), (0, 2, 1));
    }

    #[test]
    fn salts_don_t_meet() {
        let mut index = RadixIndex::default();
        index.insert(0, &salt("a"), &[1, 2, 3]);
        assert_eq!(index.common(&salt("b"), &[1, 2, 3]), []);
        index.insert(1, &salt("b"), &[1, 2, 3]);
        assert_eq!(index.common(&salt("a"), &[1, 2, 3]), [(0, 3)]);
        assert_eq!(index.unique(0), 3);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(usize, u8, Vec<TokenId>),
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Few different tokens, so that many sequences begin alike.
        let tokens = prop::collection::vec(0u32..3, 0..12);
        prop_oneof![
            3 => (0usize..6, 0u8..2, tokens).prop_map(|(holder, salt, tokens)| Step::Insert(holder, salt, tokens)),
            1 => (0usize..6).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn it_answers_as_a_plain_list_of_sequences_would(
            steps in prop::collection::vec(step(), 1..60),
            query in prop::collection::vec(0u32..3, 0..14),
        ) {
            let salts = [salt("a"), salt("b")];
            let mut index = RadixIndex::default();
            let mut plain: HashMap<usize, (u8, Vec<TokenId>)> = HashMap::new();
            for step in steps {
                match step {
                    Step::Insert(holder, salt, tokens) => {
                        index.insert(holder, &salts[usize::from(salt)], &tokens);
                        plain.insert(holder, (salt, tokens));
                    }
                    Step::Remove(holder) => {
                        index.remove(holder);
                        plain.remove(&holder);
                    }
                }
                for which in 0..2u8 {
                    let mut found = index.common(&salts[usize::from(which)], &query);
                    prop_assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
                    found.sort_unstable();
                    let mut expected: Vec<_> = plain
                        .iter()
                        .filter(|(_, (salt, _))| *salt == which)
                        .map(|(&holder, (_, tokens))| (holder, common(tokens, &query)))
                        .filter(|&(_, common)| common > 0)
                        .collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
                for (&holder, (salt, tokens)) in &plain {
                    let shared = plain
                        .iter()
                        .filter(|(other, (other_salt, _))| **other != holder && other_salt == salt)
                        .map(|(_, (_, others))| common(tokens, others))
                        .max();
                    prop_assert_eq!(index.unique(holder), tokens.len() - shared.unwrap_or(0));
                }
            }
            let holders: Vec<usize> = plain.keys().copied().collect();
            holders.into_iter().for_each(|holder| index.remove(holder));
            prop_assert_eq!(index.nodes.len(), index.vacant.len(), "nothing is left behind");
            prop_assert!(index.roots.is_empty());
        }

        #[test]
        fn splits_that_nobody_needs_are_undone(sequences in prop::collection::vec(prop::collection::vec(0u32..3, 1..12), 1..20)) {
            let mut index = RadixIndex::default();
            let salt = Salt::default();
            index.insert(0, &salt, &[0, 1, 2, 0, 1, 2, 0, 1, 2]);
            for tokens in &sequences {
                index.insert(1, &salt, tokens);
            }
            index.remove(1);
            prop_assert_eq!(index.nodes.len() - index.vacant.len(), 2, "a root and one node");
        }
    }
}
