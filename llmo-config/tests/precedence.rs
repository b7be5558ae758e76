//! Which place wins, and what a mistake in each of them is answered with.

use llmo_config::{CacheBackend, ConfigError, EngineKind, Loader, Origin};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn file(text: &str) -> std::io::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}

#[test]
fn each_place_overrides_the_one_before() -> Outcome {
    let toml = file("[gateway]\nport = 1\nhost = \"0.0.0.0\"\n[cache]\nbackend = \"redis\"\n")?;
    let dot_env = file("API_PORT=2\nLLMO_CACHE__TTL_SECONDS=7\n")?;
    let base = Loader::new().file(toml.path()).dot_env(dot_env.path());

    let loaded = base.clone().preset("cache.ttl_seconds=1").preset("store.port=6").load()?;
    assert_eq!(loaded.config.store.port, 6);
    assert_eq!((loaded.config.gateway.port, loaded.config.cache.ttl_seconds), (2, 7));
    assert_eq!(loaded.config.gateway.host, "0.0.0.0");
    assert_eq!(loaded.config.cache.backend, CacheBackend::Redis);

    let loaded = base.clone().environment([("API_PORT", "3")]).load()?;
    assert_eq!(loaded.config.gateway.port, 3);
    let loaded = base.clone().environment([("API_PORT", "3"), ("LLMO_GATEWAY__PORT", "4")]).load()?;
    assert_eq!(loaded.config.gateway.port, 4);
    let loaded = base.environment([("API_PORT", "3")]).set("gateway.port=5").load()?;
    assert_eq!(loaded.config.gateway.port, 5);
    assert_eq!(loaded.origin("gateway.port"), Some(&Origin::Flag("--set gateway.port=5".into())));
    assert_eq!(loaded.origin("gateway.policy"), Some(&Origin::Default));
    Ok(())
}

#[test]
fn a_value_may_be_in_a_file_that_the_variable_names() -> Outcome {
    let secret = file("redis://:s3cret@redis:6379/0\n")?;
    let path = secret.path().display().to_string();
    let by_file = Loader::new().environment([("REDIS_URL_FILE", path.as_str())]);
    assert_eq!(by_file.clone().load()?.config.cache.redis_url, "redis://:s3cret@redis:6379/0");
    let own_name = by_file.environment([("LLMO_CACHE__REDIS_URL", "redis://h")]);
    assert_eq!(own_name.load()?.config.cache.redis_url, "redis://h");
    let long = Loader::new().environment([("LLMO_CACHE__REDIS_URL_FILE", path.as_str())]);
    assert_eq!(long.load()?.config.cache.redis_url, "redis://:s3cret@redis:6379/0");
    let absent = Loader::new().environment([("REDIS_URL_FILE", "/nowhere")]).load();
    assert!(matches!(absent, Err(ConfigError::Unreadable { .. })), "{absent:?}");
    let misspelt = Loader::new().environment([("LLMO_CACHE__REDIS_LUR_FILE", path.as_str())]).load();
    assert!(matches!(misspelt, Err(ConfigError::UnknownKey { .. })), "{misspelt:?}");
    Ok(())
}

#[test]
fn a_table_of_numbers_is_written_with_commas() -> Outcome {
    let shares = |text| Loader::new().environment([("LLMO_GATEWAY__TENANT_WEIGHTS", text)]).load();
    let weights = shares("search=3, batch=0.5")?.config.gateway.tenant_weights;
    assert_eq!(weights.into_iter().collect::<Vec<_>>(), [("batch".to_owned(), 0.5), ("search".to_owned(), 3.0)]);
    assert!(shares("")?.config.gateway.tenant_weights.is_empty());
    assert!(matches!(shares("search"), Err(ConfigError::InvalidValue { .. })));
    Ok(())
}

