//! Constraints over a vocabulary of single bytes and some longer tokens.

use std::time::{Duration, Instant};

use llmo_core::ModelError;
use llmo_core::model::{Constraint, TokenId};
use serde_json::{Value, json};

use super::{Grammars, Matcher, VocabularyToken};

/// Ends a generation.
const END: TokenId = 256;

fn vocabulary() -> Vec<VocabularyToken> {
    let text = |bytes: &[u8]| VocabularyToken { bytes: bytes.to_vec(), is_end: false };
    let bytes = (0..=255_u8).map(|byte| text(&[byte]));
    let end = VocabularyToken { bytes: Vec::new(), is_end: true };
    let words = ["ab", "abc", "\": ", "true", "{\"", "é", "\n\n", "[[[["].map(|word| text(word.as_bytes()));
    // The last one is a control token.
    bytes.chain([end]).chain(words).chain([text(b"")]).collect()
}

fn grammars() -> Grammars {
    Grammars::new(vocabulary)
}

async fn compile(constraint: Constraint) -> Result<Matcher, ModelError> {
    grammars().compile(&constraint).await
}

/// May the whole text be the output?
pub(super) fn matches(matcher: &Matcher, text: &str) -> bool {
    let mut matcher = matcher.clone();
    for byte in text.bytes() {
        if !matcher.allows(byte.into()).unwrap() {
            return false;
        }
        matcher.accept(byte.into()).unwrap();
    }
    allowed(&mut matcher).contains(&END)
}

/// The tokens that may come next.
fn allowed(matcher: &mut Matcher) -> Vec<TokenId> {
    let mut logits = vec![0.0_f32; vocabulary().len()];
    matcher.mask(&mut logits).unwrap();
    (0..).zip(logits).filter(|(_, logit)| logit.is_finite()).map(|(token, _)| token).collect()
}

