//! What HTTP clients see.

use llmo_core::conformance::store::{StoreSuite, check};
use llmo_core::store::{GetOptions, Store, StorePutOptions};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::service::{Outcome, Service, bytes, path, put, read};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn an_uploaded_object_comes_back_with_its_hash() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    let http = Client::new();
    let stored = http.put(service.object("m/a.bin")).header("x-sha256", ABC).body("abc").send().await?;
    assert_eq!(stored.status(), StatusCode::CREATED);
    let meta: Value = stored.json().await?;
    assert_eq!(
        (meta["path"].as_str(), meta["size"].as_u64(), meta["sha256"].as_str()),
        (Some("m/a.bin"), Some(3), Some(ABC))
    );

    let got = http.get(service.object("m/a.bin")).send().await?;
    assert_eq!(got.headers()["x-sha256"], ABC);
    assert_eq!(got.headers()["x-content-type-options"], "nosniff");
    assert_eq!(got.text().await?, "abc");

    let head = http.head(service.object("m/a.bin")).send().await?;
    assert_eq!((head.headers()["content-length"].to_str()?, head.headers()["x-object-size"].to_str()?), ("3", "3"));

    assert_eq!(http.delete(service.object("m/a.bin")).send().await?.status(), StatusCode::NO_CONTENT);
    assert_eq!(http.delete(service.object("m/a.bin")).send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(http.get(service.object("m/a.bin")).send().await?.status(), StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn ranges_are_served_as_http_says() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    put(&service.client(), "x", b"0123456789").await;
    let http = Client::new();
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=5-999", 206, Some("bytes 5-9/10"), "56789"),
        ("bytes=4-2", 200, None, "0123456789"),
        ("bytes=0-1,3-4", 200, None, "0123456789"),
        ("pages=1-2", 200, None, "0123456789"),
    ] {
        let answer = http.get(service.object("x")).header("range", range).send().await?;
        assert_eq!(answer.status().as_u16(), status, "{range}");
        assert_eq!(answer.headers().get("content-range").and_then(|v| v.to_str().ok()), content_range, "{range}");
        assert_eq!(answer.text().await?, body, "{range}");
    }
    for range in ["bytes=10-", "bytes=11-12", "bytes=-0", "bytes=18446744073709551615-"] {
        let answer = http.get(service.object("x")).header("range", range).send().await?;
        assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(answer.headers()["content-range"], "bytes */10");
        assert_eq!(answer.json::<Value>().await?["error"]["code"], "invalid_range");
    }
    Ok(())
}

#[tokio::test]
async fn conditions_keep_a_resumed_download_from_mixing_two_objects() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    put(&service.client(), "x", b"abc").await;
    let http = Client::new();
    let (same, other) = (format!("\"{ABC}\""), format!("\"{}\"", "0".repeat(64)));
    let get = |header: &'static str, value: &str| {
        http.get(service.object("x")).header(header, value).header("range", "bytes=1-")
    };
    assert_eq!(get("if-range", &same).send().await?.text().await?, "bc");
    assert_eq!(get("if-range", &other).send().await?.text().await?, "abc");
    assert_eq!(get("if-none-match", &same).send().await?.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(get("if-none-match", &other).send().await?.status(), StatusCode::PARTIAL_CONTENT);
    Ok(())
}

#[tokio::test]
async fn listings_are_ordered_and_bounded_by_their_prefix() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    for at in ["b/two", "a/one", "b/one", "bc"] {
        put(&service.client(), at, b"abc").await;
    }
    let names = |listing: Value| -> Vec<String> {
        listing["objects"].as_array().unwrap().iter().map(|o| o["path"].as_str().unwrap().to_owned()).collect()
    };
    let list = async |query: &str| reqwest::get(format!("{}/v1/objects{query}", service.url)).await;
    assert_eq!(names(list("").await?.json().await?), ["a/one", "b/one", "b/two", "bc"]);
    assert_eq!(names(list("?prefix=b").await?.json().await?), ["b/one", "b/two"]);
    assert_eq!(names(list("?prefix=nothing").await?.json().await?), [""; 0]);
    assert_eq!(list("?prefix=../x").await?.status(), StatusCode::BAD_REQUEST);
    assert_eq!(list("?prefx=b").await?.status(), StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test]
async fn metrics_tell_how_much_is_stored() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    put(&service.client(), "x", b"0123456789").await;
    let start = std::time::Instant::now();
    // A scrape waits only so long for the count; the next one has it.
    loop {
        let text = reqwest::get(format!("{}/metrics", service.url)).await?.text().await?;
        if text.contains("llmo_storage_bytes 10\n") && text.contains("llmo_storage_objects 1\n") {
            return Ok(());
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{text}");
    }
}

#[tokio::test]
async fn the_client_keeps_the_contract_of_a_store() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    check(std::sync::Arc::new(service.client()), StoreSuite::default()).await;
    Ok(())
}

#[tokio::test]
async fn the_client_is_a_store_again() -> Outcome {
    let dir = tempfile::tempdir()?;
    let service = Service::over_directory(dir.path()).await;
    let client = service.client();
    put(&client, "a/b", b"0123456789").await;
    assert_eq!(read(&client, "a/b", GetOptions::default()).await?, b"0123456789");
    assert_eq!(read(&client, "a/b", GetOptions::range(3, 2)).await?, b"34");
    assert_eq!(read(&client, "a/b", GetOptions::range(3, 0)).await?, b"");
    assert_eq!(read(&client, "a/b", GetOptions::from(10)).await?, b"");
    assert!(read(&client, "a/b", GetOptions::from(11)).await.is_err());
    let empty = client.put(&path("empty"), bytes(b""), StorePutOptions::default()).await?;
    assert_eq!(empty.size, 0);
    assert_eq!(read(&client, "empty", GetOptions::default()).await?, b"");
    let refused = client.put(&path("a/c"), bytes(b"abd"), StorePutOptions::sha256(ABC)).await;
    assert!(matches!(refused, Err(llmo_core::StoreError::HashMismatch { .. })), "{refused:?}");
    assert_eq!(client.list(Some(&path("a"))).await?.len(), 1);
    Ok(())
}
