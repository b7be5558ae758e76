//! Attention over a cache of 16-bit or 8-bit keys and values, with AVX-512.
//!
//! One pass over the cache in blocks of [`KEYS`] keys with a running maximum, as in "FlashAttention" (Dao et al., 2022, algorithm 1).
//! A block is unpacked once for all queries that read it: those of up to [`ROWS`] tokens and heads that share a key-value head. All
//! sums are of 32 bits. Each query's result is computed in the same order whatever is beside it, how long its run is and
//! how much room the cache has, so it does not depend on how a prompt was cut or what else is in the batch; llama.cpp's
//! own kernels round differently for short and for long runs, and sum 16-bit values in 16 bits.

use std::arch::x86_64::{
    __m512, _CMP_EQ_OQ, _CMP_GT_OQ, _CMP_LT_OQ, _CMP_NEQ_UQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _mm_loadu_si128, _mm256_loadu_si256, _mm512_abs_ps, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps,
    _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps,
    _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::transpose::transpose;

/// Keys of a block.
pub(super) const KEYS: usize = 32;
/// Most queries that read a block together.
const ROWS: usize = 48;
/// Most queries that are computed together in registers.
const TOGETHER: usize = 6;
/// Longest head.
pub(super) const LONGEST_HEAD: usize = 256;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// `f16`.
    F16,
    /// Blocks of 32: a scale of `f16`, then `i8`.
    Q8_0,
}

/// Sizes of an attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) stored: Stored,
    /// Values of a head; a multiple of 16, for [`Stored::Q8_0`] of 32.
    pub(super) head: usize,
    /// Cells of the cache; a multiple of [`KEYS`].
    pub(super) keys: usize,
    pub(super) tokens: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    /// Caches, each with queries of its own.
    pub(super) streams: usize,
    pub(super) scale: f32,
}

/// Where everything lies.
pub(super) trait Operands {
    /// `head` values.
    fn query(&self, token: usize, head: usize, stream: usize) -> *const f32;
    /// A head's key as it is stored.
    fn key(&self, key: usize, head: usize, stream: usize) -> *const u8;
    /// A head's value as it is stored.
    fn value(&self, key: usize, head: usize, stream: usize) -> *const u8;
    /// For each key an `f16` that is added to its score; `None` if there is nothing to add.
    fn mask(&self, token: usize, stream: usize) -> Option<*const u16>;
    /// Room for `head` values.
    fn result(&self, token: usize, head: usize, stream: usize) -> *mut f32;
}

/// A thread's memory.
#[derive(Clone, Copy)]
struct Scratch {
    /// `head` x [`KEYS`]: a block of keys, turned.
    keys: *mut f32,
    /// [`KEYS`] x `head`.
    values: *mut f32,
    /// Rows x `head`: the queries, scaled.
    queries: *mut f32,
    /// Rows x `head`: what has been added up.
    sums: *mut f32,
    /// Rows x [`KEYS`]: scores of a block, then weights.
    weights: *mut f32,
}

/// A query's running maximum, the sum of its weights, and by what its sums are to be multiplied in this block.
#[derive(Clone, Copy)]
struct Running {
    most: f32,
    total: f32,
    correction: f32,
}

/// Some tokens that share the key-value head `kv_head` of a stream.
struct Item {
    stream: usize,
    kv_head: usize,
    first: usize,
    tokens: usize,
}

impl Attention {
    /// Bytes that `threads` threads want beside the result.
    pub(super) const fn memory(&self, threads: usize) -> usize {
        self.memory_each() * threads
    }

    const fn memory_each(&self) -> usize {
        let floats = 2 * self.head * KEYS + ROWS * (2 * self.head + KEYS);
        (floats * size_of::<f32>()).next_multiple_of(64)
    }

    /// Tokens of an item.
    fn together(&self) -> usize {
        (ROWS / self.group()).max(1)
    }

    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Can these sizes be computed here?
    pub(super) fn fits(&self) -> bool {
        let unit = if self.stored == Stored::F16 { 16 } else { 32 };
        self.head > 0
            && self.head <= LONGEST_HEAD
            && self.head.is_multiple_of(unit)
            && self.keys.is_multiple_of(KEYS)
            && self.kv_heads > 0
            && self.heads.is_multiple_of(self.kv_heads)
            && (1..=ROWS).contains(&self.group())
    }

