//! Which of a graph's operations are computed here, and what they are in our terms.
//!
//! ggml asks all of this on all threads of a pool: nothing here panics or allocates.
#![allow(unsafe_code)]

use std::ffi::c_int;

use llama_cpp_sys_2 as sys;

use super::attention::{Attention, Operands, Stored};
use super::ffi::{self, Params};
use super::layout::{BLOCK, Kind, ROWS};
use super::product::{Product, Team};
use super::symbols::Symbols;

/// Kind, blocks of a row, and rows of weights that can be packed.
pub(super) fn matrix(tensor: &sys::ggml_tensor) -> Option<(Kind, usize, usize)> {
    let kind = match tensor.type_ {
        sys::GGML_TYPE_Q4_1 => Kind::Q4_1,
        sys::GGML_TYPE_Q8_0 => Kind::Q8_0,
        _ => return None,
    };
    let [values, rows, 1, 1] = tensor.ne else { return None };
    let (values, rows) = (usize::try_from(values).ok()?, usize::try_from(rows).ok()?);
    let fits = rows > 0 && rows.is_multiple_of(ROWS) && values > 0 && values.is_multiple_of(BLOCK);
    fits.then_some((kind, values / BLOCK, rows))
}

/// A product with weights of ours.
unsafe fn product(op: &sys::ggml_tensor) -> Option<Product> {
    if op.op != sys::GGML_OP_MUL_MAT {
        return None;
    }
    // SAFETY: an operation's sources are there or null.
    let [Some(weights), Some(values), ..] = op.src.map(|source| unsafe { source.as_ref() }) else { return None };
    // SAFETY: the tensor is there.
    if !unsafe { ffi::is_ours(weights) } {
        return None;
    }
    let (kind, blocks, rows) = matrix(weights)?;
    let [length, columns @ ..] = values.ne;
    let columns = columns.iter().try_fold(1, |product, &count| Some(usize::try_from(count).ok()? * product))?;
    let plain = values.type_ == sys::GGML_TYPE_F32 && values.nb[0] == size_of::<f32>();
    let fits = plain && usize::try_from(length) == Ok(blocks * BLOCK) && op.nb[0] == size_of::<f32>();
    fits.then_some(Product { kind, blocks, rows, columns })
}

/// An attention of ggml's, with its operands.
struct FlashAttention<'op> {
    op: &'op sys::ggml_tensor,
    queries: &'op sys::ggml_tensor,
    keys: &'op sys::ggml_tensor,
    values: &'op sys::ggml_tensor,
    mask: Option<&'op sys::ggml_tensor>,
}

impl<'op> FlashAttention<'op> {
    unsafe fn of(op: &'op sys::ggml_tensor) -> Option<Self> {
        if op.op != sys::GGML_OP_FLASH_ATTN_EXT {
            return None;
        }
        // SAFETY: an operation's sources are there or null.
        let sources = op.src.map(|source| unsafe { source.as_ref() });
        // The fifth are attention sinks.
        let [Some(queries), Some(keys), Some(values), mask, None, ..] = sources else { return None };
        Some(Self { op, queries, keys, values, mask })
    }

    /// Its sizes, if it is one of those that are computed here.
    fn sizes(&self) -> Option<Attention> {
        let Self { op, queries, keys, values, mask } = self;
        let stored = match (keys.type_, values.type_) {
            (sys::GGML_TYPE_F16, sys::GGML_TYPE_F16) => Stored::F16,
            (sys::GGML_TYPE_Q8_0, sys::GGML_TYPE_Q8_0) => Stored::Q8_0,
            _ => return None,
        };
        let size = |tensor: &sys::ggml_tensor| tensor.ne.map(|count| usize::try_from(count).unwrap_or(0));
        let ([head, tokens, heads, streams], [key, cells, kv_heads, caches]) = (size(queries), size(keys));
        let [scale, bias, cap, ..] = op.op_params.map(|bits| f32::from_bits(bits.cast_unsigned()));
        let attention = Attention { stored, head, keys: cells, tokens, heads, kv_heads, streams, scale };
        let alike = key == head && caches == streams && size(values) == size(keys) && bias == 0.0 && cap == 0.0;
        let plain = queries.type_ == sys::GGML_TYPE_F32 && queries.nb[0] == 4 && op.nb[0] == 4;
        let masked = mask.is_none_or(|mask| {
            let [cells_of, rows, heads_of, streams_of] = size(mask);
            mask.type_ == sys::GGML_TYPE_F16
                && mask.nb[0] == 2
                && cells_of == cells
                && rows >= tokens
                && heads_of == 1
                && (streams_of == 1 || streams_of == streams)
        });
        (alike && plain && masked && attention.fits()).then_some(attention)
    }
}

