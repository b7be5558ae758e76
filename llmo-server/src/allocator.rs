//! mimalloc as a program's allocator. A request makes some hundred small allocations: with glibc's a sixth of a gateway's processor
//! time goes there.
//!
//! The crate `mimalloc` asks for every block by `mi_malloc_aligned`. That takes more space than asked for, and aligns within it, for
//! most blocks of more than a kilobyte, whatever their alignment: the futures of requests are such blocks, and freeing one from a
//! page of such blocks is slower too. `mi_malloc` aligns to 16 bytes by itself.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// What `mi_malloc` guarantees of blocks that are no smaller (`MI_MAX_ALIGN_SIZE`).
const ALIGNED: usize = 16;

/// The allocator, for `#[global_allocator]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mimalloc;

fn is_aligned_anyway(layout: Layout) -> bool {
    layout.align() <= ALIGNED && layout.size() >= layout.align()
}

// SAFETY: mimalloc's functions are an allocator: blocks don't overlap, stay where they are until freed, and have the size and the
// alignment that was asked for; `mi_free` and the reallocations take blocks of all of them. None unwinds.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size will do, and a layout's alignment is a power of two.
        let block = unsafe {
            match is_aligned_anyway(layout) {
                true => mi_malloc(layout.size()),
                false => mi_malloc_aligned(layout.size(), layout.align()),
            }
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        let block = unsafe {
            match is_aligned_anyway(layout) {
                true => mi_zalloc(layout.size()),
                false => mi_zalloc_aligned(layout.size(), layout.align()),
            }
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller says that the block is one of ours.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`. A block that becomes smaller than its alignment keeps that only if it is asked for.
        let block = unsafe {
            match is_aligned_anyway(layout) && size >= layout.align() {
                true => mi_realloc(block.cast(), size),
                false => mi_realloc_aligned(block.cast(), size, layout.align()),
            }
        };
        block.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_as_asked_for_and_keep_what_is_in_them() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in [1, 3, 8, 15, 16, 17, 24, 100, 1024, 1025, 3000, 70_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the layout has a size; each block is used within it, and freed once.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                    block.write_bytes(7, size);
                    let grown = Mimalloc.realloc(block, layout, 2 * size);
                    assert!(grown.addr().is_multiple_of(align), "{layout:?} grown");
                    assert!((0..size).all(|at| grown.add(at).read() == 7));
                    let grown_layout = Layout::from_size_align(2 * size, align).unwrap();
                    let shrunk = Mimalloc.realloc(grown, grown_layout, 1);
                    assert!(shrunk.addr().is_multiple_of(align) && shrunk.read() == 7, "{layout:?} shrunk");
                    Mimalloc.dealloc(shrunk, Layout::from_size_align(1, align).unwrap());
                    let zeroed = Mimalloc.alloc_zeroed(layout);
                    assert!(zeroed.addr().is_multiple_of(align) && (0..size).all(|at| zeroed.add(at).read() == 0));
                    Mimalloc.dealloc(zeroed, layout);
                }
            }
        }
    }
}
