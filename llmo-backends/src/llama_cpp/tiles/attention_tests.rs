use super::*;
use crate::llama_cpp::tiles::avx512;
use crate::llama_cpp::tiles::numbers::{half, whole};

/// Everything contiguous: queries and results `[stream][head][token][value]`, the cache `[stream][head][key][value]`, the mask
/// `[stream][token][key]`.
struct Case {
    sizes: Attention,
    queries: Vec<f32>,
    keys: Vec<u8>,
    values: Vec<u8>,
    mask: Option<Vec<u16>>,
    results: Vec<f32>,
}

const HIDDEN: u16 = 0xfc00;

impl Case {
    fn new(sizes: Attention, random: &mut fastrand::Rng) -> Self {
        let count = sizes.streams * sizes.heads * sizes.tokens * sizes.head;
        let cells = sizes.streams * sizes.kv_heads * sizes.keys;
        let mut stored = || match sizes.stored {
            Stored::F16 => {
                (0..cells * sizes.head).flat_map(|_| half(random.f32().mul_add(2.0, 0.1) * sign(random))).collect()
            }
            Stored::Q8_0 => {
                let block = |_| {
                    let mut bytes = half(random.f32().mul_add(0.02, 0.001)).to_vec();
                    bytes.extend((0..32).map(|_| random.u8(..)));
                    bytes
                };
                (0..cells * sizes.head / 32).flat_map(block).collect::<Vec<u8>>()
            }
        };
        let (keys, values) = (stored(), stored());
        // Token t of a stream sees the keys up to some place, and some of them are missing.
        let mask = (0..sizes.streams)
            .flat_map(|stream| (0..sizes.tokens).map(move |token| (stream, token)))
            .flat_map(|(stream, token)| {
                let end = (sizes.keys / 2 + token + stream * 40).min(sizes.keys);
                (0..sizes.keys).map(move |key| if key < end && key % 7 != 3 { 0 } else { HIDDEN })
            })
            .collect();
        let queries = (0..count).map(|_| random.f32() * 4.0 - 2.0).collect();
        Self { sizes, queries, keys, values, mask: Some(mask), results: vec![f32::NAN; count] }
    }

    fn row(&self) -> usize {
        match self.sizes.stored {
            Stored::F16 => self.sizes.head * 2,
            Stored::Q8_0 => self.sizes.head / 32 * 34,
        }
    }

    fn stored(&self, bytes: &[u8], key: usize, head: usize, stream: usize) -> Vec<f32> {
        let at = ((stream * self.sizes.kv_heads + head) * self.sizes.keys + key) * self.row();
        let bytes = &bytes[at..at + self.row()];
        match self.sizes.stored {
            Stored::F16 => bytes.chunks(2).map(|pair| whole([pair[0], pair[1]])).collect(),
            Stored::Q8_0 => bytes
                .chunks(34)
                .flat_map(|block| {
                    let scale = whole([block[0], block[1]]);
                    block[2..].iter().map(move |&value| scale * f32::from(value.cast_signed()))
                })
                .collect(),
        }
    }

    /// What attention is, in 64 bits.
    fn exact(&self, token: usize, head: usize, stream: usize) -> Vec<f64> {
        let sizes = &self.sizes;
        let at = ((stream * sizes.heads + head) * sizes.tokens + token) * sizes.head;
        let query = &self.queries[at..at + sizes.head];
        let kv_head = head / (sizes.heads / sizes.kv_heads);
        let mut weights = Vec::new();
        for key in 0..sizes.keys {
            let hidden = self
                .mask
                .as_ref()
                .is_some_and(|mask| mask[(stream * sizes.tokens + token) * sizes.keys + key] == HIDDEN);
            let stored = self.stored(&self.keys, key, kv_head, stream);
            let score: f64 = query.iter().zip(stored).map(|(q, k)| f64::from(*q) * f64::from(k)).sum();
            weights.push(if hidden { 0.0 } else { (score * f64::from(sizes.scale)).exp() });
        }
        let total: f64 = weights.iter().sum();
        let mut result = vec![0.0; sizes.head];
        for (key, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            for (sum, value) in result.iter_mut().zip(self.stored(&self.values, key, kv_head, stream)) {
                *sum += weight / total * f64::from(value);
            }
        }
        result
    }

    #[allow(unsafe_code)]
    fn compute(&mut self, threads: usize) -> Vec<f32> {
        let mut memory = vec![0f32; self.sizes.memory(threads) / 4];
        for thread in 0..threads {
            // SAFETY: all sizes are those of the case.
            unsafe { self.sizes.compute(thread, threads, memory.as_mut_ptr().cast(), self) };
        }
        self.results.clone()
    }
}

fn sign(random: &mut fastrand::Rng) -> f32 {
    if random.bool() { 1.0 } else { -1.0 }
}

