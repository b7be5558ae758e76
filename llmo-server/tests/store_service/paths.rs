//! Nothing but objects can be reached, whatever a path looks like.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::service::{Outcome, Service};

const SECRET: &str = "nobody may read this";

/// Sends a request line as it is: HTTP clients would tidy the path up.
async fn raw(service: &Service, method: &str, target: &str) -> std::io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(service.address).await?;
    let body = if method == "PUT" { "evil" } else { "" };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, answer))
}

#[tokio::test]
async fn path_tricks_are_not_found_and_write_nothing() -> Outcome {
    let outer = tempfile::tempdir()?;
    let root = outer.path().join("root");
    std::fs::create_dir_all(root.join("m"))?;
    std::fs::write(outer.path().join("secret"), SECRET)?;
    std::fs::write(root.join("m/.hidden"), SECRET)?;
    std::os::unix::fs::symlink(outer.path().join("secret"), root.join("link"))?;
    std::os::unix::fs::symlink(outer.path(), root.join("linked"))?;
    let service = Service::over_directory(&root).await;
    let absolute = format!("/v1/objects/{}", outer.path().join("secret").display());
    let tricks = [
        "/v1/objects/../secret",
        "/v1/objects/%2e%2e/secret",
        "/v1/objects/%2E%2E%2Fsecret",
        "/v1/objects/m/..%2f..%2fsecret",
        "/v1/objects/m%2f%2e%2e%2f%2e%2e%2fsecret",
        "/v1/objects/..%5csecret",
        "/v1/objects/m/.hidden",
        "/v1/objects/.llmo/tmp",
        "/v1/objects//etc/passwd",
        "/v1/objects/%2fetc%2fpasswd",
        "/v1/objects/secret%00.gguf",
        "/v1/objects/%EF%BC%8E%EF%BC%8E/secret",
        "/v1/objects/%ff%fe",
        "/v1/objects/link",
        "/v1/objects/linked/secret",
        "/v1/objects/m",
        absolute.as_str(),
    ];
    for target in tricks {
        for method in ["GET", "HEAD", "DELETE"] {
            let (status, answer) = raw(&service, method, target).await?;
            assert!(matches!(status, 400 | 404), "{method} {target}: {answer}");
            assert!(!answer.contains(SECRET), "{method} {target}");
        }
        if target.ends_with("/link") {
            continue; // A link is replaced by the object; what it pointed to is not touched.
        }
        let (status, answer) = raw(&service, "PUT", target).await?;
        assert!(matches!(status, 400 | 404), "PUT {target}: {answer}");
    }
    assert_eq!(std::fs::read_to_string(outer.path().join("secret"))?, SECRET);
    let outside: Vec<_> = std::fs::read_dir(outer.path())?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(outside.len(), 2, "{outside:?}");

    let (status, _) = raw(&service, "PUT", "/v1/objects/link").await?;
    assert_eq!(status, 201);
    assert_eq!(std::fs::read_to_string(outer.path().join("secret"))?, SECRET);
    Ok(())
}
