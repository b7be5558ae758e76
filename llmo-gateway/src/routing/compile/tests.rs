//! Rules of routes: what a table decides, and what is refused.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use llmo_config::RouteTarget;
use proptest::prelude::*;

use super::*;
use crate::routing::{Asked, Decision, Facts};

fn config(text: &str) -> RouteConfig {
    toml::from_str(text).expect("a good route")
}

fn table(routes: &[&str]) -> RouteTable {
    let configs: Vec<_> = routes.iter().map(|text| config(text)).collect();
    RouteTable::compile(&configs).expect("good routes")
}

fn refusal(routes: &[&str]) -> String {
    let configs: Vec<_> = routes.iter().map(|text| config(text)).collect();
    RouteTable::compile(&configs).expect_err("something is wrong").to_string()
}

fn decide(table: &RouteTable, model: &str, facts: Option<&Facts>) -> Option<Decision> {
    table.decide(&Asked { model, facts }, |_| true, &mut Rng::with_seed(1))
}

fn chain(table: &RouteTable, model: &str) -> Vec<String> {
    decide(table, model, None).map_or_else(Vec::new, |decision| decision.chain)
}

#[test]
fn the_first_rule_that_matches_holds() {
    let table = table(&["model = \"gpt-4o\"\nto = \"big\"", "model = \"gpt-*\"\nto = \"small\""]);
    assert_eq!(chain(&table, "gpt-4o"), ["big"]);
    assert_eq!(chain(&table, "gpt-3.5"), ["small"]);
    assert!(decide(&table, "llama", None).is_none());
    assert!(!table.looks_at_facts());
}

#[test]
fn a_rule_without_targets_leaves_the_name_and_adds_fallbacks() {
    let table = table(&["model = \"*\"\nfallback = [\"tiny\", \"big\", \"tiny\"]"]);
    assert_eq!(chain(&table, "big"), ["big", "tiny"]);
    assert_eq!(chain(&table, "other"), ["other", "tiny", "big"]);
}

#[test]
fn a_star_in_a_target_is_what_the_pattern_s_star_stood_for() {
    let table = table(&["model = \"openai/*\"\nto = \"*\"\nfallback = \"local-*\""]);
    assert_eq!(chain(&table, "openai/gpt-4o"), ["gpt-4o", "local-gpt-4o"]);
    assert_eq!(chain(&table, "openai/*"), ["*", "local-*"]);
}

#[test]
fn path_tenant_and_headers_must_all_match() {
    let table = table(&[
        "path = \"/v1/*\"\ntenant = [\"team-a\", \"lab-*\"]\nheaders = { X-Env = \"staging*\" }\nto = \"canary\"",
    ]);
    let facts = |path: &str, tenant: Option<&str>, env: Option<&str>| Facts {
        path: path.into(),
        tenant: tenant.map(str::to_owned),
        headers: env.map(|env| (HeaderName::from_static("x-env"), env.to_owned())).into_iter().collect(),
    };
    let goes = |facts: &Facts| decide(&table, "m", Some(facts)).is_some();
    assert!(goes(&facts("/v1/chat/completions", Some("lab-7"), Some("staging-2"))));
    assert!(!goes(&facts("/api/chat", Some("lab-7"), Some("staging-2"))));
    assert!(!goes(&facts("/v1/chat/completions", Some("team-b"), Some("staging"))));
    assert!(!goes(&facts("/v1/chat/completions", None, Some("staging"))));
    assert!(!goes(&facts("/v1/chat/completions", Some("team-a"), None)));
    assert!(decide(&table, "m", None).is_none());
    assert!(table.looks_at_facts());
    assert_eq!(table.headers(), [HeaderName::from_static("x-env")]);
}

