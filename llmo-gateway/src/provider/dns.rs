//! Replicas by name: A and AAAA records, or SRV records.
//!
//! A name is resolved again when its records end, and at the latest after an interval: Docker's DNS gives records ten minutes,
//! and answers about a service that was scaled a moment ago all the same. That a name has no records is an answer; that nobody
//! answers is not, and what was known stays.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use llmo_config::UpstreamConfig;

use super::{Desired, Provider, Sink, SourceLost, Target};

/// However short records live, nobody is asked more often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// A server that does not answer within this time is asked once more.
const PATIENCE: Duration = Duration::from_secs(2);

/// A name whose addresses are replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A and AAAA records, with a port that is known.
    Host {
        /// `http` or `https`.
        scheme: String,
        /// The name.
        host: String,
        /// The port of every address.
        port: u16,
    },
    /// SRV records, which say hosts, ports and weights.
    Service {
        /// `http` or `https`.
        scheme: String,
        /// The name, such as `_llmo._tcp.example.org`.
        name: String,
    },
}

impl Name {
    /// Reads `HOST:PORT` or `_SERVICE._tcp.DOMAIN`, with `http://` or `https://` before it or not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("discovery.dns: {text:?} must be HOST:PORT, or _SERVICE._tcp.DOMAIN for SRV records");
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
        if !matches!(scheme, "http" | "https") || rest.contains(['/', '@', '?', ' ']) || rest.is_empty() {
            return Err(wrong());
        }
        let scheme = scheme.to_owned();
        if rest.starts_with('_') && !rest.contains(':') {
            return Ok(Self::Service { scheme, name: rest.to_owned() });
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(':') {
            return Err(wrong());
        }
        Ok(Self::Host { scheme, host: host.to_owned(), port })
    }
}

/// Resolves a name again and again.
pub struct DnsProvider {
    label: String,
    name: Name,
    resolver: TokioResolver,
    interval: Duration,
}

/// What a name stands for, and until when.
struct Found {
    targets: Vec<Target>,
    until: Instant,
}

impl DnsProvider {
    /// Asks `server`, or whom the system asks. The name is resolved again at least once in `interval`.
    ///
    /// # Errors
    /// What is wrong with the name, or with the system's own configuration.
    pub fn new(text: &str, server: Option<SocketAddr>, interval: Duration) -> Result<Self, String> {
        let name = Name::parse(text)?;
        let mut builder = match server {
            Some(server) => {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                connections.iter_mut().for_each(|connection| connection.port = server.port());
                let server = NameServerConfig::new(server.ip(), true, connections);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(|error| {
                format!("the system's DNS configuration can't be read ({error}); set discovery.dns_server")
            })?,
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = PATIENCE;
        // A host that has both is one replica, not two.
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        let resolver = builder.build().map_err(|error| format!("no DNS resolver can be made: {error}"))?;
        Ok(Self { label: format!("dns:{}", text.trim()), name, resolver, interval: interval.max(SHORTEST_PAUSE) })
    }

    async fn find(&self) -> Result<Found, SourceLost> {
        match &self.name {
            Name::Host { scheme, host, port } => {
                let (addresses, until) = self.addresses(host).await?;
                let targets = addresses.into_iter().map(|ip| target(scheme, ip, *port, 1));
                Ok(Found { targets: targets.collect::<Result<_, _>>()?, until })
            }
            Name::Service { scheme, name } => self.service(scheme, name).await,
        }
    }

    async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Instant), SourceLost> {
        match self.resolver.lookup_ip(host).await {
            Ok(found) => Ok((found.iter().collect(), found.valid_until())),
            Err(error) if error.is_no_records_found() => Ok((Vec::new(), Instant::now())),
            Err(error) => Err(lost(host, &error)),
        }
    }

    /// Those of the most preferred records (the lowest priority number); the others are for when these are not there.
    async fn service(&self, scheme: &str, name: &str) -> Result<Found, SourceLost> {
        let found = match self.resolver.srv_lookup(name).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => {
                return Ok(Found { targets: Vec::new(), until: Instant::now() });
            }
            Err(error) => return Err(lost(name, &error)),
        };
        let records: Vec<_> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            })
            .collect();
        let preferred = records.iter().map(|srv| srv.priority).min();
        let (mut targets, mut until) = (Vec::new(), found.valid_until());
        for srv in records.into_iter().filter(|srv| Some(srv.priority) == preferred) {
            let (addresses, end) = self.addresses(&srv.target.to_utf8()).await?;
            until = until.min(end);
            for ip in addresses {
                targets.push(target(scheme, ip, srv.port, u32::from(srv.weight.max(1)))?);
            }
        }
        Ok(Found { targets, until })
    }
}

#[async_trait]
impl Provider for DnsProvider {
    fn name(&self) -> &str {
        &self.label
    }

    async fn watch(&self, sink: &Sink) -> Result<Infallible, SourceLost> {
        loop {
            let begun = Instant::now();
            let Found { mut targets, until } = self.find().await?;
            let next = until.clamp(begun + SHORTEST_PAUSE, begun + self.interval);
            // The order of records changes from answer to answer and means nothing.
            targets.sort_by(|a, b| a.url.cmp(&b.url));
            targets.dedup_by(|a, b| a.url == b.url);
            // Routes are not in it: there is nothing to refuse.
            let _ = sink.publish(Desired::targets(targets));
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

fn target(scheme: &str, ip: IpAddr, port: u16, weight: u32) -> Result<Target, SourceLost> {
    let mut upstream = UpstreamConfig::new(format!("{scheme}://{}", SocketAddr::new(ip, port)));
    upstream.weight = weight;
    Target::from_config(&upstream).map_err(|error| SourceLost(error.to_string()))
}

fn lost(name: &str, error: &NetError) -> SourceLost {
    SourceLost(format!("{name} can't be resolved: {error}; is the DNS server there (discovery.dns_server)?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_elsewhere() {
        let host = |scheme: &str, host: &str, port| Name::Host { scheme: scheme.into(), host: host.into(), port };
        assert_eq!(Name::parse("model-service:8081"), Ok(host("http", "model-service", 8081)));
        assert_eq!(Name::parse("https://models.svc:443"), Ok(host("https", "models.svc", 443)));
        let name = "_llmo._tcp.example.org".to_owned();
        assert_eq!(Name::parse(&name), Ok(Name::Service { scheme: "http".into(), name }));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "host", "host:", "host:0", "host:99999", ":80", "a:b:1", "ftp://a:1", "http://a:1/v1", "u@a:1"]
        {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }
}
