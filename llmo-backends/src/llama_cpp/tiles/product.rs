//! A whole product, shared between the threads of a pool.

use std::ops::Range;

use super::activations::{self, Activations};
use super::avx512;
use super::layout::{BLOCK, Kind, ROWS};

/// With so few columns each thread rounds all of them for itself: that is quicker than to wait for the others.
const FEW: usize = 4;

/// Sizes of a product: `rows` x `columns` results, each a sum over `blocks` blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) kind: Kind,
    pub(super) blocks: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// What the threads of a pool do together.
pub(super) trait Team {
    /// This thread's number, and how many there are.
    fn place(&self) -> (usize, usize);
    /// Waits until all threads are here. What they wrote before is seen by all after it.
    fn wait(&self);
    /// Sets the common counter.
    fn set(&self, value: usize);
    /// Adds one to the common counter; gives what it was.
    fn next(&self) -> usize;
}

impl Product {
    /// Bytes that `threads` threads want beside the result.
    pub(super) fn memory(&self, threads: usize) -> usize {
        self.memory_each() * if self.columns <= FEW { threads } else { 1 }
    }

    fn memory_each(&self) -> usize {
        Activations::bytes(self.columns, self.blocks).next_multiple_of(64)
    }

    /// Computes this thread's part.
    ///
    /// # Safety
    /// The processor is supported; `tiles` are the packed weights; `memory` has [`Self::memory`] bytes for the team's threads, aligned
    /// to 4; `values` gives for each column a row of `blocks` x 32 values; `results` gives for each column room for `rows` values,
    /// which nobody else uses meanwhile. All threads of the team call this with the same arguments.
    #[allow(unsafe_code)]
    pub(super) unsafe fn compute(
        &self,
        team: &impl Team,
        tiles: *const u8,
        memory: *mut u8,
        values: impl Fn(usize) -> *const f32,
        results: impl Fn(usize) -> *mut f32,
    ) {
        let (thread, threads) = team.place();
        let (blocks, all) = (self.blocks, self.rows / ROWS);
        let is_private = self.columns <= FEW;
        let offset = if is_private { self.memory_each() * thread } else { 0 };
        // SAFETY: there is room for each thread's, or for one that is common.
        let rounded = unsafe { Activations::at(memory.add(offset), self.columns, blocks) };
        let mine = if is_private { 0..self.columns * blocks } else { share(self.columns * blocks, thread, threads) };
        for index in mine {
            // SAFETY: the block is one of the column's, and of the memory's; different threads write different ones.
            unsafe {
                activations::round(self.kind, values(index / blocks).add(index % blocks * BLOCK), rounded, index)
            };
        }
        let multiply = |range: Range<usize>| {
            for tile in range {
                // SAFETY: the tile is within the weights, and its rows are within the results.
                unsafe {
                    let weights = tiles.add(tile * ROWS * self.kind.row(blocks));
                    self.multiply(weights, rounded, |column| results(column).add(tile * ROWS));
                }
            }
        };
        if is_private {
            multiply(share(all, thread, threads));
            return;
        }
        if thread == 0 {
            team.set(threads);
        }
        team.wait();
        // Small parts, because the threads of a busy machine are not equally fast.
        let parts = (threads * 8).min(all);
        let mut part = thread;
        while part < parts {
            multiply(share(all, part, parts));
            part = team.next();
        }
    }

    /// One tile with all columns.
    #[allow(unsafe_code)]
    unsafe fn multiply(&self, tile: *const u8, rounded: Activations, results: impl Fn(usize) -> *mut f32) {
        let groups = self.columns.div_ceil(avx512::COLUMNS);
        for group in 0..groups {
            let columns = share(self.columns, group, groups);
            let mut to = [std::ptr::null_mut(); avx512::COLUMNS];
            let mut count = 0;
            for (to, column) in to.iter_mut().zip(columns.clone()) {
                *to = results(column);
                count += 1;
            }
            let to = to.get(..count).unwrap_or_default();
            // SAFETY: the caller's word; at most as many columns as the kernel takes.
            unsafe { avx512::multiply(self.kind, tile, rounded, columns.start, to) };
        }
    }
}

/// The `part`th of `parts` nearly equal parts of `0..whole`.
fn share(whole: usize, part: usize, parts: usize) -> Range<usize> {
    whole * part / parts..whole * (part + 1) / parts
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