#[tokio::test]
async fn a_schema_allows_what_it_describes() {
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    let matcher = compile(Constraint::JsonSchema(schema)).await.unwrap();
    assert!(matches(&matcher, r#"{"name": "Ann", "age": 7}"#));
    assert!(matches(&matcher, r#"{"name":"Änn","age":0}"#));
    for bad in
        [r#"{"name": "Ann"}"#, r#"{"name": "Ann", "age": -1}"#, r#"{"name": "Ann", "age": 7} "#, "{}", "", "null"]
    {
        assert!(!matches(&matcher, bad), "{bad}");
    }
    assert!(!matches(&matcher, &format!("{{\"name\":{}\"Ann\",\"age\":1}}", " ".repeat(30))), "white space is bounded");
}

#[tokio::test]
async fn any_object_is_an_object() {
    let matcher = compile(Constraint::JsonObject).await.unwrap();
    assert!(matches(&matcher, r#"{"a": [1, {"b": null}], "c": "\n\"é"}"#));
    assert!(!matches(&matcher, "[1]") && !matches(&matcher, "{"));
}

#[tokio::test]
async fn recursive_schemas_are_followed() {
    let schema = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"], "additionalProperties": false}},
    });
    let matcher = compile(Constraint::JsonSchema(schema)).await.unwrap();
    assert!(matches(&matcher, r#"{"next": {"next": {"next": null}}}"#));
    assert!(!matches(&matcher, r#"{"next": {}}"#));
}

#[tokio::test]
async fn an_expression_matches_the_whole_output() {
    let matcher = compile(Constraint::Regex(r"^\d{3}-(a/b|ü)+$".into())).await.unwrap();
    assert!(matches(&matcher, "123-a/bü"));
    assert!(!matches(&matcher, "123-") && !matches(&matcher, "x123-ü") && !matches(&matcher, "٣٣٣-ü"));
}

#[tokio::test]
async fn an_expression_cannot_break_out_of_its_grammar() {
    let expression = "a/\nother: /b";
    let matcher = compile(Constraint::Regex(expression.into())).await.unwrap();
    assert!(matches(&matcher, expression) && !matches(&matcher, "a"));
}

#[tokio::test]
async fn a_choice_that_begins_with_another_can_be_made() {
    let matcher = compile(Constraint::Choice(["yes", "yes sir", "n/o", "é"].map(String::from).to_vec())).await.unwrap();
    for good in ["yes", "yes sir", "n/o", "é"] {
        assert!(matches(&matcher, good), "{good}");
    }
    assert!(!matches(&matcher, "yes s") && !matches(&matcher, "no"));
}

#[tokio::test]
async fn tokens_that_are_parts_of_characters_are_allowed_where_the_character_is() {
    let mut matcher = compile(Constraint::Choice(vec!["é".into()])).await.unwrap();
    let first = "é".as_bytes()[0];
    let whole = vocabulary().iter().position(|token| token.bytes == "é".as_bytes()).unwrap() as TokenId;
    // A vocabulary of bytes has the halves of every character.
    assert_eq!(allowed(&mut matcher), [first.into(), whole]);
    let part = TokenId::from(first);
    matcher.accept(part).unwrap();
    assert!(!matcher.must_end());
    matcher.accept("é".as_bytes()[1].into()).unwrap();
    assert!(matcher.must_end());
}

#[tokio::test]
async fn the_end_is_allowed_only_where_the_grammar_may_end_and_then_nothing_else() {
    let mut matcher = compile(Constraint::Regex("ab?".into())).await.unwrap();
    assert!(!allowed(&mut matcher).contains(&END));
    matcher.accept(b'a'.into()).unwrap();
    assert_eq!(allowed(&mut matcher), [b'b'.into(), END]);
    matcher.accept(b'b'.into()).unwrap();
    assert!(matcher.must_end());
    assert_eq!(allowed(&mut matcher), [END]);
}

#[tokio::test]
async fn lark_is_taken_as_it_is() {
    let matcher = compile(Constraint::Lark("start: \"a\" x\nx: (\"b\" x)?".into())).await.unwrap();
    assert!(matches(&matcher, "abbb") && !matches(&matcher, "ba"));
}

#[tokio::test]
async fn a_control_token_comes_only_where_a_grammar_names_it() {
    let control = vocabulary().len() as TokenId - 1;
    let mut matcher = compile(Constraint::Lark(format!("start: <[{control}]> \"[\" /[a-z]+/"))).await.unwrap();
    assert_eq!(allowed(&mut matcher), [control]);
    assert!(matcher.allows(control).unwrap() && !matcher.allows(b'['.into()).unwrap());
    matcher.accept(control).unwrap();
    assert_eq!(allowed(&mut matcher), [TokenId::from(b'[')]);
    let mut any = compile(Constraint::Regex("(?s:.*)".into())).await.unwrap();
    assert!(!allowed(&mut any).contains(&control));
}

async fn refusal(constraint: Constraint) -> String {
    let started = Instant::now();
    let label: String = format!("{constraint:?}").chars().take(60).collect();
    let error = compile(constraint).await.expect_err(&label);
    // The bound is the promise; machines that run tests are slow.
    assert!(started.elapsed() < Duration::from_secs(10), "{label}: {:?}", started.elapsed());
    let ModelError::InvalidRequest { param, message } = error else { panic!("{label}: {error:?}") };
    assert_eq!(param, "constraint");
    message
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({"type": "string"}), |inner, _| json!({"type": "array", "items": inner}))
}

#[tokio::test]
async fn bombs_are_refused() {
    let chain: String = (0..60_000).map(|i| format!("a{i}: a{}\n", i + 1)).collect();
    let gbnf_chain: String = (0..60_000).map(|i| format!("a{i} ::= a{}\n", i + 1)).collect();
    let names: Vec<Value> = (0..200_000).map(|i| json!(format!("value number {i}"))).collect();
    for bomb in [
        Constraint::JsonSchema(nested(1000)),
        Constraint::JsonSchema(json!({"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000})),
        Constraint::JsonSchema(json!({"$ref": "#"})),
        Constraint::JsonSchema(
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        ),
        Constraint::JsonSchema(json!({"allOf": [{"$ref": "#"}]})),
        Constraint::JsonSchema(json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]})),
        Constraint::JsonSchema(json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})),
        Constraint::JsonSchema(json!({"enum": names})),
        Constraint::JsonSchema(
            json!({"type": "string", "pattern": "(((((a{1,1000}){1,1000}){1,1000}){1,1000}){1,1000})"}),
        ),
        Constraint::JsonSchema(json!({"$ref": "https://example.com/schema.json"})),
        Constraint::JsonSchema(json!({"$ref": "file:///etc/passwd"})),
        Constraint::JsonSchema(json!({"type": "nonsense"})),
        Constraint::JsonSchema(json!(5)),
        Constraint::JsonSchema(json!({"not": {"type": "string"}})),
        Constraint::Regex("(".repeat(60_000) + &")".repeat(60_000)),
        Constraint::Regex("a{1,1000000}".into()),
        Constraint::Regex("((a{1,1000}){1,1000}){1,1000}".into()),
        Constraint::Regex("(?=a)b".into()),
        Constraint::Regex("[".into()),
        Constraint::Regex(String::new()),
        Constraint::Choice(Vec::new()),
        Constraint::Choice(vec![String::new()]),
        Constraint::Choice((0..100_000).map(|i| i.to_string()).collect()),
        Constraint::Lark("start: ".to_owned() + &"(".repeat(60_000)),
        Constraint::Lark("start: a0\n".to_owned() + &chain),
        Constraint::Lark("start: \"a\"{1,1000000}".into()),
        Constraint::Lark("start: start".into()),
        Constraint::Lark("nothing".into()),
        Constraint::Lark(String::new()),
        Constraint::Gbnf("root ::= ".to_owned() + &"(".repeat(60_000)),
        Constraint::Gbnf("root ::= \"a\"{1,1000000}".into()),
        Constraint::Gbnf("root ::= root".into()),
        Constraint::Gbnf("root ::= a0\n".to_owned() + &gbnf_chain),
        Constraint::Gbnf("root ::= missing".into()),
        Constraint::Gbnf("a ::= \"b\"".into()),
        Constraint::Gbnf("root ::= \"a".into()),
    ] {
        let message = refusal(bomb).await;
        assert!(message.len() < 600, "{message}");
    }
}

#[tokio::test]
async fn what_is_hard_is_bounded_at_every_step() {
    // Compiles to few states at first; each further token may cost more, up to the bound, which is an error.
    for hard in [
        Constraint::Regex("(a|b)*a(a|b){18}".into()),
        Constraint::Regex("(a*)*b".into()),
        Constraint::Gbnf("root ::= root root | \"a\"".into()),
        Constraint::Gbnf("root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"\"".into()),
        Constraint::Lark("start: start start | \"a\" | \"\"".into()),
    ] {
        let Ok(mut matcher) = compile(hard.clone()).await else { continue };
        let mut logits = vec![0.0_f32; vocabulary().len()];
        for step in 0..300_u32 {
            logits.fill(0.0);
            let started = Instant::now();
            let masked = matcher.mask(&mut logits);
            assert!(started.elapsed() < Duration::from_secs(2), "{hard:?} step {step}: {:?}", started.elapsed());
            if masked.is_err() || matcher.must_end() {
                break;
            }
            let token = if step % 3 == 2 && logits[usize::from(b'b')].is_finite() { b'b' } else { b'a' };
            if matcher.accept(token.into()).is_err() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_grammar_is_compiled_once() {
    let grammars = grammars();
    let constraint = Constraint::Regex("a+".into());
    let mut first = grammars.compile(&constraint).await.unwrap();
    first.accept(b'a'.into()).unwrap();
    let mut second = grammars.compile(&constraint).await.unwrap();
    assert_eq!(allowed(&mut second), [TokenId::from(b'a')], "a new output begins at the beginning");
    assert!(format!("{grammars:?}").contains("a+"));
}
