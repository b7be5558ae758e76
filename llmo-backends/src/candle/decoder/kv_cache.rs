//! Keys and values of the tokens read so far, for one layer.

use candle_core::{DType, Device, Result, Tensor};

/// Room for this many tokens at first; doubled when full, so that short requests stay small and long ones copy little.
const FIRST_CAPACITY: usize = 256;

/// One layer's keys and values, each of shape (1, key-value heads, capacity, head).
#[derive(Debug, Default)]
pub(super) struct KvCache {
    tensors: Option<(Tensor, Tensor)>,
    capacity: usize,
    len: usize,
}

impl KvCache {
    /// Forgets everything; keeps the memory for the next sequence.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds the tokens of `k` and `v`, each of shape (1, key-value heads, tokens, head) and contiguous.
    pub(super) fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<()> {
        let (_, heads, tokens, head) = k.dims4()?;
        self.reserve(self.len + tokens, heads, head)?;
        if let Some((keys, values)) = &self.tensors {
            keys.slice_set(k, 2, self.len)?;
            values.slice_set(v, 2, self.len)?;
        }
        self.len += tokens;
        Ok(())
    }

    /// Keys and values from token `first` on: views of shape (key-value heads, tokens, head).
    pub(super) fn from(&self, first: usize) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = &self.tensors else { candle_core::bail!("the cache is empty") };
        let view = |tensor: &Tensor| tensor.narrow(2, first, self.len - first)?.squeeze(0);
        Ok((view(keys)?, view(values)?))
    }

    fn reserve(&mut self, tokens: usize, heads: usize, head: usize) -> Result<()> {
        if tokens <= self.capacity {
            return Ok(());
        }
        let capacity = tokens.next_power_of_two().max(FIRST_CAPACITY);
        let grow = |old: Option<&Tensor>| {
            let new = Tensor::zeros((1, heads, capacity, head), DType::F32, &Device::Cpu)?;
            if let Some(old) = old.filter(|_| self.len > 0) {
                new.slice_set(&old.narrow(2, 0, self.len)?.contiguous()?, 2, 0)?;
            }
            Ok::<_, candle_core::Error>(new)
        };
        let old = self.tensors.as_ref();
        let grown = (grow(old.map(|(keys, _)| keys))?, grow(old.map(|(_, values)| values))?);
        self.tensors = Some(grown);
        self.capacity = capacity;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: f32) -> Tensor {
        Tensor::full(value, (1, 2, 1, 4), &Device::Cpu).unwrap()
    }

    #[test]
    fn growing_keeps_what_was_read_and_clearing_forgets_it() {
        let mut cache = KvCache::default();
        for i in 0..FIRST_CAPACITY + 3 {
            cache.append(&token(i as f32), &token(-(i as f32))).unwrap();
        }
        let (keys, values) = cache.from(FIRST_CAPACITY - 1).unwrap();
        assert_eq!(keys.dims(), [2, 4, 4]);
        let first = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        assert_eq!((first(&keys), first(&values)), (255.0, -255.0));
        cache.clear();
        cache.append(&token(9.0), &token(9.0)).unwrap();
        assert_eq!(cache.from(0).unwrap().0.dims(), [2, 1, 4]);
    }
}
