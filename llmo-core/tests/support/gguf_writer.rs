//! Writes small GGUF files, sound and damaged ones.

/// A file in the making. Fields are public, so that a test can damage any of them.
pub(crate) struct GgufWriter {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) metadata_count: Option<u64>,
    pub(crate) metadata: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) alignment: u64,
    pub(crate) data_bytes: u64,
}

pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dimensions: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

/// A metadata entry from its key, the number of its type and its bytes.
pub(crate) fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), &kind.to_le_bytes()[..], value].concat()
}

pub(crate) fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

pub(crate) fn tensor(name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Tensor {
    Tensor { name: name.into(), dimensions: dimensions.into(), kind, offset }
}

impl GgufWriter {
    /// A sound file with two tensors: 2 × 32 weights in Q8_0 and 4 in F32.
    pub(crate) fn sound() -> Self {
        let tokens = [text("<s>"), text("</s>"), text("a")].concat();
        let types: Vec<u8> = [3i32, 3, 1].iter().flat_map(|t| t.to_le_bytes()).collect();
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            metadata_count: None,
            metadata: vec![
                entry("general.architecture", 8, &text("llama")),
                entry("general.name", 8, &text("Tiny")),
                entry("general.file_type", 4, &7u32.to_le_bytes()),
                entry("llama.context_length", 4, &2048u32.to_le_bytes()),
                entry("llama.block_count", 4, &1u32.to_le_bytes()),
                entry("llama.rope.freq_base", 6, &10000f32.to_le_bytes()),
                entry("tokenizer.ggml.tokens", 9, &array(8, 3, &tokens)),
                entry("tokenizer.ggml.token_type", 9, &array(5, 3, &types)),
                entry("tokenizer.ggml.bos_token_id", 4, &0u32.to_le_bytes()),
                entry("tokenizer.ggml.eos_token_id", 4, &1u32.to_le_bytes()),
                entry("tokenizer.ggml.add_bos_token", 7, &[1]),
                entry("tokenizer.chat_template", 8, &text("{{ messages }}")),
            ],
            tensors: vec![tensor("token_embd.weight", &[32, 2], 8, 0), tensor("output_norm.weight", &[4], 0, 96)],
            alignment: 32,
            data_bytes: 96 + 16,
        }
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.metadata_count.unwrap_or(self.metadata.len() as u64).to_le_bytes());
        bytes.extend(self.metadata.concat());
        for tensor in &self.tensors {
            bytes.extend(text(&tensor.name));
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            bytes.extend(tensor.dimensions.iter().flat_map(|d| d.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(self.alignment as usize) + self.data_bytes as usize, 0);
        bytes
    }
}
