//! Which replicas have seen which beginnings of prompts.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::size_of;

/// Replicas remembered for each block; the one that was there longest ago is forgotten.
const HOLDERS: usize = 4;
/// No replica, no node.
const NONE: u32 = u32::MAX;
/// Memory of one block: its node, and its share of the table. A table of 17 bytes a place that loses as many entries as it
/// gets grows until it is at most seven sixteenths full, by doubling: up to 78 bytes an entry.
const BLOCK_MEMORY: usize = size_of::<Node>() + 80;

/// A radix tree over blocks of prompts, kept as a table: a block's hash covers all blocks before it, so the path to it
/// needs no links. Each block remembers the replicas that were last sent a prompt with it.
///
/// Memory is bounded: all of it is reserved at the start, and when it is full the blocks that were used longest ago go,
/// ends of prompts before beginnings.
///
/// After the tree of SGLang's router (`cache_aware`: "RadixAttention", Zheng et al. 2024, section 4), with hashes for text
/// and a bound that can't be outrun.
pub struct PrefixIndex {
    table: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    nodes: Vec<Node>,
    capacity: usize,
    newest: u32,
    oldest: u32,
}

struct Node {
    block: u64,
    /// Serials, the latest first.
    holders: [u32; HOLDERS],
    newer: u32,
    older: u32,
}

impl PrefixIndex {
    /// Takes at most so many bytes; at least room for one block.
    #[must_use]
    pub fn with_memory(bytes: usize) -> Self {
        let capacity = (bytes / BLOCK_MEMORY).clamp(1, NONE as usize - 1);
        Self { table: HashMap::default(), nodes: Vec::new(), capacity, newest: NONE, oldest: NONE }
    }

    /// Blocks in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Bytes taken now.
    #[must_use]
    pub fn memory(&self) -> usize {
        let entry = size_of::<(u64, u32)>() + 1;
        self.nodes.capacity() * size_of::<Node>() + self.table.capacity() * 8 / 7 * entry
    }

    /// The deepest block of this prompt that a replica has seen which `may` serve: how many blocks match there, and who has
    /// seen them.
    #[must_use]
    pub fn longest(&self, blocks: &[u64], may: impl Fn(u32) -> bool) -> Option<(usize, [Option<u32>; HOLDERS])> {
        let known = blocks.iter().map_while(|block| self.table.get(block).copied());
        let mut path = [NONE; super::MAX_BLOCKS];
        let mut depth = 0;
        for (place, node) in path.iter_mut().zip(known) {
            *place = node;
            depth += 1;
        }
        let served =
            |node: &u32| self.nodes[*node as usize].holders.iter().any(|holder| *holder != NONE && may(*holder));
        let deepest = path[..depth].iter().rposition(served)?;
        let holders = self.nodes[path[deepest] as usize].holders;
        Some((deepest + 1, holders.map(|holder| (holder != NONE && may(holder)).then_some(holder))))
    }

    /// Remembers that a prompt of these blocks went to a replica.
    pub fn insert(&mut self, blocks: &[u64], replica: u32) {
        // From the end: the beginning, which others share, becomes the newest.
        for &block in blocks.iter().take(self.capacity).rev() {
            let node = match self.table.get(&block) {
                Some(&node) => {
                    self.unlink(node);
                    node
                }
                None => self.room_for(block),
            };
            self.nodes[node as usize].remember(replica);
            self.link_newest(node);
        }
    }

    /// A node for a new block, not linked; the oldest block gives up its own if there is no other.
    fn room_for(&mut self, block: u64) -> u32 {
        if self.nodes.len() < self.capacity {
            if self.nodes.capacity() == self.nodes.len() {
                // Doubling would overshoot the bound at the end.
                let more = self.nodes.len().max(64).min(self.capacity - self.nodes.len());
                self.nodes.reserve_exact(more);
            }
            let node = self.nodes.len() as u32;
            self.nodes.push(Node { block, holders: [NONE; HOLDERS], newer: NONE, older: NONE });
            self.table.insert(block, node);
            return node;
        }
        let node = self.oldest;
        self.unlink(node);
        let old = std::mem::replace(&mut self.nodes[node as usize].block, block);
        self.nodes[node as usize].holders = [NONE; HOLDERS];
        self.table.remove(&old);
        self.table.insert(block, node);
        node
    }