/// The address of an element of a tensor, or of a row of it.
fn at(tensor: &sys::ggml_tensor, [second, third, fourth]: [usize; 3]) -> *mut u8 {
    let [_, of_second, of_third, of_fourth] = tensor.nb;
    tensor.data.cast::<u8>().wrapping_add(second * of_second + third * of_third + fourth * of_fourth)
}

impl Operands for FlashAttention<'_> {
    fn query(&self, token: usize, head: usize, stream: usize) -> *const f32 {
        at(self.queries, [token, head, stream]).cast_const().cast()
    }

    fn key(&self, key: usize, head: usize, stream: usize) -> *const u8 {
        at(self.keys, [key, head, stream])
    }

    fn value(&self, key: usize, head: usize, stream: usize) -> *const u8 {
        at(self.values, [key, head, stream])
    }

    fn mask(&self, token: usize, stream: usize) -> Option<*const u16> {
        let mask = self.mask?;
        let stream = if mask.ne[3] == 1 { 0 } else { stream };
        Some(at(mask, [token, 0, stream]).cast_const().cast())
    }

    /// The result is `[value, head, token, stream]`.
    fn result(&self, token: usize, head: usize, stream: usize) -> *mut f32 {
        at(self.op, [head, token, stream]).cast()
    }
}

/// Is this computed here?
pub(super) unsafe extern "C" fn claims(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: ggml gives an operation of a graph.
    unsafe {
        let op = &*op;
        product(op).is_some() || FlashAttention::of(op).is_some_and(|attention| attention.sizes().is_some())
    }
}

/// Asked of operations with weights of ours: can they be computed at all?
pub(super) unsafe extern "C" fn supports(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: as above; a product has two sources.
    unsafe { product(&*op).is_some() && ffi::is_on_host(&*(*op).src[1]) }
}

pub(super) unsafe extern "C" fn work_size(threads: c_int, op: *const sys::ggml_tensor, size: *mut usize) -> bool {
    let threads = usize::try_from(threads).unwrap_or(1);
    // SAFETY: as above; `size` is ggml's.
    unsafe {
        let op = &*op;
        if let Some(product) = product(op) {
            *size = product.memory(threads);
        } else if let Some(attention) = FlashAttention::of(op).and_then(|attention| attention.sizes()) {
            *size = attention.memory(threads);
        } else {
            return false;
        }
    }
    true
}

/// One of a pool's threads.
struct Worker<'op> {
    params: &'op Params,
    symbols: Symbols,
}

impl Team for Worker<'_> {
    fn place(&self) -> (usize, usize) {
        let number = |value: c_int| usize::try_from(value).unwrap_or(0);
        (number(self.params.thread), number(self.params.threads).max(1))
    }

    fn wait(&self) {
        // SAFETY: the pool is the one that this thread belongs to.
        unsafe { (self.symbols.barrier)(self.params.pool) }
    }

    fn set(&self, value: usize) {
        // SAFETY: as above.
        unsafe { (self.symbols.set_chunk)(self.params.pool, c_int::try_from(value).unwrap_or(c_int::MAX)) }
    }

    fn next(&self) -> usize {
        // SAFETY: as above.
        usize::try_from(unsafe { (self.symbols.add_chunk)(self.params.pool, 1) }).unwrap_or(usize::MAX)
    }
}

pub(super) unsafe extern "C" fn compute(params: *const Params, op: *mut sys::ggml_tensor) -> bool {
    // SAFETY: ggml calls this on all threads of a pool for an operation that `claims` has seen, with the memory that
    // `work_size` asked for; elements lie where their strides say.
    unsafe {
        let (params, op) = (&*params, &*op);
        let Some(symbols) = ffi::symbols() else { return false };
        let worker = Worker { params, symbols };
        if let Some(product) = product(op) {
            let (weights, values) = (&*op.src[0], &*op.src[1]);
            let row_of = |tensor: &sys::ggml_tensor, column: usize| {
                let size = tensor.ne.map(|count| usize::try_from(count).unwrap_or(1).max(1));
                let rest = column / size[1];
                at(tensor, [column % size[1], rest % size[2], rest / size[2]]).cast::<f32>()
            };
            let tiles = weights.data.cast::<u8>().cast_const();
            let values = |column| row_of(values, column).cast_const();
            product.compute(&worker, tiles, params.memory.cast(), values, |column| row_of(op, column));
            return true;
        }
        let Some(attention) = FlashAttention::of(op) else { return false };
        let Some(sizes) = attention.sizes() else { return false };
        let (thread, threads) = worker.place();
        sizes.compute(thread, threads, params.memory.cast(), &attention);
    }
    true
}
