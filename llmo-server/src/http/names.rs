//! Names of fields: those that a body has, and those that a struct would read. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The names of an object's own fields; `None` for what is no object, or no JSON.
pub(super) fn of_object(text: &str) -> Option<Vec<Cow<'_, str>>> {
    serde_json::from_str::<Names<'_>>(text).ok().map(|names| names.0)
}

/// As [`of_object`], for text that is known to be good JSON: strings are jumped over, and nothing else is looked at but
/// brackets and commas. `None` also where a name is written with escapes.
pub(super) fn of_good_object(text: &str) -> Option<Vec<Cow<'_, str>>> {
    let bytes = text.as_bytes();
    let (mut names, mut depth, mut is_name, mut at) = (Vec::with_capacity(8), 0_usize, false, 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let (begin, mut escaped) = (at, false);
                loop {
                    at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
                    if bytes.get(at) == Some(&b'"') {
                        break;
                    }
                    escaped = true;
                    at += 2;
                }
                if std::mem::take(&mut is_name) {
                    if escaped {
                        return None;
                    }
                    names.push(Cow::Borrowed(text.get(begin..at)?));
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                is_name = depth == 1;
                if is_name && byte == b'[' {
                    return None;
                }
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                is_name = false;
            }
            b',' => is_name = depth == 1,
            _ => {}
        }
    }
    Some(names)
}

/// The fields that the derived `Deserialize` of a struct knows; empty for anything else.
pub(super) fn of_struct<T: de::DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    // It fails as soon as it knows.
    let _ = T::deserialize(Spy(&mut fields)).map(drop);
    fields
}

struct Names<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Vec<Cow<'de, str>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::with_capacity(8);
                while let Some((Name(name), IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(names)
            }
        }

        deserializer.deserialize_map(Keys).map(Self)
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }

        deserializer.deserialize_str(Text).map(Self)
    }
}

/// Has nothing to give, and remembers what it was asked for.
struct Spy<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Spy<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(nothing())
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(nothing())
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn nothing() -> de::value::Error {
    de::Error::custom("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_object_s_own_fields_are_told() {
        let names = of_object(r#"{"a": {"b": 1}, "c\u0064": [2], "e": "f"}"#).unwrap();
        assert_eq!(names, ["a", "cd", "e"]);
        for none in ["[1]", "{", "{} x", "5"] {
            assert_eq!(of_object(none), None, "{none}");
        }
    }

    #[test]
    fn names_written_with_escapes_are_left_to_the_parser() {
        assert_eq!(of_good_object(r#"{"a": "\\", "c\u0064": [2]}"#), None);
        assert_eq!(of_good_object(r#" {"a\"": 1}"#), None);
        assert_eq!(of_good_object(r#"{"a": "\\", "b": "\"c\": {"}"#).unwrap(), ["a", "b"]);
        assert!(of_good_object("{}").unwrap().is_empty());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            r#"[a-c"\\{}\[\],:é\n]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-f é,:{]{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn both_ways_find_the_same_names(
            object in prop::collection::btree_map("[a-f é,:{]{0,4}", value(), 0..6),
            pretty in any::<bool>(),
        ) {
            let object = Value::Object(object.into_iter().collect());
            let text = if pretty { format!("{object:#}") } else { object.to_string() };
            prop_assert_eq!(of_good_object(&text).unwrap(), of_object(&text).unwrap());
        }
    }

    #[test]
    fn a_struct_s_fields_are_told() {
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Some {
            #[serde(rename = "type")]
            _kind: u32,
            _b: Option<String>,
        }
        assert_eq!(of_struct::<Some>(), ["type", "_b"]);
        assert!(of_struct::<u32>().is_empty());
    }
}
