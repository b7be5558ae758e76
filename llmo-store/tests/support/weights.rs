//! Weight files that are small and right.

/// A GGUF file with one tensor of `floats` floats, different for every `seed`.
pub fn gguf(floats: u64, seed: u64) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend(1u64.to_le_bytes()); // tensors
    file.extend(3u64.to_le_bytes()); // metadata entries
    for (key, value) in [("general.architecture", "llama"), ("general.name", "Tiny")] {
        string(&mut file, key);
        file.extend(8u32.to_le_bytes());
        string(&mut file, value);
    }
    string(&mut file, "llama.context_length");
    file.extend(4u32.to_le_bytes());
    file.extend(128u32.to_le_bytes());
    string(&mut file, "token_embd.weight");
    file.extend(1u32.to_le_bytes());
    file.extend(floats.to_le_bytes());
    file.extend(0u32.to_le_bytes()); // F32
    file.extend(0u64.to_le_bytes()); // offset
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(noise(floats * 4, seed));
    file
}

/// A safetensors file with one tensor of `floats` floats.
pub fn safetensors(floats: u64, seed: u64) -> Vec<u8> {
    let bytes = floats * 4;
    let mut header = format!(r#"{{"weight":{{"dtype":"F32","shape":[{floats}],"data_offsets":[0,{bytes}]}}}}"#);
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(noise(bytes, seed));
    file
}

fn string(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

/// Bytes that compress badly and are the same every time (a linear congruential generator).
pub fn noise(length: u64, seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..length).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}
