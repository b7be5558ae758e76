//! GGUF headers: sound ones are read, damaged ones are refused, and none of them panics or allocates without bound.

#[path = "support/gguf_writer.rs"]
mod gguf_writer;

use gguf_writer::{GgufWriter, array, entry, tensor, text};
use llmo_core::model::Quantisation;
use llmo_core::weights::{GgufHeader, WeightsError};
use proptest::prelude::*;

fn parse(file: &[u8]) -> Result<GgufHeader, WeightsError> {
    GgufHeader::parse(file, file.len() as u64)
}

/// The error that a damaged file gives.
fn refusal(damage: impl FnOnce(&mut GgufWriter)) -> WeightsError {
    let mut writer = GgufWriter::sound();
    damage(&mut writer);
    match parse(&writer.file()) {
        Err(refused) => refused,
        Ok(header) => panic!("accepted: {header:?}"),
    }
}

#[test]
fn a_sound_header_tells_what_the_model_is() {
    let header = parse(&GgufWriter::sound().file()).unwrap();
    assert_eq!(header.architecture(), Some("llama"));
    assert_eq!(header.name(), Some("Tiny"));
    assert_eq!(header.context_length(), Some(2048));
    assert_eq!(header.block_count(), Some(1));
    assert_eq!(header.chat_template(), Some("{{ messages }}"));
    assert_eq!(header.tokens(), ["<s>", "</s>", "a"]);
    assert_eq!(header.token_types(), [3, 3, 1]);
    assert_eq!((header.bos_id(), header.eos_id()), (Some(0), Some(1)));
    assert_eq!(header.token_text(1), Some("</s>"));
    assert_eq!(header.parameters(), 68);
    assert_eq!(header.quantisation(), Quantisation::Named("Q8_0".into()));
    assert_eq!((header.version(), header.alignment()), (3, 32));
    assert_eq!(header.tensors()[0].bytes, 68);
    assert_eq!(header.data_start() % 32, 0);
    assert_eq!(header.get("llama.rope.freq_base").unwrap().as_f64(), Some(10000.0));
    assert_eq!(header.get("tokenizer.ggml.add_bos_token").unwrap().as_bool(), Some(true));
}

#[test]
fn without_a_file_type_the_largest_tensors_name_the_quantisation() {
    let mut writer = GgufWriter::sound();
    writer.metadata.remove(2);
    assert_eq!(parse(&writer.file()).unwrap().quantisation(), Quantisation::Named("Q8_0".into()));
    writer.tensors.clear();
    assert_eq!(parse(&writer.file()).unwrap().quantisation(), Quantisation::Unknown);
}

#[test]
fn a_header_cut_at_any_byte_is_refused() {
    let writer = GgufWriter::sound();
    let (header, file) = (writer.header(), writer.file());
    for length in 0..header.len() {
        assert!(matches!(parse(&file[..length]), Err(WeightsError::Truncated { .. })), "file cut at {length}");
        let more_to_come = GgufHeader::parse(&file[..length], file.len() as u64);
        assert!(matches!(more_to_come, Err(WeightsError::Truncated { .. })), "read up to {length}");
    }
    assert!(GgufHeader::parse(&header, file.len() as u64).is_ok(), "the data need not be read");
    for length in header.len()..file.len() {
        assert!(parse(&file[..length]).is_err(), "data cut at {length}");
    }
}

#[test]
fn other_files_and_versions_are_refused() {
    assert_eq!(refusal(|w| w.magic = *b"GGML"), WeightsError::Magic { format: "GGUF" });
    assert_eq!(parse(b"PK"), Err(WeightsError::Magic { format: "GGUF" }));
    for version in [0, 1, 4, 0x0300_0000, u32::MAX] {
        assert_eq!(refusal(|w| w.version = version), WeightsError::Version(version));
    }
    let mut version_2 = GgufWriter::sound();
    version_2.version = 2;
    assert!(parse(&version_2.file()).is_ok());
}