    /// Computes the part of thread `thread` of `threads`.
    ///
    /// # Safety
    /// The processor is supported and the sizes fit; `memory` has [`Self::memory`] bytes for so many threads, aligned to 4; the operands
    /// are there, and nobody else writes to them.
    #[allow(unsafe_code, clippy::cast_ptr_alignment)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    pub(super) unsafe fn compute(&self, thread: usize, threads: usize, memory: *mut u8, operands: &impl Operands) {
        // SAFETY: all parts lie within what the caller gives.
        let scratch = unsafe {
            let keys = memory.add(self.memory_each() * thread).cast::<f32>();
            let values = keys.add(self.head * KEYS);
            let queries = values.add(self.head * KEYS);
            let sums = queries.add(ROWS * self.head);
            Scratch { keys, values, queries, sums, weights: sums.add(ROWS * self.head) }
        };
        let parts = self.tokens.div_ceil(self.together());
        for item in (thread..self.streams * self.kv_heads * parts).step_by(threads) {
            let first = item / self.kv_heads % parts * self.together();
            let item = Item {
                stream: item / self.kv_heads / parts,
                kv_head: item % self.kv_heads,
                first,
                tokens: self.together().min(self.tokens - first),
            };
            // SAFETY: the caller's word.
            unsafe { self.item(&item, scratch, operands) };
        }
    }

    #[allow(unsafe_code)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn item(&self, item: &Item, scratch: Scratch, operands: &impl Operands) {
        let (group, head) = (self.group(), self.head);
        let rows = item.tokens * group;
        let token = |row: usize| item.first + row / group;
        let query_head = |row: usize| item.kv_head * group + row % group;
        let mut running = [Running { most: f32::NEG_INFINITY, total: 0.0, correction: 1.0 }; ROWS];
        // SAFETY: rows and keys are within the operands and within the scratch memory.
        unsafe {
            for row in 0..rows {
                let query = operands.query(token(row), query_head(row), item.stream);
                for at in (0..head).step_by(16) {
                    let scaled = _mm512_mul_ps(_mm512_loadu_ps(query.add(at)), _mm512_set1_ps(self.scale));
                    _mm512_storeu_ps(scratch.queries.add(row * head + at), scaled);
                    _mm512_storeu_ps(scratch.sums.add(row * head + at), _mm512_setzero_ps());
                }
            }
            for first in (0..self.keys).step_by(KEYS) {
                let mut visible = [0; ROWS];
                let mut count = 0;
                for row in 0..rows {
                    let mask = operands.mask(token(row), item.stream).map(|mask| mask.add(first));
                    if mask.is_none_or(|mask| sees_any(mask))
                        && let Some(place) = visible.get_mut(count)
                    {
                        *place = row;
                        count += 1;
                    }
                }
                let visible = visible.get(..count).unwrap_or_default();
                if visible.is_empty() {
                    continue;
                }
                self.unpack(item, first, scratch, operands);
                for rows in visible.chunks(TOGETHER) {
                    self.scores(rows, scratch);
                    for &row in rows {
                        let mask = operands.mask(token(row), item.stream).map(|mask| mask.add(first));
                        if let Some(running) = running.get_mut(row) {
                            weigh(scratch.weights.add(row * KEYS), mask, running);
                        }
                    }
                    self.add(rows, &running, scratch);
                }
            }
            for (row, running) in running.iter().enumerate().take(rows) {
                let factor = _mm512_set1_ps(if running.total > 0.0 { 1.0 / running.total } else { 0.0 });
                let result = operands.result(token(row), query_head(row), item.stream);
                for at in (0..head).step_by(16) {
                    let sum = _mm512_loadu_ps(scratch.sums.add(row * head + at));
                    _mm512_storeu_ps(result.add(at), _mm512_mul_ps(sum, factor));
                }
            }
        }
    }

    /// Brings a block of keys and values into the scratch memory as `f32`.
    #[allow(unsafe_code)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn unpack(&self, item: &Item, first: usize, scratch: Scratch, operands: &impl Operands) {
        // SAFETY: the caller's word.
        unsafe {
            for half in [0, 16] {
                for at in (0..self.head).step_by(16) {
                    let mut lines = [_mm512_setzero_ps(); 16];
                    for (key, line) in lines.iter_mut().enumerate() {
                        let key = operands.key(first + half + key, item.kv_head, item.stream);
                        *line = sixteen(self.stored, key, at);
                    }
                    for (value, line) in transpose(lines).into_iter().enumerate() {
                        _mm512_storeu_ps(scratch.keys.add((at + value) * KEYS + half), line);
                    }
                }
            }
            for key in 0..KEYS {
                let value = operands.value(first + key, item.kv_head, item.stream);
                for at in (0..self.head).step_by(16) {
                    _mm512_storeu_ps(scratch.values.add(key * self.head + at), finite(sixteen(self.stored, value, at)));
                }
            }
        }
    }

    /// Scores of at most [`TOGETHER`] rows with the block.
    #[allow(unsafe_code)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn scores(&self, rows: &[usize], scratch: Scratch) {
        macro_rules! of_rows {
            ($($rows:literal)*) => {
                match rows.len() {
                    // SAFETY: the caller's word.
                    $($rows => if let Ok(rows) = rows.try_into() { unsafe { scores::<$rows>(self.head, rows, scratch) } },)*
                    _ => {}
                }
            };
        }
        of_rows!(1 2 3 4 5 6);
    }

    /// Adds the block's values to the sums of at most [`TOGETHER`] rows.
    #[allow(unsafe_code)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn add(&self, rows: &[usize], running: &[Running; ROWS], scratch: Scratch) {
        let mut corrections = [1.0; TOGETHER];
        for (correction, &row) in corrections.iter_mut().zip(rows) {
            *correction = running.get(row).map_or(1.0, |running| running.correction);
        }
        macro_rules! of_rows {
            ($at:expr, $vectors:literal: $($rows:literal)*) => {
                match rows.len() {
                    // SAFETY: the caller's word; `$at` and the vectors behind it are within a head.
                    $($rows => if let Ok(rows) = rows.try_into() {
                        unsafe { add::<$rows, $vectors>(self.head, $at, rows, &corrections, scratch) }
                    },)*
                    _ => {}
                }
            };
        }
        let mut at = 0;
        while at + 64 <= self.head {
            of_rows!(at, 4: 1 2 3 4 5 6);
            at += 64;
        }
        while at < self.head {
            of_rows!(at, 1: 1 2 3 4 5 6);
            at += 16;
        }
    }
}

