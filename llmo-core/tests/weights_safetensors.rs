//! safetensors headers: sound ones are read, damaged ones are refused.

use llmo_core::weights::{SafetensorsHeader, WeightsError};
use proptest::prelude::*;

const SOUND: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"e":{"dtype":"F16","shape":[0],"data_offsets":[32,32]}}"#;

fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn parse(bytes: &[u8]) -> Result<SafetensorsHeader, WeightsError> {
    SafetensorsHeader::parse(bytes, bytes.len() as u64)
}

#[test]
fn a_sound_header_is_read() {
    let header = parse(&file(SOUND, 32)).unwrap();
    assert_eq!(header.parameters(), 7);
    assert_eq!(header.get("a").unwrap().shape, [2, 3]);
    assert_eq!(header.metadata()["format"], "pt");
    assert_eq!(header.data_start(), 8 + SOUND.len() as u64);
    assert_eq!(header.tensors().count(), 3);
    assert!(parse(&file(&format!("{SOUND}   "), 32)).is_ok(), "the header may be padded with spaces");
}

#[test]
fn a_header_cut_at_any_byte_is_refused() {
    let whole = file(SOUND, 32);
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "cut at {length}");
        let more_to_come = SafetensorsHeader::parse(&whole[..length], whole.len() as u64);
        let in_header = length < 8 + SOUND.len();
        assert_eq!(matches!(more_to_come, Err(WeightsError::Truncated { .. })), in_header, "read up to {length}");
    }
}

#[test]
fn an_absurd_length_is_refused() {
    for length in [100_000_001, 1u64 << 63, u64::MAX] {
        let mut bytes = file(SOUND, 32);
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(parse(&bytes), Err(WeightsError::TooLarge { .. })), "{length}");
    }
}

#[test]
fn what_is_not_the_right_json_is_refused() {
    let deep = format!(r#"{{"a":{{"dtype":"F32","shape":[],"x":{}{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for json in [
        "",
        " {}",
        "[]",
        "null",
        "{",
        "{}x",
        r#"{"a":1}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#,
        r#"{"__metadata__":{"a":1}}"#,
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        &deep,
    ] {
        let shown = &json[..json.len().min(80)];
        assert!(parse(&file(json, 0)).is_err(), "{shown}");
        assert!(parse(&file(json, 4)).is_err(), "{shown}");
    }
}

#[test]
fn tensors_cover_the_data_without_holes_and_overlaps() {
    for (tensors, data) in [
        (
            r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#,
            8,
        ),
        (
            r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}"#,
            6,
        ),
        (
            r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#,
            8,
        ),
        (
            r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}"#,
            12,
        ),
        (r#""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#, 8),
        (r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 5),
        (r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 3),
        (r#""a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#, 4),
        (r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, 4),
        (r#""a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}"#, 4),
        (r#""a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}"#, 4),
        (r#""a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}"#, 0),
        (r#""a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}"#, 0),
        (r#""a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}"#, 4),
    ] {
        assert!(parse(&file(&format!("{{{tensors}}}"), data)).is_err(), "{tensors} with {data} bytes");
    }
    assert!(parse(&file(r#"{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}"#, 4)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_damage_never_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = file(SOUND, 32);
        for (place, byte) in edits {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(header) = parse(&bytes) {
            for (_, tensor) in header.tensors() {
                prop_assert!(header.data_start() + tensor.data_offsets.1 <= bytes.len() as u64);
            }
        }
    }
}
