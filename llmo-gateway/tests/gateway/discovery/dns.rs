//! Names, asked of a DNS server over UDP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use llmo_backends::sim::SimOptions;
use llmo_gateway::provider::dns::DnsProvider;
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::Watching;
use crate::service::Service;
use crate::site::Site;

/// A DNS server of one zone.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: HashMap<(String, RecordType), Vec<RData>>,
    ttl: u32,
    fails: bool,
    queries: u32,
}

impl Zone {
    async fn start(ttl: u32) -> (Self, SocketAddr) {
        let zone = Self::default();
        zone.0.lock().ttl = ttl;
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        let server = zone.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let answer = server.answer(&Message::from_vec(&buffer[..length]).expect("a question"));
                let _ = socket.send_to(&answer.to_vec().expect("an answer"), peer).await;
            }
        });
        (zone, address)
    }

    fn set(&self, name: &str, kind: RecordType, records: Vec<RData>) {
        self.0.lock().records.insert((format!("{name}."), kind), records);
    }

    fn addresses(&self, name: &str, last: &[u8]) {
        let records = last.iter().map(|last| RData::A(A(Ipv4Addr::new(10, 0, 0, *last)))).collect();
        self.set(name, RecordType::A, records);
    }

    fn answer(&self, question: &Message) -> Message {
        let mut state = self.0.lock();
        state.queries += 1;
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        let query = question.queries[0].clone();
        let name = query.name().to_string().to_lowercase();
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        if state.fails {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let known = state.records.keys().any(|(known, _)| *known == name);
        match state.records.get(&(name, query.query_type())) {
            Some(records) => {
                for data in records {
                    answer.add_answer(Record::from_rdata(query.name().clone(), state.ttl, data.clone()));
                }
            }
            None if known => {}
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer
    }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_utf8(format!("{target}.")).expect("a name")))
}

fn provider(name: &str, server: SocketAddr, interval: Duration) -> DnsProvider {
    DnsProvider::new(name, Some(server), interval).expect("a good name")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_scaled_is_found_again_by_its_name() {
    // As Docker's own DNS: records that claim to hold for ten minutes.
    let (zone, server) = Zone::start(600).await;
    zone.addresses("models.test", &[2]);
    let watching = Watching::start(provider("models.test.:8081", server, Duration::from_millis(500)));
    watching.until(&["http://10.0.0.2:8081"]).await;
    zone.addresses("models.test", &[4, 3, 2]);
    watching.until(&["http://10.0.0.2:8081", "http://10.0.0.3:8081", "http://10.0.0.4:8081"]).await;
    zone.0.lock().records.clear();
    watching.until(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_end_soon_are_asked_for_again_before_the_interval_is_over() {
    let (zone, server) = Zone::start(1).await;
    zone.addresses("models.test", &[1]);
    let watching = Watching::start(provider("models.test.:1", server, Duration::from_secs(600)));
    watching.until(&["http://10.0.0.1:1"]).await;
    zone.addresses("models.test", &[2]);
    watching.until(&["http://10.0.0.2:1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_server_that_fails_takes_nothing_away() {
    let (zone, server) = Zone::start(1).await;
    zone.addresses("models.test", &[1]);
    let watching = Watching::start(provider("models.test.:1", server, Duration::from_millis(500)));
    watching.until(&["http://10.0.0.1:1"]).await;
    zone.0.lock().fails = true;
    watching.until_problem("models.test").await;
    assert_eq!(watching.urls(), ["http://10.0.0.1:1"]);
    zone.addresses("models.test", &[2]);
    zone.0.lock().fails = false;
    watching.until(&["http://10.0.0.2:1"]).await;
    assert_eq!(watching.problem(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_srv_records_say_ports_and_weights() {
    let (zone, server) = Zone::start(60).await;
    zone.addresses("a.test", &[1]);
    zone.addresses("b.test", &[2]);
    let records = vec![srv(1, 3, 8001, "a.test"), srv(1, 0, 8002, "b.test"), srv(2, 9, 8003, "b.test")];
    zone.set("_llmo._tcp.test", RecordType::SRV, records);
    let watching = Watching::start(provider("_llmo._tcp.test.", server, Duration::from_secs(600)));
    watching.until(&["http://10.0.0.1:8001", "http://10.0.0.2:8002"]).await;
    let weights: Vec<_> = watching.board.wanted().borrow().targets.iter().map(|target| target.weight).collect();
    assert_eq!(weights, [3, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_srv_records_name_serve() {
    let (zone, server) = Zone::start(60).await;
    zone.set("localhost.test", RecordType::A, vec![RData::A(A(Ipv4Addr::LOCALHOST))]);
    let site = Site::with_services(2, SimOptions::default(), |services, config| {
        let port = |service: &Service| service.id().rsplit(':').next().expect("a port").parse().expect("a number");
        let records = services.iter().map(|service| srv(0, 1, port(service), "localhost.test")).collect();
        zone.set("_llmo._tcp.test", RecordType::SRV, records);
        config.gateway.upstreams = Vec::new();
        config.discovery.dns = vec!["_llmo._tcp.test.".into()];
        config.discovery.dns_server = server.to_string();
    })
    .await;
    assert_eq!(site.completion("count", 3).send().await.expect("an answer").status(), 200);
}