#[test]
fn targets_share_by_weight_and_those_that_can_t_serve_have_no_part() {
    let table = table(&[
        "to = [{ model = \"old\", weight = 90 }, { model = \"new\", weight = 10 }, { model = \"off\", weight = 0 }]",
    ]);
    let mut rng = Rng::with_seed(7);
    let mut counts = BTreeMap::new();
    for _ in 0..10_000 {
        let asked = Asked { model: "m", facts: None };
        let chain = table.decide(&asked, |_| true, &mut rng).expect("it matches").chain;
        *counts.entry(chain[0].clone()).or_insert(0_u32) += 1;
    }
    assert!((800..1_200).contains(&counts["new"]) && !counts.contains_key("off"), "{counts:?}");
    for usable in ["old", "new"] {
        let asked = Asked { model: "m", facts: None };
        let decision = table.decide(&asked, |model| model == usable, &mut rng).expect("it matches");
        assert_eq!(decision.chain, [usable]);
    }
}

#[test]
fn refusals_say_where_what_and_how() {
    for (routes, words) in [
        (&["to = \"a\"", "model = \"b\""][..], &["number 2", "never reached", "number 1"][..]),
        (&["model = \"*\"", "model = \"b\""], &["never reached"]),
        (&["name = \"x\"\nmodel = \"a\"", "name = \"x\"\nmodel = \"b\""], &["number 2", "\"x\"", "another route"]),
        (&["name = \"2\"\nmodel = \"a\"", "model = \"b\""], &["another route"]),
        (&["model = \"a\"\nto = \"*\""], &["number 1", "\"*\"", "`model`"]),
        (&["model = [\"a*\", \"b\"]\nfallback = \"x*\""], &["every pattern"]),
        (&["model = \"a*\"\nto = \"*-*\""], &["more than one *"]),
        (&["to = { model = \"a\", weight = 0 }"], &["weight 0"]),
        (&["to = \"\""], &["no name"]),
        (&["path = \"v1/*\""], &["\"v1/*\"", "begin with /"]),
        (&["headers = { \"x env\" = \"a\" }"], &["x env", "header"]),
        (&["to = \"a\\u0000b\""], &["control"]),
    ] {
        let text = refusal(routes);
        assert!(words.iter().all(|word| text.contains(word)), "{routes:?}: {text}");
    }
}

proptest! {
    #[test]
    fn a_decision_is_a_chain_of_configured_names_that_begins_with_a_usable_one_if_there_is_one(
        weights in prop::collection::vec(0_u32..5, 1..6),
        fallbacks in prop::collection::vec("[f-j]", 0..4),
        usable in prop::collection::btree_set(0_usize..6, 0..6),
        seed: u64,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let mut config = RouteConfig::default();
        config.to = weights.iter().enumerate().map(|(i, weight)| RouteTarget::new(format!("t{i}"), *weight)).collect();
        config.fallback = fallbacks.clone();
        let table = RouteTable::compile(&[config]).unwrap();
        let can = |name: &str| name.strip_prefix('t').is_some_and(|i| usable.contains(&i.parse().unwrap()));
        let decision = table.decide(&Asked { model: "m", facts: None }, can, &mut Rng::with_seed(seed)).unwrap();

        let index: usize = decision.chain[0].strip_prefix('t').unwrap().parse().unwrap();
        prop_assert!(weights[index] > 0);
        let any_usable = weights.iter().enumerate().any(|(i, weight)| *weight > 0 && usable.contains(&i));
        prop_assert_eq!(can(&decision.chain[0]), any_usable);
        let rest: BTreeSet<_> = decision.chain[1..].iter().cloned().collect();
        prop_assert_eq!(rest.len() + 1, decision.chain.len());
        prop_assert_eq!(rest, fallbacks.into_iter().collect::<BTreeSet<_>>());
    }

    #[test]
    fn no_request_makes_a_table_panic(model in ".{0,40}", path in ".{0,40}", tenant in proptest::option::of(".{0,20}")) {
        let table = table(&["model = \"a*b*c\"\nto = \"x-*\"", "path = \"/*/b\"\ntenant = \"*\"", "fallback = \"z\""]);
        let facts = Facts { path, tenant, headers: Vec::new() };
        let decision = decide(&table, &model, Some(&facts)).expect("the last rule takes all");
        prop_assert!(!decision.chain.is_empty());
    }
}
