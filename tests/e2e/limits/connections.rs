//! How many connections there may be, and how fast they may come, at both doors: settings that hold while the server runs
//! (KIP-402, KIP-612) and quotas of addresses.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::protocol::messages::{
    AlterConfigsResource, AlterableConfig, ApiVersionsRequest, DescribeConfigsRequest, DescribeConfigsResource,
    IncrementalAlterConfigsRequest,
};
use tidelog_harness::raw::{Raw, encode};
use tidelog_harness::serde_json::{self, Value};
use tidelog_harness::tokio::net::TcpSocket;
use tidelog_harness::tokio::runtime;
use tidelog_harness::{Server, options, wait_for, wait_until};

/// Who administers; nothing that is set for others is about it.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A client that has asked for something and waits for its answer.
struct Client(TcpStream);

impl Client {
    fn new(from: IpAddr, to: SocketAddr, request: &[u8]) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let connect = async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            socket.connect(to).await.unwrap().into_std().unwrap()
        };
        let mut stream = runtime.block_on(connect);
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Who is turned away at once is seen when reading.
        let _ = stream.write_all(request);
        Client(stream)
    }

    fn kafka(server: &Server, from: IpAddr) -> Self {
        Client::at(server.kafka(), from)
    }

    fn at(address: &str, from: IpAddr) -> Self {
        Client::new(from, address.parse().unwrap(), &encode(0, 1, &ApiVersionsRequest::default()))
    }

    fn http(server: &Server, from: IpAddr) -> Self {
        Client::new(from, server.http().parse().unwrap(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }

    /// Waits for the answer; false if the connection is closed instead.
    fn is_served(&mut self) -> bool {
        match self.0.read(&mut [0; 4096]) {
            Ok(count) => count > 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("neither answered nor closed: {error}"),
        }
    }

    /// Neither answered nor closed so far.
    fn waits(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// A connection from before every limit.
struct Admin(Raw);

impl Admin {
    fn new(server: &Server) -> Self {
        let mut raw = Raw::connect(server.kafka());
        raw.call(0, &ApiVersionsRequest::default());
        Admin(raw)
    }

    /// Sets or (without a value) deletes settings of all brokers; the answer's error code.
    fn alter(&mut self, settings: &[(&str, Option<&str>)]) -> i16 {
        let change = |(name, value): &(&str, Option<&str>)| AlterableConfig {
            name: (*name).into(),
            config_operation: i8::from(value.is_none()),
            value: value.map(Into::into),
            ..Default::default()
        };
        let configs = settings.iter().map(change).collect();
        let resource = AlterConfigsResource { resource_type: 4, configs, ..Default::default() };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        self.0.call(1, &request).responses[0].error_code
    }

    fn set(&mut self, settings: &[(&str, &str)]) {
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, Some(*value))).collect();
        assert_eq!(self.alter(&settings), 0, "{settings:?}");
    }

    /// A setting of the broker as DescribeConfigs has it: value, source, read-only.
    fn described(&mut self, name: &str) -> Option<(String, i8, bool)> {
        let keys = Some(vec![name.into()]);
        let resource = DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            configuration_keys: keys,
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let result = self.0.call(4, &request).results.remove(0);
        let one = result.configs.into_iter().next()?;
        Some((one.value.unwrap().to_string(), one.config_source, one.read_only))
    }
}

const OF_PLAINTEXT: &str = "listener.name.plaintext.max.connections";
const OF_HTTP: &str = "listener.name.http.max.connections";

#[test]
fn newcomers_wait_for_a_place_of_their_listener_and_of_all() {
    let mut server = Server::start(options!().args(["--kafka-listen", "IN=PLAINTEXT://127.0.0.1:0"]));
    let endpoints = fs::read_to_string(server.data_dir().join("endpoints.json")).unwrap();
    let endpoints: Value = serde_json::from_str(&endpoints).unwrap();
    let inner = endpoints["listeners"]["IN"].as_str().unwrap().to_owned();
    let mut admin = Admin::new(&server);
    let mut second = Client::kafka(&server, HERE);
    assert!(second.is_served());
    admin.set(&[(OF_PLAINTEXT, "2")]);
    assert_eq!(admin.described(OF_PLAINTEXT), Some(("2".into(), 3, false)));
    let mut third = Client::kafka(&server, HERE);
    // Other listeners have theirs.
    let mut other = Client::at(&inner, HERE);
    assert!(other.is_served() && Client::http(&server, HERE).is_served());
    assert!(third.waits(), "the listener is full");
    admin.set(&[(OF_PLAINTEXT, "3")]);
    assert!(third.is_served(), "a higher limit holds at once");

    // Who is there stays when it is lowered, and nobody else comes.
    admin.set(&[(OF_PLAINTEXT, "1")]);
    let mut fourth = Client::kafka(&server, HERE);
    for open in [&mut second, &mut third] {
        open.0.write_all(&encode(0, 2, &ApiVersionsRequest::default())).unwrap();
        assert!(open.is_served());
    }
    assert!(fourth.waits());
    drop((second, third));
    assert_eq!(admin.alter(&[(OF_PLAINTEXT, None)]), 0);
    assert!(fourth.is_served(), "without a limit of its own");
    assert_eq!(admin.described(OF_PLAINTEXT), None, "as Kafka shows it only where it is set");

    // All together: the gateway's count too. Three are open, and perhaps some that are just closing.
    admin.set(&[("max.connections", "3")]);
    assert_eq!(admin.described("max.connections"), Some(("3".into(), 3, false)));
    let mut over_http = Client::http(&server, HERE);
    let mut at_inner = Client::at(&inner, HERE);
    admin.described("max.connections");
    assert!(over_http.waits() && at_inner.waits());
    drop(fourth);
    drop(other);
    assert!(over_http.is_served() && at_inner.is_served(), "two have gone, two may come");
    drop((over_http, at_inner));
    assert_eq!(admin.alter(&[("max.connections", None)]), 0);

    // What was set while it ran holds after a restart, at the gateway's listener as at any.
    admin.set(&[(OF_HTTP, "1")]);
    drop(admin);
    server.stop();
    server.start_again();
    let mut first = Client::http(&server, HERE);
    assert!(first.is_served());
    let mut next = Client::http(&server, HERE);
    assert!(Client::kafka(&server, HERE).is_served() && next.waits());
    drop(first);
    assert!(next.is_served());
    drop(next);
    server.assert_no_panic();
    server.stop();
}

#[test]
fn an_address_has_as_many_as_it_may_at_both_doors_together() {
    let mut server = Server::start(options!());
    let mut admin = Admin::new(&server);
    admin.set(&[("max.connections.per.ip.overrides", "127.0.0.2:2")]);
    let mut kafka = Client::kafka(&server, ELSEWHERE);
    let mut http = Client::http(&server, ELSEWHERE);
    assert!(kafka.is_served() && http.is_served());
    assert!(!Client::kafka(&server, ELSEWHERE).is_served(), "closed, not left to wait");
    assert!(!Client::http(&server, ELSEWHERE).is_served());
    assert!(Client::kafka(&server, HERE).is_served() && Client::http(&server, HERE).is_served());
    // A lower limit leaves who is there.
    admin.set(&[("max.connections.per.ip.overrides", "127.0.0.2:1")]);
    kafka.0.write_all(&encode(0, 2, &ApiVersionsRequest::default())).unwrap();
    assert!(kafka.is_served());
    drop((kafka, http));
    let comes = || Client::http(&server, ELSEWHERE).is_served();
    wait_until(comes, PATIENCE, "a place is free again");

    // Names are hosts' as well, and an override stands above the limit of all addresses.
    admin.set(&[("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "localhost:3")]);
    let two = || {
        // Those of before may be closing still.
        let mut two = [Client::kafka(&server, HERE), Client::kafka(&server, HERE)];
        two.iter_mut().all(Client::is_served).then_some(two)
    };
    let _others = wait_for(two, PATIENCE, "localhost has three");
    assert!(!Client::kafka(&server, HERE).is_served() && !Client::http(&server, HERE).is_served());
    assert_eq!(admin.alter(&[("max.connections.per.ip", None), ("max.connections.per.ip.overrides", None)]), 0);
    let request = b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let (mut client, mut metrics) = (Client::new(HERE, server.http().parse().unwrap(), request), String::new());
    client.0.read_to_string(&mut metrics).unwrap();
    for series in [
        "tidelog_connections_refused_total{listener=\"http\",reason=\"per_ip\"}",
        "tidelog_connections_refused_total{listener=\"plaintext\",reason=\"per_ip\"}",
        "tidelog_connections_opened_total{listener=\"http\"}",
    ] {
        assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    }
    server.assert_no_panic();
    server.stop();
}

#[test]
fn newcomers_wait_where_they_come_too_fast() {
    let server = Server::start(options!());
    let mut admin = Admin::new(&server);
    for (listener, rate) in
        [("plaintext", "max.connection.creation.rate"), ("http", "listener.name.http.max.connection.creation.rate")]
    {
        admin.set(&[(rate, "1")]);
        assert_eq!(admin.described(rate), Some(("1".into(), 3, false)));
        // Ten are a full average of one per second; after the eleventh each waits a second.
        let began = Instant::now();
        for n in 0..13 {
            let mut client =
                if listener == "http" { Client::http(&server, HERE) } else { Client::kafka(&server, HERE) };
            assert!(client.is_served(), "{listener}: the {n}th");
        }
        assert!(began.elapsed() >= Duration::from_secs(2), "{listener}: {:?}", began.elapsed());
        assert_eq!(admin.alter(&[(rate, None)]), 0);
        let began = Instant::now();
        for _ in 0..60 {
            assert!(Client::kafka(&server, HERE).is_served() && Client::http(&server, HERE).is_served());
        }
        // With the limit it were a minute. One may have been waiting when it was taken back.
        assert!(began.elapsed() < Duration::from_secs(45), "{listener}: {:?}", began.elapsed());
    }
}

#[test]
fn an_address_that_comes_too_often_is_closed_at_both_doors() {
    let server = Server::start(options!());
    server.run(&["quota", "set", "--for", "ip=127.0.0.2", "connection_creation_rate=1"]).expect(0);
    for round in 0..2 {
        let door = if round == 0 { Client::http } else { Client::kafka };
        // Ten or eleven are within the quota of ten seconds; both doors count together.
        let closed = || !door(&server, ELSEWHERE).is_served();
        wait_until(closed, PATIENCE, "one is closed");
        assert!(door(&server, HERE).is_served(), "others are not limited");
    }
    server.run(&["quota", "remove", "--for", "ip=127.0.0.2"]).expect(0);
    assert!(Client::http(&server, ELSEWHERE).is_served() && Client::kafka(&server, ELSEWHERE).is_served());
}

#[test]
fn limits_that_would_shut_everybody_out_are_refused_as_kafka_refuses_them() {
    const INVALID_REQUEST: i16 = 42;
    let server = Server::start(options!());
    let mut admin = Admin::new(&server);
    for (name, value) in [
        ("max.connections", "0"),
        ("max.connection.creation.rate", "0"),
        ("max.connections.per.ip", "0"),
        ("max.connections.per.ip", "-1"),
        ("max.connections.per.ip.overrides", "127.0.0.1"),
        (OF_PLAINTEXT, "0"),
        ("listener.name.nobody.max.connections", "5"),
        ("listener.name.plaintext.max.connections.per.ip", "5"),
    ] {
        assert_eq!(admin.alter(&[(name, Some(value))]), INVALID_REQUEST, "{name}={value}");
        assert!(admin.described(name).is_none_or(|(_, source, _)| source == 5), "{name}={value}");
    }
    server.run(&["broker", "config", "all", "--set", &format!("{OF_HTTP}=500")]).expect(0);
    assert_eq!(admin.described(OF_HTTP), Some(("500".into(), 3, false)));
    // Nobody but some.
    admin.set(&[("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", "127.0.0.2:1")]);
    assert!(!Client::kafka(&server, HERE).is_served() && Client::kafka(&server, ELSEWHERE).is_served());
    let alone = [("max.connections.per.ip.overrides", None)];
    assert_eq!(admin.alter(&alone), INVALID_REQUEST);
}