#[test]
fn the_specification_s_variables_work() -> Outcome {
    let variables = [("USE_INT8", "true"), ("MODEL_PATH", "/m/x.gguf"), ("MODEL_SERVICE_PORT", "9001")];
    let config = Loader::new().environment(variables).load()?.config;
    assert!(config.model.int8);
    assert_eq!(config.model.path.as_deref(), Some(std::path::Path::new("/m/x.gguf")));
    assert_eq!(config.model.port, 9001);
    Ok(())
}

#[test]
fn lists_and_enums_are_read_from_variables() -> Outcome {
    let variables = [("LLMO_GATEWAY__UPSTREAMS", "http://a:1, http://b:2"), ("LLMO_MODEL__ENGINE", "candle")];
    let config = Loader::new().environment(variables).load()?.config;
    assert_eq!(config.gateway.upstreams, ["http://a:1", "http://b:2"]);
    assert_eq!(config.model.engine, EngineKind::Candle);
    Ok(())
}

#[test]
fn a_misspelt_key_gets_a_suggestion_and_its_place() {
    let error = Loader::new().environment([("LLMO_GATEWAY__PROT", "1")]).load().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ConfigError::UnknownKey { .. }));
    assert!(text.contains("gateway.port") && text.contains("LLMO_GATEWAY__PROT"), "{text}");
}

#[test]
fn a_wrong_value_names_key_value_and_place() -> Outcome {
    for bad in ["eighty", "-1", "70000", "1.5"] {
        let text = Loader::new().environment([("API_PORT", bad)]).load().unwrap_err().to_string();
        assert!(text.contains("gateway.port") && text.contains(bad) && text.contains("API_PORT"), "{text}");
    }
    let toml = file("[model]\nengine = \"tensorrt\"\n")?;
    let text = Loader::new().file(toml.path()).load().unwrap_err().to_string();
    assert!(text.contains("model.engine") && text.contains("llama-cpp"), "{text}");
    Ok(())
}

#[test]
fn broken_toml_names_the_line() -> Outcome {
    let toml = file("[gateway]\nport = = 3\n")?;
    let text = Loader::new().file(toml.path()).load().unwrap_err().to_string();
    assert!(text.contains("line 2"), "{text}");
    Ok(())
}

#[test]
fn unrelated_variables_are_left_alone() -> Outcome {
    let variables = [("PATH", "/bin"), ("LLMO_CONFIG", ""), ("LLMO_TEST_MODELS", "/x"), ("API_PORT", "")];
    assert_eq!(Loader::new().environment(variables).load()?.config, llmo_config::Config::default());
    Ok(())
}

#[test]
fn routes_and_upstreams_are_lists_of_tables() -> Outcome {
    let text = "[[upstreams]]\nurl = \"http://a:1\"\nweight = 3\n\n[[routes]]\nmodel = \"gpt-*\"\nto = \"smollm2\"\n";
    let toml = file(text)?;
    let loaded = Loader::new().file(toml.path()).load()?;
    assert_eq!((loaded.config.upstreams[0].url.as_str(), loaded.config.upstreams[0].weight), ("http://a:1", 3));
    assert_eq!(loaded.config.routes[0].to[0].model, "smollm2");
    assert_eq!(loaded.origin("routes"), Some(&Origin::File(toml.path().to_owned())));
    Ok(())
}

#[test]
fn a_wrong_route_is_told_with_its_number_and_an_unknown_list_by_its_name() {
    let toml = file("[[routes]]\nto = \"a\"\n[[routes]]\ntoo = \"a\"\n").unwrap();
    let text = Loader::new().file(toml.path()).load().unwrap_err().to_string();
    assert!(text.contains("routes, number 2") && text.contains("too"), "{text}");
    let toml = file("[[rotues]]\nto = \"a\"\n").unwrap();
    let text = Loader::new().file(toml.path()).load().unwrap_err().to_string();
    assert!(text.contains("rotues") && text.contains("routes"), "{text}");
}