#[test]
fn absurd_counts_are_refused_before_anything_is_allocated() {
    for count in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 40] {
        assert!(matches!(refusal(|w| w.tensor_count = Some(count)), WeightsError::TooLarge { .. }));
        assert!(matches!(refusal(|w| w.metadata_count = Some(count)), WeightsError::TooLarge { .. }));
        for kind in 0..=12 {
            let refused = refusal(|w| w.metadata.push(entry("k", 9, &array(kind, count, &[]))));
            assert!(matches!(refused, WeightsError::TooLarge { .. }), "array of {kind}: {refused:?}");
        }
    }
    // Within the limit, but more than the file has.
    let refused = refusal(|w| w.metadata.push(entry("k", 9, &array(10, 1 << 23, &[]))));
    assert!(matches!(refused, WeightsError::Truncated { .. }), "{refused:?}");
    assert!(
        parse(&{
            let mut more = GgufWriter::sound();
            more.tensor_count = Some(3);
            more.file()
        })
        .is_err()
    );
}

#[test]
fn absurd_lengths_of_text_are_refused() {
    for length in [u64::MAX, 1u64 << 63, (1 << 63) - 1, 1 << 62, 1 << 40] {
        let refused = refusal(|w| w.metadata.push(entry("k", 8, &length.to_le_bytes())));
        assert!(matches!(refused, WeightsError::TooLarge { .. } | WeightsError::Truncated { .. }), "{refused:?}");
        assert!(
            parse(&{
                let mut key = GgufWriter::sound();
                key.metadata.push(length.to_le_bytes().to_vec());
                key.file()
            })
            .is_err()
        );
        let elements = array(8, 1, &length.to_le_bytes());
        assert!(
            parse(&{
                let mut element = GgufWriter::sound();
                element.metadata.push(entry("k", 9, &elements));
                element.file()
            })
            .is_err()
        );
    }
}

#[test]
fn arrays_of_arrays_and_unknown_types_are_refused() {
    let inner = array(4, 0, &[]);
    assert!(refusal(|w| w.metadata.push(entry("k", 9, &array(9, 1, &inner)))).to_string().contains("array of arrays"));
    for kind in [13, 14, 255, u32::MAX] {
        assert!(refusal(|w| w.metadata.push(entry("k", kind, &[0; 8]))).to_string().contains("unknown type"));
        assert!(refusal(|w| w.metadata.push(entry("k", 9, &array(kind, 1, &[0; 8])))).to_string().contains("type"));
    }
    for unknown in [4, 5, 31, 36, 43, u32::MAX] {
        assert!(refusal(|w| w.tensors[0].kind = unknown).to_string().contains("ggml tensor type"));
    }
    assert!(refusal(|w| w.metadata.push(entry("k", 7, &[2]))).to_string().contains("neither true nor false"));
}

#[test]
fn what_is_there_twice_is_refused() {
    assert!(refusal(|w| w.metadata.push(entry("general.name", 7, &[1]))).to_string().contains("twice"));
    assert!(refusal(|w| w.tensors[1].name = "token_embd.weight".into()).to_string().contains("twice"));
    let vocabulary = |tokens: &[&str]| {
        let texts = tokens.iter().map(|token| text(token)).collect::<Vec<_>>().concat();
        entry("tokenizer.ggml.tokens", 9, &array(8, tokens.len() as u64, &texts))
    };
    // llama.cpp aborts on it.
    assert!(refusal(|w| w.metadata[6] = vocabulary(&["<s>", "</s>", "<s>"])).to_string().contains("\"<s>\" twice"));
    assert!(refusal(|w| w.metadata[6] = vocabulary(&["a", "b", "a\0c"])).to_string().contains("\"a\" twice"));
    assert!(refusal(|w| w.metadata[6] = vocabulary(&["[EMPTY_1]", "", "a"])).to_string().contains("twice"));
    let mut nameless = GgufWriter::sound();
    nameless.metadata[6] = vocabulary(&["<s>", "", ""]);
    parse(&nameless.file()).unwrap();
}

#[test]
fn names_are_short_text() {
    for name in ["", "a\0b", &"x".repeat(64)] {
        assert!(refusal(|w| w.tensors[0].name = name.into()).to_string().contains("name"), "{name:?}");
    }
    assert!(refusal(|w| w.metadata.push(entry("", 7, &[1]))).to_string().contains("key"));
    let mut key = 2u64.to_le_bytes().to_vec();
    key.extend([0xC3, 0x28, 7, 0, 0, 0, 1]);
    assert!(refusal(|w| w.metadata.push(key)).to_string().contains("key"));
}