/// Is there one among [`KEYS`] keys that is not hidden (minus infinity, as `f16`)?
#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn sees_any(mask: *const u16) -> bool {
    use std::arch::x86_64::{_mm512_cmpneq_epi16_mask, _mm512_loadu_si512, _mm512_set1_epi16};
    // SAFETY: the caller's word: there are 32 values.
    let mask = unsafe { _mm512_loadu_si512(mask.cast()) };
    _mm512_cmpneq_epi16_mask(mask, _mm512_set1_epi16(0xfc00_u16.cast_signed())) != 0
}

/// Sixteen values of a key or a value, from the `at`th on.
#[allow(unsafe_code, clippy::inline_always)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn sixteen(stored: Stored, from: *const u8, at: usize) -> __m512 {
    // SAFETY: the caller's word: `at + 16` values are there.
    unsafe {
        match stored {
            Stored::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(from.add(at * 2).cast())),
            Stored::Q8_0 => {
                let block = from.add(at / 32 * 34);
                let scale = block.cast::<u16>().read_unaligned();
                let scale = _mm512_cvtph_ps(std::arch::x86_64::_mm256_set1_epi16(scale.cast_signed()));
                let values = _mm_loadu_si128(block.add(2 + at % 32).cast());
                _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(values)), scale)
            }
        }
    }
}

#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn scores<const R: usize>(head: usize, rows: &[usize; R], scratch: Scratch) {
    // SAFETY: the caller's word.
    unsafe {
        let queries = rows.map(|row| scratch.queries.add(row * head).cast_const());
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for at in 0..head {
            let keys = scratch.keys.add(at * KEYS);
            let (low, high) = (_mm512_loadu_ps(keys), _mm512_loadu_ps(keys.add(16)));
            for (sum, query) in sums.iter_mut().zip(queries) {
                let query = _mm512_set1_ps(*query.add(at));
                sum[0] = _mm512_fmadd_ps(query, low, sum[0]);
                sum[1] = _mm512_fmadd_ps(query, high, sum[1]);
            }
        }
        for (sum, row) in sums.iter().zip(rows) {
            _mm512_storeu_ps(scratch.weights.add(row * KEYS), sum[0]);
            _mm512_storeu_ps(scratch.weights.add(row * KEYS + 16), sum[1]);
        }
    }
}

