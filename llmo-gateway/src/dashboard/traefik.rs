//! The gateways in the format of Traefik's HTTP provider, so that Traefik finds them by itself:
//! `--providers.http.endpoint=http://GATEWAY:8080/api/traefik`.

use serde_json::{Value, json};

use super::Address;

/// Where Traefik reaches the gateways: those that are known; else the one that is asked, as configured or under the name that
/// it was asked by (`host`, as the header says).
#[must_use]
pub fn gateways(known: Vec<String>, own: &Address, host: Option<&str>) -> Vec<String> {
    if !known.is_empty() {
        return known;
    }
    if !own.advertised.is_empty() {
        return vec![own.advertised.trim_end_matches('/').to_owned()];
    }
    let name = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let name = name.as_ref().map_or("127.0.0.1", |authority| authority.host());
    vec![format!("http://{name}:{}", own.port)]
}

/// One router for everything, and one service of all gateways, which Traefik checks itself.
#[must_use]
pub fn configuration(gateways: &[String]) -> Value {
    let servers: Vec<Value> = gateways.iter().map(|url| json!({"url": url})).collect();
    json!({
        "http": {
            "routers": {
                // The least of all priorities: any other rule of the same Traefik goes first.
                "llmo": {"rule": "PathPrefix(`/`)", "service": "llmo", "priority": 1, "middlewares": ["llmo-again"]},
            },
            "middlewares": {
                // Only what no gateway has begun to answer. A POST that a gateway had read when it died is sent again too, as the
                // gateway itself does it: a generation changes nothing, and its answer went to nobody. Traefik's own word for
                // that is 502. Half of the attempts may hit the dead one again, until its health check fails. (Before 3.7 it does not
                // know the last two fields, and lets the client have its 502.)
                "llmo-again": {"retry": {
                    "attempts": 8,
                    "initialInterval": "100ms",
                    "status": ["502"],
                    "retryNonIdempotentMethod": true,
                }},
            },
            "services": {
                "llmo": {
                    "loadBalancer": {
                        "servers": servers,
                        "passHostHeader": true,
                        "healthCheck": {"path": "/readyz", "interval": "2s", "timeout": "1s"},
                        // Ollama's streams are lines of JSON, which Traefik would collect for 100 ms otherwise.
                        "responseForwarding": {"flushInterval": "-1ms"},
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_nobody_named_is_where_it_was_asked() {
        let own = Address { advertised: String::new(), port: 8000 };
        assert_eq!(gateways(Vec::new(), &own, Some("gateway:8080")), ["http://gateway:8000"]);
        assert_eq!(gateways(Vec::new(), &own, Some("[::1]:8080")), ["http://[::1]:8000"]);
        for odd in [None, Some("a b"), Some("")] {
            assert_eq!(gateways(Vec::new(), &own, odd), ["http://127.0.0.1:8000"], "{odd:?}");
        }
        let own = Address { advertised: "http://gw.example/".into(), port: 8000 };
        assert_eq!(gateways(Vec::new(), &own, Some("gateway:8080")), ["http://gw.example"]);
        assert_eq!(gateways(vec!["http://b".into()], &own, None), ["http://b"]);
    }

    #[test]
    fn every_gateway_is_a_server_of_the_one_service() {
        let configuration = configuration(&["http://a:80".into(), "http://b:80".into()]);
        let servers = &configuration["http"]["services"]["llmo"]["loadBalancer"]["servers"];
        assert_eq!(servers, &json!([{"url": "http://a:80"}, {"url": "http://b:80"}]));
    }
}