#[allow(unsafe_code)]
impl Operands for Case {
    fn query(&self, token: usize, head: usize, stream: usize) -> *const f32 {
        self.queries[((stream * self.sizes.heads + head) * self.sizes.tokens + token) * self.sizes.head..].as_ptr()
    }
    fn key(&self, key: usize, head: usize, stream: usize) -> *const u8 {
        self.keys[((stream * self.sizes.kv_heads + head) * self.sizes.keys + key) * self.row()..].as_ptr()
    }
    fn value(&self, key: usize, head: usize, stream: usize) -> *const u8 {
        self.values[((stream * self.sizes.kv_heads + head) * self.sizes.keys + key) * self.row()..].as_ptr()
    }
    fn mask(&self, token: usize, stream: usize) -> Option<*const u16> {
        let mask = self.mask.as_ref()?;
        Some(mask[(stream * self.sizes.tokens + token) * self.sizes.keys..].as_ptr())
    }
    fn result(&self, token: usize, head: usize, stream: usize) -> *mut f32 {
        let at = ((stream * self.sizes.heads + head) * self.sizes.tokens + token) * self.sizes.head;
        self.results[at..].as_ptr().cast_mut()
    }
}

const SIZES: Attention =
    Attention { stored: Stored::F16, head: 64, keys: 96, tokens: 1, heads: 9, kv_heads: 3, streams: 1, scale: 0.125 };

#[test]
fn attention_is_the_weighted_mean_of_the_values_that_are_seen() {
    if !avx512::is_supported() {
        eprintln!("no AVX-512 here: nothing to test");
        return;
    }
    let mut random = fastrand::Rng::with_seed(3);
    let shapes = [
        SIZES,
        Attention { tokens: 21, streams: 2, ..SIZES },
        Attention { head: 80, heads: 4, kv_heads: 4, tokens: 5, ..SIZES },
        Attention { head: 128, heads: 8, kv_heads: 1, tokens: 9, keys: 256, ..SIZES },
        Attention { stored: Stored::Q8_0, tokens: 7, ..SIZES },
    ];
    for sizes in shapes {
        assert!(sizes.fits());
        for masked in [true, false] {
            let mut case = Case::new(sizes, &mut random);
            case.mask = case.mask.filter(|_| masked);
            let results = case.compute(2);
            for (row, result) in results.chunks(sizes.head).enumerate() {
                let (token, head) = (row % sizes.tokens, row / sizes.tokens % sizes.heads);
                let exact = case.exact(token, head, row / sizes.tokens / sizes.heads);
                for (value, exact) in result.iter().zip(exact) {
                    assert!((f64::from(*value) - exact).abs() < 2e-5, "{sizes:?}: {value} for {exact}");
                }
            }
        }
    }
}

#[test]
fn a_token_s_result_depends_neither_on_what_is_beside_it_nor_on_empty_cells() {
    if !avx512::is_supported() {
        return;
    }
    let mut random = fastrand::Rng::with_seed(4);
    let sizes = Attention { tokens: 33, keys: 160, ..SIZES };
    let mut all = Case::new(sizes, &mut random);
    let together = all.compute(3);
    for token in [0, 7, 32] {
        // The same token alone, over a cache with more room.
        let keys = 256;
        let mut alone = Case::new(Attention { tokens: 1, keys, ..sizes }, &mut random);
        for head in 0..sizes.kv_heads {
            let (from, to) = (head * sizes.keys * all.row(), head * keys * all.row());
            let bytes = sizes.keys * all.row();
            alone.keys[to..to + bytes].copy_from_slice(&all.keys[from..from + bytes]);
            alone.values[to..to + bytes].copy_from_slice(&all.values[from..from + bytes]);
        }
        let mut mask = vec![HIDDEN; keys];
        mask[..sizes.keys].copy_from_slice(&all.mask.as_ref().unwrap()[token * sizes.keys..][..sizes.keys]);
        alone.mask = Some(mask);
        for head in 0..sizes.heads {
            let query = &all.queries[(head * sizes.tokens + token) * sizes.head..][..sizes.head];
            alone.queries[head * sizes.head..][..sizes.head].copy_from_slice(query);
        }
        let results = alone.compute(1);
        for head in 0..sizes.heads {
            let of_all = &together[(head * sizes.tokens + token) * sizes.head..][..sizes.head];
            assert_eq!(&results[head * sizes.head..][..sizes.head], of_all, "token {token}, head {head}");
        }
    }
}

#[test]
fn what_hidden_cells_hold_does_not_matter() {
    if !avx512::is_supported() {
        return;
    }
    let mut case = Case::new(Attention { tokens: 5, ..SIZES }, &mut fastrand::Rng::with_seed(6));
    let clean = case.compute(1);
    // Cell 3 is hidden from all: it becomes not a number in one, infinite in the other.
    let at = 3 * case.row();
    case.keys[at..at + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    case.values[at..at + 2].copy_from_slice(&0x7c00_u16.to_le_bytes());
    assert_eq!(case.compute(1), clean);
}

#[test]
fn who_sees_nothing_gets_nothing() {
    if !avx512::is_supported() {
        return;
    }
    let mut case = Case::new(SIZES, &mut fastrand::Rng::with_seed(5));
    case.mask = Some(vec![HIDDEN; SIZES.keys]);
    assert!(case.compute(1).iter().all(|value| *value == 0.0));
}

#[test]
fn sizes_that_cannot_be_computed_are_left_to_llama_cpp() {
    for sizes in [
        Attention { head: 72, ..SIZES },
        Attention { head: 512, ..SIZES },
        Attention { head: 80, stored: Stored::Q8_0, ..SIZES },
        Attention { keys: 100, ..SIZES },
        Attention { heads: 64, kv_heads: 1, ..SIZES },
    ] {
        assert!(!sizes.fits(), "{sizes:?}");
    }
}
