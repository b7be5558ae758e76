//! From a container to a replica.

use std::collections::BTreeMap;

use llmo_config::UpstreamConfig;
use serde::Deserialize;

use crate::provider::Target;

/// A container, as far as it matters here (`GET /containers/json`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its names, each with a slash before it.
    #[serde(default)]
    pub names: Vec<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The ports that it exposes.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Its networks.
    #[serde(default)]
    pub network_settings: Networks,
}

/// A port that a container exposes, once for each address that it is published at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// Inside.
    pub private_port: u16,
    /// `tcp` or `udp`.
    #[serde(rename = "Type", default)]
    pub kind: String,
}

/// The networks that a container is in.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Networks {
    /// By name.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Network {
    /// Its address there; empty: none.
    #[serde(rename = "IPAddress", default)]
    pub ip_address: String,
    /// Its IPv6 address there.
    #[serde(rename = "GlobalIPv6Address", default)]
    pub ipv6_address: String,
}

/// The replicas among containers, and what is wrong with those that want to be one and can't.
#[must_use]
pub fn targets(containers: &[Container], network: Option<&str>) -> (Vec<Target>, Vec<String>) {
    let (mut targets, mut problems) = (Vec::new(), Vec::new());
    for container in containers.iter().filter(|container| container.is_enabled()) {
        match container.target(network) {
            Ok(target) => targets.push(target),
            Err(problem) => problems.push(format!("container {}: {problem}", container.name())),
        }
    }
    // Docker lists the newest first; a container that comes must not turn the order of the others.
    targets.sort_by(|a, b| a.url.cmp(&b.url));
    targets.dedup_by(|a, b| a.url == b.url);
    (targets, problems)
}

impl Container {
    fn is_enabled(&self) -> bool {
        self.label("llmo.enable")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes"))
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn name(&self) -> &str {
        self.names.first().map_or(self.id.as_str(), |name| name.trim_start_matches('/'))
    }

    fn target(&self, network: Option<&str>) -> Result<Target, String> {
        let scheme = self.label("llmo.scheme").unwrap_or("http");
        let mut upstream = UpstreamConfig::new(format!("{scheme}://{}:{}", self.address(network)?, self.port()?));
        if let Some(models) = self.label("llmo.model") {
            upstream.models = models.split(',').map(|model| model.trim().to_owned()).collect();
        }
        if let Some(weight) = self.label("llmo.weight") {
            upstream.weight = weight
                .parse()
                .map_err(|_| format!("the label llmo.weight is {weight:?}; it must be a whole number"))?;
        }
        Target::from_config(&upstream).map_err(|error| error.to_string())
    }

    fn port(&self) -> Result<u16, String> {
        if let Some(port) = self.label("llmo.port") {
            let number = port.parse().ok().filter(|port| *port != 0);
            return number.ok_or_else(|| format!("the label llmo.port is {port:?}; it must be a port's number"));
        }
        let mut exposed: Vec<u16> =
            self.ports.iter().filter(|port| port.kind != "udp").map(|port| port.private_port).collect();
        exposed.sort_unstable();
        exposed.dedup();
        match exposed[..] {
            [port] => Ok(port),
            [] => Err("it exposes no port; give it the label llmo.port".into()),
            _ => Err(format!("it exposes the ports {exposed:?}; say which with the label llmo.port")),
        }
    }

    fn address(&self, network: Option<&str>) -> Result<String, String> {
        let known = &self.network_settings.networks;
        let place = match self.label("llmo.network").or(network) {
            Some(name) => known.get(name).ok_or_else(|| {
                let names: Vec<_> = known.keys().collect();
                format!("it is not in the network {name:?}, but in {names:?}; correct llmo.network or discovery.docker_network")
            })?,
            None => known
                .values()
                .find(|place| !(place.ip_address.is_empty() && place.ipv6_address.is_empty()))
                .ok_or("it has no address in any network (the host's network has none): announce it with gateway.register")?,
        };
        match (place.ip_address.as_str(), place.ipv6_address.as_str()) {
            ("", "") => Err("it has no address in that network".into()),
            ("", six) => Ok(format!("[{six}]")),
            (four, _) => Ok(four.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(labels: &[(&str, &str)], ports: &[u16], networks: &[(&str, &str)]) -> Container {
        let value = serde_json::json!({
            "Id": "4c01db0b339c", "Names": ["/models-1"],
            "Labels": labels.iter().copied().collect::<BTreeMap<_, _>>(),
            "Ports": ports.iter().map(|port| serde_json::json!({"PrivatePort": port, "Type": "tcp"})).collect::<Vec<_>>(),
            "NetworkSettings": {"Networks": networks.iter().map(|(name, ip)| (*name, serde_json::json!({"IPAddress": ip}))).collect::<BTreeMap<_, _>>()},
        });
        serde_json::from_value(value).expect("as Docker has it")
    }

    const ON: (&str, &str) = ("llmo.enable", "true");

    #[test]
    fn labels_say_port_models_weight_and_network() {
        let labels = [
            ON,
            ("llmo.port", "9000"),
            ("llmo.model", "llama=vendor/llama, small"),
            ("llmo.weight", "3"),
            ("llmo.network", "back"),
        ];
        let (targets, problems) =
            targets(&[container(&labels, &[1, 2], &[("front", "10.0.0.1"), ("back", "10.1.0.1")])], Some("front"));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((targets[0].url.as_str(), targets[0].weight), ("http://10.1.0.1:9000", 3));
        assert_eq!(targets[0].names.there("llama"), Some("vendor/llama"));
    }

    #[test]
    fn one_exposed_port_needs_no_label_and_published_twice_is_still_one() {
        let (targets, _) = targets(&[container(&[ON], &[8081, 8081], &[("a", ""), ("b", "10.0.0.1")])], None);
        assert_eq!(targets[0].url, "http://10.0.0.1:8081");
    }

    #[test]
    fn who_is_not_enabled_is_nobody_and_a_mistake_costs_only_its_own_container() {
        let off = container(&[("llmo.enable", "false")], &[1], &[("a", "10.0.0.1")]);
        let good = container(&[ON], &[1], &[("a", "10.0.0.2")]);
        for (labels, ports, word) in [
            (&[ON][..], &[][..], "llmo.port"),
            (&[ON], &[1, 2], "[1, 2]"),
            (&[ON, ("llmo.port", "http")], &[1], "\"http\""),
            (&[ON, ("llmo.weight", "-1")], &[1], "llmo.weight"),
            (&[ON, ("llmo.network", "x")], &[1], "\"x\""),
            (&[ON, ("llmo.model", "a,,b")], &[1], "models"),
        ] {
            let bad = container(labels, ports, &[("a", "10.0.0.3")]);
            let (targets, problems) = targets(&[off.clone(), bad, good.clone()], None);
            assert_eq!((targets.len(), problems.len()), (1, 1), "{labels:?}");
            assert!(problems[0].contains("models-1") && problems[0].contains(word), "{problems:?}");
        }
    }
}
