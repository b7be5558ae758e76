//! EndpointSlices, and the replicas in them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::provider::Target;

/// A service whose endpoints are replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// The number or name of its port.
    pub port: String,
}

/// `discovery.k8s.io/v1` EndpointSlice, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name and version.
    pub metadata: Metadata,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(default)]
    pub address_type: String,
    /// Where the service is.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// The ports of all of them.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ports: Vec<EndpointPort>,
}

/// An object's name and version.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub resource_version: String,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Endpoint {
    /// Its addresses, which are all the same to a caller.
    pub addresses: Vec<String>,
    /// How it does.
    #[serde(default)]
    pub conditions: Conditions,
}

/// How an endpoint does. What is not said is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct Conditions {
    /// It takes requests.
    pub ready: Option<bool>,
    /// It is going away.
    pub terminating: Option<bool>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EndpointPort {
    /// Its name, if it has one.
    #[serde(default)]
    pub name: Option<String>,
    /// Its number; none: all.
    #[serde(default)]
    pub port: Option<u16>,
}

/// Something that happened to a slice.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is there, and looks like this.
    Is(EndpointSlice),
    /// It is gone.
    Gone(EndpointSlice),
}

/// All slices of a service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Slices(BTreeMap<String, EndpointSlice>);

impl Service {
    /// Reads `[NAMESPACE/]SERVICE:PORT`; `namespace` tells the one that is meant if none is named.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, namespace: impl FnOnce() -> Option<String>) -> Result<Self, String> {
        let wrong = || format!("discovery.kubernetes: {text:?} must be SERVICE:PORT or NAMESPACE/SERVICE:PORT");
        // A name's rules are DNS's: nothing in it means anything in a path or a query.
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= 253 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        };
        let (name, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        let (namespace, service) = match name.split_once('/') {
            Some((namespace, service)) => (namespace.to_owned(), service),
            None => (namespace().map_or_else(|| "default".to_owned(), |name| name.trim().to_owned()), name),
        };
        if !(is_name(&namespace) && is_name(service) && is_name(port)) {
            return Err(wrong());
        }
        Ok(Self { namespace, service: service.to_owned(), port: port.to_owned() })
    }

    /// What logs and metrics call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}:{}", self.namespace, self.service, self.port)
    }
}

impl Slices {
    /// These slices.
    #[must_use]
    pub fn new(slices: impl IntoIterator<Item = EndpointSlice>) -> Self {
        Self(slices.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect())
    }

    /// Takes in a change; returns the version that it makes.
    pub fn apply(&mut self, change: Change) -> Option<String> {
        let version = match change {
            Change::Is(slice) => {
                let version = slice.metadata.resource_version.clone();
                self.0.insert(slice.metadata.name.clone(), slice);
                version
            }
            Change::Gone(slice) => {
                self.0.remove(&slice.metadata.name);
                slice.metadata.resource_version
            }
        };
        Some(version).filter(|version| !version.is_empty())
    }

    /// The endpoints that take requests, by address. One that is going away is none: what runs there goes on.
    ///
    /// # Errors
    /// If the service has endpoints and no such port.
    pub fn targets(&self, service: &Service) -> Result<Vec<Target>, String> {
        let mut targets = Vec::new();
        for slice in self.0.values().filter(|slice| slice.address_type != "FQDN" && !slice.endpoints.is_empty()) {
            let port = slice.port(&service.port)?;
            let takes = |endpoint: &&Endpoint| {
                endpoint.conditions.ready.unwrap_or(true) && !endpoint.conditions.terminating.unwrap_or(false)
            };
            for endpoint in slice.endpoints.iter().filter(takes) {
                let Some(address) = endpoint.addresses.first() else { continue };
                let ip: IpAddr = address.parse().map_err(|_| format!("the endpoint {address:?} is no address"))?;
                let url = format!("http://{}", std::net::SocketAddr::new(ip, port));
                targets.push(Target::new(&url).map_err(|error| error.to_string())?);
            }
        }
        // An endpoint may be in two slices while it moves from one to the other.
        targets.sort_by(|a: &Target, b| a.url.cmp(&b.url));
        targets.dedup();
        Ok(targets)
    }
}

impl EndpointSlice {
    fn port(&self, wanted: &str) -> Result<u16, String> {
        let number = wanted.parse::<u16>().ok();
        let fits = |port: &&EndpointPort| match number {
            Some(number) => port.port == Some(number),
            None => port.name.as_deref() == Some(wanted),
        };
        let found = self.ports.iter().find(fits).and_then(|port| port.port);
        // A service may be reached under another number than its pods: then the only port there is is meant.
        let only = match &self.ports[..] {
            [only] if number.is_some() => only.port,
            _ => None,
        };
        found.or(only).ok_or_else(|| {
            let known: Vec<_> = self.ports.iter().map(|p| format!("{} ({:?})", p.port.unwrap_or(0), p.name)).collect();
            format!("the slice {} has no port {wanted:?}; it has {}", self.metadata.name, known.join(", "))
        })
    }
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, endpoints: serde_json::Value) -> EndpointSlice {
        let value = json!({"metadata": {"name": name, "resourceVersion": "7"}, "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8081, "protocol": "TCP"}, {"name": "metrics", "port": 9090}]});
        serde_json::from_value(value).expect("as Kubernetes has it")
    }

    fn service(text: &str) -> Service {
        Service::parse(text, || Some("llm\n".into())).expect("good")
    }

    fn urls(slices: &Slices, port: &str) -> Vec<String> {
        let targets = slices.targets(&service(&format!("models:{port}"))).expect("there is such a port");
        targets.into_iter().map(|target| target.url).collect()
    }

    #[test]
    fn ready_endpoints_of_all_slices_are_replicas() {
        let slices = Slices::new([
            slice(
                "a",
                json!([{"addresses": ["10.0.0.2"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]),
            ),
            slice(
                "b",
                json!([{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {}}, {"addresses": ["10.0.0.4"], "conditions": {"ready": true, "terminating": true}}]),
            ),
            slice("c", json!(null)),
        ]);
        assert_eq!(urls(&slices, "http"), ["http://10.0.0.1:8081", "http://10.0.0.2:8081"]);
        assert_eq!(urls(&slices, "9090"), ["http://10.0.0.1:9090", "http://10.0.0.2:9090"]);
        let problem = slices.targets(&service("models:grpc")).expect_err("no such port");
        assert!(problem.contains("grpc") && problem.contains("8081"), "{problem}");
    }

    #[test]
    fn changes_replace_and_remove_slices() {
        let mut slices = Slices::new([slice("a", json!([{"addresses": ["10.0.0.1"]}]))]);
        assert_eq!(slices.apply(Change::Is(slice("a", json!([{"addresses": ["10.0.0.2"]}])))).as_deref(), Some("7"));
        assert_eq!(urls(&slices, "http"), ["http://10.0.0.2:8081"]);
        slices.apply(Change::Gone(slice("a", json!([]))));
        assert!(urls(&slices, "http").is_empty());
    }

    #[test]
    fn services_are_named_with_or_without_their_namespace() {
        assert_eq!(service("models:http").name(), "llm/models:http");
        assert_eq!(service("prod/models:80").name(), "prod/models:80");
        for bad in ["models", "models:", ":80", "a/b/c:80", "a?x=1:80", "a/../b:80"] {
            assert!(Service::parse(bad, || None).is_err(), "{bad}");
        }
    }
}