#[test]
fn tokens_that_are_not_utf8_are_readable() {
    let mut writer = GgufWriter::sound();
    let token = [&2u64.to_le_bytes()[..], &[0xFF, b'a']].concat();
    writer.metadata[6] = entry("tokenizer.ggml.tokens", 9, &array(8, 2, &[text("x"), token].concat()));
    assert_eq!(parse(&writer.file()).unwrap().tokens(), ["x", "\u{FFFD}a"]);
}

#[test]
fn ids_outside_the_vocabulary_are_no_tokens() {
    let mut writer = GgufWriter::sound();
    writer.metadata[9] = entry("tokenizer.ggml.eos_token_id", 4, &u32::MAX.to_le_bytes());
    assert_eq!(parse(&writer.file()).unwrap().eos_id(), None);
}

#[test]
fn shapes_that_are_none_are_refused() {
    for dimensions in [
        vec![],
        vec![32, 1, 1, 1, 1],
        vec![32; 5],
        vec![0],
        vec![32, 0],
        vec![u64::MAX],
        vec![1 << 63],
        vec![1 << 32, 1 << 32],
        vec![32, 1 << 59],
        vec![1 << 16; 4],
        vec![33, 2],
        vec![31],
    ] {
        let refused = refusal(|w| w.tensors[0].dimensions = dimensions.clone());
        assert!(matches!(refused, WeightsError::Invalid(_)), "{dimensions:?}: {refused:?}");
    }
}

#[test]
fn tensors_lie_inside_the_file_aligned_and_apart() {
    for offset in [1, 16, 33, 95] {
        assert!(refusal(|w| w.tensors[1].offset = offset).to_string().contains("aligned"), "{offset}");
    }
    for offset in [0, 32, 64] {
        assert!(refusal(|w| w.tensors[1].offset = offset).to_string().contains("overlap"), "{offset}");
    }
    for offset in [128, 1 << 40, u64::MAX - 31] {
        assert!(refusal(|w| w.tensors[1].offset = offset).to_string().contains("past the end"), "{offset}");
    }
    assert!(refusal(|w| w.data_bytes -= 1).to_string().contains("past the end"));
    let mut apart = GgufWriter::sound();
    apart.tensors.push(tensor("last", &[1], 24, 128));
    apart.data_bytes = 129;
    assert!(parse(&apart.file()).is_ok());
}

#[test]
fn the_alignment_is_a_power_of_two() {
    for alignment in [0u32, 13, 33, u32::MAX] {
        let value = entry("general.alignment", 4, &alignment.to_le_bytes());
        assert!(refusal(|w| w.metadata.push(value)).to_string().contains("power of two"), "{alignment}");
    }
    assert!(refusal(|w| w.metadata.push(entry("general.alignment", 8, &text("32")))).to_string().contains("alignment"));
    let mut writer = GgufWriter::sound();
    writer.metadata.push(entry("general.alignment", 4, &8u32.to_le_bytes()));
    writer.alignment = 8;
    writer.tensors[1].offset = 72;
    writer.data_bytes = 72 + 16;
    assert_eq!(parse(&writer.file()).unwrap().alignment(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_damage_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cut_it in any::<bool>(),
    ) {
        let mut file = GgufWriter::sound().file();
        for (place, byte) in edits {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if cut_it {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(header) = parse(&file) {
            for tensor in header.tensors() {
                prop_assert!(header.data_start() + tensor.offset + tensor.bytes <= file.len() as u64);
                prop_assert!(tensor.elements() > 0);
            }
            let _ = (header.quantisation(), header.parameters(), header.bos_id(), header.context_length());
        }
    }

    #[test]
    fn random_numbers_in_the_header_never_panic(
        place in any::<prop::sample::Index>(),
        number in prop::sample::select(vec![0, 1, 13, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 32, u64::from(u32::MAX)]),
    ) {
        let mut file = GgufWriter::sound().file();
        let place = place.index(file.len() - 8);
        file[place..place + 8].copy_from_slice(&number.to_le_bytes());
        let _ = parse(&file);
    }

    #[test]
    fn random_bytes_after_the_magic_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
    }
}
