//! The head of a request, as bytes. Pure.

use http::header::{HOST, HeaderMap};
use reqwest::Url;

use super::error::Error;

/// Room for what differs from request to request.
const OWN_FIELDS: usize = 320;

/// What all requests to one upstream have in common.
#[derive(Debug)]
pub(super) struct Template {
    /// The path of the root, without a slash at its end.
    root: String,
    /// From the version to the last field that all requests have.
    fields: Vec<u8>,
}

impl Template {
    pub(super) fn new(base: &Url, always: &HeaderMap) -> Self {
        let mut fields = b" HTTP/1.1\r\n".to_vec();
        let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", base.host_str().unwrap_or_default());
        append(&mut fields, HOST.as_str(), host.as_bytes());
        for (name, value) in always {
            append(&mut fields, name.as_str(), value.as_bytes());
        }
        Self { root: base.path().trim_end_matches('/').to_owned(), fields }
    }

    /// Begins the head of a request with a body of `length` bytes. `path` goes behind that of the root.
    ///
    /// # Errors
    /// [`Error::Unsendable`] for a path that isn't one.
    pub(super) fn post(&self, path: &str, length: usize) -> Result<Head, Error> {
        let is_sendable = |path: &str| path.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !is_sendable(path) || !is_sendable(&self.root) {
            return Err(Error::Unsendable("its path is none"));
        }
        let mut bytes = Vec::with_capacity(self.root.len() + path.len() + self.fields.len() + OWN_FIELDS);
        bytes.extend_from_slice(b"POST ");
        bytes.extend_from_slice(self.root.as_bytes());
        bytes.extend_from_slice(path.as_bytes());
        bytes.extend_from_slice(&self.fields);
        append(&mut bytes, "content-length", length.to_string().as_bytes());
        Ok(Head(bytes))
    }
}

/// The head of one request while it is written.
#[derive(Debug)]
pub(in crate::remote) struct Head(Vec<u8>);

impl Head {
    /// One more field; left out if no field can hold this value.
    pub(in crate::remote) fn add(&mut self, name: &'static str, value: &str) {
        let can_be_held = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if value.bytes().all(can_be_held) {
            append(&mut self.0, name, value.as_bytes());
        }
    }

    /// All of it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

fn append(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::USER_AGENT;

    use super::*;

    fn template(base: &str) -> Template {
        let always = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static("llmo"))]);
        Template::new(&base.parse().unwrap(), &always)
    }

    #[test]
    fn a_head_is_written_as_servers_read_it() {
        for (base, line, host) in [
            ("http://h:81", "POST /v1/x", "h:81"),
            ("http://h/llm/", "POST /llm/v1/x", "h"),
            ("http://[::1]:8080", "POST /v1/x", "[::1]:8080"),
        ] {
            let mut head = template(base).post("/v1/x", 7).unwrap();
            head.add("x-request-id", "r");
            let expected = format!(
                "{line} HTTP/1.1\r\nhost: {host}\r\nuser-agent: llmo\r\ncontent-length: 7\r\nx-request-id: r\r\n\r\n"
            );
            assert_eq!(String::from_utf8(head.finish()).unwrap(), expected);
        }
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_head() {
        for path in ["", "v1", "/a b", "/a\r\nx: y", "/a\n", "/ż"] {
            assert!(matches!(template("http://h").post(path, 0), Err(Error::Unsendable(_))), "{path:?}");
        }
        let mut head = template("http://h").post("/", 0).unwrap();
        for value in ["a\r\nb: c", "a\nb", "\0", "\u{7f}"] {
            head.add("x-llmo-tenant", value);
        }
        assert!(!String::from_utf8(head.finish()).unwrap().contains("x-llmo-tenant"));
    }
}
