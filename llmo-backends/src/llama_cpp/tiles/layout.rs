//! How weights lie in memory: blocks of 32 values as GGUF stores them, turned so that one load brings 16 rows.
//!
//! A *tile* is 16 consecutive rows of a matrix. Its blocks follow each other along the rows; first the quants of all blocks,
//! then their scales:
//!
//! | kind | quants of a block | scales of a block |
//! |---|---|---|
//! | Q4_1 | 4 × 64 bytes: vector `g` holds bytes `4g..4g+4` of each row's 16 | 16 × f16 `d`, 16 × f16 `m` |
//! | Q8_0 | 8 × 64 bytes: vector `g` holds values `4g..4g+4` of each row, plus 128 | 16 × f16 `d` |
//!
//! A tile takes as many bytes as its 16 rows did.

/// Rows of a tile: 32-bit lanes of a 512-bit vector.
pub(super) const ROWS: usize = 16;
/// Values of a block.
pub(super) const BLOCK: usize = 32;

/// A format of quantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `d * q + m`, `q` of 4 bits.
    Q4_1,
    /// `d * q`, `q` of 8 bits.
    Q8_0,
}

impl Kind {
    /// Bytes of the quants of one row's block.
    pub(super) const fn quants(self) -> usize {
        match self {
            Self::Q4_1 => 16,
            Self::Q8_0 => 32,
        }
    }

    /// Bytes of the scales of one row's block, which GGUF stores before the quants.
    pub(super) const fn scales(self) -> usize {
        match self {
            Self::Q4_1 => 4,
            Self::Q8_0 => 2,
        }
    }

    /// Bytes of a row of `blocks` blocks.
    pub(super) const fn row(self, blocks: usize) -> usize {
        (self.quants() + self.scales()) * blocks
    }
}

/// Turns rows as GGUF stores them into tiles. `rows` and `tiles` have [`Kind::row`] bytes for each row; the number of rows is
/// a multiple of [`ROWS`].
pub(super) fn pack(kind: Kind, blocks: usize, rows: &[u8], tiles: &mut [u8]) {
    let tile = kind.row(blocks) * ROWS;
    for (rows, tile) in rows.chunks_exact(tile).zip(tiles.chunks_exact_mut(tile)) {
        pack_tile(kind, blocks, rows, tile);
    }
}

fn pack_tile(kind: Kind, blocks: usize, rows: &[u8], tile: &mut [u8]) {
    let (quants, scales) = tile.split_at_mut(kind.quants() * ROWS * blocks);
    // Q8_0's are signed; the processor multiplies unsigned by signed bytes.
    let flip = if kind == Kind::Q8_0 { 0x80 } else { 0 };
    for (row, bytes) in rows.chunks_exact(kind.row(blocks)).enumerate() {
        for (block, bytes) in bytes.chunks_exact(kind.quants() + kind.scales()).enumerate() {
            let (from_scales, from_quants) = bytes.split_at(kind.scales());
            let scales = &mut scales[block * kind.scales() * ROWS..][..kind.scales() * ROWS];
            for (scale, bytes) in from_scales.chunks_exact(2).enumerate() {
                scales[(scale * ROWS + row) * 2..][..2].copy_from_slice(bytes);
            }
            let quants = &mut quants[block * kind.quants() * ROWS..][..kind.quants() * ROWS];
            for (vector, bytes) in from_quants.chunks_exact(4).enumerate() {
                for (to, from) in quants[(vector * ROWS + row) * 4..][..4].iter_mut().zip(bytes) {
                    *to = from ^ flip;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_the_bytes_of_its_rows_each_at_its_place() {
        for kind in [Kind::Q4_1, Kind::Q8_0] {
            let blocks = 3;
            let rows: Vec<u8> = (0..kind.row(blocks) * ROWS * 2).map(|i| (i * 31 % 251) as u8).collect();
            let mut tiles = vec![0; rows.len()];
            pack(kind, blocks, &rows, &mut tiles);
            let (row, block, tile) = (5, 2, kind.row(blocks) * ROWS);
            let from = &rows[tile + row * kind.row(blocks) + block * (kind.quants() + kind.scales())..];
            let quants = &tiles[tile + block * kind.quants() * ROWS..];
            let flip = if kind == Kind::Q8_0 { 0x80 } else { 0 };
            for byte in 0..kind.quants() {
                let to = quants[(byte / 4 * ROWS + row) * 4 + byte % 4];
                assert_eq!(to ^ flip, from[kind.scales() + byte], "{kind:?} {byte}");
            }
            let scales = &tiles[tile + kind.quants() * ROWS * blocks + block * kind.scales() * ROWS..];
            assert_eq!(scales[row * 2..][..2], from[..2], "{kind:?}");
        }
    }
}