/// Makes scores into weights, relative to the running maximum.
#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn weigh(scores: *mut f32, mask: Option<*const u16>, running: &mut Running) {
    // SAFETY: the caller's word: there are 32 scores, and as many values of the mask.
    unsafe {
        let (mut low, mut high) = (_mm512_loadu_ps(scores), _mm512_loadu_ps(scores.add(16)));
        if let Some(mask) = mask {
            low = masked(low, _mm512_cvtph_ps(_mm256_loadu_si256(mask.cast())));
            high = masked(high, _mm512_cvtph_ps(_mm256_loadu_si256(mask.add(16).cast())));
        }
        let most = running.most.max(_mm512_reduce_max_ps(_mm512_max_ps(low, high)));
        if most == f32::NEG_INFINITY {
            // Nothing is to be seen yet: no weight.
            running.correction = 1.0;
            _mm512_storeu_ps(scores, _mm512_setzero_ps());
            _mm512_storeu_ps(scores.add(16), _mm512_setzero_ps());
            return;
        }
        let base = _mm512_set1_ps(most);
        let (low, high) = (exp(_mm512_sub_ps(low, base)), exp(_mm512_sub_ps(high, base)));
        _mm512_storeu_ps(scores, low);
        _mm512_storeu_ps(scores.add(16), high);
        running.correction = if running.most == most { 1.0 } else { (running.most - most).exp() };
        running.total = running.total.mul_add(running.correction, _mm512_reduce_add_ps(_mm512_add_ps(low, high)));
        running.most = most;
    }
}

/// Scores with their mask. Whatever a hidden cell holds, its score is minus infinity.
#[target_feature(enable = "avx512f")]
fn masked(scores: __m512, mask: __m512) -> __m512 {
    let hidden = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(mask, _mm512_set1_ps(f32::NEG_INFINITY));
    _mm512_mask_mov_ps(_mm512_add_ps(scores, mask), hidden, mask)
}

/// Zero instead of what is not finite: a hidden cell may hold anything, and its weight of zero would not take that away.
#[target_feature(enable = "avx512f,avx512dq")]
fn finite(values: __m512) -> __m512 {
    let finite = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(values), _mm512_set1_ps(f32::INFINITY));
    _mm512_maskz_mov_ps(finite, values)
}

/// e to the power of values that are not above zero: within two units in the last place, and zero below -87.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn exp(x: __m512) -> __m512 {
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm512_mul_ps(
        x,
        _mm512_set1_ps(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts, so that the difference is exact (Cody and Waite, 1980).
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693_359_4), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.121_944_4e-4), r);
    let mut power = _mm512_set1_ps(1.0 / 5040.0);
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(factor));
    }
    let result = _mm512_scalef_ps(power, n);
    let small = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_set1_ps(-87.0));
    let number = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, x);
    // What is not a number stays so.
    _mm512_mask_mov_ps(_mm512_setzero_ps(), small | number, result)
}

#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn add<const R: usize, const C: usize>(
    head: usize,
    at: usize,
    rows: &[usize; R],
    corrections: &[f32; TOGETHER],
    scratch: Scratch,
) {
    // SAFETY: the caller's word.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); C]; R];
        for ((sums, row), correction) in sums.iter_mut().zip(rows).zip(corrections) {
            for (vector, sum) in sums.iter_mut().enumerate() {
                let old = _mm512_loadu_ps(scratch.sums.add(row * head + at + vector * 16));
                *sum = _mm512_mul_ps(old, _mm512_set1_ps(*correction));
            }
        }
        let weights = rows.map(|row| scratch.weights.add(row * KEYS).cast_const());
        for key in 0..KEYS {
            let mut values = [_mm512_setzero_ps(); C];
            for (vector, value) in values.iter_mut().enumerate() {
                *value = _mm512_loadu_ps(scratch.values.add(key * head + at + vector * 16));
            }
            for (sums, weights) in sums.iter_mut().zip(weights) {
                let weight = _mm512_set1_ps(*weights.add(key));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = _mm512_fmadd_ps(weight, value, *sum);
                }
            }
        }
        for (sums, row) in sums.iter().zip(rows) {
            for (vector, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(scratch.sums.add(row * head + at + vector * 16), *sum);
            }
        }
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