    fn unlink(&mut self, node: u32) {
        let (newer, older) = (self.nodes[node as usize].newer, self.nodes[node as usize].older);
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, node: u32) {
        let second = std::mem::replace(&mut self.newest, node);
        self.nodes[node as usize].newer = NONE;
        self.nodes[node as usize].older = second;
        match second {
            NONE => self.oldest = node,
            second => self.nodes[second as usize].newer = node,
        }
    }
}

impl Node {
    fn remember(&mut self, replica: u32) {
        let known = self.holders.iter().position(|holder| *holder == replica).unwrap_or(HOLDERS - 1);
        self.holders[..=known].rotate_right(1);
        self.holders[0] = replica;
    }
}

impl std::fmt::Debug for PrefixIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixIndex").field("blocks", &self.len()).field("capacity", &self.capacity).finish()
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only for keys that are no u64; there are none.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    /// The blocks of a prompt that consists of these words.
    fn prompt(words: &[u8]) -> Vec<u64> {
        let mut before = 0;
        let mut chain = |word: &u8| {
            before = xxh3_64_with_seed(&[*word], before);
            before
        };
        words.iter().map(&mut chain).collect()
    }

    fn found(index: &PrefixIndex, words: &[u8]) -> Option<(usize, Vec<u32>)> {
        index.longest(&prompt(words), |_| true).map(|(depth, holders)| (depth, holders.into_iter().flatten().collect()))
    }

    #[test]
    fn the_longest_common_beginning_is_found() {
        let mut index = PrefixIndex::with_memory(1 << 20);
        index.insert(&prompt(b"abcdef"), 1);
        index.insert(&prompt(b"abx"), 2);
        assert_eq!(found(&index, b"abcdxx"), Some((4, vec![1])));
        assert_eq!(found(&index, b"abxyz"), Some((3, vec![2])));
        assert_eq!(found(&index, b"abz"), Some((2, vec![2, 1])));
        assert_eq!(found(&index, b"zbc"), None);
    }

    #[test]
    fn who_may_not_serve_is_passed_over_for_a_shorter_match() {
        let mut index = PrefixIndex::with_memory(1 << 20);
        index.insert(&prompt(b"ab"), 1);
        index.insert(&prompt(b"abcd"), 2);
        let (depth, holders) = index.longest(&prompt(b"abcd"), |replica| replica != 2).expect("a match");
        assert_eq!((depth, holders.into_iter().flatten().collect::<Vec<_>>()), (2, vec![1]));
    }

    #[test]
    fn ends_go_before_beginnings_and_old_prompts_before_new_ones() {
        let mut index = PrefixIndex::with_memory(6 * BLOCK_MEMORY);
        index.insert(&prompt(b"abc"), 1);
        index.insert(&prompt(b"xyz"), 2);
        index.insert(&prompt(b"q"), 3);
        assert_eq!(found(&index, b"abc").map(|(depth, _)| depth), Some(2));
        assert_eq!(found(&index, b"xyz").map(|(depth, _)| depth), Some(3));
    }

    proptest! {
        #[test]
        fn memory_stays_within_its_bound_and_the_latest_prompt_is_known(
            bytes in 1_000_usize..40_000,
            prompts in prop::collection::vec((prop::collection::vec(0_u8..6, 1..40), 0_u32..9), 1..120),
        ) {
            let mut index = PrefixIndex::with_memory(bytes);
            for (words, replica) in &prompts {
                index.insert(&prompt(words), *replica);
                prop_assert!(index.len() <= index.capacity);
                prop_assert!(index.table.len() == index.len());
                let kept = words.len().min(index.capacity);
                let found = found(&index, &words[..kept]);
                prop_assert!(found.is_some_and(|(depth, holders)| depth == kept && holders[0] == *replica));
            }
        }
    }

    #[test]
    fn a_flood_of_different_prompts_takes_no_more_memory_than_allowed() {
        let bytes = 256 << 10;
        let mut index = PrefixIndex::with_memory(bytes);
        for i in 0..200_000_u64 {
            index.insert(&[xxh3_64_with_seed(&i.to_le_bytes(), 1)], 1);
        }
        assert!(index.memory() <= bytes, "{} of {bytes}", index.memory());
    }
}
